//! `metadata`: the name, the namespace and the labels of an object.
//!
//! All other fields of ObjectMeta are known and mean nothing to policy. Policies are strict about
//! unknown ones; objects of the cluster, which are read as kubectl prints them, are not.

use super::context::Context;
use super::decode::Shape;
use super::{hint, names};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::Meta;
use crate::yaml::{Resolved, Value};

/// What a kind asks of its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whether objects of the kind live in a namespace.
    pub(crate) namespaced: bool,
    /// Whether unknown fields are errors.
    pub(crate) strict: bool,
}

const METADATA: Shape = Shape {
    what: "`metadata`",
    fields: &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "generateName",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ],
    elsewhere: &[],
};

/// The name of the object for findings, from metadata that need not be valid.
pub(crate) fn title(kind: &str, object: Value<'_>) -> String {
    let metadata = object.get("metadata");
    let part = |field| metadata.and_then(|metadata| metadata.get(field)).and_then(Value::raw).unwrap_or("");
    match (part("namespace"), part("name")) {
        (_, "") => kind.to_owned(),
        ("", name) => format!("{kind} {}", hint::short(name)),
        (namespace, name) => format!("{kind} {}/{}", hint::short(namespace), hint::short(name)),
    }
}

/// Reads the metadata of an object.
pub(crate) fn metadata(cx: &mut Context<'_>, object: Value<'_>, rules: Rules) -> Option<Meta> {
    let Some(metadata) = object.get("metadata") else {
        cx.missing(object.head(), "an object", "metadata", "name the object with `metadata: {name: …}`");
        return None;
    };
    let (mut name, mut namespace, mut labels) = (None, None, Vec::new());
    let mut read = |cx: &mut Context<'_>, field: &str, value: Value<'_>| match field {
        "name" => name = Some(cx.string(value, "name")),
        "namespace" => namespace = cx.string(value, "namespace"),
        "labels" => labels = self::labels(cx, value),
        "annotations" if rules.strict => annotations(cx, value),
        _ => {}
    };
    let is_object = if rules.strict {
        cx.fields(metadata, &METADATA, |cx, field, value, _| read(cx, field, value))
    } else if metadata.pairs().is_some() {
        for field in ["name", "namespace", "labels"] {
            if let Some(value) = metadata.get(field) {
                read(cx, field, value);
            }
        }
        true
    } else {
        cx.wrong_type(metadata, "`metadata`", "an object");
        false
    };
    if !is_object {
        return None;
    }
    if name.is_none() {
        cx.missing(
            metadata.head(),
            "`metadata`",
            "name",
            "every object needs a name; generated names have no place in files",
        );
    }
    let name = name??;
    if let Err(fault) = names::subdomain(&name.value) {
        cx.report(bad_name("name", &name, fault));
    }
    let namespace = scope(cx, namespace, rules);
    Some(Meta { namespace, name: name.value, labels, span: name.span })
}

fn scope(cx: &mut Context<'_>, namespace: Option<Spanned<String>>, rules: Rules) -> Option<String> {
    match (namespace, rules) {
        (Some(namespace), Rules { namespaced: true, .. }) => {
            // An empty namespace is none, as everywhere in Kubernetes.
            if namespace.value.is_empty() {
                return Some("default".to_owned());
            }
            if let Err(fault) = names::dns_label(&namespace.value) {
                cx.report(bad_name("namespace", &namespace, fault));
            }
            Some(namespace.value)
        }
        (None, Rules { namespaced: true, .. }) => Some("default".to_owned()),
        (Some(namespace), Rules { strict: true, .. }) if !namespace.value.is_empty() => {
            let shown = hint::short(&namespace.value);
            cx.report(
                Diagnostic::new(
                    Code::NamespaceScope,
                    namespace.span,
                    format!("a cluster-wide object is in no namespace, but this one names `{shown}`"),
                )
                .labelled("would be ignored")
                .help("remove it; to bind one namespace alone, write a namespaced kind"),
            );
            None
        }
        _ => None,
    }
}

/// The labels of an object, sorted by key.
fn labels(cx: &mut Context<'_>, value: Value<'_>) -> Vec<(String, String)> {
    let Some(pairs) = value.pairs() else {
        cx.wrong_type(value, "`labels`", "an object");
        return Vec::new();
    };
    let mut labels = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Some(name) = key_text(cx, key) else { continue };
        if let Err(fault) = names::label_key(name) {
            cx.report(bad_label_key(name, key.span(), fault));
        }
        // `key:` without a value is a label with an empty one.
        let text = if value.is_null() { Some("") } else { cx.text(value, name).map(|text| text.value) };
        let Some(text) = text else { continue };
        if let Err(fault) = names::label_value(text) {
            cx.report(bad_label_value(text, value.span(), fault));
        }
        labels.push((name.to_owned(), text.to_owned()));
    }
    labels.sort_unstable();
    labels
}

fn annotations(cx: &mut Context<'_>, value: Value<'_>) {
    let Some(pairs) = value.pairs() else {
        cx.wrong_type(value, "`annotations`", "an object");
        return;
    };
    for (key, value) in pairs {
        if !value.is_null() {
            cx.text(value, key.raw().unwrap_or("annotation"));
        }
    }
}

/// The text of a key in a mapping whose keys are data. The API server's YAML library turns an
/// unquoted `on` into `true` there; whoever writes one means neither.
pub(crate) fn key_text<'d>(cx: &mut Context<'_>, key: Value<'d>) -> Option<&'d str> {
    match key.scalar()? {
        Resolved::Text(text) => Some(text),
        Resolved::Int(number) if key.raw() == Some(&number.to_string()) => key.raw(),
        _ => {
            let raw = hint::short(key.raw().unwrap_or("")).into_owned();
            cx.report(
                Diagnostic::new(
                    Code::KeyNotText,
                    key.span(),
                    format!("the key `{raw}` is not text unless quoted"),
                )
                .labelled("read as a number, a truth value or null")
                .help(format!("quote it: \"{raw}\"")),
            );
            None
        }
    }
}

/// The finding for a name that is none.
pub(crate) fn bad_name(field: &str, name: &Spanned<String>, fault: &str) -> Diagnostic {
    let shown = hint::short(&name.value);
    Diagnostic::new(Code::ObjectName, name.span, format!("the {field} `{shown}` is not valid: it {fault}"))
        .labelled("not a DNS-1123 name")
        .help("use lower-case letters, digits, `-` and `.`")
}

/// The finding for a label key that is none.
pub(crate) fn bad_label_key(key: &str, span: Span, fault: &str) -> Diagnostic {
    Diagnostic::new(
        Code::LabelKey,
        span,
        format!("the label key `{}` is not valid: it {fault}", hint::short(key)),
    )
    .labelled("not a label key")
    .help("a key is `name` or `prefix.example/name`; the name has at most 63 letters, digits, `-`, `_`, `.`")
}

/// The finding for a label value that is none.
pub(crate) fn bad_label_value(value: &str, span: Span, fault: &str) -> Diagnostic {
    Diagnostic::new(Code::LabelValue, span, format!("the label value `{}` is not valid: it {fault}", hint::short(value)))
        .labelled("not a label value")
        .help("a value is empty or has at most 63 letters, digits, `-`, `_`, `.`, beginning and ending with a letter or digit")
}
