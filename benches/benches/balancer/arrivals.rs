//! Packets that come from the wire, one of each flow in turn: `arrival.bpf.c`, loaded, told what comes, and run.

use crate::network::HOP;
use aya::maps::{Array, ProgramArray};
use aya::programs::tc::{SchedClassifier, TcAttachType};
use aya::programs::{ProgramFd, TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use std::net::Ipv4Addr;
use weir_benches::workload::services;

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ARRIVAL: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/arrival.bpf.o")));

/// What a program made of a packet.
pub(crate) const PASS: u32 = 2;
pub(crate) const SENT_BACK: u32 = 3;

/// Bytes of a packet, Ethernet and all.
pub(crate) const BYTES: usize = 64;
/// Bytes that wrapping adds.
pub(crate) const WRAPPING: usize = 20;
const ETHERNET: usize = 14;
const ADDRESSES: usize = ETHERNET + 12;
const TRANSPORT: usize = ETHERNET + 20;
/// Packets that go up the stack together.
const TOGETHER: u32 = 64;
const CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(11, 0, 0, 0), 20_000);
const CLIENT_FLOWS: u32 = 16;
/// As in the program, which takes flows and services in this order.
const STRIDE: u32 = 2_654_435_761;
const SERVICE_STRIDE: u32 = 2_246_822_519;
/// Place of the measured program.
const BALANCER: u32 = 0;

/// A protocol, and of TCP the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    Ack,
    Udp,
}

impl Kind {
    pub(crate) const fn protocol(self) -> u8 {
        match self {
            Kind::Udp => 17,
            Kind::Syn | Kind::Ack => 6,
        }
    }
}

/// The sum of halfwords, as the machine reads them.
fn halves(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_ne_bytes([pair[0], pair[1]]))).sum()
}

/// What comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    /// The first client and its first port; each has sixteen flows.
    pub(crate) client: (Ipv4Addr, u16),
    /// Where to; the first of them.
    pub(crate) service: Ipv4Addr,
    pub(crate) port: u16,
    /// How many services, so far apart.
    pub(crate) services: u32,
    pub(crate) apart: u32,
    /// A power of two.
    pub(crate) flows: u32,
}

impl Stream {
    /// To one service's port 80.
    pub(crate) const fn to(kind: Kind, service: Ipv4Addr, flows: u32) -> Self {
        Stream { kind, client: CLIENT, service, port: 80, services: 1, apart: 0, flows }
    }

    /// To one load balancer's address after another, of those in the cluster of 10,000 services.
    pub(crate) const fn to_many(kind: Kind, flows: u32) -> Self {
        let (service, apart, services) = services::OUTSIDE;
        Stream { services, apart, ..Self::to(kind, service, flows) }
    }

    /// The client of a turn.
    pub(crate) fn client_of(&self, turn: u32) -> (Ipv4Addr, u16) {
        let flow = turn.wrapping_mul(STRIDE) & (self.flows - 1);
        let (address, port) = self.client;
        ((address.to_bits() + flow / CLIENT_FLOWS).into(), port + (flow % CLIENT_FLOWS) as u16)
    }

    /// The service of a turn.
    pub(crate) fn service_of(&self, turn: u32) -> Ipv4Addr {
        let flow = turn.wrapping_mul(STRIDE) & (self.flows - 1);
        let scaled = u64::from(flow.wrapping_mul(SERVICE_STRIDE)) * u64::from(self.services);
        (self.service.to_bits() + (scaled >> 32) as u32 * self.apart).into()
    }

