//! What cannot be read is dropped: headers that are cut off or contradict themselves, chains that do not end, tags, other protocols; and
//! a pod sends from its own addresses alone.

use crate::wire::{
    ALLOWED, DENIED, Ends, FAMILIES, MALFORMED, Policy, SOURCE, SPOOFED, Told, UNSUPPORTED, V6, Wire,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::Reason;
use weir_abi::state::{Counter, Hook};
use weir_runtime::datapath::Fate;
use weir_tests::kernel::packet::flags::{ACK, SYN};
use weir_tests::kernel::packet::{Fragment, Ip, echo, frame, icmp, number, sctp, tagged, tcp, too_big, udp};
use weir_tests::random::config;

const ETHERNET: usize = 14;
const HOOKS: [Hook; 2] = [Hook::FromPod, Hook::ToPod];
/// Padding that fills eight bytes behind a next header and a length.
const PAD: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

#[test]
fn a_packet_cut_off_before_its_ports_is_malformed() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        // A test run takes no frame whose IP header is not whole.
        let header = if ends.are_v6() { 40 } else { 20 };
        let transports = [
            (tcp(SOURCE, 80, SYN), 20),
            (udp(SOURCE, 53, 4), 4),
            (sctp(SOURCE, 80, 1), 13),
            (echo(pod, false, 1), 6),
        ];
        for (transport, needed) in transports {
            let whole = frame(&Ip::new(client, pod).carrying(&transport));
            for held in ETHERNET + header..whole.len() {
                let told = wire.send_frame(Hook::ToPod, &whole[..held]);
                let expected = if held < ETHERNET + header + needed { MALFORMED } else { ALLOWED };
                assert_eq!(told, expected, "{held} bytes of protocol {}", transport.protocol);
            }
        }
    }
}

#[test]
fn an_ip_header_that_contradicts_itself_is_malformed() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let good = Ip::new(ends.client, ends.pod).carrying(&tcp(SOURCE, 80, SYN));
        let version = |version: u8| {
            let mut packet = good.clone();
            packet[0] = packet[0] & 0x0F | version << 4;
            // The Ethernet header says what it said.
            tagged(if ends.are_v6() { &[0x86, 0xDD] } else { &[0x08, 0x00] }, &packet)
        };
        let right = if ends.are_v6() { 6 } else { 4 };
        assert_eq!(wire.send_frame(Hook::ToPod, &version(right)), ALLOWED);
        for other in (0..16).filter(|&other| other != right) {
            assert_eq!(wire.send_frame(Hook::ToPod, &version(other)), MALFORMED, "version {other}");
        }
        if !ends.are_v6() {
            for words in 0..5 {
                let mut packet = good.clone();
                packet[0] = 0x40 | words;
                assert_eq!(wire.inward(&packet), MALFORMED, "{words} words");
            }
        }
    }
}

#[test]
fn ipv4_options_are_stepped_over() {
    let Some(wire) = Wire::open() else { return };
    let [Ends { pod, client, .. }, _] = FAMILIES;
    for words in 1..=10 {
        let ip = Ip::new(client, pod).options(&vec![1; words * 4]);
        assert_eq!(wire.inward(&ip.carrying(&tcp(SOURCE, 80, SYN))), ALLOWED, "{words} words of options");
        assert_eq!(wire.inward(&ip.carrying(&tcp(SOURCE, 81, SYN))), DENIED, "{words} words of options");
        let packet = ip.carrying(&tcp(SOURCE, 80, SYN));
        assert_eq!(wire.inward(&packet[..20 + words * 4 + 19]), MALFORMED);
    }
}

