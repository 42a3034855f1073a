//! Policies: their heads and statements gathered into the object that YAML would hold.

use super::blocks::Sets;
use super::build::{Build, Field};
use super::{Rule, misplaced, peers, ports, selector, texts};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use crate::yaml::NodeId;
use pest::iterators::Pair;

/// Which kind of object a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cilium,
    Clusterwide,
    Network,
}

impl Kind {
    fn of_object(self) -> (&'static str, &'static str) {
        match self {
            Kind::Cilium => ("cilium.io/v2", "CiliumNetworkPolicy"),
            Kind::Clusterwide => ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
            Kind::Network => ("networking.k8s.io/v1", "NetworkPolicy"),
        }
    }
}

/// Where annotations keep what a NetworkPolicy has no field for.
const DESCRIPTION: &str = "kubernetes.io/description";

/// `apiVersion`, `kind` and `metadata` of an object.
pub(super) struct Head {
    pub(super) kind: Kind,
    at: Span,
    fields: Vec<Field>,
    description: Option<NodeId>,
}

impl Head {
    /// Reads the head of a policy.
    pub(super) fn policy(build: &mut Build<'_, '_>, head: Pair<'_, Rule>) -> Self {
        let at = build.span(&head);
        let (mut kind, mut name, mut metadata, mut description) = (Kind::Cilium, None, Vec::new(), None);
        for piece in head.into_inner() {
            match piece.as_rule() {
                Rule::Cluster => kind = Kind::Clusterwide,
                Rule::Network => kind = Kind::Network,
                Rule::word | Rule::string if name.is_none() => name = Some(build.text_field("name", piece)),
                Rule::string => description = Some(build.text(&piece)),
                Rule::namespace => {
                    metadata.extend(texts(piece).next().map(|text| build.text_field("namespace", text)));
                }
                Rule::labels => metadata.push(labels(build, piece)),
                _ => {}
            }
        }
        if let Some(text) = description.filter(|_| kind == Kind::Network) {
            let annotations = build.wrapped(build.span_of(text), DESCRIPTION, text);
            metadata.push(build.field(at, "annotations", annotations));
            description = None;
        }
        metadata.splice(0..0, name);
        let fields = type_and_metadata(build, at, kind.of_object(), &metadata);
        Head { kind, at, fields, description }
    }

    /// The whole object: `direct` are the statements outside of `spec` blocks.
    pub(super) fn object(self, build: &mut Build<'_, '_>, mut direct: Spec, blocks: Vec<Spec>) -> NodeId {
        let mut fields = self.fields;
        let is_network = self.kind == Kind::Network;
        if let Some(text) = self.description {
            if blocks.is_empty() || direct.is_given() {
                direct.fields.push(build.field(build.span_of(text), "description", text));
            } else {
                let help =
                    "describe each block, spec \"…\" { … }; the API has no description of a whole policy";
                let at = build.span_of(text);
                misplaced(build, at, "a description", "a policy of `spec` blocks alone", help);
            }
        }
        if blocks.is_empty() || direct.is_given() {
            let at = direct.at;
            let spec = direct.value(build, is_network);
            fields.push(build.field(at, "spec", spec));
        }
        if let Some(first) = blocks.first() {
            let at = first.at;
            let specs: Vec<NodeId> = blocks.into_iter().map(|block| block.value(build, is_network)).collect();
            let list = build.list(at, &specs);
            fields.push(build.field(at, "specs", list));
        }
        build.object(self.at, &fields)
    }
}

/// A whole `group` statement as an object.
pub(super) fn group<'t>(build: &mut Build<'t, '_>, sets: &Sets<'t>, statement: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&statement);
    let mut metadata = Vec::new();
    for piece in statement.clone().into_inner() {
        match piece.as_rule() {
            Rule::word | Rule::string => metadata.push(build.text_field("name", piece)),
            Rule::labels => metadata.push(labels(build, piece)),
            _ => {}
        }
    }
    let list = sets.prefixes(build, statement);
    let spec = build.wrapped(at, "externalCIDRs", list);
    let mut fields = type_and_metadata(build, at, ("cilium.io/v2", "CiliumCIDRGroup"), &metadata);
    fields.push(build.field(at, "spec", spec));
    build.object(at, &fields)
}

pub(super) fn type_and_metadata(
    build: &mut Build<'_, '_>,
    at: Span,
    (version, kind): (&'static str, &'static str),
    metadata: &[Field],
) -> Vec<Field> {
    let version = build.scalar(at, version);
    let kind = build.scalar(at, kind);
    let metadata = build.object(at, metadata);
    [("apiVersion", version), ("kind", kind), ("metadata", metadata)]
        .map(|(key, value)| build.field(at, key, value))
        .to_vec()
}

