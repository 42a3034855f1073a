//! What selectors say of each other, whatever the cluster: that two requirements never hold together,
//! that one selector selects nobody whom another does not.
//!
//! A thing has one label of a key and source. Labels of entities have no value. Each answer is exact
//! or `no`, never a guess.

use crate::labels::{CLUSTER, CLUSTER_NAME, POD_NAMESPACE};
use weir_grammar::tree::{LabelSource, Operator, Requirement};

/// The source of the label that a requirement is about. Only Kubernetes' labels have values, so one
/// that asks for a value is about those.
fn source(requirement: &Requirement) -> &LabelSource {
    let asks_for_value =
        requirement.operator == Operator::In && requirement.values.iter().all(|value| !value.is_empty());
    match &requirement.key.value.source {
        LabelSource::Any if asks_for_value => &LabelSource::K8s,
        written => written,
    }
}

fn same_key(a: &Requirement, b: &Requirement) -> bool {
    a.key.value.name == b.key.value.name
}

/// Whether `wide` takes in all labels of `narrow`.
fn takes_in(wide: &LabelSource, narrow: &LabelSource) -> bool {
    *wide == LabelSource::Any || wide == narrow
}

/// Two requirements that never hold together, in the order written.
pub(super) fn contradiction(selector: &[Requirement]) -> Option<(&Requirement, &Requirement)> {
    for (place, asked) in selector.iter().enumerate() {
        let others = || selector.iter().enumerate().filter(|(_, other)| same_key(asked, other));
        let excludes = |other: &Requirement| match (asked.operator, other.operator) {
            (Operator::In | Operator::Exists, Operator::DoesNotExist) => {
                takes_in(&other.key.value.source, source(asked))
            }
            (Operator::In, _) => asked.values.iter().all(|value| !admits(other, asked, value)),
            _ => false,
        };
        if let Some((_, other)) = others().find(|&(at, other)| at != place && excludes(other)) {
            let at = |requirement: &Requirement| requirement.key.span;
            return Some(if at(other) < at(asked) { (other, asked) } else { (asked, other) });
        }
        // None of the others excludes all values, but together they may.
        let possible = |value: &String| others().all(|(_, other)| admits(other, asked, value));
        if asked.operator == Operator::In
            && !asked.values.iter().any(possible)
            && let Some((_, other)) =
                others().find(|(_, other)| asked.values.iter().any(|value| !admits(other, asked, value)))
        {
            return Some((asked, other));
        }
    }
    None
}

/// Whether `other` may hold where the label that `asked` is about has this value.
fn admits(other: &Requirement, asked: &Requirement, value: &String) -> bool {
    match other.operator {
        // Only if both are surely about one label.
        Operator::In if source(other) == source(asked) && *source(asked) != LabelSource::Any => {
            other.values.contains(value)
        }
        Operator::NotIn if takes_in(&other.key.value.source, source(asked)) => !other.values.contains(value),
        _ => true,
    }
}

/// A requirement that no label of a cluster fulfils, because of its source.
pub(super) fn foreign_source(selector: &[Requirement]) -> Option<&Requirement> {
    selector.iter().find(|requirement| {
        matches!(requirement.operator, Operator::In | Operator::Exists)
            && matches!(requirement.key.value.source, LabelSource::Other(_))
    })
}

/// Whether all that `narrow` selects, `wide` does too.
pub(super) fn implies(narrow: &[Requirement], wide: &[Requirement]) -> bool {
    wide.iter().all(|wide| narrow.iter().any(|narrow| entails(narrow, wide)))
}