    /// The first flow's packet, without checksums.
    pub(crate) fn packet(&self) -> [u8; BYTES] {
        let mut packet = [0; BYTES];
        packet[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        packet[6..12].copy_from_slice(&HOP);
        let length = (BYTES - ETHERNET) as u8;
        packet[12..ADDRESSES].copy_from_slice(&[
            8,
            0,
            0x45,
            0,
            0,
            length,
            0,
            1,
            0,
            0,
            64,
            self.kind.protocol(),
            0,
            0,
        ]);
        packet[ADDRESSES..][..4].copy_from_slice(&self.client.0.octets());
        packet[ADDRESSES + 4..][..4].copy_from_slice(&self.service.octets());
        packet[TRANSPORT..][..2].copy_from_slice(&self.client.1.to_be_bytes());
        packet[TRANSPORT + 2..][..2].copy_from_slice(&self.port.to_be_bytes());
        match self.kind {
            Kind::Udp => packet[TRANSPORT + 5] = (BYTES - TRANSPORT) as u8,
            Kind::Syn | Kind::Ack => {
                packet[TRANSPORT + 4..][..8].copy_from_slice(&[
                    0,
                    0,
                    0,
                    1,
                    0,
                    0,
                    0,
                    u8::from(self.kind == Kind::Ack),
                ]);
                let flags = if self.kind == Kind::Syn { 2 } else { 16 };
                packet[TRANSPORT + 12..][..4].copy_from_slice(&[0x50, flags, 0xFF, 0xFF]);
            }
        }
        packet
    }

    /// A turn's packet, as the program writes it.
    pub(crate) fn packet_of(&self, turn: u32) -> [u8; BYTES] {
        let mut packet = self.packet();
        let (client, port) = self.client_of(turn);
        packet[ADDRESSES..][..4].copy_from_slice(&client.octets());
        packet[ADDRESSES + 4..][..4].copy_from_slice(&self.service_of(turn).octets());
        packet[TRANSPORT..][..2].copy_from_slice(&port.to_be_bytes());
        let sum = halves(&packet[ETHERNET..TRANSPORT]);
        let sum = (sum & 0xFFFF) + (sum >> 16);
        let sum = (sum & 0xFFFF) + (sum >> 16);
        packet[ADDRESSES - 2..ADDRESSES].copy_from_slice(&(!sum as u16).to_ne_bytes());
        packet
    }

    /// `struct arrival`.
    fn arrival(&self, turn: u32) -> [u64; 11] {
        let packet = self.packet();
        let sum = halves(&packet[ETHERNET..ADDRESSES]);
        let mut arrival = [0; 11];
        for (word, bytes) in arrival.iter_mut().zip(packet.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        arrival[8] = pair(turn, self.flows - 1);
        arrival[9] = pair(self.services, self.apart);
        arrival[10] = pair(sum, 0);
        arrival
    }
}

/// What a program does to the packets that come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It puts a header around them, which is taken away before the next.
    Wrapped,
    /// It leaves them as long as they are.
    AsLong,
}

impl Way {
    /// The programs that lead to the measured one, and to one that does nothing; and what that says.
    const fn programs(self) -> (&'static str, (&'static str, u32)) {
        match self {
            Way::Wrapped => ("to_wrap", ("to_room", SENT_BACK)),
            Way::AsLong => ("to_rewrite", ("to_nothing", PASS)),
        }
    }

    /// Bytes of the packet that a run begins with: those of one that the program has been at.
    const fn bytes(self) -> usize {
        match self {
            Way::Wrapped => BYTES + WRAPPING,
            Way::AsLong => BYTES,
        }
    }
}

/// A packet as it came out.
pub(crate) struct Out {
    pub(crate) verdict: u32,
    pub(crate) packet: Vec<u8>,
}

/// The programs.
pub(crate) struct Arrivals {
    ebpf: Ebpf,
    /// `struct xdp_md`: which device packets come in at.
    device: u32,
}