pub(super) fn labels(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> Field {
    let at = build.span(&part);
    let mut fields = Vec::new();
    for label in part.into_inner().filter(|piece| piece.as_rule() == Rule::equal) {
        let mut pieces = texts(label).map(|text| build.text(&text));
        fields.extend(pieces.next().zip(pieces.next()));
    }
    let labels = build.object(at, &fields);
    build.field(at, "labels", labels)
}

/// A section of a spec: where its first rule's words stand, and its rules.
type Section = Option<(Span, Vec<NodeId>)>;

/// The statements of one spec.
pub(super) struct Spec {
    /// The words before its body.
    head: Span,
    /// Its body.
    pub(super) at: Span,
    fields: Vec<Field>,
    /// `ingress`, `ingressDeny`, `egress`, `egressDeny`.
    sections: [Section; 4],
    isolation: Vec<Field>,
    /// Where ingress and egress are isolated in so many words.
    isolates: [Option<Span>; 2],
    /// A statement could not be read, so that what seems to be missing may be there.
    pub(super) is_broken: bool,
}

const SECTIONS: [&str; 4] = ["ingress", "ingressDeny", "egress", "egressDeny"];

impl Spec {
    /// A spec without statements, below its head.
    pub(super) fn new(head: Span) -> Self {
        Spec {
            head,
            at: head,
            fields: Vec::new(),
            sections: [const { None }; 4],
            isolation: Vec::new(),
            isolates: [None; 2],
            is_broken: false,
        }
    }

    /// Gives a block its own description.
    pub(super) fn describe(&mut self, build: &mut Build<'_, '_>, head: Pair<'_, Rule>) {
        self.fields.extend(texts(head).next().map(|text| build.text_field("description", text)));
    }

    fn is_given(&self) -> bool {
        self.is_broken
            || !(self.fields.is_empty() && self.isolation.is_empty())
            || self.sections.iter().any(Option::is_some)
    }

    /// Takes one statement.
    pub(super) fn take<'t>(
        &mut self,
        build: &mut Build<'t, '_>,
        sets: &Sets<'t>,
        is_network: bool,
        statement: Pair<'_, Rule>,
    ) {
        let at = build.span(&statement);
        match statement.as_rule() {
            Rule::traffic => self.rule(build, sets, is_network, statement),
            Rule::subject => {
                let Some(who) = statement.into_inner().find(|part| part.as_rule() != Rule::For) else {
                    return;
                };
                let field = subject(build, is_network, who);
                self.fields.push(field);
            }
            Rule::isolate => {
                let (mut ingress, mut yes) = (true, true);
                for part in statement.into_inner() {
                    match part.as_rule() {
                        Rule::direction => ingress = is_ingress(&part),
                        Rule::No => yes = false,
                        _ => {}
                    }
                }
                let value = build.plain(at, if yes { "true" } else { "false" });
                let [of_ingress, of_egress] = &mut self.isolates;
                if yes {
                    *(if ingress { of_ingress } else { of_egress }) = Some(at);
                }
                self.isolation.push(build.field(at, if ingress { "ingress" } else { "egress" }, value));
            }
            Rule::log => {
                let Some(text) = texts(statement).next() else { return };
                let text = build.text(&text);
                let value = build.wrapped(at, "value", text);
                self.fields.push(build.field(at, "log", value));
            }
            _ => {
                let mut types = Vec::new();
                for part in statement.into_inner().filter(|part| part.as_rule() == Rule::direction) {
                    let name = if is_ingress(&part) { "Ingress" } else { "Egress" };
                    types.push(build.scalar(build.span(&part), name));
                }
                let list = build.list(at, &types);
                self.fields.push(build.field(at, "policyTypes", list));
            }
        }
    }

    fn rule<'t>(
        &mut self,
        build: &mut Build<'t, '_>,
        sets: &Sets<'t>,
        is_network: bool,
        rule: Pair<'_, Rule>,
    ) {
        let at = build.span(&rule);
        let (mut deny, mut ingress, mut is_empty, mut words) = (false, true, false, at);
        let mut nobody = None;
        let (mut who, mut ports, mut authentication) = (Vec::new(), ports::Lists::default(), Vec::new());
        for part in rule.into_inner() {
            let part_at = build.span(&part);
            match part.as_rule() {
                Rule::action => deny = part.as_str().trim_end() == "deny",
                Rule::ingress | Rule::egress => {
                    ingress = part.as_rule() == Rule::ingress;
                    let direction = part.clone().into_inner().next().map(|word| build.span(&word));
                    words.end = direction.map_or(part_at.end, |word| word.end);
                    is_empty = part.clone().into_inner().any(|piece| piece.as_rule() == Rule::empty);
                    let mut pieces = part.clone().into_inner();
                    nobody =
                        pieces.find(|piece| piece.as_rule() == Rule::Nobody).map(|word| build.span(&word));
                    who = peers::separated(build, part.into_inner());
                }
                Rule::on if is_network => ports.network(build, part),
                Rule::on => ports.cilium(build, part),
                Rule::auth => {
                    if let Some(text) = texts(part).next() {
                        let mode = build.text(&text);
                        let value = build.wrapped(part_at, "mode", mode);
                        authentication.push(build.field(part_at, "authentication", value));
                    }
                }
                _ => {}
            }
        }
        let is_alone = who.is_empty();
        let mut fields = if !is_network {
            peers::cilium(build, sets, ingress, who.into_iter())
        } else if who.is_empty() {
            Vec::new()
        } else {
            let peers = peers::network(build, sets, who.into_iter());
            let list = build.list(at, &peers);
            vec![build.field(at, if ingress { "from" } else { "to" }, list)]
        };
        fields.extend(ports.fields(build, if is_network { "ports" } else { "toPorts" }));
        fields.extend(authentication);
        let is_bare = is_alone && fields.is_empty() && !is_empty;
        let said = match nobody {
            Some(nobody) if is_network => {
                let help = "a rule of it that names no peers is for everybody; to isolate, write `types`";
                misplaced(build, nobody, "`nobody`", "a network policy", help);
                false
            }
            Some(nobody) if !is_bare => {
                let help = "leave `nobody` out and name peers, or leave out what follows it";
                misplaced(build, nobody, "`nobody`", "a rule that says more", help);
                false
            }
            None if is_bare && !is_network => {
                let (verb, side) = (if deny { "deny" } else { "allow" }, if ingress { "from" } else { "to" });
                build.findings.push(
                    Diagnostic::new(Code::PolicySyntax, words, "the rule names neither peers nor ports")
                        .labelled("whom does it mean?")
                        .help(format!(
                            "to {verb} everybody write `{side} all`; `{side} nobody` only isolates"
                        )),
                );
                false
            }
            // Peers that stand for nothing are told where they are written.
            _ => !fields.is_empty() || is_alone || is_network,
        };
        if !said {
            self.is_broken = true;
            return;
        }
        let Some(section) = self.sections.get_mut(2 * usize::from(!ingress) + usize::from(deny)) else {
            return;
        };
        let (_, rules) = section.get_or_insert((words, Vec::new()));
        if !is_empty {
            rules.push(build.object(at, &fields));
        }
    }

    fn value(mut self, build: &mut Build<'_, '_>, is_network: bool) -> NodeId {
        let mut any_rule = false;
        // Isolation is carried by rules. Where none is for its direction, one that matches nothing carries it.
        let [ingress, ingress_deny, egress, egress_deny] = &mut self.sections;
        for (allow, deny, at) in
            [(ingress, ingress_deny, self.isolates[0]), (egress, egress_deny, self.isolates[1])]
        {
            if let Some(at) = at.filter(|_| allow.is_none() && deny.is_none()) {
                let rule = build.object(at, &[]);
                *allow = Some((at, vec![rule]));
            }
        }
        for (key, section) in SECTIONS.into_iter().zip(self.sections) {
            let Some((at, rules)) = section else { continue };
            any_rule = true;
            let last = rules.last().map_or(at, |&last| build.span_of(last));
            let list = build.list(at.to(last), &rules);
            self.fields.push(build.field(at, key, list));
        }
        if let [(first, _), ..] = self.isolation[..] {
            let at = build.span_of(first);
            let isolation = build.object(at, &self.isolation);
            self.fields.push(build.field(at, "enableDefaultDeny", isolation));
        }
        // What is missing is missed at the head; where a statement could not be read it may be there.
        if !is_network {
            let is_subject = |key: NodeId| matches!(build.name_of(key), "endpointSelector" | "nodeSelector");
            let missing = [
                (!self.fields.iter().any(|&(key, _)| is_subject(key))).then_some("endpointSelector"),
                (!any_rule).then_some("ingress"),
            ];
            for key in missing.into_iter().flatten() {
                let value =
                    if self.is_broken { build.broken(self.head) } else { build.plain(self.head, "null") };
                self.fields.insert(0, build.field(self.head, key, value));
                self.at = self.head.to(self.at);
            }
        }
        build.object(self.at, &self.fields)
    }
}

fn is_ingress(direction: &Pair<'_, Rule>) -> bool {
    direction.as_str().trim_end() == "ingress"
}

/// `endpointSelector`, `nodeSelector` or `podSelector`.
fn subject(build: &mut Build<'_, '_>, is_network: bool, who: Pair<'_, Rule>) -> Field {
    let at = build.span(&who);
    let is_nodes = who.as_rule() == Rule::nodes;
    if is_network {
        let qualified = who
            .clone()
            .into_inner()
            .any(|part| matches!(part.as_rule(), Rule::namespace | Rule::namespace_of));
        if is_nodes || qualified {
            let what = if is_nodes { "`for nodes`" } else { "`in` behind `for`" };
            misplaced(build, at, what, "a network policy", "it is about pods of its own namespace");
        }
    }
    let (key, selector) = match (is_network, is_nodes) {
        (true, _) => ("podSelector", selector::selector(build, &who, None)),
        (false, true) => ("nodeSelector", selector::selector(build, &who, None)),
        (false, false) => ("endpointSelector", peers::pods(build, who)),
    };
    build.field(at, key, selector)
}
