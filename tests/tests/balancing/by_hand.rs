//! Packets as no socket of the lab sends them, put into a node's program by hand: as some devices hand them over, or as nobody means well.
//!
//! Not here: whether the kernel sends on what comes of them.

use super::ports::number_of_translations;
use super::stage::{ECHO_PORT, PATIENCE, PORT, Stage, at, balanced, balancer_ips, lab_of};
use super::table::{Hook, Mode, Setting};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, loaded_programs};
use std::net::{IpAddr, Ipv6Addr};
use weir_lab::{Call, Lab, Place};
use weir_tests::kernel::packet::{Ip, Transport, flags, frame, number, tcp, udp};

const SNAT: Setting = Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: false };
const OPTION: Setting = Setting { mode: Mode::DsrOption, hook: Hook::Tc, sockets: false };

/// What programs of the wire say of a packet.
const PASSED: u32 = u32::MAX;
const DROPPED: u32 = 2;
const SENT: u32 = 7;

/// `struct __sk_buff`: its size, and where fields are.
const CONTEXT: usize = 192;
const IFINDEX: usize = 40;
const GSO_SEGMENTS: usize = 164;
const GSO_SIZE: usize = 176;

const CLIENTS: [&str; 2] = ["203.0.113.77", "2001:db8::77"];
const ETHERNET: usize = 14;

/// The program of a node's wire.
struct Wire<'a> {
    node: &'a Place,
    program: SchedClassifier,
    device: u32,
    address: [u8; 6],
}

