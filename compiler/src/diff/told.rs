//! Numbers back into what they stand for: places into pods and nodes, classes into blocks and ports, combinations of
//! patterns into names.
//!
//! Who is not there is left out: a node that no subject runs on is nobody's own node, and a block in which every
//! address is a pod's or a node's holds no address outside.
//!
//! Not here: words for people.

use super::cell::Verdict;
use super::lists::List;
use super::merge::Merged;
use super::name_terms::{Names, Naming};
use super::tables::{self, Ground};
use super::{Asked, Difference, Said};
use crate::classes::aggregate::{blocks_v4, blocks_v6};
use crate::classes::sweep::Range;
use crate::cluster::{Cluster, Party};
use crate::compile::classified::Classified;
use crate::identity::{Identities, Kind};
use crate::ir::protocol;
use ipnet::IpNet;
use rustc_hash::FxHashSet;
use std::net::IpAddr;
use weir_abi::{Action, Identity, Reason};

/// Who is on the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peers {
    /// Anyone at all; the rest lists them.
    pub everyone: bool,
    /// Pods, by place in the cluster.
    pub pods: Vec<usize>,
    /// Nodes as seen from elsewhere (`remote-node`), by place in the cluster.
    pub nodes: Vec<usize>,
    /// Nodes as seen by their own pods and themselves (`host`), by place in the cluster.
    pub own_nodes: Vec<usize>,
    /// Entities that no object of the cluster is.
    pub entities: Vec<&'static str>,
    /// Addresses outside the cluster. What is a pod's or a node's address is not meant.
    pub outside: Vec<Outside>,
}

/// Addresses outside, under some names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outside {
    /// The fewest blocks; IPv4 first, both by rising address.
    pub blocks: Vec<IpNet>,
    /// Under which names.
    pub names: Names,
}

/// Ports of one protocol; for ICMP the types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// IP protocol.
    pub protocol: u8,
    /// First.
    pub first: u16,
    /// Last, inclusive.
    pub last: u16,
}

/// Destination ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// Of protocols that a rule of either set names.
    pub ranges: Vec<PortRange>,
    /// All ports of every other protocol besides.
    pub other_protocols: bool,
    /// What of the protocols that a rule names is not among the ranges.
    pub rest: Vec<PortRange>,
}

impl Ports {
    /// Every port of every protocol.
    pub fn is_everything(&self) -> bool {
        self.other_protocols && self.rest.is_empty()
    }

    /// Whether a port is among them.
    pub fn contain(&self, protocol: u8, port: u16) -> bool {
        let within = |ranges: &[PortRange]| {
            ranges
                .iter()
                .any(|range| range.protocol == protocol && (range.first..=range.last).contains(&port))
        };
        within(&self.ranges) || self.other_protocols && !within(&self.rest)
    }
}

/// What numbers stand for.
pub(super) struct Teller<'c> {
    cluster: &'c Cluster,
    identities: &'c Identities<'c>,
    classified: &'c Classified<'c, 2>,
    naming: Naming<'c>,
    /// Pods by the place of their identity.
    pods: Vec<Vec<usize>>,
    v4: ByClass,
    v6: ByClass,
    /// Addresses of pods and nodes, sorted.
    v4_parties: Vec<u32>,
    v6_parties: Vec<u128>,
}

/// Places of ranges by class: those of class `c` are `places[starts[c]..starts[c + 1]]`.
struct ByClass {
    starts: Vec<u32>,
    places: Vec<u32>,
}

impl ByClass {
    fn new<A>(ranges: &[Range<A>], classes: usize) -> Self {
        let mut starts = vec![0u32; classes + 2];
        for range in ranges {
            starts[range.class as usize + 2] += 1;
        }
        for class in 2..starts.len() {
            starts[class] += starts[class - 1];
        }
        let mut places = vec![0; ranges.len()];
        for (place, range) in (0u32..).zip(ranges) {
            let next = &mut starts[range.class as usize + 1];
            places[*next as usize] = place;
            *next += 1;
        }
        starts.pop();
        ByClass { starts, places }
    }

    fn of(&self, class: u32) -> &[u32] {
        let at = class as usize;
        let ends = self.starts.get(at).zip(self.starts.get(at + 1));
        ends.and_then(|(&start, &end)| self.places.get(start as usize..end as usize)).unwrap_or(&[])
    }

    /// The places of the ranges of some classes, sorted.
    fn of_all(&self, classes: &[u32]) -> Vec<u32> {
        let mut places: Vec<u32> = classes.iter().flat_map(|&class| self.of(class)).copied().collect();
        places.sort_unstable();
        places
    }
}

