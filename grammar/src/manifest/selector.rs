//! Label selectors: `matchLabels` and `matchExpressions`, as Kubernetes and as Cilium write keys.

use super::context::Context;
use super::decode::Shape;
use super::metadata::{bad_label_key, bad_label_value, key_text};
use super::{hint, names};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{LabelKey, LabelSource, Operator, Requirement, Selector};
use crate::yaml::Value;

/// How keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// `app`: the labels of Kubernetes objects.
    Kubernetes,
    /// `app`, `k8s:app`, `any:app`, `reserved:host`: Cilium's.
    Cilium,
    /// `kind-of`: the labels of CIDR groups, which have one source of their own.
    Groups,
}

const SELECTOR: Shape = Shape {
    what: "a label selector",
    fields: &["matchLabels", "matchExpressions"],
    elsewhere: &[
        (
            "podSelector",
            "pods and namespaces are selected apart: `podSelector` and `namespaceSelector` stand beside each other",
        ),
        ("key", "it belongs into an item of `matchExpressions`"),
        ("operator", "it belongs into an item of `matchExpressions`"),
        ("values", "it belongs into an item of `matchExpressions`"),
    ],
};

const EXPRESSION: Shape = Shape {
    what: "an item of `matchExpressions`",
    fields: &["key", "operator", "values"],
    elsewhere: &[("value", "write a list: `values: [x]`")],
};

const OPERATORS: &[&str] = &["In", "NotIn", "Exists", "DoesNotExist"];

/// Reads a selector.
pub(crate) fn selector(cx: &mut Context<'_>, value: Value<'_>, keys: Keys) -> Option<Selector> {
    let (mut labels, mut expressions) = (Vec::new(), Vec::new());
    cx.fields(value, &SELECTOR, |cx, field, value, _| match field {
        "matchLabels" => labels = match_labels(cx, value, keys),
        _ => {
            cx.items(value, "matchExpressions", |cx, item| expressions.extend(expression(cx, item, keys)));
        }
    })
    .then(|| {
        labels.append(&mut expressions);
        Selector { span: value.span(), requirements: labels }
    })
}

/// Reads a list of selectors.
pub(crate) fn selectors(
    cx: &mut Context<'_>,
    value: Value<'_>,
    name: &str,
    keys: Keys,
) -> Option<Vec<Selector>> {
    cx.list_of(value, name, |cx, item| selector(cx, item, keys))
}

fn match_labels(cx: &mut Context<'_>, value: Value<'_>, keys: Keys) -> Vec<Requirement> {
    let Some(pairs) = value.pairs() else {
        cx.wrong_type(value, "`matchLabels`", "an object");
        return Vec::new();
    };
    let mut requirements = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Some(name) = key_text(cx, key) else { continue };
        let name = label_key(cx, name, key.span(), keys);
        // A null here is dropped by one API server path and emptied by another, so it is refused.
        let Some(text) = cx.text(value, key.raw().unwrap_or("")) else { continue };
        check_value(cx, text);
        let Some(name) = name else { continue };
        requirements.push(Requirement {
            key: Spanned::new(name, key.span()),
            operator: Operator::In,
            values: vec![text.value.to_owned()],
        });
    }
    requirements
}

