//! What one packet's look into a set of the kernel's own firewalls costs, above a chain that drops it at once.
//!
//! Packets are the queries of the decision's benchmark, made by a program and sent up the stack; each is counted as in the set or
//! not in it, and must be what it is.

use crate::bench_programs::{BATCH, BATCHES, write_queries};
use crate::firewall::{self, Firewall};
use crate::laboratory::Laboratory;
use aya::maps::Array;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use weir_abi::Identity;
use weir_benches::figures::{Figure, Row, Samples};
use weir_benches::prefixes::Prefix;
use weir_benches::workload::dealt::{Dealt, Query};

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static PACKET: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/packet.bpf.o")));

const PREFIXES: usize = 1_000_000;
const RULES: u32 = 1000;
/// Times that all queries are sent.
const PASSES: usize = 5;
/// Packets that go up the stack together.
const TOGETHER: u32 = 64;
/// An Ethernet and an IPv4 header with a few bytes behind.
const BYTES: usize = 64;

/// Every firewall.
pub(crate) fn measure(_: &Laboratory, tell: &mut dyn FnMut(Row)) {
    let dealt = Dealt::new(PREFIXES, RULES);
    let prefixes: Vec<Prefix> = dealt.prefixes().map(|(prefix, _)| prefix).collect();
    let queries = dealt.queries(BATCH * BATCHES);
    let within = within(&prefixes, &queries);
    let mut packets = Packets::load(&queries);
    for firewall in firewall::ALL {
        let measured = costs(firewall, &prefixes, &mut packets, within);
        firewall.clear();
        let (compared, measured) = match measured {
            Ok((floor, gross)) => (format!("floor {floor}"), gross.above(floor, 1).to_string()),
            Err(why) => (String::new(), format!("not measured: {why}")),
        };
        tell(Row {
            workload: format!("a packet's address in 1,000,000 prefixes: {}", firewall.set),
            figure: "ns above a chain that drops at once".to_owned(),
            compared,
            measured,
            goal: "".into(),
        });
    }
}

/// A packet that is dropped at once, and one that is looked up.
fn costs(
    firewall: &Firewall,
    prefixes: &[Prefix],
    packets: &mut Packets,
    within: u64,
) -> Result<(Figure, Figure), String> {
    firewall.clear();
    firewall.drop_all()?;
    let floor = packets.passes();
    firewall.clear();
    firewall.fill(prefixes)?;
    firewall.ask()?;
    let gross = packets.passes();
    let (counted, all) = (firewall.counted()?, (BATCH * BATCHES) as u64);
    let expected = [within, all - within].map(|packets| packets * PASSES as u64);
    // A stray packet of the namespace's own may be among those outside.
    let is_near = |(counted, expected): (&u64, &u64)| counted.abs_diff(*expected) < 100;
    if counted.len() == 2 && counted.iter().zip(&expected).all(is_near) {
        Ok((floor, gross))
    } else {
        Err(format!("it counted {counted:?} packets, not {expected:?}"))
    }
}

/// How many queries are for an address within a prefix.
fn within(prefixes: &[Prefix], queries: &[Query]) -> u64 {
    let first_to_last: BTreeMap<u32, u32> = prefixes
        .iter()
        .filter_map(|prefix| match prefix.address {
            IpAddr::V4(first) => Some((
                first.to_bits(),
                first.to_bits() | u32::MAX.checked_shr(prefix.length.into()).unwrap_or(0),
            )),
            IpAddr::V6(_) => None,
        })
        .collect();
    let is_within = |query: &&Query| {
        let address = query.address.to_bits();
        first_to_last.range(..=address).next_back().is_some_and(|(_, last)| address <= *last)
    };
    queries.iter().filter(is_within).count() as u64
}

/// The program that makes packets.
struct Packets {
    ebpf: Ebpf,
}

impl Packets {
    fn load(queries: &[Query]) -> Self {
        let mut ebpf = EbpfLoader::new().load(&PACKET.0).unwrap();
        let program: &mut Xdp = ebpf.program_mut("up").unwrap().try_into().unwrap();
        program.load().unwrap();
        write_queries(&mut ebpf, Identity::UNKNOWN, queries);
        Packets { ebpf }
    }

    /// Nanoseconds a packet, when all queries are sent.
    fn passes(&mut self) -> Figure {
        let (packet, checksum) = packet();
        let mut samples = Samples::default();
        for _ in 0..PASSES {
            let mut progress: Array<_, [u64; 2]> =
                Array::try_from(self.ebpf.map_mut("progress").unwrap()).unwrap();
            progress.set(0, [u64::from(checksum), 0], 0).unwrap();
            let program: &Xdp = self.ebpf.program("up").unwrap().try_into().unwrap();
            let options = TestRunOptions {
                data_in: Some(&packet),
                repeat: u32::try_from(BATCH * BATCHES).unwrap(),
                attrs: TestRunAttrs::new().xdp_live_frames(TOGETHER),
                ..TestRunOptions::default()
            };
            samples.take(program.test_run(options).unwrap().duration.as_nanos() as f64);
        }
        samples.figure()
    }
}

/// A packet without a source, and the checksum of its header as the machine reads it.
fn packet() -> (Vec<u8>, u16) {
    let mut packet = vec![0; 12];
    packet.extend([0x08, 0x00, 0x45, 0, 0, 50, 0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0]);
    packet.extend(Ipv4Addr::new(10, 1, 0, 10).octets());
    let header = packet[14..].chunks_exact(2).map(|pair| u32::from(u16::from_ne_bytes([pair[0], pair[1]])));
    let sum: u32 = header.sum();
    let sum = (sum & 0xFFFF) + (sum >> 16);
    packet.resize(BYTES, 0);
    (packet, !u16::try_from(sum).unwrap())
}
