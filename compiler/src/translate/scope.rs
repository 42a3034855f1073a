//! How far a selector reaches: the requirements that its policy's scope adds
//! (`cnp-semantics`: Cilium's rewriting at parse).

use crate::labels::{CLUSTER, CLUSTER_NAME, NAMESPACE_LABELS, POD_NAMESPACE, k8s_key};
use weir_grammar::span::{Span, Spanned};
use weir_grammar::tree::{LabelKey, LabelSource, Operator, Requirement, Selector};

/// A requirement that nobody wrote; its place is that of the selector.
pub(super) fn added(key: LabelKey, operator: Operator, values: Vec<String>, span: Span) -> Requirement {
    Requirement { key: Spanned::new(key, span), operator, values }
}

/// In this namespace.
pub(super) fn in_namespace(namespace: &str, span: Span) -> Requirement {
    added(k8s_key(POD_NAMESPACE), Operator::In, vec![namespace.to_owned()], span)
}

/// In any namespace, so: a pod.
pub(super) fn in_any_namespace(span: Span) -> Requirement {
    added(k8s_key(POD_NAMESPACE), Operator::Exists, Vec::new(), span)
}

fn names(key: &LabelKey, name: &str) -> bool {
    matches!(key.source, LabelSource::Any | LabelSource::K8s) && key.name == name
}

/// The subject of a namespaced policy: its namespace is forced, whatever was written.
pub(super) fn own_subject(selector: Selector, namespace: &str) -> Vec<Requirement> {
    let mut requirements = selector.requirements;
    requirements.retain(|requirement| !names(&requirement.key.value, POD_NAMESPACE));
    requirements.push(in_namespace(namespace, selector.span));
    requirements
}

/// A peer selector of a Cilium policy; `namespace` is `None` for a clusterwide one.
pub(super) fn cilium_peer(selector: Selector, namespace: Option<&str>) -> Vec<Requirement> {
    let Selector { mut requirements, span } = selector;
    let mut keys = requirements.iter().map(|requirement| &requirement.key.value);
    if keys.clone().any(|key| key.source == LabelSource::Reserved) {
        return requirements;
    }
    let has_namespace = keys.clone().any(|key| names(key, POD_NAMESPACE));
    let has_cluster = keys.clone().any(|key| names(key, CLUSTER));
    match namespace {
        Some(namespace) => {
            if !has_namespace && !keys.any(|key| key.name.starts_with(NAMESPACE_LABELS)) {
                requirements.push(in_namespace(namespace, span));
            }
        }
        None => {
            if !has_namespace {
                requirements.push(in_any_namespace(span));
            }
        }
    }
    if !has_cluster {
        // Only endpoints carry the cluster's name, so what is outside is never selected by a label
        // that it lacks (`NotIn`, `DoesNotExist`).
        requirements.push(added(k8s_key(CLUSTER), Operator::In, vec![CLUSTER_NAME.to_owned()], span));
    }
    requirements
}

/// A selector over namespaces, as one over the pods in them.
pub(super) fn of_namespaces(selector: Selector) -> Vec<Requirement> {
    let mut requirements = selector.requirements;
    for requirement in &mut requirements {
        let name = std::mem::take(&mut requirement.key.value.name);
        requirement.key.value = k8s_key(format!("{NAMESPACE_LABELS}{name}"));
    }
    requirements.push(in_any_namespace(selector.span));
    requirements
}