fn entails(narrow: &Requirement, wide: &Requirement) -> bool {
    use Operator::{DoesNotExist, Exists, In, NotIn};
    let (from, to) = (&narrow.key.value.source, &wide.key.value.source);
    if !same_key(narrow, wide) {
        // Whoever is in a namespace is a pod, and in the one cluster.
        let in_namespace = narrow.key.value.name == POD_NAMESPACE && matches!(narrow.operator, In | Exists);
        let in_cluster = match wide.operator {
            In => wide.values.iter().any(|value| value == CLUSTER_NAME),
            Exists => true,
            NotIn | DoesNotExist => false,
        };
        return in_namespace
            && *source(narrow) == LabelSource::K8s
            && in_cluster
            && wide.key.value.name == CLUSTER
            && takes_in(to, &LabelSource::K8s);
    }
    let within = || narrow.values.iter().all(|value| wide.values.contains(value));
    let apart = || narrow.values.iter().all(|value| !wide.values.contains(value));
    match (narrow.operator, wide.operator) {
        (In, In) => takes_in(to, source(narrow)) && within(),
        (In | Exists, Exists) => takes_in(to, source(narrow)),
        // The label that `narrow` asks for is the only one that `wide` looks at.
        (In, NotIn) => {
            let only = *source(narrow) == *to
                || (*to == LabelSource::Any && wide.values.iter().all(|value| !value.is_empty()));
            *source(narrow) == LabelSource::K8s && only && apart()
        }
        (NotIn, NotIn) => takes_in(from, to) && wide.values.iter().all(|value| narrow.values.contains(value)),
        (DoesNotExist, NotIn | DoesNotExist) => takes_in(from, to),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_grammar::span::{FileId, Span, Spanned};
    use weir_grammar::tree::LabelKey;

    /// `app=a,b`, `app!=a`, `app`, `!app`, each after an optional `k8s:`; joined by `&`.
    fn selector(text: &str) -> Vec<Requirement> {
        let requirement = |text: &str| {
            let values = |text: &str| text.split(',').map(str::to_owned).collect();
            let (key, operator, values) = match (text.split_once("!="), text.split_once('=')) {
                (Some((key, list)), _) => (key, Operator::NotIn, values(list)),
                (None, Some((key, list))) => (key, Operator::In, values(list)),
                (None, None) if text.starts_with('!') => (&text[1..], Operator::DoesNotExist, Vec::new()),
                (None, None) => (text, Operator::Exists, Vec::new()),
            };
            let (source, name) =
                key.strip_prefix("k8s:").map_or((LabelSource::Any, key), |name| (LabelSource::K8s, name));
            let key = LabelKey { source, name: name.to_owned() };
            Requirement { key: Spanned::new(key, Span::point(FileId(0), 0)), operator, values }
        };
        text.split('&').filter(|text| !text.is_empty()).map(requirement).collect()
    }

    #[test]
    fn contradictions() {
        for (text, expected) in [
            ("app=a&app!=a", true),
            ("app=a,b&app!=a", false),
            ("app=a,b&app!=a&app!=b", true),
            ("app=a&app=b", true),
            ("app=a,b&app=b,c", false),
            ("app=a,b&app=b,c&app!=b", true),
            ("app&!app", true),
            ("app=a&!app", true),
            ("k8s:app&!app", true),
            ("app&!k8s:app", false),
            ("app=a&k8s:app=b", true),
            ("app!=a&!app", false),
            ("app=&app=b", false),
            ("app=a&tier=b", false),
        ] {
            assert_eq!(contradiction(&selector(text)).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn implications() {
        for (narrow, wide, expected) in [
            ("app=a", "", true),
            ("", "app", false),
            ("app=a", "app", true),
            ("app=a", "app=a,b", true),
            ("app=a,b", "app=a", false),
            ("app=a", "app!=b", true),
            ("app=a", "app!=a", false),
            ("app!=a,b", "app!=a", true),
            ("app!=a", "app!=a,b", false),
            ("!app", "app!=a", true),
            ("app", "app!=a", false),
            ("k8s:app", "app", true),
            ("app", "k8s:app", false),
            ("app=a", "k8s:app=a", true),
            ("!k8s:app", "!app", false),
            ("app=a&tier=b", "tier", true),
            ("k8s:io.kubernetes.pod.namespace=x", "k8s:io.cilium.k8s.policy.cluster=default", true),
            ("k8s:io.kubernetes.pod.namespace=x", "k8s:io.cilium.k8s.policy.cluster=other", false),
        ] {
            assert_eq!(implies(&selector(narrow), &selector(wide)), expected, "{narrow} -> {wide}");
        }
    }
}
