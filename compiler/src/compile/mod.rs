//! The pipeline: a policy set and a cluster to one image.
//!
//! ```text
//! identities -> subjects -> rules of each endpoint -> marks -> classes -> tables -> bytes
//! ```
//!
//! An image for one node has the policy of that node's endpoints only; without a node it has
//! everyone's. Each step goes by place in sorted vectors, so the same inputs give the same bytes.

pub mod cost;
mod marks;
mod rules;
mod user_part;

pub use user_part::{NODE_FACT, SELECTED_KEYS_FACT};

use crate::classes::ports::{PortClasses, PortMarks};
use crate::classes::sweep::{MAX_MARKS, Sweep};
use crate::classes::{Classes, MAX_MEMBERSHIPS, Mark};
use crate::cluster::Cluster;
use crate::identity::{Entry, Identities, IdentityLock, Kind, LockError};
use crate::image::write::{ImageBytes, ImageWriter, Parts};
use crate::image::{ports as port_image, prefix_v4, prefix_v6};
use crate::ir::{Direction, PolicySet, PortMatch, Ports};
use crate::resolve::LabelIndex;
use crate::tables::{self, Conflict, Encoder, Outcomes, PeerMembers, TableError, TableRules};
use marks::PeerMarks;
pub(crate) use marks::named_ports;
use roaring::RoaringBitmap;
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::IpAddr;
use weir_abi::Identity;
use weir_abi::layout::{
    EndpointRecord, MAX_IMAGE_BYTES, MAX_PEER_CLASSES, MAX_PORT_CLASSES, MAX_TABLE_ENTRIES,
};
use weir_grammar::source::Sources;
use weir_grammar::tree::ContainerPort;

/// Prefixes of all rules, at most: their ranges would not fit an image.
const MAX_PREFIXES: usize = 1 << 25;

/// What the image is for, and its bounds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only the endpoints of this node, by place in the cluster.
    pub node: Option<usize>,
    /// The largest image.
    pub max_image_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { node: None, max_image_bytes: MAX_IMAGE_BYTES }
    }
}

/// The steps, for progress and timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Labels to identities, selectors to sets.
    Resolve,
    /// Peers and ports to classes.
    Classify,
    /// Verdict tables.
    Compact,
    /// Bytes.
    Write,
}

impl Stage {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Resolve => "resolve",
            Stage::Classify => "classify",
            Stage::Compact => "compact",
            Stage::Write => "write",
        }
    }
}

/// What the compiler reads.
pub struct Input<'a> {
    /// The policies.
    pub set: &'a PolicySet,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The files, for the source map.
    pub sources: &'a Sources,
    /// Addresses that a DNS name or pattern (`true`) leads to.
    pub addresses_of: &'a dyn Fn(&str, bool) -> Vec<IpAddr>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The identity lock.
    #[error("identities: {0}")]
    Lock(#[from] LockError),
    /// Two kinds of request rules on one peer and port.
    #[error("rules {} and {} have requests of different kinds for one peer and port", .0.first, .0.second)]
    Conflict(Conflict),
    /// More than the image can tell apart.
    #[error("the policies tell apart {count} {what}, an image at most {most}")]
    TooManyClasses {
        /// What.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// Rules overlap so much that nobody could hold who is under which.
    #[error(
        "the rules overlap too much: counted for every rule that names them, there are more than {most} {what}"
    )]
    TooManyOverlaps {
        /// What overlaps.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// More than the image may weigh.
    #[error("the image would take {bytes} bytes, at most {most} are allowed")]
    TooLarge {
        /// Bytes, as far as counted.
        bytes: usize,
        /// The limit.
        most: usize,
    },
}

/// What an image holds, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Policies given.
    pub policies: usize,
    /// Rules given.
    pub rules: usize,
    /// Identities of the cluster.
    pub identities: usize,
    /// Endpoints (identities) whose policy is in it.
    pub endpoints: usize,
    /// Peer classes.
    pub peer_classes: usize,
    /// Port classes.
    pub port_classes: usize,
    /// Tables.
    pub tables: usize,
    /// IPv4 ranges.
    pub v4_ranges: usize,
    /// IPv6 ranges.
    pub v6_ranges: usize,
}

