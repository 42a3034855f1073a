//! Labels, sets of them, and what selects them.
//!
//! A label is `source:key=value`. Selectors that name no source match any; this is Cilium's rule and
//! covers Kubernetes' own, whose labels all have the source `k8s`.

use std::fmt;
use weir_grammar::tree::{LabelKey, LabelSource, Operator, Requirement};

/// The namespace of a pod.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Prefix of the labels of a pod's namespace.
pub const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
/// The service account of a pod.
pub const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
/// The cluster of a pod or node.
pub const CLUSTER: &str = "io.cilium.k8s.policy.cluster";
/// The one cluster there is.
pub const CLUSTER_NAME: &str = "default";

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Its key; first, so that a set sorts by key.
    pub key: String,
    /// `k8s` or `reserved`.
    pub source: Source,
    /// Its value; may be empty.
    pub value: String,
}

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Kubernetes objects.
    K8s,
    /// Entities.
    Reserved,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::K8s => "k8s",
            Source::Reserved => "reserved",
        };
        write!(f, "{source}:{}={}", self.key, self.value)
    }
}

/// A set of labels, sorted, one value per source and key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Sorts; of labels with one source and key the first given stays.
    pub fn new(mut labels: Vec<Label>) -> Self {
        labels.sort_by(|a, b| (&a.key, a.source).cmp(&(&b.key, b.source)));
        labels.dedup_by(|b, a| (&a.key, a.source) == (&b.key, b.source));
        Labels(labels)
    }

    /// The labels of entities, such as `["world", "world-ipv4"]`.
    pub fn reserved(names: &[&str]) -> Self {
        Labels::new(names.iter().map(|name| Label::reserved(name)).collect())
    }

    /// All labels, by key.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// The labels with a key, of any source.
    fn with_key(&self, key: &str) -> &[Label] {
        let start = self.0.partition_point(|label| label.key.as_str() < key);
        let len = self.0[start..].iter().take_while(|label| label.key == key).count();
        &self.0[start..start + len]
    }

    /// Whether one requirement holds. `NotIn` holds where the label is absent.
    pub fn satisfies(&self, requirement: &Requirement) -> bool {
        let key = &requirement.key.value;
        let mut values =
            self.with_key(&key.name).iter().filter(|label| key.source.admits(label.source)).map(|label| &label.value);
        match requirement.operator {
            Operator::In => values.any(|value| requirement.values.contains(value)),
            Operator::NotIn => !values.any(|value| requirement.values.contains(value)),
            Operator::Exists => values.next().is_some(),
            Operator::DoesNotExist => values.next().is_none(),
        }
    }

    /// Whether all requirements hold; no requirements select everything.
    pub fn satisfy(&self, selector: &[Requirement]) -> bool {
        selector.iter().all(|requirement| self.satisfies(requirement))
    }

    /// Canonical text: one label a line, sorted. Equal sets have equal text.
    pub fn canonical(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }
}

impl Label {
    /// A label of Kubernetes.
    pub fn k8s(key: impl Into<String>, value: impl Into<String>) -> Self {
        Label { key: key.into(), source: Source::K8s, value: value.into() }
    }

    /// A label of an entity.
    pub fn reserved(name: &str) -> Self {
        Label { key: name.to_owned(), source: Source::Reserved, value: String::new() }
    }
}

/// Whether a selector's source takes in a label's.
pub trait AdmitsSource {
    /// See the trait.
    fn admits(&self, source: Source) -> bool;
}

impl AdmitsSource for LabelSource {
    fn admits(&self, source: Source) -> bool {
        match self {
            LabelSource::Any => true,
            LabelSource::K8s => source == Source::K8s,
            LabelSource::Reserved => source == Source::Reserved,
            LabelSource::Other(_) => false,
        }
    }
}

/// A key of Kubernetes' source.
pub fn k8s_key(name: impl Into<String>) -> LabelKey {
    LabelKey { source: LabelSource::K8s, name: name.into() }
}

/// A key of an entity.
pub fn reserved_key(name: &str) -> LabelKey {
    LabelKey { source: LabelSource::Reserved, name: name.to_owned() }
}
