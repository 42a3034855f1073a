//! What tells peers and ports apart, before any table is built: identities to rules, rules to marks,
//! marks to classes.
//!
//! An image is of one set of rules. Two sets that are compared ([`crate::diff`]) go through here at once, as one
//! policy set: they get classes in common, and every endpoint a table's rules from each of the two.
//!
//! Not here: tables and bytes.

use super::marks::PeerMarks;
use super::{CompileError, Input, rules};
use crate::classes::ports::{PortClasses, PortMarks};
use crate::classes::sweep::{MAX_MARKS, Range, Sweep};
use crate::classes::{Classes, MAX_MEMBERSHIPS, Mark};
use crate::cluster::{Cluster, Party};
use crate::identity::{Entry, Identities, Kind};
use crate::ir::{Direction, PolicySet, PortMatch, Ports, Subject};
use crate::resolve::LabelIndex;
use crate::tables::TableRules;
use roaring::RoaringBitmap;
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::IpAddr;
use weir_abi::layout::{MAX_PEER_CLASSES, MAX_PORT_CLASSES};
use weir_grammar::tree::ContainerPort;

/// Prefixes of all rules, at most: their ranges would not fit an image.
const MAX_PREFIXES: usize = 1 << 25;

/// Peers and ports in classes, and the rules that each endpoint is under.
pub(crate) struct Classified<'a, const SETS: usize> {
    /// The endpoints, by place among the identities.
    pub(crate) endpoints: Vec<u32>,
    /// For each set of rules, which of them each endpoint is under.
    pub(crate) under: [Under; SETS],
    /// How many marks of peers there are.
    pub(crate) marks: usize,
    pub(crate) ports: PortClasses,
    pub(crate) peers: PeerClasses<'a>,
}

/// Classifies, for one node or for the whole cluster; `on_classify` is called once selectors are resolved.
/// `ends` are the ids one past the last rule of each set: rules of different sets never meet in a table.
///
/// # Errors
/// More than can be told apart.
pub(crate) fn classified<'a, const SETS: usize>(
    input: &Input<'a>,
    identities: &Identities<'_>,
    node: Option<usize>,
    ends: [u32; SETS],
    on_classify: &mut dyn FnMut(),
) -> Result<Classified<'a, SETS>, CompileError> {
    let (set, cluster) = (input.set, input.cluster);
    let index = LabelIndex::new(identities);
    let mut endpoints = endpoints(set, cluster, identities, &index, node);
    let mut peers = PeerMarks::new(set, cluster, identities, &index);
    let mut ports = PortMarks::default();
    let under = ends.map(|end| {
        let rest: Vec<EndpointRules> = endpoints.iter_mut().map(|endpoint| endpoint.split_off(end)).collect();
        let under = table_rules(set, identities, &endpoints, &mut peers, &mut ports);
        endpoints = rest;
        under
    });

    on_classify();
    let ports = ports.classify();
    let most = MAX_PORT_CLASSES as usize - 1;
    check_overlaps("ports", &ports.classes)?;
    check_classes("ports", ports.classes.len(), most)?;
    check_classes("sets of peers", peers.len(), MAX_MARKS)?;
    check_classes("prefixes", peers.prefix_count(input.addresses_of), MAX_PREFIXES)?;
    let classes = classify(input, identities, &peers);
    check_overlaps("peers", &classes.classes)?;
    check_classes("peers", classes.classes.len(), MAX_PEER_CLASSES as usize)?;
    let endpoints = endpoints.iter().map(|endpoint| endpoint.place).collect();
    Ok(Classified { endpoints, under, marks: peers.len(), ports, peers: classes })
}

pub(super) fn check_classes(what: &'static str, count: usize, most: usize) -> Result<(), CompileError> {
    if count > most { Err(CompileError::TooManyClasses { what, count, most }) } else { Ok(()) }
}

fn check_overlaps(what: &'static str, classes: &Classes) -> Result<(), CompileError> {
    if classes.is_full() {
        Err(CompileError::TooManyOverlaps { what, most: MAX_MEMBERSHIPS })
    } else {
        Ok(())
    }
}

/// The label keys that any selector names.
pub fn selected_keys(set: &PolicySet) -> FxHashSet<String> {
    let subjects = set.subjects.iter().map(|subject| match subject {
        Subject::Pods(selector) | Subject::Nodes(selector) => selector,
    });
    let peers = set.peers.iter().flat_map(|peers| &peers.selectors);
    subjects.chain(peers).flatten().map(|requirement| requirement.key.value.name.clone()).collect()
}

/// An endpoint whose policy the image has: its place among the identities, and its rules.
pub(crate) struct EndpointRules {
    pub(crate) place: u32,
    pub(crate) ingress: Vec<u32>,
    pub(crate) egress: Vec<u32>,
}

impl EndpointRules {
    /// Takes away the rules from an id on.
    fn split_off(&mut self, end: u32) -> EndpointRules {
        let from = |rules: &mut Vec<u32>| rules.split_off(rules.partition_point(|&id| id < end));
        EndpointRules { place: self.place, ingress: from(&mut self.ingress), egress: from(&mut self.egress) }
    }
}