#[test]
fn ipv6_extension_headers_are_stepped_over() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, client, .. } = V6;
    let long = {
        let mut body = vec![0, 2, 1, 20];
        body.resize(24, 0);
        body
    };
    // An authentication header counts words, less two.
    let authentication = {
        let mut body = vec![0, 4, 0, 0];
        body.resize(24, 0);
        body
    };
    let routed_out = [0, 0, 253, 0, 0, 0, 0, 0];
    let chains: [&[(u8, &[u8])]; 5] = [
        &[(number::HOP_BY_HOP, &PAD)],
        &[(number::DESTINATION_OPTIONS, &long)],
        &[(number::AH, &authentication)],
        &[(number::ROUTING, &routed_out)],
        &[
            (number::HOP_BY_HOP, &long),
            (number::ROUTING, &routed_out),
            (number::AH, &authentication),
            (number::DESTINATION_OPTIONS, &PAD),
        ],
    ];
    for chain in chains {
        let ip = chain.iter().fold(Ip::new(client, pod), |ip, (kind, body)| ip.extension(*kind, body));
        assert_eq!(wire.inward(&ip.carrying(&tcp(SOURCE, 80, SYN))), ALLOWED, "{chain:?}");
        assert_eq!(wire.inward(&ip.carrying(&tcp(SOURCE, 81, SYN))), DENIED, "{chain:?}");
        let whole = ip.carrying(&tcp(SOURCE, 80, SYN));
        for held in 40..whole.len() - 12 {
            assert_eq!(wire.inward(&whole[..held]), MALFORMED, "{held} bytes of {chain:?}");
        }
    }
}

#[test]
fn chains_of_extension_headers_that_do_not_end_are_malformed() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, client, .. } = V6;
    for kind in [number::HOP_BY_HOP, number::DESTINATION_OPTIONS, number::ROUTING, number::AH] {
        let body: &[u8] = if kind == number::ROUTING { &[0, 0, 253, 0, 0, 0, 0, 0] } else { &PAD };
        for count in 1..20 {
            let ip = (0..count).fold(Ip::new(client, pod), |ip, _| ip.extension(kind, body));
            let told = wire.inward(&ip.carrying(&tcp(SOURCE, 80, SYN)));
            assert_eq!(told, if count <= 6 { ALLOWED } else { MALFORMED }, "{count} of {kind}");
        }
        // One that names itself as the next, and says that it reaches far beyond the packet.
        let endless =
            Ip::new(client, pod).extension(kind, &[kind, 255, 253, 0, 0, 0, 0, 0]).with(kind, &[255; 64]);
        assert_eq!(wire.inward(&endless), MALFORMED, "{kind}");
    }
    // Nothing follows: no ports, and a protocol that no rule names.
    assert_eq!(wire.inward(&Ip::new(client, pod).with(59, &[0; 8])), DENIED);
}

/// A routing header with segments left names a destination that is not the one policy is asked about.
#[test]
fn a_packet_that_goes_on_to_another_destination_is_malformed() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, client, database, outside, .. } = V6;
    let IpAddr::V6(next) = outside else { panic!("the IPv6 ends are IPv6") };
    for kind in [0, 2, 3, 4] {
        let mut body = vec![0, 2, kind, 1, 0, 0, 0, 0];
        body.extend(next.octets());
        let routed = |from, to| Ip::new(from, to).extension(number::ROUTING, &body);
        let call = tcp(SOURCE, 5432, SYN);
        assert_eq!(wire.outward(&routed(pod, database).carrying(&call)), MALFORMED, "type {kind}");
        assert_eq!(
            wire.inward(&routed(client, pod).carrying(&tcp(SOURCE, 80, SYN))),
            MALFORMED,
            "type {kind}"
        );
    }
}

/// The same of IPv4, where an option names the addresses to go by.
#[test]
fn a_packet_that_says_its_route_is_malformed() {
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    const RECORDED: u8 = 7;
    const NOTHING: u8 = 1;
    const END: u8 = 0;
    let Some(wire) = Wire::open() else { return };
    let [Ends { pod, client, database, .. }, _] = FAMILIES;
    let told = |options: &[u8]| {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), END);
        let ip = |from, to| Ip::new(from, to).options(&options);
        let inward = wire.inward(&ip(client, pod).carrying(&tcp(SOURCE, 80, SYN)));
        assert_eq!(wire.outward(&ip(pod, database).carrying(&tcp(SOURCE, 5432, SYN))), inward, "{options:?}");
        inward
    };
    for kind in [LOOSE, STRICT] {
        let route = [kind, 7, 4, 203, 0, 113, 7];
        assert_eq!(told(&route), MALFORMED);
        assert_eq!(told(&[&[NOTHING; 33][..], &route].concat()), MALFORMED);
        assert_eq!(told(&[&[RECORDED, 7, 4, 0, 0, 0, 0][..], &route].concat()), MALFORMED);
        // Behind the end of the list it says nothing, and as another option's content neither.
        assert_eq!(told(&[&[END][..], &route].concat()), ALLOWED);
        assert_eq!(told(&[&[RECORDED, 9, 10][..], &route[..6]].concat()), ALLOWED);
    }
    // Options that do not end where the header does, so that none is where it seems.
    for options in
        [[RECORDED, 0, 0, 0], [RECORDED, 1, 0, 0], [RECORDED, 5, 4, 0], [NOTHING, NOTHING, NOTHING, RECORDED]]
    {
        assert_eq!(told(&options), MALFORMED, "{options:?}");
    }
}

