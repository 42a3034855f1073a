//! What is in force, as the daemon tells it.

use crate::balancer::{BalanceReport, DeviceHook};
use crate::balancing::HealthCheck;
use crate::enforcer::{ConntrackReport, Features, Sizes};
use crate::wanted::Because;
use serde::{Deserialize, Serialize};

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The node.
    pub node: String,
    /// Seconds since the daemon began.
    pub up_seconds: u64,
    /// What is wrong, a line each; none if all is well.
    pub problems: Vec<String>,
    /// The image in force.
    pub image: Option<ImageStatus>,
    /// Where policies come from.
    pub source: SourceStatus,
    /// Pods of this node with their interfaces.
    pub endpoints: Vec<EndpointStatus>,
    /// Pods of this node whose interface is not known: nothing stands at them.
    pub unplaced: Vec<String>,
    /// What the datapath stands on.
    pub datapath: Features,
    /// How full its maps are.
    pub sizes: Sizes,
    /// Connections.
    pub conntrack: ConntrackReport,
    /// Packets dropped, by reason and direction.
    pub drops: Vec<DropCount>,
    /// Whatever else is counted, by name.
    pub counters: Vec<(String, u64)>,
    /// What is balanced; `None`: the settings say that nothing is.
    #[serde(default)]
    pub balancing: Option<BalancingStatus>,
}

/// What is balanced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancingStatus {
    /// What is wrong, a line each.
    pub problems: Vec<String>,
    /// The image in force; `None`: there is nothing to balance, or nothing is in force yet.
    pub image: Option<ServiceImageStatus>,
    /// The node's addresses that are the source of what it sends on.
    pub node: Vec<String>,
    /// The devices where it stands.
    pub devices: Vec<DeviceStatus>,
    /// How many pods' interfaces it stands at.
    pub pods: usize,
    /// Whether sockets are balanced where they connect.
    pub sockets: bool,
    /// Health-check ports that are to be open.
    pub health_checks: Vec<HealthCheck>,
    /// Backends whose health is checked.
    #[serde(default)]
    pub probed: usize,
    /// Those of them that are unfit.
    #[serde(default)]
    pub unfit: Vec<UnfitStatus>,
    /// Translations and flows on record.
    pub sweep: BalanceReport,
    /// What was counted, by name; what is zero is left out.
    pub counters: Vec<(String, u64)>,
    /// What is probably not meant about services, a line each; the first hundred.
    pub findings: Vec<String>,
    /// How many lines more there are.
    pub findings_left_out: usize,
}

/// A backend that fails its health checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfitStatus {
    /// The service, as `namespace/name`.
    pub service: String,
    /// The backend's address and port.
    pub backend: String,
    /// The failure that decided.
    pub why: String,
}

/// A service image in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceImageStatus {
    /// Its checksum.
    pub checksum: String,
    /// Since when, if this daemon put it in force.
    pub since: Option<String>,
    /// Seconds since then.
    pub age_seconds: Option<u64>,
    /// Whether it came from an earlier run and no source has confirmed it yet.
    pub is_restored: bool,
    /// What is in it; `None`: its bytes are lost.
    pub contents: Option<ServiceContents>,
}

/// What a service image holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceContents {
    /// Services with frontends.
    pub services: usize,
    /// Frontends; addresses as a whole are not counted.
    pub frontends: usize,
    /// Addresses and ports of backends.
    pub backends: usize,
    /// Slots of all tables.
    pub slots: usize,
    /// Slots in which flows may be on record with another backend.
    pub unsettled: usize,
    /// Bytes, names included.
    pub bytes: usize,
}

/// A device where balancing stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its name.
    pub device: String,
    /// Its index.
    pub index: u32,
    /// By which hook what leaves the node again is sent on.
    pub by: DeviceHook,
    /// Why it has no XDP, where that was left to the device.
    pub no_xdp: Option<String>,
    /// Why it has not what was asked for.
    pub trouble: Option<String>,
}

/// An image in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStatus {
    /// Its checksum.
    pub checksum: String,
    /// Since when, if this daemon put it in force.
    pub since: Option<String>,
    /// Seconds since then.
    pub age_seconds: Option<u64>,
    /// Whether it came from disk and no source has confirmed it yet.
    pub is_restored: bool,
    /// Policies.
    pub policies: usize,
    /// Rules.
    pub rules: usize,
    /// Bytes, names included.
    pub bytes: usize,
}

/// Where policies come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// When it was read last.
    pub read: Option<String>,
    /// How long that took until there was an image, in milliseconds.
    pub took_milliseconds: Option<u64>,
    /// Whether what was read is in force.
    pub is_good: bool,
    /// What is wrong with what was read last, a line each; the first hundred.
    pub findings: Vec<String>,
    /// How many lines more there are.
    pub findings_left_out: usize,
}

/// A pod behind an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// `namespace/pod`.
    pub pod: String,
    /// The interface's name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// The pod's identity.
    pub identity: u32,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// How the interface is known.
    pub by: Because,
    /// Whether the programs stand there.
    pub attached: bool,
}

/// Packets dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The reason.
    pub reason: String,
    /// `egress` or `ingress`.
    pub direction: String,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}
