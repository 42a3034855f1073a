//! The product's balancer on the edge of a cluster, in the network of the measurement, and what it should make of a packet.

use crate::arrivals::{Arrivals, BYTES, Kind, Out, SENT_BACK, Stream, WRAPPING, Way};
use crate::network::HOP;
use aya::maps::MapInfo;
use aya::programs::{ProgramFd, loaded_programs};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::PathBuf;
use weir_abi::services::live::BalanceCounter;
use weir_abi::services::{Question, Scope, ServiceImage};
use weir_benches::compiled::Balanced;
use weir_benches::maps::{Held, maps_held};
use weir_benches::workload::{edge, services};
use weir_compiler::services::{Compiled, KEEP_ALL, Previous};
use weir_runtime::balancer::{Balancer, BalancerOptions, DeviceMode, Mode};
use weir_runtime::datapath::{Installation, KernelBalancer, balancing_folder, remove_everything};

/// Backends of the edge's services, as many as the peers have.
const BACKENDS: u32 = 100;
/// Room for all flows that any measurement has in unsettled slots.
const FLOWS: u32 = 1 << 22;

/// It, out of the kernel with the value.
pub(crate) struct Weir {
    balancer: KernelBalancer,
    pins: Pins,
    image: Compiled,
    class: usize,
}

struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        _ = remove_everything(&self.0);
    }
}

impl Weir {
    /// At the edge, with all slots settled.
    pub(crate) fn at_the_edge() -> Self {
        Self::started(edge_image(0..BACKENDS, None)).0
    }

    /// At the edge, with no slot settled: there were other backends.
    pub(crate) fn unsettled() -> Self {
        let before = edge_image(BACKENDS..2 * BACKENDS, None);
        let room = BalancerOptions { flows: FLOWS, ..BalancerOptions::default() };
        Self::open(edge_image(0..BACKENDS, Some(&before)), room).0
    }

    /// With an image that no cache holds.
    pub(crate) fn with_many_services() -> Self {
        let cluster = Balanced::read(services::ten_thousand());
        Self::started(cluster.compiled_for(services::EDGE.0, None)).0
    }

    /// With an image of one's own; and how it came into force.
    pub(crate) fn started(image: Compiled) -> (Self, Installation) {
        Self::open(image, BalancerOptions::default())
    }

    fn open(image: Compiled, sizes: BalancerOptions) -> (Self, Installation) {
        let pins = Pins(PathBuf::from(format!("/sys/fs/bpf/weir-bench-balancer-{}", std::process::id())));
        let options = BalancerOptions {
            pin_root: pins.0.clone(),
            mode: Mode::Dsr,
            device_mode: DeviceMode::Tc,
            ..sizes
        };
        let mut balancer = KernelBalancer::open(&options).unwrap();
        let installation = balancer.install(image.bytes.as_bytes()).unwrap();
        balancer.set_node(Some(edge::NODE.1), None).unwrap();
        (Weir { balancer, pins, image, class: installation.class }, installation)
    }

    /// Puts another image in force.
    pub(crate) fn install(&mut self, image: Compiled) -> Installation {
        let installation = self.balancer.install(image.bytes.as_bytes()).unwrap();
        self.image = image;
        self.class = installation.class;
        installation
    }

    /// Puts its programs at a device, by tc.
    pub(crate) fn stand_at(&mut self, device: u32) {
        let reports = self.balancer.set_devices(&BTreeSet::from([device])).unwrap();
        assert!(reports.iter().all(|report| report.trouble.is_none()), "{reports:?}");
    }

    /// The program at XDP.
    pub(crate) fn fast(&self) -> ProgramFd {
        self.program("from_wire_fast")
    }

    /// A program by its name: of those that the kernel has, the one that uses these images.
    pub(crate) fn program(&self, name: &str) -> ProgramFd {
        let images = self.images();
        let found = loaded_programs().flatten().find(|program| {
            let maps = program.map_ids().ok().flatten().unwrap_or_default();
            program.name_as_str() == Some(name) && maps.contains(&images)
        });
        found.unwrap().fd().unwrap()
    }

    /// The number of the map that its images are in.
    fn images(&self) -> u32 {
        MapInfo::from_pin(self.folder().join(self.images_name())).unwrap().id()
    }

    fn images_name(&self) -> String {
        format!("images-{}", self.class)
    }

