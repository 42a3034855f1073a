//! Load balancing: Services and who is behind them to the service image.
//!
//! ```text
//! Cluster ─ Model::new ──> services, their ports, candidates, frontends        the same on every node
//!   └─ eligible::serve ──> who serves a frontend's scope, seen from one node
//!        └─ maglev ──> slots ─ history ──> what was settled before ─ write ──> ServiceImage
//! Cluster ─ reference ──> the same set, in the slowest and most obvious way
//! ```
//!
//! Invariants: pure, and the same inputs give the same bytes; the set that serves a flow is the reference's; a table depends on its backends
//! alone, so nodes that see the same backends choose the same one. A change of the cluster moves no flow that sends a packet between two images,
//! whatever changes follow each other ([0015](../../../docs/decisions/0015-a-slot-keeps-what-was-settled.md)).
//!
//! Not here: flows, which are live state, and health checks, whose outcome is an input.

mod behind;
mod candidates;
mod choices;
mod claims;
mod eligible;
mod gather;
mod history;
mod kept;
mod kept_ports;
pub mod maglev;
mod model;
mod perfect_hash;
mod probed;
pub mod reference;
mod sources;
mod tables;
mod unchanged;
mod unfit;
mod write;

pub use candidates::Candidate;
pub use eligible::{View, serve};
pub use kept::{FlowOnRecord, Kept, settles_any};
pub use model::{Balanced, Frontend, Model, NotBalanced, Pool};
pub use probed::{Probed, probed};
pub use unfit::{Checked, NOBODY_UNFIT, Unfit};

use crate::cluster::Cluster;
use crate::image::write::ImageBytes;
use std::net::IpAddr;
use weir_abi::services::ServiceImage;
use weir_abi::services::layout::MAX_SERVICE_BYTES;
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::source::Sources;

/// What an image is compiled from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The files of its objects.
    pub sources: &'a Sources,
    /// The node it is for, by its place in the cluster. Without one no backend is local, and ports of nodes are those of all nodes.
    pub node: Option<usize>,
    /// Addresses of the machine that no Node object tells of: ports of nodes are there too. For a balancer without a cluster, these are all.
    pub own: &'a [IpAddr],
    /// Backends that failed their health checks.
    pub unfit: &'a Unfit,
    /// The image in force.
    pub previous: Option<Previous<'a>>,
}

impl<'a> Input<'a> {
    /// A cluster for no node in particular, with all backends fit and no image before.
    pub fn new(cluster: &'a Cluster, sources: &'a Sources) -> Self {
        Input { cluster, sources, node: None, own: &[], unfit: &NOBODY_UNFIT, previous: None }
    }
}

/// The image in force, and which of its slots may not be settled yet.
#[derive(Clone, Copy)]
pub struct Previous<'a> {
    /// The image.
    pub image: ServiceImage<'a>,
    /// Whether flows of an unsettled slot, by table and slot, may still be on record with another backend than its present one. Only who
    /// holds the records knows; [`KEEP_ALL`] is always right.
    pub keeps: &'a dyn Fn(u32, u32) -> bool,
}

/// For who does not know which flows are on record.
pub const KEEP_ALL: &dyn Fn(u32, u32) -> bool = &|_, _| true;

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("node", &self.node).finish_non_exhaustive()
    }
}

/// An image and what is in it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The image.
    pub bytes: ImageBytes,
    /// Sizes.
    pub contents: Contents,
    /// What is wrong with the services and harms them alone.
    pub findings: Vec<Diagnostic>,
}

/// What an image holds, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Services with frontends.
    pub services: usize,
    /// Frontends; addresses as a whole are not counted.
    pub frontends: usize,
    /// Addresses and ports of backends.
    pub backends: usize,
    /// Tables; equal ones are one.
    pub tables: usize,
    /// Their slots.
    pub slots: usize,
    /// Slots in which flows may be on record with another backend.
    pub unsettled: usize,
}

/// The services have no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServicesError {
    /// More backends than any table has room for.
    #[error("a table holds at most {most} backends, service {service} has {count}")]
    TooManyBackends {
        /// The service, as `namespace/name`.
        service: String,
        /// Its place in [`Cluster::services`].
        place: usize,
        /// How many.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// More than the image may weigh.
    #[error(
        "the service image would take {bytes} bytes, at most {most} are allowed; the most are of {service}"
    )]
    TooLarge {
        /// Bytes, as far as counted.
        bytes: usize,
        /// The limit.
        most: usize,
        /// The service with the most backends and frontends.
        service: String,
        /// Its place in [`Cluster::services`].
        place: usize,
    },
    /// No seed sets all frontends apart. Never, but for an error of ours.
    #[error("the frontends cannot be set apart")]
    Hash,
}

/// Compiles the services of a cluster.
///
/// # Errors
/// [`ServicesError`]: the services ask for something that no image can be.
pub fn compile(input: &Input<'_>) -> Result<Compiled, ServicesError> {
    compile_within(input, MAX_SERVICE_BYTES)
}

/// The same, with a limit of one's own.
///
/// # Errors
/// As [`compile`].
pub fn compile_within(input: &Input<'_>, most_bytes: usize) -> Result<Compiled, ServicesError> {
    let model = Model::without(input.cluster, input.unfit);
    let gathered = gather::gather(input, &model)?;
    let (bytes, contents) = write::write(gathered, most_bytes.min(MAX_SERVICE_BYTES))?;
    Ok(Compiled { bytes, contents, findings: model.findings })
}
