//! Expectations held against an image: does everybody that one is about get the verdict that is expected?
//!
//! ```text
//! from, to ─ members ─> parties ──┐ those that the image tells apart are looked at, one for all its likes
//! ports ──── ports ───> ports ────┼─ judge (an Interpreter) ─> holds, or one connection that does not
//! blocks ─── addresses ─> ranges ─┘
//! ```
//!
//! Nothing is sampled. Pods of one class, and under one table where their own policies are asked, get one answer from
//! the image, and so do the addresses of a class and the ports of a class; one of each stands for all. So what is left out could not have
//! been answered otherwise, and the parties, addresses and ports that remain are all asked about.
//!
//! Not here: why a connection is decided so (the reference evaluator tells), and how that is shown.

mod addresses;
mod members;
mod ports;

use crate::cluster::{Cluster, Party};
use crate::flow::{self, Enforced, Flow, Judgement, Verdict};
use crate::fqdn::FqdnLock;
use crate::interpret::Interpreter;
use crate::ir::{Direction, PolicySet, Ports};
use crate::parties::PartyIdentities;
use crate::reference::Reference;
use crate::requests::{DnsRequest, HttpRequest};
use addresses::Addresses;
use members::Member;
use ports::PortClasses;
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;
use weir_abi::{Image, Reason};
use weir_grammar::span::Span;
use weir_grammar::tree::{Expectation, ExpectedDirection, ExpectedRequest, ExpectedVerdict};

/// Connections that one expectation may ask about: some minutes of work.
const MOST: usize = 100_000_000;

/// What became of an expectation.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Everybody gets the verdict.
    Holds,
    /// This connection does not.
    Fails(Box<Counterexample>),
    /// It is about nobody, so that it says nothing.
    Nobody(Nobody),
    /// It asks about too many connections that the image tells apart.
    TooMany,
}

/// A connection that gets another verdict.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The connection.
    pub flow: Flow,
    /// Its verdict.
    pub judgement: Judgement,
}

/// Why an expectation is about nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nobody {
    /// What is to blame.
    pub span: Span,
    /// What is not there.
    pub message: String,
    /// What may have been meant.
    pub help: Option<String>,
}

/// Holds expectations against an image.
#[derive(Debug)]
pub struct Judge<'a> {
    image: Image<'a>,
    set: &'a PolicySet,
    cluster: &'a Cluster,
    lock: Option<&'a FqdnLock>,
    interpreter: Interpreter<'a>,
    parties: PartyIdentities,
    addresses: Addresses,
    ports: PortClasses,
    exercised: BTreeSet<u32>,
    /// Who was denied by default.
    denied: BTreeSet<(Party, Direction)>,
    connections: usize,
}

impl<'a> Judge<'a> {
    /// For the image of a whole cluster, which was compiled from `set` with these names.
    pub fn new(
        image: Image<'a>,
        set: &'a PolicySet,
        cluster: &'a Cluster,
        lock: Option<&'a FqdnLock>,
    ) -> Self {
        Judge {
            interpreter: Interpreter::new(image, cluster, lock),
            parties: PartyIdentities::new(&image, cluster),
            addresses: Addresses::new(&image, set, cluster, lock),
            ports: PortClasses::new(&image),
            exercised: BTreeSet::new(),
            denied: BTreeSet::new(),
            connections: 0,
            image,
            set,
            cluster,
            lock,
        }
    }

    /// The rules that decided a connection so far, by id. A rule that can match nobody has no other work than to
    /// isolate: it has done that once somebody whom it selects was denied by default.
    pub fn exercised(&self) -> BTreeSet<u32> {
        let mut exercised = self.exercised.clone();
        let reference = Reference::new(self.set, self.cluster, self.lock);
        for &(subject, direction) in &self.denied {
            let selecting = reference.rules_for(subject, direction).into_iter();
            exercised.extend(selecting.filter(|&id| self.only_isolates(id)));
        }
        exercised
    }

    fn only_isolates(&self, id: u32) -> bool {
        let Some(rule) = self.set.rules.get(id as usize) else { return false };
        let has_peers = self.set.peers.get(rule.peers).is_some_and(|peers| {
            peers.anyone || !(peers.selectors.is_empty() && peers.cidrs.is_empty() && peers.fqdns.is_empty())
        });
        rule.isolates && (!has_peers || matches!(&rule.ports, Ports::Any(list) if list.is_empty()))
    }

    /// How many connections were asked about so far.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Holds one expectation against the image.
    pub fn judge(&mut self, expectation: &Expectation) -> Outcome {
        match self.ask(expectation) {
            Ok(outcome) => outcome,
            Err(nobody) => Outcome::Nobody(nobody),
        }
    }

