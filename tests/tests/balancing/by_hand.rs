//! Packets as no socket of the lab sends them, put into a node's program by hand: as some devices hand them over, or as nobody means well.
//!
//! Not here: whether the kernel sends on what comes of them.

use super::ports::{Translations, number_of_translations, translations};
use super::stage::{ECHO_PORT, PATIENCE, PORT, Stage, at, balanced, balancer_ips, lab_of};
use super::strays::{sum, summed, summed_up};
use super::table::{Hook, Mode, Setting};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, loaded_programs};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};
use weir_abi::services::live::{TranslationKey, TranslationRecord};
use weir_lab::{Call, Lab, Place};
use weir_tests::kernel::packet::{Ip, Transport, flags, frame, number, tcp, too_big, udp};
use zerocopy::{FromBytes, IntoBytes};

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
                && info.map_ids().is_ok_and(|maps| maps.is_some_and(|maps| maps.contains(&id)))
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

/// Where ports are scarce a closed flow's is given on once it has been silent for some ticks, sooner than it would end by itself.
#[test]
fn a_closed_flows_port_is_given_on_where_none_is_free() {
    let Some(lab) = lab_of(SNAT) else { return };
    let services = [balanced("shop/web", 1).endpoint("shop/b2")];
    let _stage = Stage::set_with(&lab, SNAT, &services, ", ports: {first: 61000, last: 61000}").unwrap();
    let wire = Wire::of(lab.node("n1"));
    let mut entries = translations(lab.node("n1"));
    for service in balancer_ips(1) {
        let from = |port, flags| {
            let client = client(service.is_ipv6().into());
            wire.hand(&summed(client, service, tcp(port, PORT, flags)), 0, 0)
        };
        let has = |entries: &Translations, port: u16| entries.keys().any(|key| is_from(&key.unwrap(), port));
        assert_eq!(from(6001, flags::SYN).0, SENT);
        assert_eq!(from(6002, flags::SYN).0, DROPPED, "the one port is the first flow's");
        let closed = Instant::now();
        assert_eq!(from(6001, flags::RST).0, SENT);
        let (said, _) = from(6003, flags::SYN);
        if closed.elapsed() > Duration::from_secs(1) {
            println!("the machine was elsewhere, so this is not asked");
            continue;
        }
        assert_eq!(said, DROPPED, "what is on its way of it may still come");
        age(&mut entries, 3);
        let (said, sent) = from(6004, flags::SYN);
        assert_eq!((said, &read(&sent).3[..2]), (SENT, &61_000u16.to_be_bytes()[..]));
        assert!(has(&entries, 6004) && !has(&entries, 6001));
        // One that goes on keeps it.
        age(&mut entries, 3);
        assert_eq!(from(6005, flags::SYN).0, DROPPED);
    }
}

/// A client whose entries ended may begin anew before they are swept, with another port; whoever gets the former one leaves it alone.
#[test]
fn a_port_that_is_given_on_ends_no_other_flow() {
    const CLIENTS: u16 = 16;
    let Some(lab) = lab_of(SNAT) else { return };
    let services = [balanced("shop/web", 1).endpoint("shop/b2")];
    let _stage = Stage::set_with(&lab, SNAT, &services, ", ports: {first: 61000, last: 61031}").unwrap();
    let wire = Wire::of(lab.node("n1"));
    let mut entries = translations(lab.node("n1"));
    for service in balancer_ips(1) {
        let client = client(service.is_ipv6().into());
        let begin = |clients: Range<u16>| {
            for port in clients {
                let (said, _) = wire.hand(&summed(client, service, tcp(port, PORT, flags::SYN)), 0, 0);
                assert_eq!(said, SENT, "{client} {port}");
            }
        };
        begin(6100..6100 + CLIENTS);
        // Longer than an opening lives. Which port is tried first changes with every tick.
        age(&mut entries, 70);
        thread::sleep(Duration::from_millis(1200));
        begin(6100..6100 + CLIENTS);
        begin(6200..6200 + CLIENTS);
        for port in 6100..6100 + CLIENTS {
            assert!(
                entries.keys().any(|key| is_from(&key.unwrap(), port)),
                "{client} {port} is on record no more"
            );
        }
    }
}

