//! Objects to the language: what is written here reads to the same objects, places apart.
//!
//! Each form has one way to be printed, that of `docs/guide/language.md`. Comments and annotations are
//! in no object, so they are not printed.
//!
//! Not here: lines and indentation. What is said here in a statement a line is laid out as `policyc fmt`
//! lays out everybody's files (`format`).

use super::escape::{string, word_or_string};
use super::format::laid_out;
use super::print_selector::{Keys, pods, selected};
use super::{print_expect, print_rule};
use crate::tree::{CiliumPolicy, Meta, NetworkPolicy, Object, Rule, Scope, Spec, SpecPlace, Subject};
use std::fmt::Write as _;

/// Entries of a list in braces that may stand on one line; of longer lists each has its own.
const ON_ONE_LINE: usize = 6;

/// The item of a file that says what the object does; `None` for objects of the cluster.
pub(crate) fn item(object: &Object) -> Option<String> {
    let said = match object {
        Object::Cilium(policy) => cilium(policy),
        Object::Network(policy) => network(policy),
        Object::CidrGroup(group) => {
            let cidrs: Vec<String> = group.cidrs.iter().map(|cidr| cidr.net.to_string()).collect();
            format!("group {} {}\n", head(&group.meta), braced(&cidrs))
        }
        Object::Expectations(expectations) => print_expect::expectations(expectations),
        _ => return None,
    };
    Some(laid_out(&said))
}

/// Name, namespace and labels.
pub(super) fn head(meta: &Meta) -> String {
    let mut head = word_or_string(&meta.name);
    if let Some(namespace) = &meta.namespace {
        let _ = write!(head, " in {}", word_or_string(namespace));
    }
    for (place, (key, value)) in meta.labels.iter().enumerate() {
        let before = if place == 0 { " with " } else { ", " };
        let _ = write!(head, "{before}{}={}", word_or_string(key), word_or_string(value));
    }
    head
}

fn cilium(policy: &CiliumPolicy) -> String {
    let kind = match policy.scope {
        Scope::Namespaced => "policy",
        Scope::Clusterwide => "cluster policy",
    };
    let described = |spec: &Spec| {
        spec.description.as_ref().map(|description| format!(" {}", string(description))).unwrap_or_default()
    };
    let own = policy.specs.iter().find(|spec| spec.place == SpecPlace::Spec).map(described);
    let mut text = format!("{kind} {}{} {{\n", head(&policy.meta), own.unwrap_or_default());
    for spec in &policy.specs {
        match spec.place {
            SpecPlace::Spec => statements(&mut text, spec),
            SpecPlace::Specs(_) => {
                let _ = writeln!(text, "spec{} {{", described(spec));
                statements(&mut text, spec);
                text.push_str("}\n");
            }
        }
    }
    text.push_str("}\n");
    text
}

fn statements(text: &mut String, spec: &Spec) {
    let _ = match &spec.subject {
        Subject::Endpoints(selector) => writeln!(text, "for {}", pods(selector, Keys::Cilium)),
        Subject::Nodes(selector) => writeln!(text, "for {}", selected("nodes", selector, Keys::Cilium)),
    };
    for (words, ingress, section) in [
        ("allow ingress", true, &spec.ingress),
        ("deny ingress", true, &spec.ingress_deny),
        ("allow egress", false, &spec.egress),
        ("deny egress", false, &spec.egress_deny),
    ] {
        rules(text, words, ingress, section.as_deref());
    }
    for (direction, isolates) in
        [("ingress", spec.default_deny_ingress), ("egress", spec.default_deny_egress)]
    {
        if let Some(isolates) = isolates {
            let no = if isolates { "" } else { " no" };
            let _ = writeln!(text, "isolate {direction}{no}");
        }
    }
    if let Some(log) = &spec.log {
        let _ = writeln!(text, "log {}", string(&log.value));
    }
}

fn rules(text: &mut String, words: &str, ingress: bool, section: Option<&[Rule]>) {
    if section.is_some_and(<[Rule]>::is_empty) {
        let _ = writeln!(text, "{words} []");
    }
    for rule in section.unwrap_or_default() {
        let _ = writeln!(text, "{words}{}", print_rule::cilium(rule, ingress));
    }
}

fn network(policy: &NetworkPolicy) -> String {
    let mut text = format!("network policy {} {{\n", head(&policy.meta));
    let _ = writeln!(text, "for {}", selected("pods", &policy.pods, Keys::Kubernetes));
    for (words, ingress, rules) in
        [("allow ingress", true, &policy.ingress), ("allow egress", false, &policy.egress)]
    {
        for rule in rules {
            let _ = writeln!(text, "{words}{}", print_rule::network(rule, ingress));
        }
    }
    // What the types are when they are left out.
    if (policy.isolates_ingress, policy.isolates_egress) != (true, !policy.egress.is_empty()) {
        let types = [(policy.isolates_ingress, "ingress"), (policy.isolates_egress, "egress")];
        let types: Vec<&str> = types.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        let _ = writeln!(text, "types {}", types.join(", "));
    }
    text.push_str("}\n");
    text
}

/// Entries in braces: on one line if they fit and are few, a line for each otherwise.
pub(super) fn braced(entries: &[String]) -> String {
    if entries.is_empty() {
        return "{ }".to_owned();
    }
    let first = if entries.len() <= ON_ONE_LINE { " " } else { "\n" };
    format!("{{{first}{} }}", entries.join(", "))
}
