//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.

use super::context::Context;
use super::decode::Shape;
use super::metadata::{self, metadata};
use super::section::Section;
use super::selector::{Keys, selector};
use super::{hint, rule};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{CiliumPolicy, LabelSource, Operator, Rule, Scope, Selector, Spec, SpecPlace, Subject};
use crate::yaml::{Resolved, Value};

const POLICY: Shape = Shape {
    what: "a Cilium policy",
    fields: &["apiVersion", "kind", "metadata", "spec", "specs", "status"],
    elsewhere: &[],
};

const SPEC: Shape = Shape {
    what: "the `spec` of a Cilium policy",
    fields: &[
        "endpointSelector",
        "nodeSelector",
        "ingress",
        "ingressDeny",
        "egress",
        "egressDeny",
        "labels",
        "description",
        "enableDefaultDeny",
        "log",
    ],
    elsewhere: &[
        ("podSelector", "Cilium's policies have `endpointSelector`"),
        (
            "policyTypes",
            "Cilium's policies isolate a direction by having a rule for it, or by `enableDefaultDeny`",
        ),
        ("order", "Cilium's policies have no order: a deny wins over every allow"),
    ],
};

const DEFAULT_DENY: Shape =
    Shape { what: "`enableDefaultDeny`", fields: &["ingress", "egress"], elsewhere: &[] };
const LOG: Shape = Shape { what: "`log`", fields: &["value"], elsewhere: &[] };
const LABEL: Shape = Shape { what: "a label of a rule", fields: &["key", "value", "source"], elsewhere: &[] };

/// The label that ties a pod to its namespace.
const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";

/// Reads one policy object.
pub(crate) fn policy(cx: &mut Context<'_>, object: Value<'_>, scope: Scope) -> Option<CiliumPolicy> {
    let rules = metadata::Rules { namespaced: scope == Scope::Namespaced, strict: true };
    let meta = metadata(cx, object, rules);
    let namespace = meta.as_ref().and_then(|meta| meta.namespace.clone());
    let namespace = namespace.as_deref();
    let (mut spec, mut specs, mut given) = (None, Vec::new(), false);
    cx.fields(object, &POLICY, |cx, field, value, _| match field {
        "spec" => {
            given = true;
            spec = self::spec(cx, value, SpecPlace::Spec, scope, namespace);
        }
        "specs" => {
            let mut index = 0;
            cx.items(value, field, |cx, item| {
                specs.extend(self::spec(cx, item, SpecPlace::Specs(index), scope, namespace));
                index += 1;
            });
            given |= index > 0 || value.items().is_none();
        }
        "status" => cx.is_object(value, field),
        _ => {}
    });
    if !given {
        cx.report(
            Diagnostic::new(Code::EmptyRule, object.head(), "the policy has neither `spec` nor `specs`")
                .labelled("a policy without rules")
                .help("add `spec` with an `endpointSelector` and at least one rule"),
        );
    }
    Some(CiliumPolicy { scope, meta: meta?, specs: spec.into_iter().chain(specs).collect() })
}

fn spec(
    cx: &mut Context<'_>,
    value: Value<'_>,
    place: SpecPlace,
    scope: Scope,
    namespace: Option<&str>,
) -> Option<Spec> {
    let nodes = value.get("nodeSelector").is_some();
    let said = value.get("enableDefaultDeny");
    let isolates = |direction| {
        let said = said.and_then(|said| said.get(direction)).and_then(Value::scalar);
        matches!(said, Some(Resolved::Bool(true)))
    };
    let (isolates_ingress, isolates_egress) = (isolates("ingress"), isolates("egress"));
    let section = |ingress, deny| {
        let isolates = if ingress { isolates_ingress } else { isolates_egress };
        Section { ingress, deny, nodes, isolates }
    };
    let (mut endpoints_at, mut nodes_at): (Option<Span>, Option<Span>) = (None, None);
    let (mut endpoints, mut node_selector) = (None, None);
    let [mut ingress, mut ingress_deny, mut egress, mut egress_deny]: [Option<Vec<Rule>>; 4] =
        [None, None, None, None];
    let (mut default_deny, mut log) = ((None, None), None);
    let (mut any_rule, mut description) = (false, None);
    let is_object = cx.fields(value, &SPEC, |cx, field, value, key| {
        if matches!(field, "ingress" | "ingressDeny" | "egress" | "egressDeny") {
            any_rule |= value.items().is_none_or(|items| items.len() > 0);
        }
        match field {
            "endpointSelector" => {
                endpoints_at = Some(key);
                endpoints = selector(cx, value, Keys::Cilium);
            }
            "nodeSelector" => {
                nodes_at = Some(key);
                node_selector = selector(cx, value, Keys::Cilium);
            }
            "ingress" => ingress = rule::rules(cx, value, section(true, false)),
            "ingressDeny" => ingress_deny = rule::rules(cx, value, section(true, true)),
            "egress" => egress = rule::rules(cx, value, section(false, false)),
            "egressDeny" => egress_deny = rule::rules(cx, value, section(false, true)),
            "enableDefaultDeny" => {
                cx.fields(value, &DEFAULT_DENY, |cx, field, value, _| match field {
                    "ingress" => default_deny.0 = cx.boolean(value, field).map(|yes| (yes, value.span())),
                    _ => default_deny.1 = cx.boolean(value, field).map(|yes| (yes, value.span())),
                });
            }
            "log" => log = self::log(cx, value),
            "labels" => {
                cx.items(value, field, rule_label);
            }
            _ => description = cx.string(value, field).map(|text| text.value),
        }
    });
    if !is_object {
        return None;
    }
    let misspelt = SPEC.is_misspelt(value);
    if endpoints_at.is_some() || nodes_at.is_some() || !misspelt {
        choice(cx, value, endpoints_at, nodes_at, scope);
    }
    if !any_rule && !misspelt {
        cx.report(
            Diagnostic::new(Code::EmptyRule, value.head(), "the policy has no rules at all")
                .labelled("no rule in any section")
                .help("add at least one of `ingress`, `ingressDeny`, `egress` and `egressDeny`; to isolate write `ingress: [{}]`"),
        );
    }
    let default_deny_ingress = isolation(cx, default_deny.0, "ingress", [&ingress, &ingress_deny]);
    let default_deny_egress = isolation(cx, default_deny.1, "egress", [&egress, &egress_deny]);
    if let (Some(namespace), Some(selector)) = (namespace, &endpoints) {
        overridden(cx, selector, namespace);
    }
    let subject = match (endpoints_at, endpoints, node_selector) {
        (Some(_), Some(selector), _) => Subject::Endpoints(selector),
        (_, _, selector) => Subject::Nodes(selector?),
    };
    Some(Spec {
        place,
        span: value.span(),
        description,
        subject,
        ingress,
        ingress_deny,
        egress,
        egress_deny,
        default_deny_ingress,
        default_deny_egress,
        log,
    })
}

