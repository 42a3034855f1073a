//! Verdicts as JSON lines, with the rules behind them as people name them.
//!
//! `by` has an entry for every enforced side that a rule decided, egress first: the rule that matched,
//! or for default deny the first rule that isolates. A side without policy, one that default-allows and
//! a node's way to its own pods have none.

use super::{Flow, Judgement, Side};
use crate::ir::{Direction, PolicySet};
use serde::Serialize;
use weir_abi::Image;
use weir_grammar::source::{LineIndex, Sources};

/// A rule as people name it, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Kind of its policy.
    pub kind: &'a str,
    /// Namespace of its policy; empty if cluster-wide.
    pub namespace: &'a str,
    /// Name of its policy.
    pub name: &'a str,
    /// Such as `egress[0].toPorts[1]`.
    pub path: String,
    /// The file.
    pub file: &'a str,
    /// Line from 1.
    pub line: u32,
}

/// What knows where rules are written.
pub trait Origins {
    /// The origin of a rule by its id.
    fn origin(&self, rule: u32) -> Option<Origin<'_>>;
}

impl Origins for Image<'_> {
    fn origin(&self, rule: u32) -> Option<Origin<'_>> {
        let entry = self.rule(rule)?;
        Some(Origin {
            kind: entry.policy.kind,
            namespace: entry.policy.namespace,
            name: entry.policy.name,
            path: entry.path.to_string(),
            file: entry.policy.file,
            line: entry.line,
        })
    }
}

/// The origins of rules that were read from text.
#[derive(Debug)]
pub struct WrittenRules<'s> {
    set: &'s PolicySet,
    sources: &'s Sources,
    lines: Vec<LineIndex<'s>>,
}

impl<'s> WrittenRules<'s> {
    /// Of a policy set whose spans are into `sources`.
    pub fn new(set: &'s PolicySet, sources: &'s Sources) -> Self {
        let lines = sources.iter().map(|(_, file)| LineIndex::new(&file.text)).collect();
        WrittenRules { set, sources, lines }
    }
}

impl Origins for WrittenRules<'_> {
    fn origin(&self, rule: u32) -> Option<Origin<'_>> {
        let rule = self.set.rules.get(rule as usize)?;
        let policy = self.set.policies.get(rule.policy)?;
        let lines = self.lines.get(rule.span.file.0 as usize)?;
        Some(Origin {
            kind: policy.kind.as_str(),
            namespace: policy.namespace.as_deref().unwrap_or_default(),
            name: &policy.name,
            path: rule.path.to_string(),
            file: self.sources.name(rule.span.file),
            line: lines.locate(rule.span.start).line,
        })
    }
}

/// The answer for one flow, in the order of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictLine<'a> {
    /// The flow's.
    pub id: &'a str,
    /// As printed.
    pub verdict: &'static str,
    /// The rules that decided, one for each side at most.
    pub by: Vec<RuleLine<'a>>,
    /// Why.
    pub reason: &'static str,
}

/// A rule that decided a side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleLine<'a> {
    /// Which side.
    pub direction: &'static str,
    /// Kind of its policy.
    pub kind: &'a str,
    /// `namespace/name`, or `name` alone if cluster-wide.
    pub policy: String,
    /// Such as `egress[0].toPorts[1]`.
    pub rule: String,
    /// The file.
    pub file: &'a str,
    /// Line from 1.
    pub line: u32,
}

impl<'a> RuleLine<'a> {
    /// A rule by its id, as it decides a direction.
    pub fn new(direction: Direction, rule: u32, origins: &'a dyn Origins) -> Option<Self> {
        let Origin { kind, namespace, name, path, file, line } = origins.origin(rule)?;
        Some(RuleLine {
            direction: direction.as_str(),
            kind,
            policy: if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") },
            rule: path,
            file,
            line,
        })
    }
}

impl<'a> VerdictLine<'a> {
    /// The answer to print for a flow.
    pub fn new(flow: &'a Flow, judgement: &Judgement, origins: &'a dyn Origins) -> Self {
        let by = |(direction, side): &(Direction, Side)| RuleLine::new(*direction, side.rule?, origins);
        VerdictLine {
            id: &flow.id,
            verdict: judgement.verdict.as_str(),
            by: judgement.sides.iter().filter_map(by).collect(),
            reason: judgement.reason(),
        }
    }
}
