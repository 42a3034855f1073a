//! Datagrams in pieces: the first says what the later are, and what none says is dropped.

use crate::wire::{ALLOWED, DENIED, Ends, FAMILIES, MALFORMED, REPLY, SOURCE, UNKNOWN_FRAGMENT, V6, Wire};
use std::net::IpAddr;
use weir_abi::state::Counter;
use weir_tests::kernel::packet::flags::{ACK, SYN};
use weir_tests::kernel::packet::{Fragment, Ip, Transport, echo, number, tcp, udp};

const FIRST: Fragment = Fragment { id: 0, place: 0, more: true };

fn first(id: u16) -> Fragment {
    Fragment { id, ..FIRST }
}

fn later(id: u16, place: u16) -> Fragment {
    Fragment { id, place, more: false }
}

/// A later piece of a datagram.
fn piece(from: IpAddr, to: IpAddr, protocol: u8, fragment: Fragment) -> Vec<u8> {
    Ip::new(from, to).fragment(fragment).with(protocol, &[0xFF; 32])
}

fn whole(from: IpAddr, to: IpAddr, fragment: Fragment, transport: &Transport) -> Vec<u8> {
    Ip::new(from, to).fragment(fragment).carrying(transport)
}

#[test]
fn later_pieces_go_where_the_first_went() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, .. } = ends;
        let before = wire.counted(Counter::FragmentsRecorded);
        // Inward, and the reply.
        assert_eq!(wire.inward(&whole(client, pod, first(1), &udp(SOURCE, 53, 1200))), ALLOWED);
        assert_eq!(
            wire.inward(&piece(client, pod, number::UDP, Fragment { more: true, ..later(1, 151) })),
            ALLOWED
        );
        assert_eq!(wire.inward(&piece(client, pod, number::UDP, later(1, 302))), ALLOWED);
        assert_eq!(wire.outward(&whole(pod, client, first(2), &udp(53, SOURCE, 1200))), REPLY);
        assert_eq!(wire.outward(&piece(pod, client, number::UDP, later(2, 151))), REPLY);
        // Outward.
        assert_eq!(wire.outward(&whole(pod, database, first(3), &udp(SOURCE, 53, 1200))), ALLOWED);
        assert_eq!(wire.outward(&piece(pod, database, number::UDP, later(3, 151))), ALLOWED);
        let ping = echo(pod, false, 4);
        assert_eq!(wire.inward(&whole(client, pod, first(4), &ping)), ALLOWED);
        assert_eq!(wire.inward(&piece(client, pod, ping.protocol, later(4, 3))), ALLOWED);
        assert_eq!(wire.counted(Counter::FragmentsRecorded), before + 4);
    }
}

#[test]
fn a_later_piece_without_its_first_is_dropped() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, .. } = ends;
        assert_eq!(wire.inward(&piece(client, pod, number::UDP, later(1, 151))), UNKNOWN_FRAGMENT);
        assert_eq!(wire.inward(&whole(client, pod, first(1), &udp(SOURCE, 53, 1200))), ALLOWED);
        assert_eq!(wire.inward(&piece(client, pod, number::UDP, later(1, 151))), ALLOWED);
        // Every part of the datagram's name counts.
        assert_eq!(wire.inward(&piece(client, pod, number::UDP, later(2, 151))), UNKNOWN_FRAGMENT);
        assert_eq!(wire.inward(&piece(client, pod, number::TCP, later(1, 151))), UNKNOWN_FRAGMENT);
        assert_eq!(wire.inward(&piece(database, pod, number::UDP, later(1, 151))), UNKNOWN_FRAGMENT);
        assert_eq!(wire.outward(&piece(pod, client, number::UDP, later(1, 151))), UNKNOWN_FRAGMENT);
        wire.traces.let_all_run_out().unwrap();
        assert_eq!(wire.inward(&piece(client, pod, number::UDP, later(1, 151))), UNKNOWN_FRAGMENT);
    }
}

#[test]
fn later_pieces_of_what_was_denied_are_denied() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, stranger, .. } = ends;
        assert_eq!(wire.inward(&whole(client, pod, first(1), &udp(SOURCE, 54, 1200))), DENIED);
        assert_eq!(wire.inward(&piece(client, pod, number::UDP, later(1, 151))), DENIED);
        assert_eq!(wire.outward(&whole(pod, stranger, first(2), &udp(SOURCE, 53, 1200))), DENIED);
        assert_eq!(wire.outward(&piece(pod, stranger, number::UDP, later(2, 151))), DENIED);
    }
}

