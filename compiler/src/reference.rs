//! The specification: what a policy set says of a flow, told in the slowest and most obvious way.
//!
//! Every other engine must agree with this one on every flow. So it knows no class, table, bitmap or
//! cache; for each flow it goes through all rules and asks of each: is this my subject, my peer, my
//! port? Then, of the rules that match, in either direction:
//!
//! 1. no rule selects the subject: allowed (no policy);
//! 2. a deny rule matches: denied;
//! 3. an allow rule with request rules matches: redirected to the proxy;
//! 4. an allow rule matches: allowed;
//! 5. nothing matches: denied if a selecting rule isolates the subject, else allowed; but a pod that is
//!    isolated still takes what comes from its own node.
//!
//! Neither order nor specificity of rules means anything; of several rules that would decide, the one
//! with the smallest id is named.
//!
//! Not here: what rules mean as text (the translation), how one request rule matches (`requests`).

use crate::cluster::{Cluster, Party};
use crate::flow::{Engine, Flow, Side};
use crate::fqdn::{FqdnLock, FqdnPattern};
use crate::ir::{
    CidrPart, Direction, Effect, Peers, PolicySet, PortMatch, Ports, Requests, Rule, Subject, protocol,
};
use crate::labels::Labels;
use crate::requests::Matcher;
use std::net::IpAddr;
use weir_abi::{Action, Reason};
use weir_grammar::tree::{ContainerPort, Protocol};

/// The reference evaluator.
#[derive(Debug)]
pub struct Reference<'a> {
    set: &'a PolicySet,
    cluster: &'a Cluster,
    lock: Option<&'a FqdnLock>,
    /// The request rules of each rule.
    requests: Vec<Vec<Matcher>>,
    /// The DNS names of each of the set's peers.
    names: Vec<Vec<FqdnPattern>>,
}

impl<'a> Reference<'a> {
    /// Of a policy set translated for `cluster`. `lock` adds names to the addresses outside.
    pub fn new(set: &'a PolicySet, cluster: &'a Cluster, lock: Option<&'a FqdnLock>) -> Self {
        let requests = |rule: &Rule| {
            let namespace = set.policies[rule.policy].namespace.as_deref();
            let written = rule.requests.as_ref();
            written.map_or(Vec::new(), |written| Matcher::from_requests(written, namespace, &cluster.secrets))
        };
        let names = |peers: &Peers| peers.fqdns.iter().map(FqdnPattern::new).collect();
        Reference {
            set,
            cluster,
            lock,
            requests: set.rules.iter().map(requests).collect(),
            names: set.peers.iter().map(names).collect(),
        }
    }
}

impl Engine for Reference<'_> {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let (subject, peer) = flow.subject_and_peer(direction);
        let selecting = self.rules_for(subject, direction);
        if selecting.is_empty() {
            return Side::NO_POLICY;
        }
        let isolating = selecting.iter().copied().find(|&id| self.rule(id).isolates);
        let own_node = direction == Direction::Ingress && self.is_own_node(subject, peer);

        let peer_labels = self.peer_labels(peer, subject);
        let matching = |&id: &u32| {
            self.peer_matches(self.rule(id).peers, peer, &peer_labels, flow)
                && self.ports_match(&self.rule(id).ports, flow)
        };
        let matching: Vec<u32> = selecting.into_iter().filter(matching).collect();
        let (denies, allows): (Vec<u32>, Vec<u32>) =
            matching.into_iter().partition(|&id| self.rule(id).effect == Effect::Deny);
        let (redirects, plain): (Vec<u32>, Vec<u32>) =
            allows.into_iter().partition(|&id| self.rule(id).requests.is_some());

        let side = |action, reason, rule| Side { action, reason, rule, passes: None };
        if let Some(&id) = denies.first() {
            return side(Action::Deny, Reason::DeniedByRule, Some(id));
        }
        if let Some(&first) = redirects.first() {
            let admitting = redirects.iter().copied().find(|&id| self.admits(id, flow));
            // Without default deny, request rules only watch; and what is allowed besides them stays so.
            let free = isolating.is_none()
                || own_node
                || redirects.iter().any(|&id| plain.iter().any(|&other| self.frees(other, id, flow)));
            return Side {
                passes: Some(free || admitting.is_some()),
                ..side(Action::Redirect, Reason::AllowedByRule, Some(admitting.unwrap_or(first)))
            };
        }
        if let Some(&id) = plain.first() {
            return side(Action::Allow, Reason::AllowedByRule, Some(id));
        }
        match isolating {
            None => side(Action::Allow, Reason::DefaultAllow, None),
            Some(_) if own_node => side(Action::Allow, Reason::OwnNode, None),
            Some(id) => side(Action::Deny, Reason::DefaultDeny, Some(id)),
        }
    }
}