impl<'c> Teller<'c> {
    pub(super) fn new(
        cluster: &'c Cluster,
        identities: &'c Identities<'c>,
        classified: &'c Classified<'c, 2>,
        combinations: &'c [Vec<u32>],
    ) -> Self {
        let mut pods = vec![Vec::new(); identities.entries.len()];
        for pod in 0..cluster.pods.len() {
            let place = identities.place(Party::Pod(pod), None);
            if let Some(pods) = place.and_then(|place| pods.get_mut(place as usize)) {
                pods.push(pod);
            }
        }
        let (mut v4_parties, mut v6_parties) = (Vec::new(), Vec::new());
        for (address, _) in cluster.addresses() {
            match address {
                IpAddr::V4(address) => v4_parties.push(address.to_bits()),
                IpAddr::V6(address) => v6_parties.push(address.to_bits()),
            }
        }
        v4_parties.sort_unstable();
        v6_parties.sort_unstable();
        let peers = &classified.peers;
        let naming = Naming { patterns: &peers.fqdns, combinations };
        let (v4, v6) =
            (ByClass::new(&peers.v4, peers.classes.len()), ByClass::new(&peers.v6, peers.classes.len()));
        Teller { cluster, identities, classified, naming, pods, v4, v6, v4_parties, v6_parties }
    }

    /// By peer class, the identities that are peers by themselves. Those that stand for addresses outside are not:
    /// such addresses go by their ranges. Nor are the two that stand for nodes, where there are nodes.
    pub(super) fn places_of_classes(&self) -> Vec<Vec<u32>> {
        let mut places = vec![Vec::new(); self.classified.peers.classes.len()];
        let classes = &self.classified.peers.by_place;
        for ((place, entry), &class) in (0u32..).zip(&self.identities.entries).zip(classes) {
            let is_peer = entry.kind != Kind::Entity || self.entity(entry.identity).is_some();
            if is_peer && let Some(places) = places.get_mut(class as usize) {
                places.push(place);
            }
        }
        places
    }

    fn entity(&self, identity: Identity) -> Option<&'static str> {
        match identity {
            Identity::UNMANAGED => Some("unmanaged"),
            Identity::HEALTH => Some("health"),
            Identity::INIT => Some("init"),
            Identity::INGRESS => Some("ingress"),
            Identity::HOST if self.cluster.nodes.is_empty() => Some("host"),
            Identity::REMOTE_NODE if self.cluster.nodes.is_empty() => Some("remote-node"),
            _ => None,
        }
    }

    /// By peer class, whether an address outside has it.
    pub(super) fn outside_classes(&self) -> Vec<bool> {
        let peers = &self.classified.peers;
        let has = |class| !self.v4.of(class).is_empty() || !self.v6.of(class).is_empty();
        (0u32..).take(peers.classes.len()).map(has).collect()
    }

    /// `None` if nobody is concerned.
    pub(super) fn difference(&self, merged: &Merged, ground: &Ground<'_>) -> Option<Difference> {
        let subjects = self.subjects(ground.lists.get(merged.subjects));
        let peers = self.peers(&merged.peers, &subjects, ground)?;
        let [before, after] = [0, 1].map(|set| said(&merged.change[set], merged.isolated_by[set], ground));
        let ports = self.ports(ground.lists.get(merged.ports));
        (!subjects.is_empty()).then_some(Difference {
            direction: merged.direction,
            subjects,
            peers,
            ports,
            before,
            after,
            other_side_denies: Vec::new(),
        })
    }

    /// The pods of some identities.
    pub(super) fn pods(&self, places: &[u32]) -> Vec<usize> {
        let pods = places.iter().filter_map(|&place| self.pods.get(place as usize));
        let mut pods: Vec<usize> = pods.flatten().copied().collect();
        pods.sort_unstable();
        pods
    }

    fn subjects(&self, places: &[u32]) -> Vec<Party> {
        let mut subjects = Vec::new();
        for &place in places {
            match self.identities.entries.get(place as usize).map(|entry| entry.kind) {
                Some(Kind::OwnNode(node)) => subjects.push(Party::Node(node)),
                _ => subjects
                    .extend(self.pods.get(place as usize).into_iter().flatten().copied().map(Party::Pod)),
            }
        }
        subjects.sort_unstable();
        subjects
    }

    fn peers(&self, peers: &tables::Peers, subjects: &[Party], ground: &Ground<'_>) -> Option<Peers> {
        let homes: FxHashSet<Option<usize>> = subjects.iter().map(|&one| self.cluster.home(one)).collect();
        let is_elsewhere = |node: usize| homes.len() > 1 || !homes.contains(&Some(node));
        let is_own = |node: usize| homes.contains(&Some(node));
        let mut told = Peers::default();
        for &place in ground.lists.get(peers.parties) {
            let Some(entry) = self.identities.entries.get(place as usize) else { continue };
            match entry.kind {
                Kind::Pods => told.pods.extend(self.pods.get(place as usize).into_iter().flatten()),
                Kind::RemoteNode(node) if is_elsewhere(node) => told.nodes.push(node),
                Kind::OwnNode(node) if is_own(node) => told.own_nodes.push(node),
                Kind::RemoteNode(_) | Kind::OwnNode(_) => {}
                Kind::Entity => told.entities.extend(self.entity(entry.identity)),
            }
        }
        told.pods.sort_unstable();
        for &(names, classes) in &peers.outside {
            let blocks = self.blocks(ground.lists.get(classes));
            if blocks.is_empty() {
                continue;
            }
            let mut names = ground.lists.get(names).to_vec();
            if names.first() == Some(&0) {
                // Names under which these addresses and others are meant need not be taken out here.
                let all = ground.lists.get(classes);
                let wider =
                    peers.outside.iter().filter(|&&(_, others)| is_within(all, ground.lists.get(others)));
                names.extend(wider.flat_map(|&(names, _)| ground.lists.get(names)));
                names.sort_unstable();
                names.dedup();
            }
            told.outside.push(Outside { blocks, names: self.naming.names(&names) });
        }
        let is_nobody = told == Peers::default();
        let nodes = || 0..self.cluster.nodes.len();
        let is_world = |outside: &Outside| {
            outside.names == Names::Any && outside.blocks.iter().all(|block| block.prefix_len() == 0)
        };
        told.everyone = told.pods.len() == self.pods.iter().map(Vec::len).sum::<usize>()
            && told.nodes.len() == nodes().filter(|&node| is_elsewhere(node)).count()
            && told.own_nodes.len() == nodes().filter(|&node| is_own(node)).count()
            && told.entities.len() == if self.cluster.nodes.is_empty() { 6 } else { 4 }
            && matches!(&told.outside[..], [outside] if outside.blocks.len() == 2 && is_world(outside));
        (!is_nobody).then_some(told)
    }

    fn blocks(&self, classes: &[u32]) -> Vec<IpNet> {
        let peers = &self.classified.peers;
        let mut blocks = Vec::new();
        let v4 = spans(&peers.v4, &self.v4.of_all(classes), u32::MAX, |start| start - 1);
        let is_outside = |&(first, last): &(u32, u32)| {
            let inside = held(&self.v4_parties, first, last);
            u64::from(last - first) >= inside
        };
        v4.filter(is_outside).for_each(|(first, last)| blocks_v4(first, last, &mut blocks));
        let v6 = spans(&peers.v6, &self.v6.of_all(classes), u128::MAX, |start| start - 1);
        let is_outside = |&(first, last): &(u128, u128)| {
            let inside = held(&self.v6_parties, first, last);
            last - first >= u128::from(inside)
        };
        v6.filter(is_outside).for_each(|(first, last)| blocks_v6(first, last, &mut blocks));
        blocks
    }

    fn ports(&self, classes: &[u32]) -> Ports {
        let mut ports = Ports { other_protocols: classes.first() == Some(&0), ..Ports::default() };
        for (&protocol, starts) in &self.classified.ports.protocols {
            let end = if matches!(protocol, protocol::ICMP | protocol::ICMPV6) { 255 } else { u16::MAX };
            let next = starts.iter().skip(1).map(|&(start, _)| start - 1).chain([u16::MAX]);
            for (&(first, class), last) in starts.iter().zip(next) {
                let is_in = classes.binary_search(&class).is_ok();
                let ranges = if is_in { &mut ports.ranges } else { &mut ports.rest };
                let last = last.min(end);
                match ranges.last_mut() {
                    Some(range) if range.protocol == protocol && range.last.checked_add(1) == Some(first) => {
                        range.last = range.last.max(last);
                    }
                    _ if first <= last => ranges.push(PortRange { protocol, first, last }),
                    _ => {}
                }
            }
        }
        ports
    }
}

