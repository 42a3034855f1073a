//! Through the kernel's stack: balanced by nftables, with connections tracked, and by Weir's programs at tc; both packet after packet from the
//! device up and out of it again.
//!
//! Every sample has a namespace of its own, so no connection is left from another. Packets are made by a program and sent up the stack; at the
//! device they are counted by where they go and dropped, so what is told is the node's work and no wire's. Checksums of transport are not
//! checked by the tracking of connections, as where a device has done so.

use crate::arrivals::{Arrivals, Kind, Stream};
use crate::network::{self, DEVICE};
use crate::weir::Weir;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use weir_benches::figures::{Figure, Row, Samples};
use weir_benches::tool::run;
use weir_benches::workload::edge;

/// Backends of a service of nftables.
const BACKENDS: u32 = 10;
/// Fewer than the kernel tracks at a time, unless it is told otherwise.
const PACKETS: u32 = 1 << 17;
/// Namespaces that a case is measured in, and samples taken in each where flows are known.
const ROUNDS: usize = 3;
const SAMPLES: usize = 3;

/// What the node does with packets.
#[derive(Clone, Copy, Debug)]
enum Way {
    Drop,
    Forward,
    Nftables { services: u32 },
    Weir { service: Ipv4Addr },
}

/// What comes, how many flows, and whether each packet is the first of its own.
type Traffic = (&'static str, Kind, u32, bool);

const ONE: Traffic = ("known TCP flows, 1 flow", Kind::Ack, 1, false);
const MANY: Traffic = ("known TCP flows, 65,536 flows", Kind::Ack, 1 << 16, false);
const DATAGRAMS: Traffic = ("known UDP flows, 65,536 flows", Kind::Udp, 1 << 16, false);
const NEW: Traffic = ("each packet a new TCP flow", Kind::Syn, PACKETS, true);

const ONE_SERVICE: (&str, Way) = ("nftables DNAT", Way::Nftables { services: 1 });
/// Ten times as many take `nft` half a minute to load.
const MANY_SERVICES: (&str, Way) = ("nftables DNAT, 1,000 services", Way::Nftables { services: 1000 });
const DIRECT: (&str, Way) = ("IPIP DSR by tc", Way::Weir { service: edge::DIRECT });
const MASKED: (&str, Way) = ("SNAT by tc", Way::Weir { service: edge::MASKED });

const CASES: &[((&str, Way), Traffic)] = &[
    (ONE_SERVICE, ONE),
    (ONE_SERVICE, MANY),
    (ONE_SERVICE, DATAGRAMS),
    (ONE_SERVICE, NEW),
    (MANY_SERVICES, NEW),
    (DIRECT, ONE),
    (DIRECT, MANY),
    (DIRECT, DATAGRAMS),
    (DIRECT, NEW),
    (MASKED, ONE),
    (MASKED, MANY),
    (MASKED, NEW),
];

/// Every case.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    let floors = cost(Way::Drop, ONE).and_then(|dropped| Ok((dropped, cost(Way::Forward, MANY)?)));
    let (dropped, forwarded) = match floors {
        Ok(floors) => floors,
        Err(why) => {
            return tell(Row {
                workload: "through the stack".to_owned(),
                measured: format!("not measured: {why}"),
                ..Row::default()
            });
        }
    };
    for &((name, way), traffic) in CASES {
        let gross = cost(way, traffic);
        let measured = gross.as_ref().map(|gross| gross.above(dropped, 1).to_string());
        let gross = gross.as_ref().map_or_else(|_| "none".to_owned(), ToString::to_string);
        tell(Row {
            workload: format!("{name}, {}", traffic.0),
            figure: "ns a packet through the stack, above one that it drops at once".to_owned(),
            compared: format!(
                "forwarded as it is: {}; gross {gross}, floor {dropped}",
                forwarded.above(dropped, 1)
            ),
            measured: measured.unwrap_or_else(|why| format!("not measured: {why}")),
            goal: "".into(),
        });
    }
}

fn cost(way: Way, (_, kind, flows, new): Traffic) -> Result<Figure, String> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let device = network::enter()?;
        let mut arrivals = Arrivals::load(device, DEVICE);
        run("nft -f -", &rules(way))?;
        let mut weir = None;
        let mut service = edge::DIRECT;
        match way {
            Way::Drop | Way::Forward => {}
            Way::Nftables { .. } => drop(run("sysctl -q net.netfilter.nf_conntrack_checksum=0", "")?),
            Way::Weir { service: to } => {
                service = to;
                weir.insert(Weir::at_the_edge()).stand_at(device);
            }
        }
        let stream = Stream::to(kind, service, flows);
        // The kernel's tracking takes a flow up in its middle, and none whose SYN nobody answered; SNAT begins with a SYN.
        let begins = weir.is_some() && kind == Kind::Ack;
        let first = if begins { Stream { kind: Kind::Syn, ..stream } } else { stream };
        if !new {
            arrivals.expect(&first, 0);
            arrivals.send_up(flows);
        }
        arrivals.expect(&stream, 0);
        arrivals.departures();
        let sampled = if new { 1 } else { SAMPLES };
        (0..sampled).for_each(|_| samples.take(arrivals.send_up(PACKETS)));
        let all = u64::from(PACKETS) * sampled as u64;
        let expected = match way {
            Way::Drop => [0, 0],
            Way::Forward => [all, 0],
            Way::Nftables { .. } | Way::Weir { .. } => [0, all],
        };
        let counted = arrivals.departures();
        // A stray packet of the namespace's own may be among them.
        if counted.iter().zip(&expected).any(|(counted, expected)| counted.abs_diff(*expected) > 100) {
            return Err(format!("{counted:?} packets left, not {expected:?}"));
        }
    }
    Ok(samples.figure())
}

/// The rules, laid out as kube-proxy lays them out: a map of services to chains, in each a choice at random.
fn rules(way: Way) -> String {
    let services = match way {
        Way::Drop => {
            return "table ip bench { chain first { type filter hook prerouting priority -300; drop; }; }\n"
                .to_owned();
        }
        Way::Forward | Way::Weir { .. } => return String::new(),
        Way::Nftables { services } => services,
    };
    let mut text = String::from("table ip bench {\n");
    let backend = |service: u32, place: u32| {
        Ipv4Addr::from_bits(edge::FIRST_BACKEND.to_bits() + service * BACKENDS + place)
    };
    for service in 0..services {
        let choices: Vec<String> =
            (0..BACKENDS).map(|place| format!("{place} : {}", backend(service, place))).collect();
        let choices = choices.join(", ");
        _ = writeln!(
            text,
            "chain s{service} {{ dnat to numgen random mod {BACKENDS} map {{ {choices} }}; }}"
        );
    }
    text.push_str("map services { type ipv4_addr . inet_proto . inet_service : verdict; elements = {\n");
    for service in 0..services {
        let address = Ipv4Addr::from_bits(edge::DIRECT.to_bits() + service);
        for protocol in ["tcp", "udp"] {
            _ = writeln!(text, "{address} . {protocol} . 80 : goto s{service},");
        }
    }
    text.push_str(
        "}; }\nchain first { type nat hook prerouting priority -100; ip daddr . meta l4proto . th dport vmap @services; }\n}\n",
    );
    text
}