/// Who.
impl Reference<'_> {
    fn rule(&self, id: u32) -> &Rule {
        &self.set.rules[id as usize]
    }

    /// The rules that select a subject in a direction, by rising id.
    pub fn rules_for(&self, subject: Party, direction: Direction) -> Vec<u32> {
        let selects = |rule: &Rule| {
            rule.direction == direction
                && match (&self.set.subjects[rule.subject], subject) {
                    (Subject::Pods(selector), Party::Pod(place)) => {
                        self.cluster.pod_labels(&self.cluster.pods[place]).satisfy(selector)
                    }
                    (Subject::Nodes(selector), Party::Node(place)) => {
                        self.cluster.node_labels(&self.cluster.nodes[place], true).satisfy(selector)
                    }
                    _ => false,
                }
        };
        (0..).zip(&self.set.rules).filter(|(_, rule)| selects(rule)).map(|(id, _)| id).collect()
    }

    /// A pod's own node may always reach it.
    fn is_own_node(&self, subject: Party, peer: Party) -> bool {
        matches!((subject, peer), (Party::Pod(_), Party::Node(node)) if self.cluster.home(subject) == Some(node))
    }

    /// A node is `host` to itself and to its pods, `remote-node` to all others.
    fn peer_labels(&self, peer: Party, subject: Party) -> Labels<'_> {
        match peer {
            Party::Pod(place) => self.cluster.pod_labels(&self.cluster.pods[place]),
            Party::Node(place) => {
                let own = self.cluster.home(subject) == Some(place);
                self.cluster.node_labels(&self.cluster.nodes[place], own)
            }
            Party::Outside(address) => self.cluster.outside_labels(address),
        }
    }

    fn peer_matches(&self, peers: usize, peer: Party, labels: &Labels<'_>, flow: &Flow) -> bool {
        let written = &self.set.peers[peers];
        let by_label = || written.selectors.iter().any(|selector| labels.satisfy(selector));
        let by_cidr = |address| written.cidrs.iter().any(|part| self.cidr_contains(part, address));
        let by_name = || flow.names(self.lock).any(|name| self.names[peers].iter().any(|p| p.matches(name)));
        written.anyone
            || by_label()
            // CIDRs and DNS names are for addresses outside, whatever addresses pods and nodes have.
            || matches!(peer, Party::Outside(address) if by_cidr(address) || by_name())
    }

    /// An exception takes out of its own block only.
    fn cidr_contains(&self, part: &CidrPart, address: IpAddr) -> bool {
        match part {
            CidrPart::Written(list) => list.blocks.iter().any(|block| {
                let mut excepts = list.excepts_of(block).iter();
                block.cidr.net.contains(&address) && !excepts.any(|except| except.net.contains(&address))
            }),
            CidrPart::Group { group, except } => {
                let mut cidrs = self.cluster.groups[*group].cidrs.iter();
                cidrs.any(|cidr| cidr.net.contains(&address))
                    && !except.iter().any(|except| except.contains(&address))
            }
            CidrPart::Addresses(addresses) => addresses.iter().any(|one| one.contains(&address)),
        }
    }
}

/// On which ports, with which requests.
impl Reference<'_> {
    fn ports_match(&self, ports: &Ports, flow: &Flow) -> bool {
        match ports {
            Ports::Everything => true,
            Ports::Any(list) => list.iter().any(|port| self.port_matches(port, flow)),
        }
    }

    /// A port name is that of a container port of the destination, in either direction.
    fn port_matches(&self, port: &PortMatch, flow: &Flow) -> bool {
        match port {
            PortMatch::Range { protocol, first, last } => {
                *protocol == flow.protocol && (*first..=*last).contains(&flow.port)
            }
            PortMatch::Named { protocol, name } => {
                let Party::Pod(place) = flow.destination else { return false };
                let is_it = |port: &ContainerPort| {
                    port.name.as_ref() == Some(name)
                        && port.port == flow.port
                        && number(port.protocol) == Some(*protocol)
                };
                *protocol == flow.protocol && self.cluster.pods[place].ports.iter().any(is_it)
            }
        }
    }

    /// Whether a redirecting rule admits what is asked.
    fn admits(&self, id: u32, flow: &Flow) -> bool {
        matches!(self.rule(id).requests, Some(Requests::Tls))
            || self.requests[id as usize].iter().any(|matcher| matcher.admits(flow.asked()))
    }

    /// Whether a plain allow rule takes the effect out of a redirecting one, so that every request
    /// passes. For DNS it must be for this very port; one for a range or for all ports is not enough.
    fn frees(&self, plain: u32, redirect: u32, flow: &Flow) -> bool {
        let is_single = |port: &&PortMatch| match port {
            PortMatch::Range { first, last, .. } => first == last,
            PortMatch::Named { .. } => true,
        };
        match (&self.rule(redirect).requests, &self.rule(plain).ports) {
            (Some(Requests::Dns(_)), Ports::Everything) => false,
            (Some(Requests::Dns(_)), Ports::Any(list)) => {
                list.iter().filter(is_single).any(|port| self.port_matches(port, flow))
            }
            _ => true,
        }
    }
}

/// The IP protocol of a container port.
const fn number(protocol: Protocol) -> Option<u8> {
    match protocol {
        Protocol::Tcp => Some(protocol::TCP),
        Protocol::Udp => Some(protocol::UDP),
        Protocol::Sctp => Some(protocol::SCTP),
        Protocol::Other(number) => Some(number),
        Protocol::Any => None,
    }
}
