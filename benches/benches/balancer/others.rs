//! At XDP beside the usual case: unsettled slots, a large image, source NAT and its replies, and what packets of no service pay.

use crate::arrivals::{Arrivals, Kind, Stream, Way};
use crate::network::{self, DEVICE};
use crate::turns::{Contestant, Cost, in_turns};
use crate::weir::Weir;
use std::net::Ipv4Addr;
use weir_abi::services::live::BalanceCounter;
use weir_benches::figures::Row;
use weir_benches::workload::edge;

const FLOWS: &[(u32, &str)] = &[(1, "1 flow"), (1 << 16, "65,536 flows"), (1 << 20, "1,048,576 flows")];
/// Flows of which each packet is the first of its own.
const NEW: u32 = 1 << 24;

/// All of it.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    let device = network::enter().unwrap();
    let mut arrivals = Arrivals::load(device, DEVICE);
    unsettled(&mut arrivals, tell);
    many_services(&mut arrivals, tell);
    no_service(&mut arrivals, tell);
    masked(&mut arrivals, device, tell);
}

fn row(workload: String, cost: &Cost) -> Row {
    Row {
        workload,
        figure: "ns a packet above one that nothing is done to".to_owned(),
        compared: format!("floor {}", cost.floor),
        measured: format!("**{}**", cost.net),
        goal: "".into(),
    }
}

/// The cost of wrapping, after so many packets were held against the image.
fn wrapped(arrivals: &mut Arrivals, weir: &Weir, stream: &Stream, new: bool) -> Cost {
    weir.verify_wrapping(arrivals, stream);
    let before = weir.counted(BalanceCounter::DirectFast);
    let program = weir.fast();
    let [cost] = in_turns(arrivals, stream, new, &[Contestant::wrapping(&program)])[..] else {
        unreachable!()
    };
    assert_eq!(weir.counted(BalanceCounter::DirectFast) - before, cost.packets, "each packet is sent on");
    cost
}

/// A table of which no slot is as before, so that each flow is looked up.
fn unsettled(arrivals: &mut Arrivals, tell: &mut dyn FnMut(Row)) {
    let weir = Weir::unsettled();
    for (flows, what) in FLOWS {
        let stream = Stream::to(Kind::Ack, edge::DIRECT, *flows);
        let before = weir.counted(BalanceCounter::Unsettled);
        let cost = wrapped(arrivals, &weir, &stream, false);
        assert!(weir.counted(BalanceCounter::Unsettled) - before >= cost.packets, "each slot is unsettled");
        tell(row(format!("IPIP DSR, all slots unsettled, known TCP flows, {what}"), &cost));
    }
    drop(weir);
    let weir = Weir::unsettled();
    let cost = wrapped(arrivals, &weir, &Stream::to(Kind::Syn, edge::DIRECT, NEW), true);
    tell(row("IPIP DSR, all slots unsettled, each packet a new TCP flow".to_owned(), &cost));
}

/// Packets to one service after another, of an image that no cache holds.
fn many_services(arrivals: &mut Arrivals, tell: &mut dyn FnMut(Row)) {
    let weir = Weir::with_many_services();
    let stream = Stream::to_many(Kind::Ack, 1 << 20);
    let cost = wrapped(arrivals, &weir, &stream, false);
    tell(row("IPIP DSR, 1,048,576 known TCP flows over 3,333 of 10,000 services".to_owned(), &cost));
}

/// Packets that are none of ours.
fn no_service(arrivals: &mut Arrivals, tell: &mut dyn FnMut(Row)) {
    let weir = Weir::at_the_edge();
    let program = weir.fast();
    let stream = Stream::to(Kind::Ack, edge::NO_SERVICE, 1 << 20);
    let costs = in_turns(arrivals, &stream, false, &[Contestant::passing(&program)]);
    tell(row("a packet of no service, at XDP".to_owned(), &costs[0]));
}

/// Source NAT: flows that tc has put on record, and the replies to one of them.
fn masked(arrivals: &mut Arrivals, device: u32, tell: &mut dyn FnMut(Row)) {
    let mut weir = Weir::at_the_edge();
    weir.stand_at(device);
    let program = weir.fast();
    let rewriting = Contestant::rewriting(&program);
    for &(flows, what) in &FLOWS[..2] {
        let first = Stream::to(Kind::Syn, edge::MASKED, flows);
        arrivals.departures();
        arrivals.expect(&first, 0);
        arrivals.send_up(flows);
        assert_eq!(arrivals.departures(), [0, u64::from(flows)], "each flow is sent on by tc");
        let before = weir.counted(BalanceCounter::MasqueradedFast);
        let [cost] = in_turns(arrivals, &Stream { kind: Kind::Ack, ..first }, false, &[rewriting])[..] else {
            unreachable!()
        };
        assert_eq!(weir.counted(BalanceCounter::MasqueradedFast) - before, cost.packets);
        tell(row(format!("SNAT at XDP, known TCP flows, {what}"), &cost));
    }
    let request = Stream::to(Kind::Ack, edge::MASKED, 1);
    arrivals.measure(&program);
    arrivals.expect(&request, 0);
    let sent = arrivals.send(Way::AsLong).packet;
    let port = |at: usize| u16::from_be_bytes([sent[at], sent[at + 1]]);
    let backend = Ipv4Addr::new(sent[30], sent[31], sent[32], sent[33]);
    let reply = Stream {
        client: (backend, port(36)),
        service: edge::NODE.1,
        port: port(34),
        ..Stream::to(Kind::Ack, edge::NODE.1, 1)
    };
    arrivals.expect(&reply, 0);
    let answered = arrivals.send(Way::AsLong).packet;
    let client = request.client_of(0);
    let expected = [edge::MASKED.octets(), client.0.octets()].concat();
    assert_eq!(
        (&answered[26..34], &answered[36..38]),
        (&expected[..], &client.1.to_be_bytes()[..]),
        "a reply"
    );
    let costs = in_turns(arrivals, &reply, false, &[rewriting]);
    tell(row("a reply to SNAT at XDP, 1 flow".to_owned(), &costs[0]));
}
