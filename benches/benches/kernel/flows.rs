//! The whole program at a pod's interface, on packets of connections that are known: parse, conntrack, counters, everything.
//!
//! The programs are those that the datapath loaded, found through the kernel; what is told is above an empty program.

use crate::laboratory::{Bed, LOOPBACK, Laboratory};
use aya::maps::{Array, MapInfo, ProgramArray};
use aya::programs::{ProgramFd, SchedClassifier, TestRun, TestRunOptions, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use weir_abi::state::{Counter, Hook};
use weir_abi::{Image, Reason};
use weir_benches::compiled::{image_of, parsed, subject};
use weir_benches::figures::{ROUNDS, Row, Samples};
use weir_benches::tiny_cluster;
use weir_benches::yaml::Yaml;
use weir_runtime::datapath::Endpoint;
use weir_runtime::enforcer::Enforcer;

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static FLOW: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/flow.bpf.o")));

/// Established connections that take turns.
const FLOWS: u32 = 4096;
const RUNS: u32 = 1 << 20;
const POD: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
const PORT: u16 = 443;
const SYN: u8 = 2;
const ACK: u8 = 16;
/// `TC_ACT_UNSPEC`, which lets a packet pass.
const PASS: u32 = u32::MAX;

/// Both hooks.
pub(crate) fn measure(laboratory: &Laboratory, tell: &mut dyn FnMut(Row)) {
    let (compiled, _) = image_of(parsed(policies(), tiny_cluster::yaml()), None);
    let (pod, _) = subject(&Image::open(compiled.bytes.as_bytes()).unwrap()).unwrap();
    let mut bed = laboratory.bed().unwrap();
    bed.datapath.set_endpoint(LOOPBACK, &Endpoint { identity: pod, v4: Some(POD), v6: None }).unwrap();
    bed.datapath.set_address(POD.into(), pod).unwrap();
    let class = bed.datapath.install_image(compiled.bytes.as_bytes(), &[]).unwrap().class;
    for (flows, what) in [(1, "one flow"), (FLOWS, "4,096 flows")] {
        let mut flow = Flow::load(&bed, class, flows);
        let before = counts(&bed);
        flow.run("out", SYN, flows);
        flow.run("in", SYN | ACK, flows);
        // Flags that a record has not seen yet are told once.
        flow.run("out", ACK, flows);
        flow.run("in", ACK, flows);
        let samples = flow.in_turns();
        let after = counts(&bed);
        let turns = u64::from(RUNS) * ROUNDS as u64;
        let packets = |at: fn(&Counts) -> u64| at(&after) - at(&before);
        let expected = (u64::from(flows), turns + 2 * u64::from(flows), turns + 2 * u64::from(flows));
        let counted = (packets(|of| of.recorded), packets(|of| of.allowed), packets(|of| of.replies));
        // The one flow of the first turn is on record in the second.
        assert!(counted.0 == expected.0 || counted.0 + 1 == expected.0, "{counted:?}, not {expected:?}");
        assert_eq!(
            (counted.1, counted.2),
            (expected.1, expected.2),
            "each packet passes as one of its connection"
        );
        for (name, floor, hook) in [("out", "out_to_nothing", "from_pod"), ("in", "in_to_nothing", "to_pod")]
        {
            let floor = samples[floor].figure();
            let gross = samples[name].figure();
            tell(Row {
                workload: format!("`{hook}`, established TCP, {what}"),
                figure: "ns a packet above an empty program".to_owned(),
                compared: format!("empty program, called alike: {floor}; gross {gross}"),
                measured: format!("**{}**", gross.above(floor, 1)),
                goal: if flows == FLOWS { "≤ 130 ns" } else { "" }.into(),
            });
        }
    }
}

/// One pod that may open connections to the peers of `flow.bpf.c`.
fn policies() -> String {
    let mut yaml = Yaml::default();
    yaml.object("cilium.io/v2", "CiliumNetworkPolicy", Some(tiny_cluster::NAMESPACE), "flows");
    yaml.line("spec:\n  endpointSelector:\n    matchLabels:\n      app: crawler\n  ingress:\n  - fromEntities: [host]");
    yaml.line("  egress:\n  - toCIDR: [203.0.113.0/24]\n    toPorts:\n    - ports:");
    yaml.line(format_args!("      - port: \"{PORT}\"\n        protocol: TCP"));
    yaml.finish()
}

/// What the datapath counted so far.
struct Counts {
    recorded: u64,
    allowed: u64,
    replies: u64,
}

fn counts(bed: &Bed) -> Counts {
    let counters = bed.datapath.counters().unwrap();
    let reason = |hook: Hook, reason: Reason| {
        let found = counters.reasons.iter().find(|(at, why, _)| (*at, *why) == (hook, reason));
        found.map_or(0, |(_, _, record)| record.packets)
    };
    let named = |counter: Counter| {
        counters.named.iter().find(|(name, _)| *name == counter).map_or(0, |(_, count)| *count)
    };
    Counts {
        recorded: named(Counter::ConnectionsRecorded),
        allowed: reason(Hook::FromPod, Reason::AllowedByRule),
        replies: reason(Hook::ToPod, Reason::Reply),
    }
}

/// The programs that make flows of one packet.
struct Flow {
    ebpf: Ebpf,
}

impl Flow {
    fn load(bed: &Bed, class: usize, flows: u32) -> Self {
        let mut ebpf =
            EbpfLoader::new().override_global("FLOW_MASK", &(flows - 1), true).load(&FLOW.0).unwrap();
        for (_, program) in ebpf.programs_mut() {
            let program: &mut SchedClassifier = program.try_into().unwrap();
            program.load().unwrap();
        }
        let nothing: &SchedClassifier = ebpf.program("nothing").unwrap().try_into().unwrap();
        let nothing = nothing.fd().unwrap().try_clone().unwrap();
        let mut measured = ProgramArray::try_from(ebpf.map_mut("measured").unwrap()).unwrap();
        for (place, program) in
            [program(bed, class, "from_pod"), program(bed, class, "to_pod"), nothing].iter().enumerate()
        {
            measured.set(u32::try_from(place).unwrap(), program, 0).unwrap();
        }
        Flow { ebpf }
    }

    /// So many packets, one of each flow in turn; nanoseconds for one.
    fn run(&mut self, name: &str, flags: u8, runs: u32) -> f64 {
        let mut turn: Array<_, u32> = Array::try_from(self.ebpf.map_mut("turn").unwrap()).unwrap();
        turn.set(0, 0, 0).unwrap();
        let packet = packet(name.starts_with("out"), flags);
        let program: &SchedClassifier = self.ebpf.program(name).unwrap().try_into().unwrap();
        let options = TestRunOptions { data_in: Some(&packet), repeat: runs, ..TestRunOptions::default() };
        let result = program.test_run(options).unwrap();
        assert_eq!(result.return_value, PASS, "{name}");
        result.duration.as_nanos() as f64
    }

    fn in_turns(&mut self) -> BTreeMap<&'static str, Samples> {
        let mut samples: BTreeMap<&str, Samples> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for name in ["out_to_nothing", "out", "in_to_nothing", "in"] {
                let took = self.run(name, ACK, RUNS);
                samples.entry(name).or_default().take(took);
            }
        }
        samples
    }
}

/// A program of the datapath: of those of that name the one that uses its images.
fn program(bed: &Bed, class: usize, name: &str) -> ProgramFd {
    let images = MapInfo::from_pin(bed.state().join(format!("images-{class}"))).unwrap().id();
    let found = loaded_programs().flatten().find(|program| {
        let maps = program.map_ids().ok().flatten().unwrap_or_default();
        program.name_as_str() == Some(name) && maps.contains(&images)
    });
    found.unwrap().fd().unwrap()
}

/// Ethernet, IPv4, TCP and some data. The flow is written over it.
fn packet(outward: bool, flags: u8) -> Vec<u8> {
    let peer = Ipv4Addr::new(203, 0, 113, 0);
    let (source, destination) = if outward { (POD, peer) } else { (peer, POD) };
    let (source_port, destination_port) = if outward { (0, PORT) } else { (PORT, 0) };
    let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    packet.extend([0x45, 0, 0, 100, 0, 1, 0, 0, 64, 6, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(u16::to_be_bytes(source_port));
    packet.extend(u16::to_be_bytes(destination_port));
    packet.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    packet.resize(114, 0);
    packet
}
