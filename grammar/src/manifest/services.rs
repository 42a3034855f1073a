//! `toServices`: services by name or by their labels.

use super::context::Context;
use super::decode::Shape;
use super::selector::{Keys, selector};
use super::{hint, names};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::ServicePeer;
use crate::yaml::Value;

const SERVICE: Shape =
    Shape { what: "an item of `toServices`", fields: &["k8sService", "k8sServiceSelector"], elsewhere: &[] };

const BY_NAME: Shape = Shape {
    what: "`k8sService`",
    fields: &["serviceName", "namespace"],
    elsewhere: &[("name", "did you mean `serviceName`?")],
};

const BY_LABELS: Shape = Shape {
    what: "`k8sServiceSelector`",
    fields: &["selector", "namespace"],
    elsewhere: &[("matchLabels", "put it into `selector`"), ("matchExpressions", "put it into `selector`")],
};

/// Reads `toServices`.
pub(crate) fn services(cx: &mut Context<'_>, value: Value<'_>) -> Option<Vec<ServicePeer>> {
    cx.list_of(value, "toServices", service)
}

fn service(cx: &mut Context<'_>, value: Value<'_>) -> Option<ServicePeer> {
    let mut peers: Vec<(Span, Option<ServicePeer>)> = Vec::new();
    let is_object = cx.fields(value, &SERVICE, |cx, field, value, key| {
        let peer = if field == "k8sService" { by_name(cx, value) } else { by_labels(cx, value) };
        peers.push((key, peer));
    });
    if !is_object {
        return None;
    }
    if let [(first, _), (second, _)] = peers[..] {
        cx.report(
            Diagnostic::new(
                Code::ServiceReference,
                second,
                "`k8sService` and `k8sServiceSelector` exclude each other",
            )
            .labelled("a second reference")
            .also(first, "the first one")
            .help("write two items"),
        );
        return None;
    }
    if peers.is_empty() {
        bad(cx, value.head(), "the item names no service", "add `k8sService` or `k8sServiceSelector`");
    }
    peers.pop()?.1
}

fn by_name(cx: &mut Context<'_>, value: Value<'_>) -> Option<ServicePeer> {
    let (mut name, mut namespace) = (None, None);
    let is_object = cx.fields(value, &BY_NAME, |cx, field, value, _| match field {
        "serviceName" => name = Some(cx.string(value, field)),
        _ => namespace = cx.string(value, field),
    });
    if !is_object {
        return None;
    }
    let Some(name) = name else {
        bad(cx, value.head(), "`k8sService` names no service", "add `serviceName`");
        return None;
    };
    let name = name?;
    if let Err(fault) = names::dns_label(&name.value) {
        bad(
            cx,
            name.span,
            &format!("`{}` is not the name of a service: it {fault}", hint::short(&name.value)),
            "names have lower-case letters, digits and `-`",
        );
        return None;
    }
    let namespace = checked_namespace(cx, namespace)?;
    Some(ServicePeer::Name { span: value.span(), name: name.value, namespace })
}

fn by_labels(cx: &mut Context<'_>, value: Value<'_>) -> Option<ServicePeer> {
    let (mut labels, mut namespace) = (None, None);
    let is_object = cx.fields(value, &BY_LABELS, |cx, field, value, _| match field {
        "selector" => labels = Some(selector(cx, value, Keys::Cilium)),
        _ => namespace = cx.string(value, field),
    });
    if !is_object {
        return None;
    }
    if labels.is_none() {
        bad(cx, value.head(), "`k8sServiceSelector` has no selector", "add `selector`");
    }
    let namespace = checked_namespace(cx, namespace)?;
    Some(ServicePeer::Selector { selector: labels??, namespace })
}

/// An absent or empty namespace is none; `None` if it is not a namespace.
fn checked_namespace(cx: &mut Context<'_>, namespace: Option<Spanned<String>>) -> Option<Option<String>> {
    let Some(namespace) = namespace.filter(|namespace| !namespace.value.is_empty()) else {
        return Some(None);
    };
    if let Err(fault) = names::dns_label(&namespace.value) {
        bad(
            cx,
            namespace.span,
            &format!("`{}` is not a namespace: it {fault}", hint::short(&namespace.value)),
            "names have lower-case letters, digits and `-`",
        );
        return None;
    }
    Some(Some(namespace.value))
}

fn bad(cx: &mut Context<'_>, at: Span, message: &str, help: &str) {
    cx.report(
        Diagnostic::new(Code::ServiceReference, at, message)
            .labelled("not a reference to a service")
            .help(help),
    );
}
