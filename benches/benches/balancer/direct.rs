//! Direct Server Return at XDP: a packet wrapped and sent back, beside the same done with a table of flows.

use crate::arrivals::{Arrivals, Kind, Stream};
use crate::flow_table::FlowTable;
use crate::network::{self, DEVICE};
use crate::turns::{Contestant, Cost, in_turns};
use crate::weir::Weir;
use weir_abi::services::live::BalanceCounter;
use weir_benches::figures::{Goal, Row};
use weir_benches::workload::edge;

/// Flows of which each packet is the first of its own.
const NEW: u32 = 1 << 24;
const KNOWN: &[(u32, &str, Option<Goal>)] = &[
    (1, "1 flow", Some(OF_KNOWN)),
    (4096, "4,096 flows", None),
    (1 << 16, "65,536 flows", None),
    (1 << 18, "262,144 flows", None),
    (1 << 20, "1,048,576 flows", Some(OF_KNOWN)),
];
const OF_KNOWN: Goal = Goal { most: 60.0, unit: "ns" };
const OF_NEW: Goal = Goal { most: 100.0, unit: "ns" };

/// Known flows and new ones.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    let device = network::enter().unwrap();
    let mut arrivals = Arrivals::load(device, DEVICE);
    let weir = Weir::at_the_edge();
    for (kind, protocol) in [(Kind::Ack, "TCP"), (Kind::Udp, "UDP")] {
        let mut table = FlowTable::load(edge::DIRECT);
        for &(flows, what, goal) in KNOWN {
            let stream = Stream::to(kind, edge::DIRECT, flows);
            let costs = costs(&mut arrivals, &stream, false, &weir, &mut table);
            tell(row(format!("IPIP DSR, known {protocol} flows, {what}"), &costs, goal));
        }
    }
    for (kind, protocol) in [(Kind::Syn, "TCP"), (Kind::Udp, "UDP")] {
        let mut table = FlowTable::load(edge::DIRECT);
        let stream = Stream::to(kind, edge::DIRECT, NEW);
        let costs = costs(&mut arrivals, &stream, true, &weir, &mut table);
        tell(row(format!("IPIP DSR, each packet a new {protocol} flow"), &costs, Some(OF_NEW)));
    }
}

fn costs(
    arrivals: &mut Arrivals,
    stream: &Stream,
    new: bool,
    weir: &Weir,
    table: &mut FlowTable,
) -> [Cost; 3] {
    weir.verify_wrapping(arrivals, stream);
    let before = weir.counted(BalanceCounter::DirectFast);
    table.met();
    let programs = [weir.fast(), table.program("with_flows"), table.program("without_flows")];
    let contestants = programs.each_ref().map(Contestant::wrapping);
    let costs: [Cost; 3] = in_turns(arrivals, stream, new, &contestants).try_into().unwrap();
    let packets = costs[0].packets;
    assert_eq!(weir.counted(BalanceCounter::DirectFast) - before, packets, "each packet is sent on");
    let [found, others] = table.met();
    // Of its two programs one looks for none; some flows may be those of an earlier stream.
    let most = if new { packets } else { u64::from(stream.flows) };
    let least = if new { packets } else { 0 };
    let unknown = others - packets;
    assert!((least..=most).contains(&unknown) && found == packets - unknown, "{found} {others} {packets}");
    costs
}

fn row(workload: String, [weir, with, without]: &[Cost; 3], goal: Option<Goal>) -> Row {
    Row {
        workload,
        figure: "ns a packet above one that only gets its room".to_owned(),
        compared: format!(
            "an LRU of flows in front of the same wrapping {}, **{} ×**; the same without the LRU {}; floor {}",
            with.net,
            weir.net.times(with.net),
            without.net,
            weir.floor
        ),
        measured: format!("**{}**", weir.net),
        goal: goal.map_or_else(Default::default, |goal| goal.judge(weir.net)),
    }
}
