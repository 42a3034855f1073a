//! ICMP errors: one about a connection of the pod's passes to whoever the connection's packet came from, and nobody else's does.

use crate::wire::{ALLOWED, DENIED, Ends, FAMILIES, Policy, RELATED, REPLY, SOURCE, Wire};
use std::net::IpAddr;
use weir_abi::state::Counter;
use weir_tests::kernel::packet::flags::{ACK, SYN};
use weir_tests::kernel::packet::{Fragment, Ip, Transport, echo, tcp, too_big, udp};

/// An error about a packet.
fn about(from: IpAddr, to: IpAddr, transport: &Transport) -> Transport {
    too_big(&Ip::new(from, to).carrying(transport))
}

#[test]
fn an_error_about_a_connection_passes() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, router, .. } = ends;
        let (call, answer) = (tcp(SOURCE, 5432, SYN), tcp(80, SOURCE, SYN | ACK));
        let (ping, query) = (echo(pod, false, 9), udp(SOURCE, 53, 20));
        for error in [about(pod, database, &call), about(pod, client, &answer), about(pod, database, &ping)] {
            assert_eq!(wire.pass(&ends, router, pod, &error), DENIED, "before there is a connection");
        }
        assert_eq!(wire.pass(&ends, pod, database, &call), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, database, &query), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, database, &ping), ALLOWED);
        assert_eq!(wire.pass(&ends, client, pod, &tcp(SOURCE, 80, SYN)), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, client, &answer), REPLY);
        // From a router that nobody's rules name, and from the other side itself.
        for from in [router, database] {
            for packet in [&call, &query, &ping] {
                assert_eq!(wire.pass(&ends, from, pod, &about(pod, database, packet)), RELATED);
            }
        }
        assert_eq!(wire.pass(&ends, router, pod, &about(pod, client, &answer)), RELATED);
        // And what the pod says of what it got.
        let got = about(client, pod, &tcp(SOURCE, 80, ACK));
        assert_eq!(wire.pass(&ends, pod, client, &got), RELATED);
    }
}

#[test]
fn an_error_about_no_connection_is_judged_as_what_it_is() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, database, stranger, outside, router, .. } = ends;
        assert_eq!(wire.pass(&ends, pod, database, &tcp(SOURCE, 5432, SYN)), ALLOWED);
        for error in [
            about(pod, database, &tcp(SOURCE + 1, 5432, SYN)),
            about(pod, database, &tcp(SOURCE, 5433, SYN)),
            about(pod, database, &udp(SOURCE, 5432, 4)),
            about(pod, stranger, &tcp(SOURCE, 5432, SYN)),
            about(outside, database, &tcp(SOURCE, 5432, SYN)),
            // The packet that the database sent cannot have come back to the pod.
            about(database, pod, &tcp(5432, SOURCE, ACK)),
            // An error about an error.
            about(pod, database, &about(pod, database, &tcp(SOURCE, 5432, SYN))),
        ] {
            assert_eq!(wire.pass(&ends, router, pod, &error), DENIED);
        }
    }
}

#[test]
fn an_error_about_a_packet_that_cannot_be_read_is_not_related() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, database, router, .. } = ends;
        let call = tcp(SOURCE, 5432, SYN);
        assert_eq!(wire.pass(&ends, pod, database, &call), ALLOWED);
        let whole = about(pod, database, &call);
        let header = if ends.are_v6() { 40 } else { 20 };
        for cut in 8..whole.bytes.len() {
            let error = Transport { protocol: whole.protocol, bytes: whole.bytes[..cut].to_vec() };
            // Eight bytes of the error's own, the inner header, and both ports.
            let expected = if cut < 8 + header + 4 { DENIED } else { RELATED };
            assert_eq!(wire.pass(&ends, router, pod, &error), expected, "{cut} bytes");
        }
        let later =
            Ip::new(pod, database).fragment(Fragment { id: 5, place: 9, more: false }).carrying(&call);
        assert_eq!(wire.pass(&ends, router, pod, &too_big(&later)), DENIED);
    }
}

/// An error goes to the source of the packet that it is about.
#[test]
fn an_error_about_a_connection_reaches_nobody_else() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, stranger, outside, .. } = ends;
        assert_eq!(wire.pass(&ends, client, pod, &tcp(SOURCE, 80, SYN)), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, database, &tcp(SOURCE, 5432, SYN)), ALLOWED);
        for to in [stranger, outside, database] {
            let got = about(client, pod, &tcp(SOURCE, 80, ACK));
            assert_eq!(
                wire.pass(&ends, pod, to, &got),
                DENIED,
                "what the pod says of its client, told to {to}"
            );
        }
        // Broadcast to the pod's interface, it is about another's packet.
        let own = about(pod, database, &tcp(SOURCE, 5432, SYN));
        assert_eq!(wire.inward(&Ip::new(database, stranger).carrying(&own)), DENIED);
    }
}

#[test]
fn an_error_about_a_connection_that_policy_no_longer_allows_is_denied() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, database, outside, router, .. } = ends;
        wire.traces.forget_all().unwrap();
        wire.enforce(Policy::Open);
        assert_eq!(wire.pass(&ends, pod, database, &tcp(SOURCE, 5432, SYN)), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, outside, &tcp(SOURCE, 443, SYN)), ALLOWED);
        wire.enforce(Policy::Narrowed);
        let error = about(pod, database, &tcp(SOURCE, 5432, SYN));
        assert_eq!(wire.pass(&ends, router, pod, &error), DENIED);
        let cut = wire.counted(Counter::ConnectionsCut);
        // A connection that is still allowed has been judged again by the packet that the error is about.
        assert_eq!(wire.pass(&ends, pod, outside, &tcp(SOURCE, 443, ACK)), ALLOWED);
        assert_eq!(wire.pass(&ends, router, pod, &about(pod, outside, &tcp(SOURCE, 443, ACK))), RELATED);
        assert_eq!(wire.counted(Counter::ConnectionsCut), cut);
    }
}