    fn ask(&mut self, expectation: &Expectation) -> Result<Outcome, Nobody> {
        let sources = self.members(&expectation.from)?;
        let destinations = self.members(&expectation.to)?;
        let is_asked = |direction| {
            expectation.direction
                != Some(match direction {
                    Direction::Ingress => ExpectedDirection::Egress,
                    Direction::Egress => ExpectedDirection::Ingress,
                })
        };
        let of_source =
            Differences::new(&destinations, is_asked(Direction::Egress), is_asked(Direction::Ingress));
        let of_destination =
            Differences::new(&sources, is_asked(Direction::Ingress), is_asked(Direction::Egress));
        let sources = self.unlike(sources, of_source, None);
        let destinations = self.unlike(destinations, of_destination, Some(expectation));
        let mut asked = 0usize;
        let mut flow = flow(expectation);
        let mut is_pair = false;
        for source in &sources {
            for destination in &destinations {
                let Some((from, to)) = source.meets(destination, self.cluster) else { continue };
                is_pair = true;
                for &(protocol, port) in &destination.ports {
                    if !is_of_family(protocol, [from, to]) {
                        continue;
                    }
                    asked += 1;
                    if asked > MOST {
                        return Ok(Outcome::TooMany);
                    }
                    (flow.source, flow.destination) = (from, to);
                    (flow.protocol, flow.port) = (protocol, port);
                    flow.fqdn.clear();
                    flow.fqdn.extend(destination.name.clone());
                    self.connections += 1;
                    let judgement = flow::judge(&self.interpreter, &flow);
                    self.note(&flow, &judgement);
                    let passes = matches!(judgement.verdict, Verdict::Allow | Verdict::RedirectAllow);
                    if passes != (expectation.verdict.value == ExpectedVerdict::Allow) {
                        return Ok(Outcome::Fails(Box::new(Counterexample { flow, judgement })));
                    }
                }
            }
        }
        if asked == 0 {
            return Err(self.no_connection(expectation, is_pair, [&sources, &destinations]));
        }
        Ok(Outcome::Holds)
    }

    fn note(&mut self, flow: &Flow, judgement: &Judgement) {
        for &(direction, side) in &judgement.sides {
            match side.reason {
                Reason::AllowedByRule | Reason::DeniedByRule => self.exercised.extend(side.rule),
                Reason::DefaultDeny => {
                    self.denied.insert((flow.subject_and_peer(direction).0, direction));
                }
                _ => {}
            }
        }
    }

    /// One group for all members that the image cannot tell apart, as far as that makes a difference.
    fn unlike(
        &self,
        members: Vec<Member>,
        differences: Differences,
        ports: Option<&Expectation>,
    ) -> Vec<Group> {
        let mut groups: indexed::Indexed<Key, Group> = indexed::Indexed::default();
        let mut seen = FxHashSet::default();
        for member in members {
            if !seen.insert((member.party, member.relation, member.name.clone())) {
                continue;
            }
            let is_destination = ports.is_some();
            let ports = ports.map(|expectation| self.ports.of(expectation, member.party, self.cluster));
            let ports = ports.unwrap_or_default();
            let like = match member.party {
                Party::Pod(_) => {
                    let home = self.cluster.home(member.party).filter(|_| differences.by_home);
                    let endpoint = self.image.endpoint(self.parties.identity(member.party, home));
                    endpoint.map(|endpoint| {
                        let table = if is_destination { endpoint.ingress } else { endpoint.egress };
                        Like::Pods {
                            class: differences.by_class.then_some(endpoint.class.0),
                            table: differences.by_table.then_some(table.0),
                            home,
                        }
                    })
                }
                Party::Node(_) | Party::Outside(_) => None,
            };
            let like = like.unwrap_or(Like::Alone(member.party));
            let key =
                Key { like, relation: member.relation, name: member.name.clone(), ports: ports.clone() };
            let group = groups.entry(key, || Group {
                relation: member.relation,
                name: member.name,
                ports,
                parties: Vec::new(),
            });
            // Two do: one for a pair with another member of the same group.
            if group.parties.len() < 2 {
                group.parties.push(member.party);
            }
        }
        groups.into_values()
    }

    fn no_connection(&self, expectation: &Expectation, is_pair: bool, sides: [&[Group]; 2]) -> Nobody {
        let (span, message, help) = if is_pair {
            let named = ports::names(expectation);
            if named.is_empty() {
                // Every pair was passed over for its address families.
                let mut parties = sides.into_iter().flatten().flat_map(|group| &group.parties);
                if parties.all(|party| matches!(party, Party::Outside(_))) {
                    let message = "both sides are outside of the cluster, where no policy is asked";
                    let help = "name a workload, pods or nodes on one side at least";
                    (expectation.span, message.to_owned(), Some(help.to_owned()))
                } else {
                    let message = "the addresses have no protocol of their family here";
                    let help = "ICMP is of IPv4, and ICMPv6 of IPv6";
                    (expectation.span, message.to_owned(), Some(help.to_owned()))
                }
            } else {
                let known = ports::known_names(self.cluster);
                let help =
                    match members::nearest(named.first().copied().unwrap_or(""), known.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "a port name is that of a container port of the pods that are connected to"
                            .to_owned(),
                    };
                let message =
                    format!("nobody that is connected to has a port named `{}`", named.join("` or `"));
                (expectation.span, message, Some(help))
            }
        } else {
            let help = "`host` is the node of the pod on the other side, `remote-node` every other node; a pod's traffic to itself never meets a policy";
            (expectation.span, "nobody here connects to anybody there".to_owned(), Some(help.to_owned()))
        };
        Nobody { span, message, help }
    }
}