#[test]
fn tags_and_other_protocols_are_unsupported() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let packet = Ip::new(ends.client, ends.pod).carrying(&tcp(SOURCE, 80, SYN));
        let kind: [u8; 2] = if ends.are_v6() { [0x86, 0xDD] } else { [0x08, 0x00] };
        let tags: [&[u8]; 4] =
            [&[0x81, 0, 0, 5], &[0x88, 0xA8, 0, 5], &[0x88, 0xA8, 0, 5, 0x81, 0, 0, 6], &[0x81, 0, 0, 0]];
        for tag in tags {
            let told = HOOKS.map(|hook| wire.send_frame(hook, &tagged(&[tag, &kind].concat(), &packet)));
            assert_eq!(told, [UNSUPPORTED; 2], "{tag:02X?}");
        }
    }
    // IPX, MPLS, PPPoE, LLDP, a length in place of a type.
    for kind in [[0x81, 0x37], [0x88, 0x47], [0x88, 0x64], [0x88, 0xCC], [0, 60]] {
        let told = HOOKS.map(|hook| wire.send_frame(hook, &tagged(&kind, &[0; 60])));
        assert_eq!(told, [UNSUPPORTED; 2], "{kind:02X?}");
    }
}

#[test]
fn a_pod_sends_from_its_own_addresses_alone() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, outside, .. } = ends;
        let call = tcp(SOURCE, 5432, SYN);
        let nobody: IpAddr =
            if ends.are_v6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        assert_eq!(wire.outward(&Ip::new(pod, database).carrying(&call)), ALLOWED);
        for other in [client, outside, nobody] {
            assert_eq!(wire.outward(&Ip::new(other, database).carrying(&call)), SPOOFED, "from {other}");
        }
        // Nor may a later piece, or what is about to be refused anyway.
        let piece = Ip::new(client, database).fragment(Fragment { id: 1, place: 9, more: false });
        assert_eq!(wire.outward(&piece.with(number::UDP, &[0; 8])), SPOOFED);
    }
    wire.set_pod(None);
    let Ends { pod, database, .. } = V6;
    for source in [pod, Ipv6Addr::UNSPECIFIED.into()] {
        let told = wire.outward(&Ip::new(source, database).carrying(&tcp(SOURCE, 5432, SYN)));
        assert_eq!(told, SPOOFED, "a pod without an IPv6 address sends from {source}");
    }
}

/// One thing that is done to a packet.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Bit(Index),
    CutOff(Index),
    Insert(Index, Vec<u8>),
    Swap(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Bytes that mean something in headers: protocols, types, lengths.
    let byte =
        prop_oneof![select(vec![0u8, 1, 4, 6, 17, 41, 43, 44, 50, 51, 58, 60, 132, 135, 255]), any::<u8>()];
    prop_oneof![
        4 => (any::<Index>(), byte).prop_map(|(at, to)| Damage::Byte(at, to)),
        2 => any::<Index>().prop_map(Damage::Bit),
        1 => any::<Index>().prop_map(Damage::CutOff),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Damage::Swap(one, other)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Damage::Byte(at, to) => {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            Damage::Bit(at) => {
                let at = at.index(bytes.len() * 8);
                bytes[at / 8] ^= 1 << (at % 8);
            }
            Damage::CutOff(at) => bytes.truncate(at.index(bytes.len()).max(1)),
            Damage::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Swap(one, other) => {
                let (one, other) = (one.index(bytes.len()), other.index(bytes.len()));
                bytes.swap(one, other);
            }
        }
    }
}

