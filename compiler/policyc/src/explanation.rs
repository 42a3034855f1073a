//! Why a connection passes or not: what each side says, and every rule that has a part in it.
//!
//! The reference evaluator decides. What comes close is found by asking it again about one rule at a
//! time, with the ports or the peers left out, so that nothing about meaning is told here.
//!
//! Not here: how it is shown (`render::explanation`).

use std::collections::BTreeSet;
use weir_abi::{Action, Reason};
use weir_compiler::cluster::Party;
use weir_compiler::flow::{self, Engine, Flow, Judgement, Side};
use weir_compiler::fqdn::FqdnLock;
use weir_compiler::ir::{Direction, Effect, Peers, Policy, PolicySet, Ports, Requests, Rule, Subject};
use weir_compiler::reference::Reference;
use weir_compiler::requests::Matcher;
use weir_grammar::span::Span;
use weir_project::Project;

/// Rules that come close, at most.
const CLOSE: usize = 3;

/// The whole story.
pub(crate) struct Explanation<'p> {
    pub(crate) flow: &'p Flow,
    pub(crate) judgement: Judgement,
    pub(crate) sides: Vec<SideStory<'p>>,
}

/// What one direction of policy says.
pub(crate) struct SideStory<'p> {
    pub(crate) direction: Direction,
    /// Whose policies are asked.
    pub(crate) subject: Party,
    /// Who is on the other side.
    pub(crate) peer: Party,
    pub(crate) side: Side,
    /// The rule that decided, unless it is default deny.
    pub(crate) rule: Option<&'p Rule>,
    /// The request rule that admits what is asked: its place in its list, and where.
    pub(crate) request: Option<(usize, Span)>,
    /// Policies that isolate the subject in this direction.
    pub(crate) isolated_by: Vec<&'p Policy>,
    /// For default deny, rules that would admit it but for one thing.
    pub(crate) close: Vec<Close<'p>>,
}

/// A rule that nearly admits the connection.
pub(crate) struct Close<'p> {
    pub(crate) rule: &'p Rule,
    /// Whether it is about this peer, but other ports; else it is about this port, but other peers.
    pub(crate) is_of_peer: bool,
}

/// Explains a flow.
pub(crate) fn explain<'p>(project: &'p Project, lock: Option<&FqdnLock>, flow: &'p Flow) -> Explanation<'p> {
    let reference = Reference::new(&project.set, &project.cluster, lock);
    let judgement = flow::judge(&reference, flow);
    let sides = judgement.sides.iter().map(|&(direction, side)| story(project, lock, flow, direction, side));
    Explanation { flow, sides: sides.collect(), judgement }
}

fn story<'p>(
    project: &'p Project,
    lock: Option<&FqdnLock>,
    flow: &Flow,
    direction: Direction,
    side: Side,
) -> SideStory<'p> {
    let (subject, peer) = flow.subject_and_peer(direction);
    let decided = side.rule.and_then(|id| project.set.rules.get(id as usize));
    let is_default = side.reason == Reason::DefaultDeny;
    let selecting = selecting(project, subject, direction);
    let isolating: BTreeSet<usize> =
        selecting.iter().filter(|rule| rule.isolates).map(|rule| rule.policy).collect();
    let isolated_by = isolating.into_iter().filter_map(|place| project.set.policies.get(place)).collect();
    let close = if is_default { close(project, lock, flow, direction, &selecting) } else { Vec::new() };
    SideStory {
        direction,
        subject,
        peer,
        side,
        rule: decided.filter(|_| !is_default),
        request: decided.and_then(|rule| request(project, rule, flow)),
        isolated_by,
        close,
    }
}

/// The rules that select a subject in a direction.
fn selecting(project: &Project, subject: Party, direction: Direction) -> Vec<&Rule> {
    let Project { set, cluster, .. } = project;
    let labels = match subject {
        Party::Pod(place) => cluster.pods.get(place).map(|pod| cluster.pod_labels(pod)),
        Party::Node(place) => cluster.nodes.get(place).map(|node| cluster.node_labels(node, true)),
        Party::Outside(_) => None,
    };
    let Some(labels) = labels else { return Vec::new() };
    let is_selected: Vec<bool> = set
        .subjects
        .iter()
        .map(|written| match (written, subject) {
            (Subject::Pods(selector), Party::Pod(_)) | (Subject::Nodes(selector), Party::Node(_)) => {
                labels.satisfy(selector)
            }
            _ => false,
        })
        .collect();
    let selects = |rule: &&Rule| rule.direction == direction && is_selected.get(rule.subject) == Some(&true);
    set.rules.iter().filter(selects).collect()
}

/// Which request rule of a redirecting rule admits what is asked.
fn request(project: &Project, rule: &Rule, flow: &Flow) -> Option<(usize, Span)> {
    if flow.http.is_none() && flow.dns.is_none() {
        return None;
    }
    let requests = rule.requests.as_ref()?;
    let namespace = project.set.policies.get(rule.policy).and_then(|policy| policy.namespace.as_deref());
    let matchers = Matcher::from_requests(requests, namespace, &project.cluster.secrets);
    let place = matchers.iter().position(|matcher| matcher.admits(flow.asked()))?;
    let span = match requests {
        Requests::Http(rules) => rules.get(place)?.span,
        Requests::Dns(names) => names.get(place)?.span,
        Requests::Tls => return None,
    };
    Some((place, span))
}

/// The rules that fail by their ports alone, then those that fail by their peers alone.
fn close<'p>(
    project: &Project,
    lock: Option<&FqdnLock>,
    flow: &Flow,
    direction: Direction,
    selecting: &[&'p Rule],
) -> Vec<Close<'p>> {
    let admits = |rule: &Rule, ports: Ports, peers: Peers| {
        let rule =
            Rule { policy: 0, subject: 0, peers: 0, isolates: true, ports, requests: None, ..rule.clone() };
        let set = PolicySet {
            policies: project.set.policies.first().cloned().into_iter().collect(),
            subjects: vec![match flow.subject_and_peer(direction).0 {
                Party::Node(_) => Subject::Nodes(Vec::new()),
                Party::Pod(_) | Party::Outside(_) => Subject::Pods(Vec::new()),
            }],
            rules: vec![rule],
            peers: vec![peers],
        };
        let side = Reference::new(&set, &project.cluster, lock).side(flow, direction);
        side.action == Action::Allow && side.reason == Reason::AllowedByRule
    };
    let allows = || selecting.iter().copied().filter(|rule| rule.effect == Effect::Allow);
    let peers = |rule: &Rule| project.set.peers.get(rule.peers).cloned().unwrap_or_default();
    let anyone = || Peers { anyone: true, ..Peers::default() };
    let of_peer = allows()
        .filter(|rule| admits(rule, Ports::Everything, peers(rule)))
        .map(|rule| Close { rule, is_of_peer: true });
    let of_port = allows()
        .filter(|rule| rule.ports != Ports::Everything && admits(rule, rule.ports.clone(), anyone()))
        .map(|rule| Close { rule, is_of_peer: false });
    of_peer.chain(of_port).take(CLOSE).collect()
}
