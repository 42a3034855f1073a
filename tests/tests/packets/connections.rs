//! Connections: a reply passes, a stranger's packet does not, and what was allowed under another image is judged again.

use crate::wire::{ALLOWED, DENIED, Ends, FAMILIES, HTTPS, OWN_NODE, Policy, REPLY, SOURCE, Told, Wire};
use std::net::IpAddr;
use weir_abi::Identity;
use weir_abi::state::{
    ANSWERED, CLOSED, ConntrackRecord, Counter, EventKind, Hook, MARK_JUDGED, MARK_MASK, OPENED_INWARD,
    PEER_FINISHED, POD_FINISHED,
};
use weir_runtime::datapath::Fate;
use weir_runtime::enforcer::Enforcer;
use weir_tests::kernel::packet::flags::{ACK, FIN, RST, SYN};
use weir_tests::kernel::packet::{Ip, Transport, echo, frame, number, sctp, tcp, udp};

const SCTP_DATA: u8 = 0;
const SCTP_INIT: u8 = 1;
const SCTP_ABORT: u8 = 6;
const SCTP_SHUTDOWN_COMPLETE: u8 = 14;

/// A connection of the client's to the pod on port 80, opened.
fn open(wire: &mut Wire, ends: &Ends) {
    wire.traces.forget_all().unwrap();
    let Ends { pod, client, .. } = *ends;
    assert_eq!(wire.pass(ends, client, pod, &tcp(SOURCE, 80, SYN)), ALLOWED);
    assert_eq!(wire.pass(ends, pod, client, &tcp(80, SOURCE, SYN | ACK)), REPLY);
    assert_eq!(wire.pass(ends, client, pod, &tcp(SOURCE, 80, ACK)), ALLOWED);
}

#[test]
fn a_connection_inward_has_replies() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, stranger, .. } = ends;
        open(&mut wire, &ends);
        assert_eq!(wire.connection().state, OPENED_INWARD | ANSWERED);
        // Every part of the connection's name counts.
        assert_eq!(wire.pass(&ends, pod, client, &tcp(80, SOURCE + 1, ACK)), DENIED);
        assert_eq!(wire.pass(&ends, pod, client, &tcp(81, SOURCE, ACK)), DENIED);
        assert_eq!(wire.pass(&ends, pod, client, &udp(80, SOURCE, 4)), DENIED);
        assert_eq!(wire.pass(&ends, pod, stranger, &tcp(80, SOURCE, ACK)), DENIED);
        assert_eq!(wire.pass(&ends, stranger, pod, &tcp(SOURCE, 80, ACK)), DENIED);
        assert_eq!(wire.connections(), 1, "what is denied is not recorded");
    }
}

#[test]
fn a_connection_outward_has_replies() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, database, outside, router, .. } = ends;
        wire.traces.forget_all().unwrap();
        for (peer, port) in [(database, 5432), (outside, HTTPS)] {
            assert_eq!(
                wire.pass(&ends, peer, pod, &tcp(port, SOURCE, SYN | ACK)),
                DENIED,
                "before it is asked"
            );
            assert_eq!(wire.pass(&ends, pod, peer, &tcp(SOURCE, port, SYN)), ALLOWED);
            assert_eq!(wire.pass(&ends, peer, pod, &tcp(port, SOURCE, SYN | ACK)), REPLY);
            assert_eq!(wire.pass(&ends, peer, pod, &tcp(port, SOURCE + 1, SYN | ACK)), DENIED);
        }
        assert_eq!(wire.pass(&ends, pod, router, &tcp(SOURCE, HTTPS, SYN)), DENIED);
        assert_eq!(wire.connections(), 2);
    }
}

#[test]
fn the_pods_node_reaches_it_and_is_answered() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, node, .. } = ends;
        assert_eq!(wire.pass(&ends, pod, node, &tcp(9999, SOURCE, SYN | ACK)), DENIED);
        assert_eq!(wire.pass(&ends, node, pod, &tcp(SOURCE, 9999, SYN)), OWN_NODE);
        assert_eq!(wire.pass(&ends, pod, node, &tcp(9999, SOURCE, SYN | ACK)), REPLY);
    }
}