impl Arrivals {
    /// Loads them; packets will come in at the device of that index, and leave by that of that name.
    pub(crate) fn load(device: u32, name: &str) -> Self {
        let mut ebpf = EbpfLoader::new().load(&ARRIVAL.0).unwrap();
        for program in ["to_wrap", "to_room", "to_rewrite", "to_nothing", "room", "nothing", "up"] {
            let program: &mut Xdp = ebpf.program_mut(program).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let leave: &mut SchedClassifier = ebpf.program_mut("leave").unwrap().try_into().unwrap();
        leave.load().unwrap();
        _ = aya::programs::tc::qdisc_add_clsact(name);
        leave.attach(name, TcAttachType::Egress).unwrap();
        // Without a program a veth has no queue that packets could be said to come from.
        let nothing: &mut Xdp = ebpf.program_mut("nothing").unwrap().try_into().unwrap();
        nothing.attach(name, XdpMode::Driver).unwrap();
        let mut arrivals = Arrivals { ebpf, device };
        for (place, program) in [(1, "room"), (2, "nothing")] {
            let program: &Xdp = arrivals.ebpf.program(program).unwrap().try_into().unwrap();
            let program = program.fd().unwrap().try_clone().unwrap();
            arrivals.put(place, &program);
        }
        arrivals
    }

    /// Says which program packets are handed to.
    pub(crate) fn measure(&mut self, program: &ProgramFd) {
        self.put(BALANCER, program);
    }

    fn put(&mut self, place: u32, program: &ProgramFd) {
        let mut measured = ProgramArray::try_from(self.ebpf.map_mut("measured").unwrap()).unwrap();
        measured.set(place, program, 0).unwrap();
    }

    /// Says what comes from now on, from a turn on.
    pub(crate) fn expect(&mut self, stream: &Stream, turn: u32) {
        let mut arrivals: Array<_, [u64; 11]> =
            Array::try_from(self.ebpf.map_mut("arrivals").unwrap()).unwrap();
        arrivals.set(0, stream.arrival(turn), 0).unwrap();
    }

    /// So many packets through the measured program, which is to say that of each; nanoseconds for one.
    pub(crate) fn run(&self, way: Way, packets: u32, verdict: u32) -> f64 {
        self.repeat(way.programs().0, way.bytes(), packets, verdict)
    }

    /// So many packets through a program that does nothing but what the way needs.
    pub(crate) fn run_floor(&self, way: Way, packets: u32) -> f64 {
        let (program, verdict) = way.programs().1;
        self.repeat(program, way.bytes(), packets, verdict)
    }

    fn repeat(&self, program: &str, bytes: usize, packets: u32, verdict: u32) -> f64 {
        let (packet, context) = (vec![0; bytes], self.context(bytes));
        let options = TestRunOptions {
            data_in: Some(&packet),
            ctx_in: Some(&context),
            repeat: packets,
            ..TestRunOptions::default()
        };
        let result = self.program(program).test_run(options).unwrap();
        assert_eq!(result.return_value, verdict, "{program}");
        result.duration.as_nanos() as f64
    }

    /// One packet through the measured program, and what it made of it.
    pub(crate) fn send(&self, way: Way) -> Out {
        let (packet, context) = (vec![0; way.bytes()], self.context(way.bytes()));
        let mut out = vec![0; 2 * BYTES];
        let options = TestRunOptions {
            data_in: Some(&packet),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = self.program(way.programs().0).test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        Out { verdict: result.return_value, packet: out }
    }

    /// So many packets up the stack; nanoseconds for one.
    pub(crate) fn send_up(&self, packets: u32) -> f64 {
        let context = self.context(BYTES);
        let options = TestRunOptions {
            data_in: Some(&[0; BYTES]),
            ctx_in: Some(&context),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(TOGETHER),
            ..TestRunOptions::default()
        };
        self.program("up").test_run(options).unwrap().duration.as_nanos() as f64
    }

    /// Packets that left the device since this was asked last: to the address that they came for, and to others.
    pub(crate) fn departures(&mut self) -> [u64; 2] {
        let mut map: Array<_, [u64; 2]> = Array::try_from(self.ebpf.map_mut("departures").unwrap()).unwrap();
        let departures = map.get(&0, 0).unwrap();
        map.set(0, [0, 0], 0).unwrap();
        departures
    }

    fn program(&self, name: &str) -> &Xdp {
        self.ebpf.program(name).unwrap().try_into().unwrap()
    }

    /// `struct xdp_md`.
    fn context(&self, bytes: usize) -> [u8; 24] {
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&u32::try_from(bytes).unwrap().to_ne_bytes());
        context[12..16].copy_from_slice(&self.device.to_ne_bytes());
        context
    }
}
