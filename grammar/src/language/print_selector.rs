//! Selectors to the language.

use super::escape::word_or_string;
use super::format;
use super::selector::{NAMESPACE_NAME, POD_NAMESPACE};
use crate::tree::{Operator, Requirement, Selector};

/// Whether keys name their source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Cilium,
    Kubernetes,
}

/// `KIND requirements`, `all KIND` without any; pods need no word.
pub(super) fn selected(kind: &str, selector: &Selector, keys: Keys) -> String {
    of(kind, &selector.requirements, keys)
}

/// Pods of a Cilium policy, with a last label of their namespace as `in`.
pub(super) fn pods(selector: &Selector, keys: Keys) -> String {
    match selector.requirements.split_last() {
        Some((last, others)) if keys == Keys::Cilium && key(last, keys) == POD_NAMESPACE => {
            match single(last) {
                Some(namespace) => format!("{} in {}", of("pods", others, keys), word_or_string(namespace)),
                None => selected("pods", selector, keys),
            }
        }
        _ => selected("pods", selector, keys),
    }
}

/// The name of the only namespace that a NetworkPolicy's selector of namespaces selects.
pub(super) fn namespace_name(selector: &Selector) -> Option<&str> {
    match selector.requirements.as_slice() {
        [only] if only.key.value.name == NAMESPACE_NAME => single(only),
        _ => None,
    }
}

fn of(kind: &str, requirements: &[Requirement], keys: Keys) -> String {
    if requirements.is_empty() {
        return format!("all {kind}");
    }
    let written: Vec<String> = requirements.iter().map(|requirement| condition(requirement, keys)).collect();
    let written = written.join(", ");
    if kind == "pods" { written } else { format!("{kind} {written}") }
}

fn condition(requirement: &Requirement, keys: Keys) -> String {
    let key = format::key(&key(requirement, keys));
    let values: Vec<String> = requirement.values.iter().map(|value| word_or_string(value)).collect();
    match (requirement.operator, values.as_slice()) {
        (Operator::In, [value]) => format!("{key}={value}"),
        (Operator::In, values) => format!("{key} in ({})", values.join(", ")),
        (Operator::NotIn, [value]) => format!("{key}!={value}"),
        (Operator::NotIn, values) => format!("{key} not in ({})", values.join(", ")),
        (Operator::Exists, _) => format!("has {key}"),
        (Operator::DoesNotExist, _) => format!("!{key}"),
    }
}

fn key(requirement: &Requirement, keys: Keys) -> String {
    match keys {
        Keys::Cilium => requirement.key.value.with_source(),
        Keys::Kubernetes => requirement.key.value.name.clone(),
    }
}

fn single(requirement: &Requirement) -> Option<&str> {
    match (requirement.operator, requirement.values.as_slice()) {
        (Operator::In, [value]) => Some(value),
        _ => None,
    }
}
