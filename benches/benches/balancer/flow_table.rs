//! The peer that keeps flows: `flow_table.bpf.c`, loaded and filled.

use crate::network::HOP;
use aya::maps::{Array, HashMap};
use aya::programs::{ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader};
use std::net::Ipv4Addr;
use weir_benches::random::Random;

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static FLOW_TABLE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/flow_table.bpf.o")));

const RING: u32 = 65_537;
const BACKENDS: u32 = 100;
const SEED: u64 = 0x5eed_0011;

/// The programs.
pub(crate) struct FlowTable {
    ebpf: Ebpf,
}

impl FlowTable {
    /// Loads them, for one address's port 80.
    pub(crate) fn load(service: Ipv4Addr) -> Self {
        let mut ebpf = EbpfLoader::new().load(&FLOW_TABLE.0).unwrap();
        for program in ["with_flows", "without_flows"] {
            let program: &mut Xdp = ebpf.program_mut(program).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let first = |address: Ipv4Addr| [u32::from_ne_bytes(address.octets()), 0, 0, 0];
        let mut services: HashMap<_, [u32; 5], u32> =
            HashMap::try_from(ebpf.map_mut("services").unwrap()).unwrap();
        for protocol in [6, 17] {
            let [low, high] = 80_u16.to_be_bytes();
            let [address, ..] = first(service);
            let key = [address, 0, 0, 0, u32::from_ne_bytes([low, high, protocol, 0])];
            services.insert(key, 0, 0).unwrap();
        }
        let mut random = Random::new(SEED);
        let mut ring: Array<_, u32> = Array::try_from(ebpf.map_mut("ring").unwrap()).unwrap();
        for slot in 0..RING {
            ring.set(slot, random.below(BACKENDS), 0).unwrap();
        }
        let mut backends: Array<_, [u32; 5]> = Array::try_from(ebpf.map_mut("backends").unwrap()).unwrap();
        for backend in 0..BACKENDS {
            let [address, rest @ ..] = first(Ipv4Addr::from_bits(0x0A80_0001 + backend));
            let [a, b, c] = rest;
            backends.set(backend, [address, a, b, c, 0], 0).unwrap();
        }
        let mut hop: Array<_, [u8; 8]> = Array::try_from(ebpf.map_mut("next_hop").unwrap()).unwrap();
        let [a, b, c, d, e, f] = HOP;
        hop.set(0, [a, b, c, d, e, f, 0, 0], 0).unwrap();
        FlowTable { ebpf }
    }

    /// A program of its.
    pub(crate) fn program(&self, name: &str) -> ProgramFd {
        let program: &Xdp = self.ebpf.program(name).unwrap().try_into().unwrap();
        program.fd().unwrap().try_clone().unwrap()
    }

    /// Packets since this was asked last, whose flow was found and whose was not.
    pub(crate) fn met(&mut self) -> [u64; 2] {
        let mut map: Array<_, [u64; 2]> = Array::try_from(self.ebpf.map_mut("met").unwrap()).unwrap();
        let met = map.get(&0, 0).unwrap();
        map.set(0, [0, 0], 0).unwrap();
        met
    }
}
