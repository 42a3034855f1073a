//! Balancing's programs: loaded for one size class, with the maps that an earlier run pinned.

use super::pods::Pods;
use super::{devices, sockets};
use crate::balancer::{BalancerOptions, Dispatch, Mode, NoBackend};
use crate::datapath::attach::{self, Order, Stand, Standing};
use crate::datapath::error::DatapathError;
use crate::datapath::load::{refused, useful_line};
use crate::datapath::pins::Versions;
use crate::datapath::slots::Slots;
use crate::snapshot::chain;
use aya::programs::{SchedClassifier, TcAttachType, Xdp};
use aya::{Ebpf, EbpfLoader};
use weir_object::{SOCKET, VETH, WIRE_TC, WIRE_XDP};

/// Maps of this version that outlive programs, besides the images.
const PINNED: &[&str] = &["service_settings", "service_fragments", "balance_counters"];
/// What is on record of flows and sockets. Versions share it that agree on its shapes, so that an upgrade cuts none.
const RECORDS: &[&str] =
    &["translations", "flows", "next_hops", "socket_services", "pods_answered", "node_answered"];

/// Where the programs of a device stand.
pub(super) static STANDS: [Stand; 2] = [
    Stand { program: "from_wire", side: TcAttachType::Ingress, priority: 1, order: Order::First },
    Stand { program: "to_wire", side: TcAttachType::Egress, priority: 1, order: Order::Last },
];

/// The name of the XDP program, in the object and in pins.
pub(super) const FAST: &str = "from_wire_fast";

/// The loaded programs.
pub(super) struct Programs {
    wire: Ebpf,
    fast: Ebpf,
    pods: Pods,
    /// Loaded where sockets are balanced at all.
    sockets: Option<Ebpf>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Programs")
    }
}

impl Programs {
    /// Loads all for the class of `slots`, with the maps that are, or will be, pinned in this version's folders.
    pub(super) fn load(
        options: &BalancerOptions,
        versions: &Versions,
        slots: &Slots,
    ) -> Result<Self, DatapathError> {
        let mut wire = load(WIRE_TC, options, versions, slots)?;
        for stand in &STANDS {
            let program = wire.program_mut(stand.program).ok_or_else(|| missing(stand.program))?;
            let program: &mut SchedClassifier =
                program.try_into().map_err(|error| refused(&error, stand.program.to_owned()))?;
            program.load().map_err(|error| refused(&error, useful_line(&format!("{error:?}"))))?;
        }
        let mut fast = load(WIRE_XDP, options, versions, slots)?;
        let program = fast.program_mut(FAST).ok_or_else(|| missing(FAST))?;
        let program: &mut Xdp = program.try_into().map_err(|error| refused(&error, FAST.to_owned()))?;
        program.load().map_err(|error| refused(&error, useful_line(&format!("{error:?}"))))?;
        let sockets = options.cgroup.as_ref().map(|_| {
            let mut sockets = load(SOCKET, options, versions, slots)?;
            sockets::load(&mut sockets).map(|()| sockets)
        });
        let pods = Pods::load(load(VETH, options, versions, slots)?)?;
        Ok(Programs { wire, fast, pods, sockets: sockets.transpose()? })
    }

    /// The XDP program.
    pub(super) fn fast_mut(&mut self) -> Option<&mut Xdp> {
        self.fast.program_mut(FAST)?.try_into().ok()
    }

    /// The XDP program.
    pub(super) fn fast(&self) -> Option<&Xdp> {
        self.fast.program(FAST)?.try_into().ok()
    }

    /// The programs at pods.
    pub(super) fn pods_mut(&mut self) -> &mut Pods {
        &mut self.pods
    }

    /// The programs of sockets.
    pub(super) fn sockets_mut(&mut self) -> Option<&mut Ebpf> {
        self.sockets.as_mut()
    }

    /// Replaces every program that an earlier run or size class of this version attached.
    pub(super) fn replace_all(&mut self, versions: &Versions) -> Result<(), DatapathError> {
        let own = &versions.own;
        attach::replace_all(self, own)?;
        attach::replace_all(&mut self.pods, own)?;
        devices::replace_all(self, versions)?;
        self.sockets.as_ref().map_or(Ok(()), |sockets| sockets::replace_all(sockets, own))
    }
}

impl Standing for Programs {
    fn stands(&self) -> &'static [Stand] {
        &STANDS
    }

    fn program(&self, stand: &Stand) -> Option<&SchedClassifier> {
        self.wire.program(stand.program)?.try_into().ok()
    }

    fn program_mut(&mut self, stand: &Stand) -> Option<&mut SchedClassifier> {
        self.wire.program_mut(stand.program)?.try_into().ok()
    }
}

/// An object with its maps and options; its programs are not loaded yet. Options that it has no use for are left out.
pub(super) fn load(
    object: &[u8],
    options: &BalancerOptions,
    versions: &Versions,
    slots: &Slots,
) -> Result<Ebpf, DatapathError> {
    let mask = u32::try_from(slots.class() - 1).unwrap_or(0);
    let tcp_by_dsr = u8::from(options.mode != Mode::Snat);
    let others_by_dsr = u8::from(options.mode == Mode::Dsr);
    let by_option = u8::from(options.dispatch == Dispatch::Option);
    let rejects = u8::from(options.no_backend == NoBackend::Reject);
    let first_port = *options.ports.start();
    let host_network = sockets::network_cookie()?;
    let ports = options.ports.end().saturating_sub(first_port).saturating_add(1);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("IMAGE_MASK", &mask, true)
        .override_global("TCP_BY_DSR", &tcp_by_dsr, false)
        .override_global("OTHERS_BY_DSR", &others_by_dsr, false)
        .override_global("DSR_BY_OPTION", &by_option, false)
        .override_global("REJECTS", &rejects, false)
        .override_global("FIRST_PORT", &first_port, false)
        .override_global("PORTS", &ports, false)
        .override_global("HOST_NETWORK", &host_network, false)
        .map_max_entries("translations", options.translations)
        .map_max_entries("flows", options.flows)
        .map_max_entries("next_hops", options.next_hops)
        .map_max_entries("socket_services", options.socket_services)
        .map_pin_path("service_images", slots.path().to_owned());
    for (folder, names) in [(&versions.own, PINNED), (&versions.connections, RECORDS)] {
        for name in names {
            loader.map_pin_path(name, folder.join(name));
        }
    }
    loader.load(object).map_err(|error| refused(&error, chain(&error)))
}

fn missing(program: &str) -> DatapathError {
    refused(&program, "a program is missing in the object".to_owned())
}