/// A first piece sent twice, each with other ports: the second is judged as what it says.
#[test]
fn a_second_first_piece_is_judged_anew() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        assert_eq!(wire.inward(&whole(client, pod, first(1), &udp(SOURCE, 53, 1200))), ALLOWED);
        assert_eq!(wire.inward(&whole(client, pod, first(1), &udp(SOURCE, 54, 1200))), DENIED);
        assert_eq!(wire.inward(&piece(client, pod, number::UDP, later(1, 151))), DENIED);
    }
}

#[test]
fn a_first_piece_that_holds_no_whole_header_is_malformed() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        let syn = tcp(SOURCE, 80, SYN);
        for (transport, needed) in [(syn, 20), (udp(SOURCE, 53, 100), 4), (echo(pod, false, 1), 6)] {
            for held in 0..needed {
                let packet = Ip::new(client, pod)
                    .fragment(first(1))
                    .with(transport.protocol, &transport.bytes[..held]);
                assert_eq!(
                    wire.inward(&packet),
                    MALFORMED,
                    "{held} bytes of protocol {}",
                    transport.protocol
                );
            }
        }
    }
}

/// A piece that begins within the first one's headers could put other ports or flags in their place, if whoever puts the pieces together
/// lets it.
#[test]
fn a_piece_that_overlaps_headers_is_dropped() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        assert_eq!(wire.inward(&whole(client, pod, first(1), &tcp(SOURCE, 80, ACK))), ALLOWED);
        for place in 1..3 {
            let told = wire.inward(&piece(client, pod, number::TCP, later(1, place)));
            assert_eq!(told, MALFORMED, "at {place}");
        }
        assert_eq!(wire.inward(&piece(client, pod, number::TCP, later(1, 4))), ALLOWED);
    }
    // In IPv6 what is in pieces may begin with extension headers, which put the ports farther back.
    let Ends { pod, client, .. } = V6;
    let mut options = vec![0, 2, 1, 20];
    options.resize(24, 0);
    let packet = Ip::new(client, pod).fragment(first(2)).extension(number::DESTINATION_OPTIONS, &options);
    assert_eq!(wire.inward(&packet.carrying(&udp(SOURCE, 53, 100))), ALLOWED);
    for place in 1..4 {
        let told = wire.inward(&piece(client, pod, number::DESTINATION_OPTIONS, later(2, place)));
        assert_eq!(told, MALFORMED, "at {place}");
    }
    assert_eq!(wire.inward(&piece(client, pod, number::DESTINATION_OPTIONS, later(2, 4))), ALLOWED);
}

#[test]
fn an_atomic_fragment_is_whole() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, client, .. } = V6;
    let before = wire.counted(Counter::FragmentsRecorded);
    let atomic = Fragment { id: 1, place: 0, more: false };
    assert_eq!(wire.inward(&whole(client, pod, atomic, &udp(SOURCE, 53, 10))), ALLOWED);
    assert_eq!(wire.inward(&whole(client, pod, atomic, &udp(SOURCE, 54, 10))), DENIED);
    assert_eq!(wire.counted(Counter::FragmentsRecorded), before);
}

#[test]
fn pieces_of_pieces_do_not_hide_ports() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, client, .. } = V6;
    // The outer first piece holds an inner later one, whose datagram nobody saw.
    let packet = Ip::new(client, pod).fragment(first(1)).fragment(later(2, 9));
    assert_eq!(wire.inward(&packet.with(number::UDP, &[0xFF; 32])), UNKNOWN_FRAGMENT);
    // Known, it goes there; but what follows of the outer datagram does not.
    assert_eq!(wire.inward(&whole(client, pod, first(2), &udp(SOURCE, 53, 64))), ALLOWED);
    assert_eq!(wire.inward(&packet.with(number::UDP, &[0xFF; 32])), ALLOWED);
    assert_eq!(wire.inward(&piece(client, pod, number::FRAGMENT, later(1, 5))), UNKNOWN_FRAGMENT);
}
