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

/// Keys that are derived from a pod's surroundings begin with this.
pub const DERIVED: &str = "io.cilium.k8s.";
/// The name of a pod's namespace, as a label of that namespace.
pub const NAMESPACE_NAME: &str = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name";

/// One label, borrowed from the object that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label<'a> {
    /// Its key; first, so that a set sorts by key.
    pub key: &'a str,
    /// `k8s` or `reserved`.
    pub source: Source,
    /// Its value; may be empty.
    pub value: &'a str,
}

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Kubernetes objects.
    K8s,
    /// Entities.
    Reserved,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.parts() {
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// A set of labels, sorted, one value per source and key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels<'a>(Vec<Label<'a>>);

impl<'a> Labels<'a> {
    /// Sorts; of labels with one source and key the first given stays.
    pub fn new(mut labels: Vec<Label<'a>>) -> Self {
        labels.sort_by_key(|label| (label.key, label.source));
        labels.dedup_by_key(|label| (label.key, label.source));
        Labels(labels)
    }

    /// The labels of entities, such as `["world", "world-ipv4"]`.
    pub fn reserved(names: &[&'a str]) -> Self {
        Labels::new(names.iter().copied().map(Label::reserved).collect())
    }

    /// Leaves some out.
    pub fn retain(&mut self, keep: impl Fn(&Label<'a>) -> bool) {
        self.0.retain(keep);
    }

    /// All labels, by key.
    pub fn iter(&self) -> std::slice::Iter<'_, Label<'a>> {
        self.0.iter()
    }

    /// The labels with a key, of any source.
    fn with_key(&self, key: &str) -> &[Label<'a>] {
        let start = self.0.partition_point(|label| label.key < key);
        let len = self.0[start..].iter().take_while(|label| label.key == key).count();
        &self.0[start..start + len]
    }

    /// Whether one requirement holds. `NotIn` holds where the label is absent.
    pub fn satisfies(&self, requirement: &Requirement) -> bool {
        let key = &requirement.key.value;
        let admitted = self.with_key(&key.name).iter().filter(|label| key.source.admits(label.source));
        let mut values = admitted.map(|label| label.value);
        let asked = |value| requirement.values.iter().any(|asked| asked == value);
        match requirement.operator {
            Operator::In => values.any(asked),
            Operator::NotIn => !values.any(asked),
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
        let parts = || self.0.iter().flat_map(|label| ["\n"].into_iter().chain(label.parts())).skip(1);
        let mut text = String::with_capacity(parts().map(str::len).sum());
        text.extend(parts());
        text
    }
}

impl<'a> Label<'a> {
    /// A label of Kubernetes.
    pub const fn k8s(key: &'a str, value: &'a str) -> Self {
        Label { key, source: Source::K8s, value }
    }

    /// A label of an entity.
    pub const fn reserved(name: &'a str) -> Self {
        Label { key: name, source: Source::Reserved, value: "" }
    }

    fn parts(&self) -> [&'a str; 4] {
        let source = match self.source {
            Source::K8s => "k8s:",
            Source::Reserved => "reserved:",
        };
        [source, self.key, "=", self.value]
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