#[test]
fn datagrams_have_replies_until_they_run_out() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, .. } = ends;
        wire.traces.forget_all().unwrap();
        assert_eq!(wire.pass(&ends, pod, client, &udp(53, SOURCE, 40)), DENIED);
        assert_eq!(wire.pass(&ends, client, pod, &udp(SOURCE, 53, 20)), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, client, &udp(53, SOURCE, 40)), REPLY);
        assert_eq!(wire.pass(&ends, pod, database, &udp(SOURCE, 53, 20)), ALLOWED);
        assert_eq!(wire.pass(&ends, database, pod, &udp(53, SOURCE, 40)), REPLY);
        wire.traces.let_all_run_out().unwrap();
        assert_eq!(wire.pass(&ends, pod, client, &udp(53, SOURCE, 40)), DENIED);
        assert_eq!(wire.pass(&ends, database, pod, &udp(53, SOURCE, 40)), DENIED);
    }
}

#[test]
fn a_connection_finished_by_both_sides_runs_out_and_may_be_opened_anew() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        open(&mut wire, &ends);
        assert_eq!(wire.pass(&ends, client, pod, &tcp(SOURCE, 80, FIN | ACK)), ALLOWED);
        assert_eq!(wire.connection().state, OPENED_INWARD | ANSWERED | PEER_FINISHED);
        let open_until = wire.connection().expires;
        assert_eq!(wire.pass(&ends, pod, client, &tcp(80, SOURCE, FIN | ACK)), REPLY);
        let closed = wire.connection();
        assert_eq!(closed.state, OPENED_INWARD | ANSWERED | PEER_FINISHED | POD_FINISHED | CLOSED);
        assert!(closed.expires < open_until, "{} and {open_until}", closed.expires);
        // The last acknowledgement passes, and prolongs nothing.
        assert_eq!(wire.pass(&ends, client, pod, &tcp(SOURCE, 80, ACK)), ALLOWED);
        assert_eq!(wire.connection().expires, closed.expires);

        // The other way round it is another connection, which is denied and leaves the old one as it was.
        assert_eq!(wire.pass(&ends, pod, client, &tcp(80, SOURCE, SYN)), DENIED);
        assert_eq!(wire.pass(&ends, client, pod, &tcp(SOURCE, 80, SYN)), ALLOWED);
        assert_eq!(wire.connection().state, OPENED_INWARD);
        wire.traces.let_all_run_out().unwrap();
        assert_eq!(wire.pass(&ends, pod, client, &tcp(80, SOURCE, ACK)), DENIED);
    }
}

#[test]
fn a_reset_closes_a_connection_from_either_side() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        for (from, to, ports, expected) in
            [(client, pod, (SOURCE, 80), ALLOWED), (pod, client, (80, SOURCE), REPLY)]
        {
            open(&mut wire, &ends);
            assert_eq!(wire.pass(&ends, from, to, &tcp(ports.0, ports.1, RST)), expected);
            assert_eq!(wire.connection().state & CLOSED, CLOSED);
        }
    }
}

#[test]
fn sctp_has_replies_until_it_is_aborted_or_shut_down() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        for end in [SCTP_ABORT, SCTP_SHUTDOWN_COMPLETE] {
            wire.traces.forget_all().unwrap();
            assert_eq!(wire.pass(&ends, pod, client, &sctp(80, SOURCE, SCTP_DATA)), DENIED);
            assert_eq!(wire.pass(&ends, client, pod, &sctp(SOURCE, 80, SCTP_INIT)), ALLOWED);
            assert_eq!(wire.pass(&ends, pod, client, &sctp(80, SOURCE, SCTP_DATA)), REPLY);
            assert_eq!(wire.pass(&ends, client, pod, &sctp(SOURCE, 80, end)), ALLOWED);
            assert_eq!(wire.connection().state & CLOSED, CLOSED);
            // A packet back would be the first of another association.
            assert_eq!(wire.pass(&ends, pod, client, &sctp(80, SOURCE, SCTP_DATA)), DENIED);
        }
    }
}

#[test]
fn an_echo_has_a_reply() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, stranger, .. } = ends;
        wire.traces.forget_all().unwrap();
        let (request, reply) = (echo(pod, false, 7), echo(pod, true, 7));
        assert_eq!(wire.pass(&ends, pod, client, &reply), DENIED);
        assert_eq!(wire.pass(&ends, client, pod, &request), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, client, &reply), REPLY);
        assert_eq!(wire.pass(&ends, pod, client, &echo(pod, true, 8)), DENIED);
        assert_eq!(wire.pass(&ends, pod, stranger, &reply), DENIED);
        assert_eq!(wire.pass(&ends, database, pod, &reply), DENIED);
        assert_eq!(wire.pass(&ends, pod, database, &request), ALLOWED);
        assert_eq!(wire.pass(&ends, database, pod, &reply), REPLY);
    }
}

