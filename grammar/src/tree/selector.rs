//! Label selectors.

use crate::span::{Span, Spanned};

/// Where a label comes from. Kubernetes manifests know one source; Cilium selectors may name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelSource {
    /// No source given: a label of any source matches.
    Any,
    /// `k8s:`, labels of pods, namespaces and nodes.
    K8s,
    /// `reserved:`, the entities that no pod is.
    Reserved,
    /// Another source, such as `container`.
    Other(String),
}

/// A label key with its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelKey {
    /// The source asked for.
    pub source: LabelSource,
    /// The key itself, such as `app.kubernetes.io/name`.
    pub name: String,
}

impl LabelKey {
    /// As it is written where keys name their source: in Cilium's selectors.
    pub(crate) fn with_source(&self) -> String {
        match &self.source {
            LabelSource::Any => self.name.clone(),
            LabelSource::K8s => format!("k8s:{}", self.name),
            LabelSource::Reserved => format!("reserved:{}", self.name),
            LabelSource::Other(source) => format!("{source}:{}", self.name),
        }
    }
}

/// The operators of `matchExpressions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// The label is present with one of the values.
    In,
    /// The label is absent, or present with none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Operator {
    /// As the API writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
        }
    }
}

/// One condition. `matchLabels` entries become `In` with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: Spanned<LabelKey>,
    /// The condition.
    pub operator: Operator,
    /// Non-empty for `In` and `NotIn`, empty otherwise; sorted, without repeats.
    pub values: Vec<String>,
}

/// A label selector: all requirements hold. Without requirements it selects everything in scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The whole selector.
    pub span: Span,
    /// The conditions, in the order written (`matchLabels` first).
    pub requirements: Vec<Requirement>,
}