/// What is said of isolation in a direction. Rules carry it, so where there is none to carry it nothing is said.
fn isolation(
    cx: &mut Context<'_>,
    said: Option<(bool, Span)>,
    direction: &str,
    sections: [&Option<Vec<Rule>>; 2],
) -> Option<bool> {
    let (isolates, at) = said?;
    if isolates && sections.into_iter().flatten().all(Vec::is_empty) {
        cx.report(
            Diagnostic::new(
                Code::IsolatesNothing,
                at,
                format!("without a rule for {direction} this isolates nothing"),
            )
            .labelled("has no effect")
            .help(format!(
                "add a rule that matches nothing, `{direction}: [{{}}]`; it carries the isolation"
            )),
        );
        return None;
    }
    Some(isolates)
}

/// Exactly one selector, and nodes for cluster-wide policies alone.
fn choice(cx: &mut Context<'_>, spec: Value<'_>, endpoints: Option<Span>, nodes: Option<Span>, scope: Scope) {
    let finding = match (endpoints, nodes) {
        (None, None) => Diagnostic::new(
            Code::SelectorChoice,
            spec.head(),
            "the policy has no `endpointSelector`",
        )
        .labelled("selects nothing")
        .help(match scope {
            Scope::Namespaced => "add `endpointSelector: {}` to select every pod of the namespace",
            Scope::Clusterwide => {
                "add `endpointSelector: {}` to select every pod, or `nodeSelector: {}` to select every node"
            }
        }),
        (Some(first), Some(second)) => {
            let (first, second) = if first.start < second.start { (first, second) } else { (second, first) };
            Diagnostic::new(
                Code::SelectorChoice,
                second,
                "`endpointSelector` and `nodeSelector` exclude each other",
            )
            .labelled("a second selector")
            .also(first, "the first one")
            .help("write two policies, or two items of `specs`")
        }
        (None, Some(at)) if scope == Scope::Namespaced => {
            Diagnostic::new(Code::SelectorChoice, at, "a CiliumNetworkPolicy cannot select nodes")
                .labelled("nodes are in no namespace")
                .help("write a CiliumClusterwideNetworkPolicy")
        }
        _ => return,
    };
    cx.report(finding);
}

/// A CNP selects pods of its own namespace, whatever its selector says of namespaces.
fn overridden(cx: &mut Context<'_>, selector: &Selector, namespace: &str) {
    for requirement in &selector.requirements {
        let key = &requirement.key.value;
        let names_namespace =
            key.name == NAMESPACE_LABEL && matches!(key.source, LabelSource::Any | LabelSource::K8s);
        let holds = match requirement.operator {
            Operator::In => requirement.values.iter().any(|value| value == namespace),
            Operator::NotIn => requirement.values.iter().all(|value| value != namespace),
            Operator::Exists => true,
            Operator::DoesNotExist => false,
        };
        if names_namespace && !holds {
            cx.report(
                Diagnostic::new(
                    Code::NamespaceOverridden,
                    requirement.key.span,
                    format!("a policy in namespace `{namespace}` selects pods of that namespace alone"),
                )
                .labelled("names another namespace")
                .help("remove the label, or move the policy to that namespace"),
            );
        }
    }
}

fn log(cx: &mut Context<'_>, value: Value<'_>) -> Option<Spanned<String>> {
    let mut log = None;
    cx.fields(value, &LOG, |cx, field, value, _| log = cx.string(value, field));
    let log = log?;
    let fault = if log.value.chars().count() > 32 {
        "has more than 32 characters"
    } else if log.value.chars().any(char::is_control) {
        "holds a character that cannot be printed"
    } else {
        return Some(log);
    };
    cx.report(
        Diagnostic::new(
            Code::LogValue,
            log.span,
            format!("the log value `{}` {fault}", hint::short(&log.value)),
        )
        .labelled("not a log value")
        .help("at most 32 printable characters"),
    );
    None
}

/// Labels of a rule only identify it; they are checked and dropped.
fn rule_label(cx: &mut Context<'_>, value: Value<'_>) {
    if value.pairs().is_none() {
        cx.text(value, "labels");
        return;
    }
    let mut key = false;
    cx.fields(value, &LABEL, |cx, field, value, _| {
        key |= field == "key";
        cx.text(value, field);
    });
    if !key {
        cx.missing(value.head(), "a label", "key", "write `- key: name`");
    }
}