/// Whether all of a sorted list is in another.
fn is_within(some: &[u32], others: &[u32]) -> bool {
    some.len() <= others.len() && some.iter().all(|one| others.binary_search(one).is_ok())
}

/// First and last addresses of the ranges at some places, neighbours as one.
fn spans<'r, A: Copy + 'r>(
    ranges: &'r [Range<A>],
    places: &[u32],
    end: A,
    before: impl Fn(A) -> A + 'r,
) -> impl Iterator<Item = (A, A)> + 'r {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &place in places {
        let place = place as usize;
        match runs.last_mut() {
            Some((_, next)) if *next == place => *next += 1,
            _ => runs.push((place, place + 1)),
        }
    }
    runs.into_iter().filter_map(move |(first, next)| {
        Some((ranges.get(first)?.start, ranges.get(next).map_or(end, |range| before(range.start))))
    })
}

/// How many of the sorted addresses are in a range.
fn held<A: Ord>(addresses: &[A], first: A, last: A) -> u64 {
    let from = addresses.partition_point(|address| *address < first);
    let to = addresses.partition_point(|address| *address <= last);
    u64::try_from(to - from).unwrap_or(u64::MAX)
}

fn said(verdict: &Verdict, isolated_by: List, ground: &Ground<'_>) -> Said {
    let rules = if verdict.reason == Reason::DefaultDeny { isolated_by } else { verdict.rules };
    let requests = (verdict.action == Action::Redirect).then(|| {
        let asked = ground.lists.get(verdict.requests).iter();
        let mut rules: Vec<_> =
            asked.filter_map(|&number| ground.contents.request(number).cloned()).collect();
        rules.sort_unstable();
        Asked { everything: verdict.free, rules }
    });
    Said { action: verdict.action, reason: verdict.reason, rules: ground.lists.get(rules).to_vec(), requests }
}