/// The endpoints of a node, or of all, and the rules that select them.
pub(crate) fn endpoints(
    set: &PolicySet,
    cluster: &Cluster,
    identities: &Identities<'_>,
    index: &LabelIndex<'_>,
    node: Option<usize>,
) -> Vec<EndpointRules> {
    let mut here = RoaringBitmap::new();
    for (place, pod) in cluster.pods.iter().enumerate() {
        let on_node = node.is_none() || cluster.node_of(pod) == node;
        if on_node && let Some(place) = identities.place(Party::Pod(place), None) {
            here.insert(place);
        }
    }
    for (place, entry) in (0..).zip(&identities.entries) {
        match entry.kind {
            Kind::OwnNode(at) if node.is_none_or(|node| node == at) => _ = here.insert(place),
            _ => {}
        }
    }
    let mut rules_of_subject = vec![(Vec::new(), Vec::new()); set.subjects.len()];
    for (id, rule) in (0u32..).zip(&set.rules) {
        let (ingress, egress) = &mut rules_of_subject[rule.subject];
        match rule.direction {
            Direction::Ingress => ingress.push(id),
            Direction::Egress => egress.push(id),
        }
    }
    let mut endpoints: Vec<EndpointRules> =
        here.iter().map(|place| EndpointRules { place, ingress: Vec::new(), egress: Vec::new() }).collect();
    for (subject, (ingress, egress)) in set.subjects.iter().zip(&rules_of_subject) {
        for place in index.subject(subject) & &here {
            let at = usize::try_from(here.rank(place) - 1).unwrap_or_default();
            endpoints[at].ingress.extend(ingress);
            endpoints[at].egress.extend(egress);
        }
    }
    for endpoint in &mut endpoints {
        endpoint.ingress.sort_unstable();
        endpoint.egress.sort_unstable();
    }
    endpoints
}

/// Endpoints under the same rules differ only by being pods or nodes, and by their own named ports.
type RulesKey<'a> = (Direction, bool, &'a [u32], Option<&'a [ContainerPort]>);

/// The distinct sets of rules, and for each endpoint which two it is under. `None`: no policy.
pub(crate) struct Under {
    pub(crate) rules: Vec<TableRules>,
    /// By endpoint: ingress, egress.
    pub(crate) endpoints: Vec<[Option<usize>; 2]>,
}

fn table_rules(
    set: &PolicySet,
    identities: &Identities<'_>,
    endpoints: &[EndpointRules],
    peers: &mut PeerMarks<'_, '_>,
    ports: &mut PortMarks,
) -> Under {
    let named = |id: &u32| match &set.rules[*id as usize].ports {
        Ports::Everything => false,
        Ports::Any(matches) => matches.iter().any(|port| matches!(port, PortMatch::Named { .. })),
    };
    let mut under = Under { rules: Vec::new(), endpoints: Vec::with_capacity(endpoints.len()) };
    let mut seen: FxHashMap<RulesKey<'_>, usize> = FxHashMap::default();
    let mut numbers: FxHashMap<TableRules, usize> = FxHashMap::default();
    for endpoint in endpoints {
        let entry: &Entry<'_> = &identities.entries[endpoint.place as usize];
        let mut both = [None; 2];
        let directions = [(Direction::Ingress, &endpoint.ingress), (Direction::Egress, &endpoint.egress)];
        for (slot, (direction, rules)) in both.iter_mut().zip(directions) {
            if rules.is_empty() {
                continue;
            }
            let own = direction == Direction::Ingress && rules.iter().any(named);
            let key = (direction, entry.kind == Kind::Pods, &rules[..], own.then_some(&entry.ports[..]));
            *slot = Some(*seen.entry(key).or_insert_with(|| {
                let concrete = rules::concrete(set, rules, direction, entry, peers, ports);
                *numbers.entry(concrete).or_insert_with_key(|concrete| {
                    under.rules.push(concrete.clone());
                    under.rules.len() - 1
                })
            }));
        }
        under.endpoints.push(both);
    }
    under
}

/// Peer classes, and everything that leads to one.
pub(crate) struct PeerClasses<'a> {
    pub(crate) classes: Classes,
    /// By place among the identities.
    pub(crate) by_place: Vec<u32>,
    pub(crate) v4: Vec<Range<u32>>,
    pub(crate) v6: Vec<Range<u128>>,
    /// DNS names and patterns (`true`), each with the class of what it adds to an address.
    pub(crate) fqdns: Vec<(&'a str, bool, u32)>,
}

fn classify<'a>(
    input: &Input<'_>,
    identities: &Identities<'_>,
    peers: &PeerMarks<'a, '_>,
) -> PeerClasses<'a> {
    let mut classes = Classes::default();
    let marks = peers.by_place(identities.entries.len());
    let by_place = marks.iter().map(|marks| classes.number(marks)).collect();
    let mut sweep = Sweep::default();
    peers.prefixes(&mut sweep, input.addresses_of);
    let world = identities.world();
    for address in input.cluster.outside_apiservers() {
        let (base, own) = match address {
            IpAddr::V4(_) => (world.v4, world.apiserver_v4),
            IpAddr::V6(_) => (world.v6, world.apiserver_v6),
        };
        let (base, own): (&[Mark], &[Mark]) = (&marks[base as usize], &marks[own as usize]);
        for &mark in own.iter().filter(|mark| !base.contains(mark)) {
            sweep.give(mark, address.into());
        }
        for &mark in base.iter().filter(|mark| !own.contains(mark)) {
            sweep.take(mark, address.into());
        }
    }
    let v4 = sweep.v4_ranges(peers.len(), &marks[world.v4 as usize], &mut classes);
    let v6 = sweep.v6_ranges(peers.len(), &marks[world.v6 as usize], &mut classes);
    let fqdns = peers
        .by_fqdn()
        .into_iter()
        .map(|((text, is_pattern), marks)| (text, is_pattern, classes.number(&marks)))
        .collect();
    PeerClasses { classes, by_place, v4, v6, fqdns }
}
