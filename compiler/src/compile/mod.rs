//! The pipeline: a policy set and a cluster to one image.
//!
//! ```text
//! identities -> subjects -> rules of each endpoint -> marks -> classes -> tables -> bytes
//! ```
//!
//! An image for one node has the policy of that node's endpoints only; without a node it has
//! everyone's. Each step goes by place in sorted vectors, so the same inputs give the same bytes.

pub(crate) mod classified;
pub mod cost;
mod marks;
mod rules;
mod user_part;

pub use classified::selected_keys;
pub use user_part::{NODE_FACT, SELECTED_KEYS_FACT};

use crate::classes::Classes;
use crate::classes::ports::PortClasses;
use crate::cluster::Cluster;
use crate::identity::{Identities, IdentityLock, Kind, LockError};
use crate::image::write::{ImageBytes, ImageWriter, Parts};
use crate::image::{ports as port_image, prefix_v4, prefix_v6};
use crate::ir::PolicySet;
use crate::tables::{self, Conflict, Encoder, Outcomes, PeerMembers, TableError};
use classified::{Classified, PeerClasses, Under, check_classes};
pub(crate) use marks::named_ports;
use std::net::IpAddr;
use weir_abi::Identity;
use weir_abi::layout::{EndpointRecord, MAX_IMAGE_BYTES, MAX_TABLE_ENTRIES};
use weir_grammar::source::Sources;

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
    let ends = [u32::try_from(set.rules.len()).unwrap_or(u32::MAX)];
    let mut on_classify = || on_stage(Stage::Classify);
    let classified = classified::classified(input, &identities, options.node, ends, &mut on_classify)?;
    let Classified { endpoints, under: [under], marks, ports, peers: classes } = classified;

    let entries = (under.rules.len() + 1) * (classes.classes.len() + ports.classes.len());
    let most = usize::try_from(MAX_TABLE_ENTRIES).unwrap_or(usize::MAX);
    check_classes("entries of tables (tables times peers and ports)", entries, most)?;

    on_stage(Stage::Compact);
    let mut outcomes = Outcomes::default();
    let most_bytes = options.max_image_bytes.min(MAX_IMAGE_BYTES);
    let (encoded, numbers) = compact(&under, &classes.classes, marks, &ports, &mut outcomes, most_bytes)?;

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
    endpoints: &[u32],
    under: &Under,
    numbers: &[u32],
    node: Option<usize>,
) -> [Vec<EndpointRecord>; 2] {
    let mut records: Vec<EndpointRecord> =
        by_place.iter().map(|&class| EndpointRecord { class, ingress: 0, egress: 0, known: 1 }).collect();
    for (&place, [ingress, egress]) in endpoints.iter().zip(&under.endpoints) {
        let record = &mut records[place as usize];
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
