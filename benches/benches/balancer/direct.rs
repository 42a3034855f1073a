//! Direct Server Return: a packet wrapped and sent back, beside the same done with a table of flows.

use crate::arrivals::{Arrivals, BYTES, Kind, SENT_BACK, Stream, WRAPPING};
use crate::flow_table::FlowTable;
use crate::network::{self, DEVICE};
use crate::turns::{Contestant, in_turns};
use std::net::Ipv4Addr;
use weir_benches::figures::Row;

const SERVICE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Known flows and new ones.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    let device = network::enter().unwrap();
    let mut arrivals = Arrivals::load(device, DEVICE);
    let mut table = FlowTable::load(SERVICE);
    let [with, without] = ["with_flows", "without_flows"].map(|name| table.program(name));
    for program in [&with, &without] {
        arrivals.measure(program);
        let stream = Stream::to(Kind::Ack, SERVICE, 1 << 10);
        arrivals.expect(&stream, 7);
        let out = arrivals.send("to_wrap");
        assert_eq!((out.verdict, out.packet.len()), (SENT_BACK, BYTES + WRAPPING));
        println!("{:x?} {:?}", out.packet, stream.client(7));
    }
    for kind in [Kind::Ack, Kind::Udp] {
        for flows in [1, 4096, 1 << 16, 1 << 18, 1 << 20] {
            let stream = Stream::to(kind, SERVICE, flows);
            table.met();
            let costs = in_turns(&mut arrivals, &stream, false, &[Contestant::wrapping(&with), Contestant::wrapping(&without)]);
            println!("{kind:?} {flows} {costs:?} {:?}", table.met());
        }
    }
    for kind in [Kind::Syn, Kind::Udp] {
        let stream = Stream::to(kind, SERVICE, 1 << 24);
        table.met();
        let costs = in_turns(&mut arrivals, &stream, true, &[Contestant::wrapping(&with), Contestant::wrapping(&without)]);
        println!("new {kind:?} {costs:?} {:?}", table.met());
    }
    let _ = tell;
}