#[test]
fn an_echo_lets_nothing_pass_but_its_reply() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, .. } = ends;
        let (request, reply) = (echo(pod, false, 7), echo(pod, true, 7));
        assert_eq!(wire.pass(&ends, client, pod, &request), ALLOWED);
        assert_eq!(wire.pass(&ends, pod, client, &request), DENIED, "the pod may not ask back");
        assert_eq!(wire.pass(&ends, client, pod, &reply), DENIED, "nor be told what it did not ask");
        assert_eq!(wire.pass(&ends, pod, client, &reply), REPLY);
        // Each asks the other, under identifiers that happen to be the same.
        for _ in 0..2 {
            assert_eq!(wire.pass(&ends, database, pod, &request), ALLOWED);
            assert_eq!(wire.pass(&ends, pod, database, &request), ALLOWED);
            assert_eq!(wire.pass(&ends, database, pod, &reply), REPLY);
            assert_eq!(wire.pass(&ends, pod, database, &reply), REPLY);
        }
    }
    assert_eq!(wire.connections(), 2 * 3);
}

/// Packets of a connection, there and back, and what must become of both.
fn assert_both(
    wire: &Wire,
    ends: &Ends,
    (pod_port, peer, peer_port): (u16, IpAddr, u16),
    expected: [Told; 2],
) {
    let back = wire.pass(ends, ends.pod, peer, &tcp(pod_port, peer_port, ACK));
    let there = wire.pass(ends, peer, ends.pod, &tcp(peer_port, pod_port, ACK));
    assert_eq!([back, there], expected);
}

#[test]
fn another_image_judges_known_connections_again() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, database, outside, .. } = ends;
        open(&mut wire, &ends);
        for (peer, port) in [(database, 5432), (outside, HTTPS)] {
            assert_eq!(wire.pass(&ends, pod, peer, &tcp(SOURCE, port, SYN)), ALLOWED);
        }
        let counted = |wire: &Wire| {
            [Counter::ConnectionsJudgedAgain, Counter::ConnectionsCut].map(|counter| wire.counted(counter))
        };
        let [again, cut] = counted(&wire);
        wire.enforce(Policy::Narrowed);
        // Judged as what opened them, whichever side's packet comes first.
        assert_both(&wire, &ends, (80, client, SOURCE), [DENIED, DENIED]);
        assert_both(&wire, &ends, (SOURCE, database, 5432), [DENIED, DENIED]);
        assert_both(&wire, &ends, (SOURCE, outside, HTTPS), [ALLOWED, REPLY]);
        assert_eq!(counted(&wire), [again + 3, cut + 2]);
        assert_eq!(wire.connections(), 1);
        assert_both(&wire, &ends, (SOURCE, outside, HTTPS), [ALLOWED, REPLY]);
        assert_eq!(counted(&wire), [again + 3, cut + 2], "once for each image");

        wire.enforce(Policy::Open);
        assert_eq!(wire.pass(&ends, pod, client, &tcp(80, SOURCE, ACK)), DENIED, "it is forgotten");
        assert_eq!(
            wire.pass(&ends, client, pod, &tcp(SOURCE, 80, ACK)),
            ALLOWED,
            "and may be taken up again"
        );
        assert_eq!(wire.pass(&ends, pod, client, &tcp(80, SOURCE, ACK)), REPLY);
    }
}

#[test]
fn an_address_that_changed_hands_has_its_connections_judged_again() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        open(&mut wire, &ends);
        // Nobody's in the cluster any more.
        wire.kernel.datapath.remove_address(client).unwrap();
        wire.kernel.datapath.judge_again();
        assert_eq!(wire.pass(&ends, pod, client, &tcp(80, SOURCE, ACK)), DENIED);
        assert_eq!(wire.connections(), 0);
    }
}

/// Two processors judged it under two images at once, and each wrote its half.
#[test]
fn a_record_of_two_judgements_is_judged_again() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, .. } = ends;
        open(&mut wire, &ends);
        let judged = wire.connection();
        let before = wire.counted(Counter::ConnectionsJudgedAgain);
        let halves: [fn(&mut ConntrackRecord); 3] = [
            |record| record.action ^= 3,
            |record| record.reason ^= 1,
            |record| record.rule_or_set ^= 1 << 20,
        ];
        for half in halves {
            wire.traces.change_connections(half).unwrap();
            assert_eq!(wire.pass(&ends, client, pod, &tcp(SOURCE, 80, ACK)), ALLOWED);
            let now = wire.connection();
            let told =
                |record: &ConntrackRecord| (record.seal, record.action, record.reason, record.rule_or_set);
            assert_eq!(told(&now), told(&judged));
        }
        assert_eq!(wire.counted(Counter::ConnectionsJudgedAgain), before + 3);
    }
}