/// A compiled image.
#[derive(Debug)]
pub struct Compiled {
    /// Its bytes.
    pub bytes: ImageBytes,
    /// What it holds.
    pub contents: Contents,
}

/// Compiles. New identity numbers are added to `lock`; `on_stage` hears of every step as it begins.
///
/// # Errors
/// [`CompileError`]: the policies ask for something that no image can be.
pub fn compile(
    input: &Input<'_>,
    lock: &mut IdentityLock,
    options: &Options,
    on_stage: &mut dyn FnMut(Stage),
) -> Result<Compiled, CompileError> {
    let (set, cluster) = (input.set, input.cluster);
    on_stage(Stage::Resolve);
    let identities = Identities::number(cluster, &selected_keys(set), lock, options.node)?;
    let index = LabelIndex::new(&identities);
    let endpoints = endpoints(set, cluster, &identities, &index, options.node);
    let mut peers = PeerMarks::new(set, cluster, &identities, &index);
    let mut ports = PortMarks::default();
    let under = table_rules(set, &identities, &endpoints, &mut peers, &mut ports);

    on_stage(Stage::Classify);
    let ports = ports.classify();
    let most = MAX_PORT_CLASSES as usize - 1;
    check_overlaps("ports", &ports.classes)?;
    check_classes("ports", ports.classes.len(), most)?;
    check_classes("sets of peers", peers.len(), MAX_MARKS)?;
    check_classes("prefixes", peers.prefix_count(input.addresses_of), MAX_PREFIXES)?;
    let classes = classify(input, &identities, &peers);
    check_overlaps("peers", &classes.classes)?;
    check_classes("peers", classes.classes.len(), MAX_PEER_CLASSES as usize)?;

    let entries = (under.rules.len() + 1) * (classes.classes.len() + ports.classes.len());
    let most = usize::try_from(MAX_TABLE_ENTRIES).unwrap_or(usize::MAX);
    check_classes("entries of tables (tables times peers and ports)", entries, most)?;

    on_stage(Stage::Compact);
    let mut outcomes = Outcomes::default();
    let most_bytes = options.max_image_bytes.min(MAX_IMAGE_BYTES);
    let (encoded, numbers) =
        compact(&under, &classes.classes, peers.len(), &ports, &mut outcomes, most_bytes)?;

    on_stage(Stage::Write);
    let mut parts = Parts { ports: port_image::lay_out(&ports), ..Parts::default() };
    parts.peer_classes = classes.classes.len();
    parts.port_classes = ports.classes.len();
    let contents = Contents {
        policies: set.policies.len(),
        rules: set.rules.len(),
        identities: identities.entries.len(),
        endpoints: endpoints.len(),
        peer_classes: parts.peer_classes,
        port_classes: parts.port_classes,
        tables: encoded.tables.len() - 1,
        v4_ranges: classes.v4.len(),
        v6_ranges: classes.v6.len(),
    };
    parts.endpoints =
        endpoint_records(&identities, &classes.by_place, &endpoints, &under, &numbers, options.node);
    // The ranges may be the largest thing in memory; each list goes as soon as it is laid out.
    let PeerClasses { v4, v6, fqdns, .. } = classes;
    parts.v4 = prefix_v4::lay_out(&v4, parts.peer_classes);
    drop(v4);
    parts.v6 = prefix_v6::lay_out(&v6);
    drop(v6);
    parts.tables = encoded;
    let mut writer = ImageWriter::default();
    user_part::add(&mut parts, &mut writer, input, &identities, &fqdns, &outcomes.request_sets, options);
    let bytes = writer
        .finish(&parts, most_bytes)
        .map_err(|bytes| CompileError::TooLarge { bytes, most: most_bytes })?;
    Ok(Compiled { bytes, contents })
}

