//! Verdicts from an image: the second voice.
//!
//! The image knows identities by their labels, the cluster says who has which; from there on every
//! answer is a few loads. An address that has DNS names is looked up once for itself and once for each
//! pattern that selects a name; the strongest answer holds.
//!
//! Not here: the policies. What the image does not know is refused, as in the kernel.

use crate::cluster::{Cluster, Party};
use crate::compile::NODE_FACT;
use crate::flow::{Engine, Flow, Side};
use crate::fqdn::{FqdnLock, FqdnPattern};
use crate::ir::Direction;
use crate::parties::PartyIdentities;
use crate::requests::{Asked, Matcher};
use std::cell::OnceCell;
use weir_abi::{Action, Image, Outcome, PeerClass, Reason, RequestKind, Table};

/// An image and the cluster whose flows it judges.
#[derive(Debug)]
pub struct Interpreter<'a> {
    image: Image<'a>,
    cluster: &'a Cluster,
    lock: Option<&'a FqdnLock>,
    parties: PartyIdentities,
    fqdns: Vec<(FqdnPattern, PeerClass)>,
    /// Compiled request rules by set.
    requests: Vec<OnceCell<Vec<RuleMatcher>>>,
}

/// A rule's id and one of its request rules; `None` admits everything.
type RuleMatcher = (u32, Option<Matcher>);

/// Said of an endpoint on a node that the image is not for: that node's image decides.
const ELSEWHERE: Side = Side { reason: Reason::EnforcedElsewhere, ..Side::NO_POLICY };

impl<'a> Interpreter<'a> {
    /// Finds the cluster's pods and nodes among the image's identities.
    pub fn new(image: Image<'a>, cluster: &'a Cluster, lock: Option<&'a FqdnLock>) -> Self {
        Interpreter {
            cluster,
            lock,
            parties: PartyIdentities::new(&image, cluster),
            fqdns: image
                .fqdns()
                .map(|entry| (FqdnPattern::from_text(entry.text, entry.is_pattern), entry.class))
                .collect(),
            requests: vec![OnceCell::new(); image.request_set_count()],
            image,
        }
    }

    /// The node that the image is for; `None` for the whole cluster's.
    pub fn node(&self) -> Option<&'a str> {
        self.image.fact(NODE_FACT)
    }

    /// The classes of a peer: its own, and for an address outside those of its names.
    /// `None` for a pod or node that the image does not know.
    fn classes(&self, peer: Party, home: Option<usize>, flow: &Flow) -> Option<Vec<PeerClass>> {
        let Party::Outside(address) = peer else {
            return Some(vec![self.image.endpoint(self.parties.identity(peer, home))?.class]);
        };
        let mut classes = vec![self.image.address_class(address)];
        if peer == flow.destination {
            for name in flow.names(self.lock) {
                let selecting = self.fqdns.iter().filter(|(pattern, _)| pattern.matches(name));
                classes.extend(selecting.map(|&(_, class)| class));
            }
        }
        Some(classes)
    }

    /// The rules of a request set that admit what is asked.
    fn admitting(&self, set: u32, asked: Asked<'_>) -> Option<u32> {
        let rules = self.requests.get(set as usize)?.get_or_init(|| {
            let rules =
                self.image.request_set(set).into_iter().flat_map(|set| set.rules().collect::<Vec<_>>());
            let secrets = &self.cluster.secrets;
            rules.map(|rule| (rule.rule(), Matcher::from_image(&rule, secrets))).collect()
        });
        let admits = |matcher: &Option<Matcher>| matcher.as_ref().is_none_or(|matcher| matcher.admits(asked));
        rules.iter().filter(|(_, matcher)| admits(matcher)).map(|&(rule, _)| rule).min()
    }

    fn combine(&self, outcomes: &[Outcome], asked: Asked<'_>) -> Side {
        let strongest = |outcome: &&Outcome| strength(outcome);
        let Some(first) = outcomes.iter().max_by_key(strongest) else { return Side::NO_POLICY };
        let level = strongest(&first);
        let winners = || outcomes.iter().filter(|outcome| strongest(outcome) == level);
        let side = Side {
            action: first.action,
            reason: first.reason,
            rule: winners().filter_map(|outcome| outcome.rule).min(),
            passes: None,
        };
        if first.action != Action::Redirect {
            return side;
        }
        let admitting = winners().filter_map(|outcome| self.admitting(outcome.requests?.1, asked)).min();
        let free = winners().filter_map(|winner| winner.requests).any(|(kind, set)| {
            self.image.request_set(set).is_some_and(|set| set.wildcard)
                || outcomes.iter().any(|outcome| match kind {
                    RequestKind::Http | RequestKind::Tls => outcome.plain,
                    RequestKind::Dns => outcome.exact_port,
                })
        });
        Side { rule: admitting.or(side.rule), passes: Some(free || admitting.is_some()), ..side }
    }
}

/// Of several outcomes the one of the greatest strength holds.
pub(crate) fn strength(outcome: &Outcome) -> u8 {
    match (outcome.action, outcome.reason) {
        (_, Reason::UnknownEndpoint) => 5,
        (Action::Deny, Reason::DeniedByRule) => 4,
        (Action::Redirect, _) => 3,
        (Action::Allow, Reason::AllowedByRule) => 2,
        (_, Reason::OwnNode) => 1,
        _ => 0,
    }
}

impl Engine for Interpreter<'_> {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let (subject, peer) = flow.subject_and_peer(direction);
        if matches!(subject, Party::Outside(_)) {
            return Side::NO_POLICY;
        }
        let home = self.cluster.home(subject);
        let Some(endpoint) = self.image.endpoint(self.parties.identity(subject, home)) else {
            return self.combine(&[Outcome::UNKNOWN], flow.asked());
        };
        if !endpoint.enforced_here {
            return ELSEWHERE;
        }
        let table = match direction {
            Direction::Ingress => endpoint.ingress,
            Direction::Egress => endpoint.egress,
        };
        let port = self.image.port_class(flow.protocol, flow.port);
        if table == Table::NO_POLICY {
            return Side::NO_POLICY;
        }
        // Where policy applies, a peer that the image does not know could be one that it denies.
        let Some(classes) = self.classes(peer, home, flow) else {
            return self.combine(&[Outcome::UNKNOWN], flow.asked());
        };
        let verdicts = self.image.verdicts(table, port);
        let outcomes: Vec<Outcome> = classes.into_iter().map(|class| verdicts.of(class)).collect();
        self.combine(&outcomes, flow.asked())
    }
}
