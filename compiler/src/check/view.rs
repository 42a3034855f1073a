//! What the checks look at: the policy set, the cluster, and who the subjects are.

use crate::cluster::{Cluster, Party};
use crate::identity::{Identities, Kind};
use crate::ir::{Direction, Effect, Peers, PolicyKind, PolicySet, Rule, Subject};
use crate::labels::NAMESPACE_LABELS;
use crate::resolve::LabelIndex;
use roaring::RoaringBitmap;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::source::Sources;
use weir_grammar::span::Span;
use weir_grammar::tree::Requirement;

/// What the checks look at.
pub(super) struct View<'a> {
    pub(super) set: &'a PolicySet,
    pub(super) cluster: &'a Cluster,
    pub(super) sources: &'a Sources,
    pub(super) identities: &'a Identities<'a>,
    pub(super) index: LabelIndex<'a>,
    /// Whom each of the set's subjects selects, by place among the identities.
    pub(super) subjects: Vec<RoaringBitmap>,
    /// Whether the cluster tells of any pod.
    pub(super) has_pods: bool,
    /// Whether the cluster tells of any node.
    pub(super) has_nodes: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(
        set: &'a PolicySet,
        cluster: &'a Cluster,
        sources: &'a Sources,
        identities: &'a Identities<'a>,
    ) -> Self {
        let index = LabelIndex::new(identities);
        View {
            set,
            cluster,
            sources,
            identities,
            subjects: set.subjects.iter().map(|subject| index.subject(subject)).collect(),
            index,
            has_pods: !cluster.pods.is_empty() && !identities.entries.is_empty(),
            has_nodes: !cluster.nodes.is_empty() && !identities.entries.is_empty(),
        }
    }

    /// A finding about a rule.
    pub(super) fn finding(
        &self,
        code: Code,
        rule: &Rule,
        span: Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        let policy = &self.set.policies[rule.policy];
        let object = format!("{} {}", policy.kind.as_str(), policy.qualified_name());
        Diagnostic { object: Some(object), ..Diagnostic::new(code, span, message) }
    }

    /// The kind of a rule's policy.
    pub(super) fn kind(&self, rule: &Rule) -> PolicyKind {
        self.set.policies[rule.policy].kind
    }

    /// The peers of a rule.
    pub(super) fn peers(&self, rule: &Rule) -> &'a Peers {
        &self.set.peers[rule.peers]
    }

    /// Rules with their ids.
    pub(super) fn rules(&self) -> impl Iterator<Item = (u32, &'a Rule)> {
        (0..).zip(&self.set.rules)
    }

    /// Of the rules split from one element only the first, as they have their peers in common.
    pub(super) fn elements(&self) -> impl Iterator<Item = &'a Rule> {
        self.set.rules.chunk_by(|a, b| a.peers == b.peers).filter_map(|rules| rules.first())
    }

    /// Whether the cluster could tell whom the rule's subject selects.
    pub(super) fn knows_subject(&self, rule: &Rule) -> bool {
        match &self.set.subjects[rule.subject] {
            Subject::Pods(_) => self.has_pods,
            Subject::Nodes(_) => self.has_nodes,
        }
    }

    /// Whom the rule's subject selects.
    pub(super) fn subject(&self, rule: &Rule) -> &RoaringBitmap {
        &self.subjects[rule.subject]
    }

    /// Whether nobody of the cluster is a subject of the rule, so that nothing else about it matters.
    pub(super) fn is_idle(&self, rule: &Rule) -> bool {
        self.knows_subject(rule) && self.subject(rule).is_empty()
    }

    /// Whom of the cluster a rule's peers select by label.
    pub(super) fn places(&self, peers: &Peers) -> RoaringBitmap {
        let mut places = RoaringBitmap::new();
        for selector in &peers.selectors {
            places |= self.index.select(selector);
        }
        places
    }

    /// Some pod or node with this identity, by name.
    pub(super) fn name_of(&self, place: u32) -> Option<String> {
        let kind = self.identities.entries.get(place as usize)?.kind;
        let party = match kind {
            Kind::Entity => return None,
            Kind::OwnNode(node) | Kind::RemoteNode(node) => Party::Node(node),
            Kind::Pods => (0..self.cluster.pods.len())
                .map(Party::Pod)
                .find(|&party| self.identities.place(party, None) == Some(place))?,
        };
        Some(self.cluster.name(party))
    }

    /// A label key as it is written in the rule's policy.
    pub(super) fn key(&self, rule: &Rule, key: &str) -> String {
        match key.strip_prefix(NAMESPACE_LABELS) {
            Some(key) if self.kind(rule) == PolicyKind::Network => format!("namespace label `{key}`"),
            _ => format!("label `{key}`"),
        }
    }

    /// The text of a prefix that begins at byte `at`, in the file of `near`.
    pub(super) fn cidr_span(&self, near: Span, at: u32) -> Span {
        let text = self.sources.text(near.file).get(at as usize..).unwrap_or("");
        let part_of_prefix = |byte: &u8| byte.is_ascii_hexdigit() || b":./'\"".contains(byte);
        let length = text.bytes().take_while(|byte| part_of_prefix(byte)).count();
        Span { file: near.file, start: at, end: at + u32::try_from(length).unwrap_or(0) }
    }
}

/// Where a selector is written. What its scope added to it carries the place of the whole.
pub(super) fn selector_span(selector: &[Requirement]) -> Option<Span> {
    selector.iter().map(|requirement| requirement.key.span).reduce(Span::to)
}

/// Both parts of a subject: whether it is of nodes, and what it requires.
pub(super) const fn parts(subject: &Subject) -> (bool, &Vec<Requirement>) {
    match subject {
        Subject::Pods(selector) => (false, selector),
        Subject::Nodes(selector) => (true, selector),
    }
}

/// The beginning of a rule's peer fields.
pub(super) const fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// What a rule does, as a verb.
pub(super) const fn verb(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allows",
        Effect::Deny => "denies",
    }
}