#[test]
fn a_connection_that_goes_to_a_proxy_is_dropped_where_there_is_none() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        wire.traces.forget_all().unwrap();
        let told = wire.pass(&ends, ends.client, ends.pod, &tcp(SOURCE, 8080, SYN));
        assert_eq!(told, (Fate::Dropped, "proxy-unavailable"));
        assert_eq!(wire.connections(), 0);
    }
}

#[test]
fn a_protocol_without_ports_is_judged_by_its_number() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let gre = Transport { protocol: number::GRE, bytes: vec![0; 12] };
        assert_eq!(wire.pass(&ends, ends.pod, ends.database, &gre), DENIED);
        assert_eq!(wire.pass(&ends, ends.client, ends.pod, &gre), DENIED);
    }
}

#[test]
fn a_packet_from_a_pod_is_marked_with_its_image_and_one_to_a_pod_is_not() {
    let Some(wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let outward = frame(&Ip::new(ends.pod, ends.database).carrying(&tcp(SOURCE, 5432, SYN)));
        let others = 0x1000_0001;
        let departure = wire.send_marked(Hook::FromPod, others, &outward);
        assert_eq!((departure.fate, departure.mark & !MARK_MASK), (Fate::Passed, others));
        assert_eq!(departure.mark & MARK_JUDGED, MARK_JUDGED);
        let inward = frame(&Ip::new(ends.client, ends.pod).carrying(&tcp(SOURCE, 80, SYN)));
        let departure = wire.send_marked(Hook::ToPod, departure.mark, &inward);
        assert_eq!((departure.fate, departure.mark), (Fate::Passed, others));
    }
}

#[test]
fn events_name_the_pod_and_the_other_side() {
    let Some(mut wire) = Wire::open() else { return };
    for ends in FAMILIES {
        let Ends { pod, client, outside, .. } = ends;
        let [own, others] = [wire.identity(pod), wire.identity(client)];
        assert!(own != others && others != Identity::UNKNOWN);
        wire.traces.forget_all().unwrap();
        wire.traces.events().unwrap();
        open(&mut wire, &ends);
        assert_eq!(wire.pass(&ends, pod, outside, &tcp(SOURCE, HTTPS, SYN)), ALLOWED);
        assert_eq!(wire.pass(&ends, outside, pod, &tcp(HTTPS, SOURCE, SYN | ACK)), REPLY);
        let events = wire.traces.events().unwrap();
        let told: Vec<_> =
            events.iter().map(|event| (event.kind, event.is_reply, event.pod, event.peer)).collect();
        let [connection, packet] = [EventKind::Connection as u8, EventKind::Packet as u8];
        let expected = [
            (connection, 0, own.0, others.0),
            // The first SYN of a side, and not its first ACK.
            (packet, 1, own.0, others.0),
            (connection, 0, own.0, 0),
            (packet, 1, own.0, 0),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn rules_are_counted_from_nothing_under_each_image() {
    let Some(mut wire) = Wire::open() else { return };
    let packets = |wire: &Wire| -> u64 {
        wire.kernel.datapath.counters().unwrap().rules.iter().map(|(_, count)| count.packets).sum()
    };
    let Ends { pod, client, outside, .. } = FAMILIES[0];
    for round in 0..3 {
        wire.enforce(if round == 1 { Policy::Narrowed } else { Policy::Open });
        assert_eq!(packets(&wire), 0, "round {round}");
        assert_eq!(wire.pass(&FAMILIES[0], pod, outside, &tcp(SOURCE, HTTPS, SYN)), ALLOWED);
        assert_eq!(wire.pass(&FAMILIES[0], outside, pod, &tcp(HTTPS, SOURCE, SYN | ACK)), REPLY);
        assert_eq!(wire.pass(&FAMILIES[0], pod, client, &tcp(SOURCE, 5432, SYN)), DENIED);
        // A default deny names the first rule that isolates, so it is counted as well.
        assert_eq!(packets(&wire), 3, "round {round}");
        wire.traces.forget_all().unwrap();
    }
}