fn expression(cx: &mut Context<'_>, value: Value<'_>, keys: Keys) -> Option<Requirement> {
    let (mut key, mut operator) = (None, None);
    let mut values: Option<(Span, Vec<String>)> = None;
    let is_object = cx.fields(value, &EXPRESSION, |cx, field, value, _| match field {
        "key" => {
            key = Some(cx.text(value, "key").and_then(|text| {
                label_key(cx, text.value, text.span, keys).map(|name| Spanned::new(name, text.span))
            }));
        }
        "operator" => operator = Some(self::operator(cx, value)),
        _ => {
            let list = cx.list_of(value, "values", |cx, item| {
                let text = cx.text(item, "values")?;
                check_value(cx, text);
                Some(text.value.to_owned())
            });
            values = list.map(|list| (value.span(), list));
        }
    });
    if !is_object {
        return None;
    }
    if key.is_none() {
        cx.missing(value.head(), "an expression", "key", "name the label: `key: app`");
    }
    if operator.is_none() {
        cx.missing(
            value.head(),
            "an expression",
            "operator",
            "operators are `In`, `NotIn`, `Exists` and `DoesNotExist`",
        );
    }
    let (key, operator) = (key?, operator??);
    let given = values.as_ref().map_or(0, |(_, values)| values.len());
    match operator.value {
        Operator::In | Operator::NotIn if given == 0 => {
            // Values that are no list were reported.
            if values.is_none() && value.get("values").is_some() {
                return None;
            }
            let at = values.map_or(operator.span, |(span, _)| span);
            cx.report(
                Diagnostic::new(
                    Code::SelectorValues,
                    at,
                    format!("`{}` needs at least one value", operator.value.as_str()),
                )
                .labelled("without values")
                .help("add `values`, or use `Exists` or `DoesNotExist`"),
            );
            return None;
        }
        Operator::Exists | Operator::DoesNotExist if given > 0 => {
            let at = values.map_or(operator.span, |(span, _)| span);
            cx.report(
                Diagnostic::new(
                    Code::SelectorValues,
                    at,
                    format!("`{}` takes no values", operator.value.as_str()),
                )
                .labelled("values have no meaning here")
                .also(operator.span, "because of this operator")
                .help("remove `values`, or use `In` or `NotIn`"),
            );
            return None;
        }
        _ => {}
    }
    let mut values = values.map(|(_, values)| values).unwrap_or_default();
    values.sort_unstable();
    values.dedup();
    Some(Requirement { key: key?, operator: operator.value, values })
}

fn operator(cx: &mut Context<'_>, value: Value<'_>) -> Option<Spanned<Operator>> {
    let text = cx.text(value, "operator")?;
    let operator = match text.value {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => {
            let help = match OPERATORS.iter().find(|known| known.eq_ignore_ascii_case(other)) {
                Some(known) => format!("operators are case-sensitive: write `{known}`"),
                None => format!("operators are {}", hint::list(OPERATORS)),
            };
            cx.report(
                Diagnostic::new(
                    Code::SelectorOperator,
                    text.span,
                    format!("`{}` is not a label-selector operator", hint::short(other)),
                )
                .labelled("no such operator")
                .help(help),
            );
            return None;
        }
    };
    Some(Spanned::new(operator, text.span))
}

fn check_value(cx: &mut Context<'_>, value: Spanned<&str>) {
    if let Err(fault) = names::label_value(value.value) {
        cx.report(bad_label_value(value.value, value.span, fault));
    }
}

/// Splits the source off a key and checks the rest.
fn label_key(cx: &mut Context<'_>, key: &str, span: Span, keys: Keys) -> Option<LabelKey> {
    let (source, name) =
        match (keys, key.split_once(':')) {
            (Keys::Kubernetes, None) => (LabelSource::K8s, key),
            (Keys::Cilium | Keys::Groups, None) => (LabelSource::Any, key),
            (Keys::Cilium, Some((source, name))) => (self::source(cx, key, source, span)?, name),
            (Keys::Kubernetes | Keys::Groups, Some(_)) => {
                cx.report(bad_label_key(key, span, "may not name a source").help(
                    "sources such as `k8s:` belong to the selectors of Cilium's policies; leave it out",
                ));
                return None;
            }
        };
    match names::label_key(name) {
        Ok(()) => Some(LabelKey { source, name: name.to_owned() }),
        Err(fault) => {
            cx.report(bad_label_key(key, span, fault));
            None
        }
    }
}

fn source(cx: &mut Context<'_>, key: &str, source: &str, span: Span) -> Option<LabelSource> {
    let help = match source {
        "any" => return Some(LabelSource::Any),
        "k8s" => return Some(LabelSource::K8s),
        "reserved" => return Some(LabelSource::Reserved),
        "container" | "unspec" | "node" | "cni" | "gen" | "directory" => {
            return Some(LabelSource::Other(source.to_owned()));
        }
        "cidr" | "cidrgroup" => "addresses are not selected by labels: use `fromCIDRSet` or `toCIDRSet`",
        "fqdn" => "DNS names are not selected by labels: use `toFQDNs`",
        _ => {
            "sources are `k8s`, `any`, `reserved`, `node`, `container`, `cni`, `gen`, `directory` and `unspec`"
        }
    };
    cx.report(
        Diagnostic::new(
            Code::LabelKey,
            span,
            format!(
                "the label key `{}` has the source `{}`, which no selector may name",
                hint::short(key),
                hint::short(source)
            ),
        )
        .labelled("not a source for selectors")
        .help(help),
    );
    None
}