/// Has every entry end so many ticks sooner.
fn age(entries: &mut Translations, ticks: u32) {
    for key in entries.keys().collect::<Result<Vec<_>, _>>().unwrap() {
        let mut record = TranslationRecord::read_from_bytes(&entries.get(&key, 0).unwrap()).unwrap();
        record.expires -= ticks;
        entries
            .insert(key, <[u8; size_of::<TranslationRecord>()]>::try_from(record.as_bytes()).unwrap(), 0)
            .unwrap();
    }
}

fn is_from(key: &[u8], port: u16) -> bool {
    TranslationKey::read_from_bytes(key).unwrap().source_port == port
}

/// A plain packet's source and destination, protocol and transport.
fn read(packet: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    let v6 = |at: usize| -> IpAddr { <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap().into() };
    let v4 = |at: usize| -> IpAddr { <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap().into() };
    if packet[0] >> 4 == 6 {
        return (v6(8), v6(24), packet[6], &packet[40..]);
    }
    let header = usize::from(packet[0] & 0xF) * 4;
    assert_eq!(sum(&packet[..header]), [0, 0], "the header's checksum");
    (v4(12), v4(16), packet[9], &packet[header..])
}

/// Asserts that a packet's checksums are right.
fn assert_summed(packet: &[u8], told: &str) {
    let (from, to, protocol, transport) = read(packet);
    assert_eq!(sum(&summed_up(from, to, protocol, transport)), [0, 0], "{told}");
}

/// No device does it for us here, as it does between sockets of one machine.
#[test]
fn checksums_are_right_whatever_a_packet_becomes() {
    let Some(lab) = lab_of(SNAT) else { return };
    let _stage = staged(&lab, SNAT);
    let wire = Wire::of(lab.node("n1"));
    for (family, service) in balancer_ips(1).into_iter().enumerate() {
        let (from, backend) = (client(family), lab.pod("shop/b2").addresses()[family]);
        let router: IpAddr = ["198.18.0.250", "2001:db8:e::250"][family].parse().unwrap();
        for number in 0..40 {
            for (what, transport) in [
                ("TCP", tcp(7000 + number, PORT, flags::SYN)),
                ("UDP", udp(7000 + number, PORT, 9 + usize::from(number))),
            ] {
                let told = format!("{what} from {from} {number}");
                let (said, sent) = wire.hand(&summed(from, service, transport), 0, 0);
                assert_eq!(said, SENT, "{told}");
                assert_summed(&sent, &told);
                let (node, to, _, transport) = read(&sent);
                assert_eq!((node, to), (lab.node("n1").addresses()[family], backend), "{told}");
                let ports = [&transport[2..4], &transport[..2]].concat();
                // What it is answered with,
                let mut answer = transport.to_vec();
                answer[..4].copy_from_slice(&ports);
                let at = if what == "TCP" { 16 } else { 6 };
                answer[at..at + 2].fill(0);
                let protocol = if what == "TCP" { number::TCP } else { number::UDP };
                let answer = summed(backend, node, Transport { protocol, bytes: answer });
                let (said, back) = wire.hand(&answer, 0, 0);
                assert_eq!((said, read(&back).0, read(&back).1), (SENT, service, from), "{told}");
                assert_summed(&back, &told);
                // and that a router on the way to the backend, and one on the way back, could not send on.
                for (about, to, inner) in [(&sent, node, (from, service)), (&back, service, (backend, node))]
                {
                    let (said, error) = wire.hand(&summed(router, to, too_big(about)), 0, 0);
                    assert_eq!(said, SENT, "{told}");
                    assert_summed(&error, &told);
                    let (_, _, _, message) = read(&error);
                    let (inner_from, inner_to, ..) = read(&message[8..]);
                    assert_eq!((inner_from, inner_to), inner, "{told}");
                }
            }
        }
    }
    // A datagram without a checksum stays without one.
    let (said, sent) = wire.hand(&Ip::new(client(0), balancer_ips(1)[0]).carrying(&udp(7100, PORT, 9)), 0, 0);
    assert_eq!((said, &sent[26..28]), (SENT, &[0, 0][..]));
}
