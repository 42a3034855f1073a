//! Trees to IR: scoping of selectors, default deny, references to groups and services.
//!
//! The result does not depend on the order of the objects. Everything that is a mistake of the whole
//! set (an object defined twice, a group that does not exist) is found here; mistakes of one
//! object were found when it was read.

mod cilium;
mod network_policy;
mod peers;
mod scope;

pub(crate) use peers::any_source;

use crate::cluster::{Cluster, defined_twice};
use crate::ir::{Direction, Effect, Peers, Policy, PolicyKind, PolicySet, Ports, Requests, Rule, Subject};
use rustc_hash::FxHashMap;
use weir_abi::{Part, RulePath};
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::span::Span;
use weir_grammar::tree::{self, Object, Requirement, Scope};

/// Translates all policies among `objects`, which no longer holds cluster objects.
pub fn translate(objects: Vec<Object>, cluster: &Cluster, diagnostics: &mut Vec<Diagnostic>) -> PolicySet {
    let mut policies: Vec<Written> = objects.into_iter().filter_map(Written::from_object).collect();
    policies.sort_by(|a, b| a.key().cmp(&b.key()).then(a.meta().span.cmp(&b.meta().span)));
    policies.dedup_by(|later, first| {
        let same = first.key() == later.key();
        if same {
            diagnostics.push(defined_twice(first.kind().as_str(), first.meta(), later.meta()));
        }
        same
    });
    let mut translation =
        Translation { cluster, diagnostics, set: PolicySet::default(), subjects: FxHashMap::default() };
    for policy in policies {
        translation.policy(policy);
    }
    translation.set
}

/// A policy of either family.
enum Written {
    Cilium(tree::CiliumPolicy),
    Network(tree::NetworkPolicy),
}

impl Written {
    fn from_object(object: Object) -> Option<Self> {
        match object {
            Object::Cilium(policy) => Some(Written::Cilium(policy)),
            Object::Network(policy) => Some(Written::Network(policy)),
            _ => None,
        }
    }

    fn kind(&self) -> PolicyKind {
        match self {
            Written::Cilium(policy) if policy.scope == Scope::Clusterwide => PolicyKind::CiliumClusterwide,
            Written::Cilium(_) => PolicyKind::Cilium,
            Written::Network(_) => PolicyKind::Network,
        }
    }

    fn meta(&self) -> &tree::Meta {
        match self {
            Written::Cilium(policy) => &policy.meta,
            Written::Network(policy) => &policy.meta,
        }
    }

    fn key(&self) -> (PolicyKind, Option<&str>, &str) {
        (self.kind(), self.meta().namespace.as_deref(), &self.meta().name)
    }
}

struct Translation<'c> {
    cluster: &'c Cluster,
    diagnostics: &'c mut Vec<Diagnostic>,
    set: PolicySet,
    subjects: FxHashMap<SubjectKey, usize>,
}

/// What makes subjects equal: nodes or pods, and the requirements without their places.
type SubjectKey = (bool, Vec<(tree::LabelKey, tree::Operator, Vec<String>)>);

/// What the rules split from one element have in common.
struct Element {
    path: RulePath,
    subject: usize,
    subject_span: Span,
    direction: Direction,
    effect: Effect,
    isolates: bool,
    peers: usize,
}

impl Translation<'_> {
    fn policy(&mut self, written: Written) {
        let meta = written.meta();
        self.set.policies.push(Policy {
            kind: written.kind(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            span: meta.span,
        });
        match written {
            Written::Cilium(policy) => self.cilium(policy),
            Written::Network(policy) => self.network(policy),
        }
    }

    /// Policies repeat their subjects; equal ones are resolved once.
    fn subject(&mut self, subject: Subject) -> usize {
        let (nodes, requirements) = match &subject {
            Subject::Pods(requirements) => (false, requirements),
            Subject::Nodes(requirements) => (true, requirements),
        };
        let parts = |requirement: &Requirement| {
            (requirement.key.value.clone(), requirement.operator, requirement.values.clone())
        };
        let key = (nodes, requirements.iter().map(parts).collect());
        let next = self.set.subjects.len();
        let place = *self.subjects.entry(key).or_insert(next);
        if place == next {
            self.set.subjects.push(subject);
        }
        place
    }

    fn peers(&mut self, peers: Peers) -> usize {
        self.set.peers.push(peers);
        self.set.peers.len() - 1
    }

    fn rule(&mut self, element: &Element, part: Part, span: Span, ports: Ports, requests: Option<Requests>) {
        self.set.rules.push(Rule {
            policy: self.set.policies.len() - 1,
            path: RulePath { part, ..element.path },
            span,
            subject: element.subject,
            subject_span: element.subject_span,
            direction: element.direction,
            effect: element.effect,
            isolates: element.isolates,
            peers: element.peers,
            ports,
            requests,
            tls: Vec::new(),
            server_names: Vec::new(),
        });
    }
}