impl<'a> Wire<'a> {
    fn of(node: &'a Place) -> Wire<'a> {
        let id = number_of_translations(node);
        let is_it = |info: &aya::programs::ProgramInfo| {
            info.name_as_str() == Some("from_wire")
                && info.map_ids().unwrap().is_some_and(|maps| maps.contains(&id))
        };
        let info = loaded_programs().filter_map(Result::ok).find(is_it).unwrap();
        let program = SchedClassifier::from_program_info(info, "from_wire".into()).unwrap();
        let device = node.interface("eth0").unwrap().index;
        let told = std::fs::read_to_string(node.path("/sys/class/net/eth0/address")).unwrap();
        let bytes: Vec<u8> =
            told.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        Wire { node, program, device, address: bytes.try_into().unwrap() }
    }

    /// Hands a packet over that is so many segments, of so many bytes each; 0: it is one. What is said of it, and its bytes from the IP header on.
    fn hand(&self, packet: &[u8], segments: u32, size: u32) -> (u32, Vec<u8>) {
        let mut bytes = frame(packet);
        bytes[..6].copy_from_slice(&self.address);
        let mut context = [0; CONTEXT];
        for (at, value) in [(IFINDEX, self.device), (GSO_SEGMENTS, segments), (GSO_SIZE, size)] {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        let mut out = vec![0; bytes.len() + 256];
        let run = || {
            let options = TestRunOptions {
                data_in: Some(&bytes),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            };
            let result = self.program.test_run(options).unwrap();
            (result.return_value, result.data_size_out as usize)
        };
        let (said, length) = self.node.inside(run).unwrap();
        (said, out[ETHERNET..length].to_vec())
    }
}

fn client(family: usize) -> IpAddr {
    CLIENTS[family].parse().unwrap()
}

/// A packet of TCP with so many bytes of payload.
fn long(from: IpAddr, to: IpAddr, payload: usize) -> Vec<u8> {
    let Transport { protocol, mut bytes } = tcp(5000, PORT, flags::ACK);
    bytes.resize(20 + payload, b't');
    Ip::new(from, to).with(protocol, &bytes)
}

/// Whether a packet is an ICMP message.
fn is_icmp(packet: &[u8]) -> bool {
    if packet[0] >> 4 == 4 { packet[9] == number::ICMP } else { packet[6] == number::ICMPV6 }
}

/// The stage with a way to the backend that is known.
fn staged(lab: &Lab, setting: Setting) -> Stage<'_> {
    let stage = Stage::set(lab, setting, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
    for service in balancer_ips(1) {
        let call = Call::to(at(service, ECHO_PORT)).within(PATIENCE);
        assert!(stage.peer("outside").tcp(call).unwrap().is_made());
    }
    stage
}

/// A device of a virtual machine hands over what is to be cut in segments without saying how many there are.
#[test]
fn segments_are_too_big_each_for_itself() {
    let Some(lab) = lab_of(SNAT) else { return };
    let _stage = staged(&lab, SNAT);
    let wire = Wire::of(lab.node("n1"));
    for (family, service) in balancer_ips(1).into_iter().enumerate() {
        let headers = if family == 0 { 40 } else { 60 };
        let packet = long(client(family), service, 2900);
        for (segments, size, is_too_big) in [
            (0, 1500 - headers, false),
            (2, 1500 - headers, false),
            (0, 1500 - headers + 1, true),
            (2, 1500 - headers + 1, true),
        ] {
            let (said, out) = wire.hand(&packet, segments, size);
            let told = format!("family {family}: {segments} segments of {size}");
            assert_eq!((said, is_icmp(&out)), (SENT, is_too_big), "{told}");
        }
    }
}

/// Images and entries tell IPv4 addresses in sixteen bytes, as no packet of IPv6 has them.
#[test]
fn ipv6_does_not_speak_for_ipv4() {
    let Some(lab) = lab_of(SNAT) else { return };
    let stage = staged(&lab, SNAT);
    let wire = Wire::of(lab.node("n1"));
    let [service, _] = balancer_ips(1);
    let sixteen = |address: IpAddr| -> IpAddr {
        let IpAddr::V4(address) = address else { panic!("{address}") };
        let mapped: Ipv6Addr = address.to_ipv6_mapped();
        mapped.into()
    };
    let to_service = |from, to| Ip::new(from, to).carrying(&udp(5001, PORT, 8));
    let outside = lab.outside().addresses()[1];
    for from in [sixteen(client(0)), outside] {
        let (said, _) = wire.hand(&to_service(from, sixteen(service)), 0, 0);
        assert_eq!(said, PASSED, "{from}");
    }
    assert_eq!(wire.hand(&to_service(client(0), service), 0, 0).0, SENT);
    drop(stage);
}

/// An address as a whole is on record under no protocol and port.
#[test]
fn protocol_0_asks_for_nothing() {
    let Some(lab) = lab_of(SNAT) else { return };
    let _stage = staged(&lab, SNAT);
    let wire = Wire::of(lab.node("n1"));
    let [service, _] = balancer_ips(1);
    let packet = Ip::new(client(0), service).with(0, &[0; 16]);
    assert_eq!(wire.hand(&packet, 0, 0).0, PASSED);
}

/// The length of an IPv4 header is four bits.
#[test]
fn an_option_is_put_only_where_it_has_room() {
    let Some(lab) = lab_of(OPTION) else { return };
    let _stage = staged(&lab, OPTION);
    let wire = Wire::of(lab.node("n1"));
    let [service, _] = balancer_ips(1);
    for (options, expected) in [(32, SENT), (36, DROPPED), (40, DROPPED)] {
        let packet = Ip::new(client(0), service).options(&vec![1; options]);
        let (said, out) = wire.hand(&packet.carrying(&tcp(5002, PORT, flags::SYN)), 0, 0);
        assert_eq!(said, expected, "{options} bytes of options");
        assert!(said == DROPPED || out[0] == 0x4F, "{options} bytes of options: {:x}", out[0]);
    }
}

/// So many ports are tried for a flow, each another, however many there are.
#[test]
fn as_many_flows_as_ports_are_tried_find_one_each() {
    const TRIED: u16 = 32;
    let Some(lab) = lab_of(SNAT) else { return };
    let services = [balanced("shop/web", 1).endpoint("shop/b2")];
    let _stage = Stage::set_with(&lab, SNAT, &services, ", ports: {first: 61000, last: 61060}").unwrap();
    let wire = Wire::of(lab.node("n1"));
    for service in balancer_ips(1) {
        for port in 6000..6000 + TRIED {
            let packet = Ip::new(client(service.is_ipv6().into()), service).carrying(&udp(port, PORT, 8));
            assert_eq!(wire.hand(&packet, 0, 0).0, SENT, "flow from port {port} to {service}");
        }
    }
}
