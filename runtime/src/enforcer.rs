//! What the daemon asks of a datapath, as a trait: the kernel behind it, or a model of it in tests.
//!
//! Every call may wait for the kernel (a swap some 20 ms), so none is made on an executor ([`crate::kernel`]).
//!
//! Not here: the kernel ([`crate::datapath`]).

use crate::datapath::{Answer, DatapathError, Installation, Question};
use crate::plan::{State, Step};
use serde::{Deserialize, Serialize};
use weir_abi::Reason;
use weir_abi::state::{Counter, CounterRecord, EventRecord, Hook};

/// What enforces images.
pub trait Enforcer: Send {
    /// What it stands on.
    fn features(&self) -> Features;

    /// What it holds now.
    ///
    /// # Errors
    /// What the kernel refused.
    fn installed(&mut self) -> Result<State, DatapathError>;

    /// Takes a step; `image` is the one that [`Step::InstallImage`] stands for.
    ///
    /// # Errors
    /// What the kernel refused. The step is then to be taken again; where an image was to be installed, [`Enforcer::installed`] says whether
    /// it came into force.
    fn take(&mut self, step: &Step, image: &[u8]) -> Result<Option<Installation>, DatapathError>;

    /// Everything that is wanted was told: no address is missing from an earlier run, and what another version left is needed no more.
    ///
    /// # Errors
    /// What the kernel refused; then it is to be said again.
    fn all_told(&mut self) -> Result<(), DatapathError>;

    /// What was counted under the image in force.
    ///
    /// # Errors
    /// What the kernel refused.
    fn counters(&self) -> Result<Counters, DatapathError>;

    /// Removes connections whose time is up, of at most so many looked at, and what nobody will miss.
    ///
    /// # Errors
    /// What the kernel refused.
    fn sweep(&mut self, most: usize) -> Result<ConntrackReport, DatapathError>;

    /// Forgets the connections of an interface whose pod is gone.
    ///
    /// # Errors
    /// What the kernel refused.
    fn forget_connections(&mut self, interface: u32) -> Result<(), DatapathError>;

    /// The events, for one reader.
    ///
    /// # Errors
    /// What the kernel refused.
    fn events(&mut self) -> Result<Box<dyn EventSource>, DatapathError>;

    /// How full everything is.
    ///
    /// # Errors
    /// What the kernel refused.
    fn sizes(&self) -> Result<Sizes, DatapathError>;

    /// What would happen to the first packet of a connection. It leaves no trace.
    ///
    /// # Errors
    /// A question that makes no packet, or a failed test run.
    fn ask(&self, question: &Question) -> Result<Answer, DatapathError>;
}

/// Events in the order of the kernel.
pub trait EventSource: Send {
    /// The next one, if there is one now.
    fn next(&mut self) -> Option<EventRecord>;
}

/// What a datapath stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// The kernel's release.
    pub kernel: String,
    /// How programs are attached: `tcx` or `clsact`.
    pub attach: String,
    /// Whether what another version left has not been taken over yet.
    pub is_upgrade: bool,
}

/// What was counted, over all CPUs; what is zero is left out.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// The image that the rules are of, by its checksum.
    pub image: Option<u64>,
    /// Packets by hook and reason, since the datapath was made.
    pub reasons: Vec<(Hook, Reason, CounterRecord)>,
    /// Packets by rule and request set, since the image came into force.
    pub rules: Vec<(Counted, CounterRecord)>,
    /// Whatever else is counted.
    pub named: Vec<(Counter, u64)>,
}

/// What has a counter under an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    /// A rule, by its id.
    Rule(u32),
    /// A request set, by its number.
    RequestSet(u32),
}

/// What a sweep of connections found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackReport {
    /// IPv4 connections that are left.
    pub entries_v4: usize,
    /// IPv6 connections that are left.
    pub entries_v6: usize,
    /// IPv4 connections that there is room for.
    pub capacity_v4: usize,
    /// IPv6 connections that there is room for.
    pub capacity_v6: usize,
    /// Connections that were removed.
    pub removed: usize,
    /// Entries that went since the daemon began because there was no room for more: as many as came and neither ended nor are there.
    pub evicted: u64,
}

/// How full everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes of the values that images lie in.
    pub image_class: usize,
    /// Maps by name.
    pub maps: Vec<MapSize>,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSize {
    /// Its name.
    pub map: String,
    /// Entries.
    pub entries: usize,
    /// Entries that there is room for.
    pub capacity: usize,
}
