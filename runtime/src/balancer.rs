//! What the daemon asks of what balances, as a trait: the kernel behind it, or a model of it in tests.
//!
//! Every call may wait for the kernel (a swap some 20 ms), so none is made on an executor.
//!
//! Not here: policy ([`crate::enforcer`]), the kernel ([`crate::datapath`]), what is wanted.

use crate::datapath::{DatapathError, Installation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::services::live::BalanceCounter;

/// What puts service images in force.
pub trait Balancer: Send {
    /// The checksum of the image in force; `None` before the first.
    fn image_in_force(&self) -> Option<u64>;

    /// Checks an image and puts it in force. A bad one is refused whole, and the one in force stays.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn install(&mut self, image: &[u8]) -> Result<Installation, DatapathError>;

    /// Says which addresses of the node are the source of what it sends on.
    ///
    /// # Errors
    /// What the kernel refused.
    fn set_node(&mut self, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Result<(), DatapathError>;

    /// Puts the programs at the node's devices, and takes them from all others. A device that cannot have them is told, and the others are
    /// not kept from theirs.
    ///
    /// # Errors
    /// What the kernel refused first.
    fn set_devices(&mut self, devices: &BTreeSet<u32>) -> Result<Vec<DeviceReport>, DatapathError>;

    /// Puts the programs at the interfaces of pods, and takes them from all others.
    ///
    /// # Errors
    /// What the kernel refused first.
    fn set_pods(&mut self, interfaces: &BTreeSet<u32>) -> Result<(), DatapathError>;

    /// The flows that are on record because their slot was unsettled, those past their time left out.
    ///
    /// # Errors
    /// What the kernel refused.
    fn flows(&mut self) -> Result<Vec<FlowOnRecord>, DatapathError>;

    /// Removes translations and flows whose time is up, of at most so many looked at.
    ///
    /// # Errors
    /// What the kernel refused.
    fn sweep(&mut self, most: usize) -> Result<BalanceReport, DatapathError>;

    /// What was counted since the maps were made, by name; what is zero is left out.
    ///
    /// # Errors
    /// What the kernel refused.
    fn counters(&self) -> Result<Vec<(BalanceCounter, u64)>, DatapathError>;
}

/// How a device is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its index.
    pub index: u32,
    /// By which hook what leaves the node again is sent on.
    pub by: DeviceHook,
    /// Why it has not what was asked for.
    pub trouble: Option<String>,
}

/// A hook of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceHook {
    /// XDP in the driver, and tc for the rest.
    Xdp,
    /// tc alone.
    Tc,
}

/// A flow on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowOnRecord {
    /// The client.
    pub client: IpAddr,
    /// Its port; 0 under session affinity.
    pub client_port: u16,
    /// The service's address, as the packet names it.
    pub address: IpAddr,
    /// The service's port.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// The backend.
    pub backend: (IpAddr, u16),
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceReport {
    /// Translations that are left; two for a flow.
    pub translations: usize,
    /// Translations that there is room for.
    pub translation_capacity: usize,
    /// Flows on record for unsettled slots.
    pub flows: usize,
    /// Entries that were removed.
    pub removed: usize,
}