/// Members that get one answer.
#[derive(Debug)]
struct Group {
    relation: members::Relation,
    name: Option<String>,
    /// Protocols and ports that are asked about, where this is a destination.
    ports: Vec<(u8, u16)>,
    parties: Vec<Party>,
}

/// What of a pod on one side makes a difference.
#[derive(Clone, Copy, Debug)]
struct Differences {
    /// Its own policies are asked.
    by_table: bool,
    /// It is a peer to policies of the other side, which has more than addresses outside.
    by_class: bool,
    /// The other side has nodes: each is the host of its own pods and a remote node to all others.
    by_home: bool,
}

impl Differences {
    fn new(others: &[Member], asks_own: bool, asks_others: bool) -> Self {
        let any = |test: fn(&Party) -> bool| others.iter().any(|other| test(&other.party));
        Differences {
            by_table: asks_own,
            by_class: asks_others && any(|party| !matches!(party, Party::Outside(_))),
            by_home: any(|party| matches!(party, Party::Node(_))),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    like: Like,
    relation: members::Relation,
    name: Option<String>,
    ports: Vec<(u8, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Like {
    Pods { class: Option<u32>, table: Option<u32>, home: Option<usize> },
    Alone(Party),
}

impl Group {
    /// A pair of members that may meet: not one with itself, and nodes as the expectation sees them.
    fn meets(&self, other: &Group, cluster: &Cluster) -> Option<(Party, Party)> {
        let pairs = self.parties.iter().flat_map(|&a| other.parties.iter().map(move |&b| (a, b)));
        pairs.into_iter().find(|&(a, b)| {
            a != b && self.relation.admits(a, b, cluster) && other.relation.admits(b, a, cluster)
        })
    }
}

/// Whether a protocol of one address family can be between such parties.
fn is_of_family(protocol: u8, parties: [Party; 2]) -> bool {
    use crate::ir::protocol::{ICMP, ICMPV6};
    let families = parties.map(|party| match party {
        Party::Outside(address) => Some(address.is_ipv4()),
        Party::Pod(_) | Party::Node(_) => None,
    });
    let is = |is_v4| families.iter().flatten().all(|&family| family == is_v4);
    match protocol {
        ICMP => is(true),
        ICMPV6 => is(false),
        _ => is(true) || is(false),
    }
}

/// The connection that an expectation is about, ends and port still open.
fn flow(expectation: &Expectation) -> Flow {
    let (http, dns) = match &expectation.request {
        None => (None, None),
        Some(ExpectedRequest::Dns(query)) => (None, Some(DnsRequest { query: query.clone() })),
        Some(ExpectedRequest::Http { method, path, host, headers }) => {
            let request = HttpRequest {
                method: method.clone(),
                path: path.clone(),
                host: host.clone(),
                headers: headers.clone(),
            };
            (Some(request), None)
        }
    };
    Flow {
        id: String::new(),
        span: expectation.span,
        source: Party::Pod(usize::MAX),
        destination: Party::Pod(usize::MAX),
        protocol: 0,
        port: 0,
        enforced: match expectation.direction {
            None => Enforced::Both,
            Some(ExpectedDirection::Ingress) => Enforced::Ingress,
            Some(ExpectedDirection::Egress) => Enforced::Egress,
        },
        http,
        dns,
        fqdn: Vec::new(),
        expected: Vec::new(),
        why: None,
    }
}

/// A map that keeps the order in which its keys came.
mod indexed {
    use rustc_hash::FxHashMap;
    use std::hash::Hash;

    #[derive(Debug)]
    pub(super) struct Indexed<K, V> {
        places: FxHashMap<K, usize>,
        values: Vec<V>,
    }

    impl<K, V> Default for Indexed<K, V> {
        fn default() -> Self {
            Indexed { places: FxHashMap::default(), values: Vec::new() }
        }
    }

    impl<K: Hash + Eq, V> Indexed<K, V> {
        pub(super) fn entry(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
            let next = self.values.len();
            let place = *self.places.entry(key).or_insert(next);
            if place == next {
                self.values.push(value());
            }
            &mut self.values[place]
        }

        pub(super) fn into_values(self) -> Vec<V> {
            self.values
        }
    }
}