fn check_classes(what: &'static str, count: usize, most: usize) -> Result<(), CompileError> {
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
        crate::ir::Subject::Pods(selector) | crate::ir::Subject::Nodes(selector) => selector,
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
        if on_node && let Some(place) = identities.place(crate::cluster::Party::Pod(place), None) {
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
struct Under {
    rules: Vec<TableRules>,
    endpoints: Vec<[Option<usize>; 2]>,
}

fn table_rules(
    set: &PolicySet,
    identities: &Identities<'_>,
    endpoints: &[EndpointRules],
    peers: &mut PeerMarks<'_>,
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
struct PeerClasses<'a> {
    classes: Classes,
    by_place: Vec<u32>,
    v4: Vec<crate::classes::sweep::Range<u32>>,
    v6: Vec<crate::classes::sweep::Range<u128>>,
    fqdns: Vec<(&'a str, bool, u32)>,
}

fn classify<'a>(input: &Input<'_>, identities: &Identities<'_>, peers: &PeerMarks<'a>) -> PeerClasses<'a> {
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

/// Builds and packs all tables; returns the number of each set of rules.
fn compact(
    under: &Under,
    classes: &Classes,
    marks: usize,
    ports: &PortClasses,
    outcomes: &mut Outcomes,
    most: usize,
) -> Result<(tables::EncodedTables, Vec<u32>), CompileError> {
    let peers = PeerMembers::new(classes, marks);
    let mut encoder = Encoder::new(classes.len());
    let mut numbers = Vec::with_capacity(under.rules.len());
    for rules in &under.rules {
        let table = tables::build(rules, &peers, ports, outcomes).map_err(|error| match error {
            TableError::Conflict(conflict) => CompileError::Conflict(conflict),
            TableError::TooLarge { cells } => CompileError::TooLarge { bytes: cells.saturating_mul(4), most },
            TableError::TooManyOverlaps { most } => {
                CompileError::TooManyOverlaps { what: "peers and ports", most }
            }
        })?;
        let number = encoder.add(&table, outcomes, most);
        numbers.push(number.map_err(|bytes| CompileError::TooLarge { bytes, most })?);
    }
    Ok((encoder.finish(), numbers))
}

/// Records by identity number: of pods and entities, and of nodes.
fn endpoint_records(
    identities: &Identities<'_>,
    by_place: &[u32],
    endpoints: &[EndpointRules],
    under: &Under,
    numbers: &[u32],
    node: Option<usize>,
) -> [Vec<EndpointRecord>; 2] {
    let mut records: Vec<EndpointRecord> =
        by_place.iter().map(|&class| EndpointRecord { class, ingress: 0, egress: 0, known: 1 }).collect();
    for (endpoint, [ingress, egress]) in endpoints.iter().zip(&under.endpoints) {
        let record = &mut records[endpoint.place as usize];
        let number = |under: &Option<usize>| under.map_or(0, |at| numbers[at]);
        (record.ingress, record.egress, record.known) = (number(ingress), number(egress), 2);
    }
    let mut by_number = [Vec::new(), Vec::new()];
    for (entry, &record) in identities.entries.iter().zip(&records) {
        put(&mut by_number, entry.identity, record);
        if let (Kind::OwnNode(at), Some(node)) = (entry.kind, node)
            && at == node
        {
            put(&mut by_number, Identity::HOST, record);
        }
    }
    by_number
}

fn put(records: &mut [Vec<EndpointRecord>; 2], identity: Identity, record: EndpointRecord) {
    let (table, at) = match (identity.pod_index(), identity.node_index()) {
        (Some(0), _) | (None, None) => return,
        (Some(at), _) => (0, at),
        (None, Some(at)) => (1, at),
    };
    if records[table].len() <= at {
        records[table].resize(at + 1, EndpointRecord::default());
    }
    records[table][at] = record;
}