/// Packets of every kind, both ways, to be damaged.
fn every_kind() -> Vec<(Hook, Vec<u8>)> {
    let mut packets = Vec::new();
    for Ends { pod, client, database, router, .. } in FAMILIES {
        for (hook, from, to) in [(Hook::ToPod, client, pod), (Hook::FromPod, pod, database)] {
            let ip = Ip::new(from, to);
            let transports = [
                tcp(SOURCE, 80, SYN),
                tcp(SOURCE, 5432, ACK),
                udp(SOURCE, 53, 30),
                sctp(SOURCE, 80, 1),
                echo(pod, false, 3),
                icmp(pod, 135, [0; 4], &[0; 16]),
                too_big(&Ip::new(to, from).carrying(&tcp(SOURCE, 80, ACK))),
            ];
            packets.extend(transports.iter().map(|transport| (hook, ip.carrying(transport))));
            let pieces = [(0, true), (20, false)];
            packets.extend(pieces.map(|(place, more)| {
                (hook, ip.clone().fragment(Fragment { id: 1, place, more }).carrying(&udp(SOURCE, 53, 100)))
            }));
            let behind = ip.extension(number::HOP_BY_HOP, &PAD).extension(number::DESTINATION_OPTIONS, &PAD);
            packets.push((hook, behind.carrying(&tcp(SOURCE, 80, SYN))));
        }
        packets
            .push((Hook::ToPod, Ip::new(router, pod).hops(255).carrying(&icmp(pod, 136, [0; 4], &[0; 16]))));
    }
    packets.into_iter().map(|(hook, packet)| (hook, frame(&packet))).collect()
}

/// Where nothing may pass, nothing does, whatever it looks like; but for neighbours, who are no policy's.
#[test]
fn no_damaged_packet_passes_where_nothing_may() {
    const PACKETS: usize = 20_000;
    let Some(mut wire) = Wire::open() else { return };
    wire.enforce(Policy::Closed);
    let kinds = every_kind();
    let mut runner = TestRunner::new(config(1));
    let mut neighbours = 0;
    let reasons = |wire: &Wire| HOOKS.map(|hook| wire.traces.reasons(hook).unwrap());
    let before = reasons(&wire);
    for number in 0..PACKETS {
        let (hook, mut bytes) = kinds[number % kinds.len()].clone();
        let damages = prop::collection::vec(damage(), 0..4).new_tree(&mut runner).unwrap().current();
        for damage in &damages {
            damage.apply(&mut bytes);
        }
        if !is_taken(&bytes) {
            continue;
        }
        match wire.send_marked(hook, 0, &bytes).fate {
            Fate::Dropped => {}
            Fate::Passed if is_neighbours(&bytes) => neighbours += 1,
            fate => panic!("{hook:?} {damages:?}: {fate:?} {bytes:02X?}"),
        }
    }
    let after = reasons(&wire);
    let met: Vec<(&str, u64)> = (before[0].keys())
        .map(|reason| (*reason, (0..2).map(|hook| after[hook][reason] - before[hook][reason]).sum()))
        .filter(|(_, count)| *count > 0)
        .collect();
    println!("{PACKETS} damaged packets: {met:?}");
    let connections = wire.traces.connections().unwrap();
    assert!(connections.iter().all(|one| one.reason == Reason::Neighbour as u8), "{connections:?}");
    assert_eq!(wire.counted(Counter::ConnectionsRefused), 0);
    let counted =
        |reason: Told| met.iter().find(|(name, _)| *name == reason.1).map_or(0, |(_, count)| *count);
    assert_eq!(counted(crate::wire::NEIGHBOUR), neighbours);
    for reason in [MALFORMED, DENIED, SPOOFED, UNSUPPORTED, crate::wire::UNKNOWN_FRAGMENT] {
        assert!(counted(reason) > 50, "{reason:?}: {met:?}");
    }
}

/// Whether a test run takes such a frame: an IP header that is not whole it refuses itself.
fn is_taken(frame: &[u8]) -> bool {
    let header = match frame.get(12..ETHERNET) {
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xDD]) => 40,
        _ => 1,
    };
    frame.len() >= ETHERNET + header
}

/// ARP, or ICMPv6 of the kinds that only neighbours take, with the hops of one who is.
fn is_neighbours(frame: &[u8]) -> bool {
    let arp = frame.get(12..14) == Some(&[0x08, 0x06]);
    let v6 = frame.get(12..14) == Some(&[0x86, 0xDD]);
    arp || v6
        && frame.get(21) == Some(&255)
        && frame[ETHERNET..].iter().any(|byte| (133..=137).contains(byte))
}
