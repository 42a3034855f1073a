//! Annotations of services and slices that change how they are balanced.
//!
//! Whoever annotates an object is not told by the API server what is wrong, so what has no effect is a warning here.
//! Not here: those of health checks (`health_check`), and annotations of other projects, which are passed over.

use super::super::context::Context;
use super::super::hint;
use crate::diagnostic::{Code, Diagnostic};
use crate::tree::{Algorithm, Forwarding, Frontends, ServiceAnnotations};
use crate::yaml::Value;

/// What the names of all begin with.
const PREFIX: &str = "service.cilium.io/";
/// Those of a service and of a slice.
const OF_SERVICES: &[&str] = &["forwarding-mode", "lb-algorithm", "src-ranges-policy", "type"];
const OF_SLICES: &[&str] = &["weight"];
/// Those that would change where packets go, and do not.
const NOT_YET: &[&str] = &["node", "node-selector", "proxy-delegation"];

/// Reads a service's.
pub(super) fn of_service(cx: &mut Context<'_>, service: Value<'_>) -> ServiceAnnotations {
    let mut read = ServiceAnnotations {
        forwarding: None,
        algorithm: None,
        source_ranges_deny: false,
        frontends: Frontends::ALL,
    };
    each(cx, service, |cx, name, value| {
        let Some(text) = value.raw() else { return };
        let known = match name {
            "forwarding-mode" => {
                read.forwarding = match text {
                    "dsr" => Some(Forwarding::Dsr),
                    "snat" => Some(Forwarding::Snat),
                    _ => None,
                };
                read.forwarding.is_some()
            }
            "lb-algorithm" => {
                read.algorithm = match text {
                    "random" => Some(Algorithm::Random),
                    "maglev" => Some(Algorithm::Maglev),
                    _ => None,
                };
                read.algorithm.is_some()
            }
            "src-ranges-policy" => {
                read.source_ranges_deny = text == "deny";
                matches!(text, "allow" | "deny")
            }
            "type" => match frontends(text) {
                Some(frontends) => {
                    read.frontends = frontends;
                    true
                }
                None => false,
            },
            _ => return ignored(cx, name, value, OF_SERVICES),
        };
        if !known {
            no_value(cx, name, value);
        }
    });
    read
}

/// Reads a slice's weight.
pub(super) fn weight(cx: &mut Context<'_>, slice: Value<'_>) -> u16 {
    let mut weight = 1;
    each(cx, slice, |cx, name, value| {
        if name == "weight" {
            match value.raw().and_then(|text| text.parse().ok()) {
                Some(given) => weight = given,
                None => no_value(cx, name, value),
            }
        } else {
            ignored(cx, name, value, OF_SLICES);
        }
    });
    weight
}

fn frontends(text: &str) -> Option<Frontends> {
    let mut found = Frontends { cluster_ip: false, node_port: false, load_balancer: false };
    for kind in text.split(',') {
        match kind.trim() {
            "ClusterIP" => found.cluster_ip = true,
            "NodePort" => found.node_port = true,
            "LoadBalancer" => found.load_balancer = true,
            _ => return None,
        }
    }
    Some(found)
}

/// Calls `read` for every annotation of ours, by its name without the prefix.
pub(super) fn each<'d>(
    cx: &mut Context<'_>,
    object: Value<'d>,
    mut read: impl FnMut(&mut Context<'_>, &'d str, Value<'d>),
) {
    let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
    for (key, value) in annotations.and_then(Value::pairs).into_iter().flatten() {
        if let Some(name) = key.raw().and_then(|key| key.strip_prefix(PREFIX)) {
            read(cx, name, value);
        }
    }
}

fn no_value(cx: &mut Context<'_>, name: &str, value: Value<'_>) {
    let help = match name {
        "forwarding-mode" => "the values are `snat` and `dsr`",
        "lb-algorithm" => "the values are `maglev` and `random`",
        "src-ranges-policy" => "the values are `allow` and `deny`",
        "weight" => "a weight goes from 0, for no new connections, to 65535",
        _ => "the values are `ClusterIP`, `NodePort` and `LoadBalancer`, with commas between them",
    };
    useless(cx, name, value, help);
}

/// Reports a value that there is not.
pub(super) fn useless(cx: &mut Context<'_>, name: &str, value: Value<'_>, help: &str) {
    let shown = hint::short(value.raw().unwrap_or_default());
    let message = format!("`{shown}` is no value of the annotation `{PREFIX}{name}`");
    idle(cx, value, message, Some(help.to_owned()));
}

/// One that is not of `ours`: told if it is meant to be, or would change something elsewhere.
fn ignored(cx: &mut Context<'_>, name: &str, value: Value<'_>, ours: &[&str]) {
    let meant = hint::nearest(name, ours);
    if meant.is_some() || NOT_YET.contains(&name) {
        unknown(cx, name, value, meant);
    }
}

/// Reports an annotation that there is not.
pub(super) fn unknown(cx: &mut Context<'_>, name: &str, value: Value<'_>, meant: Option<&str>) {
    let message = format!("Weir does not know the annotation `{PREFIX}{}`", hint::short(name));
    idle(cx, value, message, meant.map(|meant| format!("did you mean `{PREFIX}{meant}`?")));
}

/// Reports an annotation that changes nothing without another.
pub(super) fn alone(cx: &mut Context<'_>, name: &str, value: Value<'_>, without: &str) {
    let message = format!("the annotation `{PREFIX}{name}` changes nothing without `{PREFIX}{without}`");
    idle(cx, value, message, None);
}

/// Reports an annotation without effect.
pub(super) fn idle(cx: &mut Context<'_>, value: Value<'_>, message: String, help: Option<String>) {
    let mut finding =
        Diagnostic::new(Code::ServiceAnnotation, value.head(), message).labelled("has no effect");
    finding.help = help;
    cx.report(finding);
}