    /// Where its maps are pinned.
    fn folder(&self) -> PathBuf {
        let versions = fs::read_dir(balancing_folder(&self.pins.0)).unwrap().flatten();
        versions.map(|entry| entry.path()).find(|path| path.join(self.images_name()).exists()).unwrap()
    }

    /// Its maps, by the names that programs have for them, for programs that are to share them.
    pub(crate) fn maps(&self) -> Vec<(&'static str, PathBuf)> {
        let folder = self.folder();
        let mut maps = vec![("service_images", folder.join(self.images_name()))];
        for name in [
            "service_settings",
            "translations",
            "flows",
            "next_hops",
            "service_fragments",
            "balance_counters",
        ] {
            maps.push((name, folder.join(name)));
        }
        maps
    }

    /// Bytes that the kernel holds of its images, and of all its other maps.
    pub(crate) fn held(&self) -> [usize; 2] {
        let (images, others): (Vec<Held>, Vec<Held>) =
            maps_held().into_values().partition(|map| map.value_size >= self.class as u64);
        [images, others].map(|maps| maps.iter().map(|map| map.bytes as usize).sum())
    }

    /// What places in its images are masked by.
    pub(crate) fn mask(&self) -> u32 {
        u32::try_from(self.class - 1).unwrap()
    }

    /// How often something was counted.
    pub(crate) fn counted(&self, counter: BalanceCounter) -> u64 {
        let counters = self.balancer.counters().unwrap();
        counters.iter().find(|(name, _)| *name == counter).map_or(0, |(_, count)| *count)
    }

    /// The backends that a packet of a stream may go to: of a new flow, and of one that was there.
    pub(crate) fn backends(&self, stream: &Stream, turn: u32) -> [Option<IpAddr>; 2] {
        let (client, client_port) = stream.client_of(turn);
        let image = ServiceImage::open(self.image.bytes.as_bytes()).unwrap();
        let answer = image.ask(&Question {
            address: stream.service_of(turn).into(),
            port: stream.port,
            protocol: stream.kind.protocol(),
            scope: Scope::External,
            client: client.into(),
            client_port,
        });
        [answer.backend, answer.previous].map(|backend| backend.map(|backend| backend.address))
    }

    /// Sends some packets of a stream and holds what comes out against the interpreted image: wrapped whole and unchanged, for the backend that the
    /// image says.
    pub(crate) fn verify_wrapping(&self, arrivals: &mut Arrivals, stream: &Stream) {
        arrivals.measure(&self.fast());
        for turn in (0..stream.flows.min(1 << 12)).step_by(61) {
            arrivals.expect(stream, turn);
            let out = arrivals.send(Way::Wrapped);
            let [present, previous] = self.backends(stream, turn);
            let backend = if stream.kind == Kind::Syn { present } else { previous.or(present) };
            check_wrapped(&out, stream, turn, backend);
        }
    }
}

/// The image of the edge, after that of another time.
fn edge_image(backends: Range<u32>, before: Option<&Compiled>) -> Compiled {
    let before = before.map(|before| ServiceImage::open(before.bytes.as_bytes()).unwrap());
    let before = before.map(|image| Previous { image, keeps: KEEP_ALL });
    Balanced::read(edge::cluster(backends)).compiled_for(edge::NODE.0, before)
}

fn check_wrapped(out: &Out, stream: &Stream, turn: u32, backend: Option<IpAddr>) {
    assert_eq!((out.verdict, out.packet.len()), (SENT_BACK, BYTES + WRAPPING), "turn {turn}");
    let (ethernet, rest) = out.packet.split_at(14);
    let (outer, inner) = rest.split_at(WRAPPING);
    assert_eq!(ethernet[..6], HOP);
    assert_eq!((outer[0], outer[9]), (0x45, 4), "IPv4 in IPv4");
    let sum: u32 = outer.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    assert_eq!((sum & 0xFFFF) + (sum >> 16), 0xFFFF, "its checksum");
    let address = |at: usize| Ipv4Addr::new(outer[at], outer[at + 1], outer[at + 2], outer[at + 3]);
    assert_eq!((address(12), Some(IpAddr::V4(address(16)))), (edge::NODE.1, backend), "turn {turn}");
    assert_eq!(inner, &stream.packet_of(turn)[14..], "turn {turn}");
}
