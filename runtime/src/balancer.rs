//! What the daemon asks of what balances, as a trait: the kernel behind it, or a model of it in tests.
//!
//! Every call may wait for the kernel (a swap some 20 ms), so none is made on an executor.
//!
//! Not here: policy ([`crate::enforcer`]), the kernel ([`crate::datapath`]), what is wanted.

use crate::datapath::{DatapathError, Installation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use weir_abi::services::live::BalanceCounter;

pub use weir_compiler::services::FlowOnRecord;

/// How balancing is to be. Sizes are those of maps that are made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerOptions {
    /// A folder in a BPF file system; it is made, and the file system mounted, if it is not there.
    pub pin_root: PathBuf,
    /// How packets from outside are sent on to other nodes.
    pub mode: Mode,
    /// What tells the backend's node of the service, under Direct Server Return.
    pub dispatch: Dispatch,
    /// What comes of a packet to a service that nobody serves.
    pub no_backend: NoBackend,
    /// Which hook of a device sends on.
    pub device_mode: DeviceMode,
    /// The cgroup whose sockets are balanced where they connect; `None`: none are.
    pub cgroup: Option<PathBuf>,
    /// The node's ports that source NAT takes.
    pub ports: RangeInclusive<u16>,
    /// Translations; a flow has two.
    pub translations: u32,
    /// Flows on record while their slot is unsettled.
    pub flows: u32,
    /// Addresses whose way is known.
    pub next_hops: u32,
    /// Sockets that were given a backend.
    pub socket_services: u32,
}

impl Default for BalancerOptions {
    fn default() -> Self {
        BalancerOptions {
            pin_root: PathBuf::from("/sys/fs/bpf/weir"),
            mode: Mode::Snat,
            dispatch: Dispatch::Ipip,
            no_backend: NoBackend::Reject,
            device_mode: DeviceMode::Auto,
            cgroup: None,
            ports: 61000..=u16::MAX,
            translations: 1 << 19,
            flows: 1 << 18,
            next_hops: 1 << 16,
            socket_services: 1 << 18,
        }
    }
}

/// An enum that people write by name.
macro_rules! worded {
    ($(#[$told:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$told])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }
    };
}

worded! {
/// How packets from outside are sent on to backends of other nodes. A service may say otherwise.
Mode {
    /// With the node's address as source, and back through the node.
    Snat = "snat",
    /// With the client's address; replies go straight to the client.
    Dsr = "dsr",
    /// TCP as [`Mode::Dsr`], all else as [`Mode::Snat`].
    Hybrid = "hybrid",
}
}

worded! {
/// What tells the backend's node of the service, under Direct Server Return.
Dispatch {
    /// An IP header around the packet.
    Ipip = "ipip",
    /// An IPv4 option or IPv6 destination option.
    Option = "option",
}
}

worded! {
/// What comes of a packet to a service that nobody serves.
NoBackend {
    /// It is answered: nobody is there.
    Reject = "reject",
    /// It is dropped.
    Drop = "drop",
}
}

worded! {
/// Which hook of a device sends on what leaves the node again.
DeviceMode {
    /// XDP where the driver has it, else tc.
    Auto = "auto",
    /// XDP; a device that cannot have it is told, and has tc.
    Xdp = "xdp",
    /// tc alone.
    Tc = "tc",
}
}

/// What puts service images in force.
pub trait Balancer: Send {
    /// The checksum of the image in force; `None` before the first.
    fn image_in_force(&self) -> Option<u64>;

    /// Checks an image and puts it in force. A bad one is refused whole, and the one in force stays.
    ///
    /// # Errors
    /// [`DatapathError`].
    fn install(&mut self, image: &[u8]) -> Result<Installation, DatapathError>;

    /// Says that slots become unsettled with the image that comes into force next.
    ///
    /// # Errors
    /// The clock.
    fn unsettle(&mut self) -> Result<(), DatapathError>;

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

    /// Puts the programs at the sockets that are to be balanced, and takes them from all others.
    ///
    /// # Errors
    /// What the kernel refused first.
    fn set_sockets(&mut self) -> Result<(), DatapathError>;

    /// Takes away what another version left, wherever this one is not put in its place.
    ///
    /// # Errors
    /// What the kernel refused; then it may be called again.
    fn finish_upgrade(&mut self) -> Result<(), DatapathError>;

    /// Takes the programs from all devices, pods and sockets: nothing is in a packet's way, and no image is in force.
    ///
    /// # Errors
    /// What the kernel refused first.
    fn withdraw(&mut self) -> Result<(), DatapathError>;

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
    /// Whether the programs stand there at all.
    pub stands: bool,
    /// By which hook what leaves the node again is sent on.
    pub by: DeviceHook,
    /// Why it has no XDP, where that was left to the device.
    pub no_xdp: Option<String>,
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
