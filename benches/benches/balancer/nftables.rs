//! The kernel's own way: destinations changed by nftables, with connections tracked, packet after packet through the stack and out of the device.
//!
//! Every sample has a namespace of its own, so no connection is left from another. Packets are made by a program and sent up the stack; at the
//! device they are counted by where they go and dropped, so what is told is the stack's work and no wire's. Checksums of transport are not
//! checked, as where a device has done so.

use crate::arrivals::{Arrivals, Kind, Stream};
use crate::network::{self, DEVICE};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use weir_benches::figures::{Figure, Row, Samples};
use weir_benches::tool::run;

const SERVICE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Backends of a service.
const BACKENDS: u32 = 10;
/// Fewer than the kernel tracks at a time, unless it is told otherwise.
const PACKETS: u32 = 1 << 17;
const ROUNDS: usize = 5;

/// What the kernel does with packets.
#[derive(Clone, Copy, Debug)]
enum Rules {
    Drop,
    Forward,
    Translate { services: u32 },
}

/// Every way.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    let told = |cost: Result<Figure, String>| cost.map_or_else(|why| format!("not measured: {why}"), |cost| cost.to_string());
    let dropped = cost(Rules::Drop, Kind::Ack, 1, false);
    let forwarded = cost(Rules::Forward, Kind::Ack, PACKETS, false);
    let floors = format!("dropped at once {}, forwarded without rules {}", told(dropped), told(forwarded.clone()));
    for (what, rules, kind, flows, new) in [
        ("known TCP flow, 1 flow", Rules::Translate { services: 1 }, Kind::Ack, 1, false),
        ("known TCP flow, 65,536 flows", Rules::Translate { services: 1 }, Kind::Ack, 1 << 16, false),
        ("known UDP flow, 65,536 flows", Rules::Translate { services: 1 }, Kind::Udp, 1 << 16, false),
        ("each packet a new TCP flow", Rules::Translate { services: 1 }, Kind::Syn, PACKETS, true),
        ("each packet a new TCP flow, 10,000 services", Rules::Translate { services: 10_000 }, Kind::Syn, PACKETS, true),
    ] {
        let gross = cost(rules, kind, flows, new);
        let net = match (&gross, &forwarded) {
            (Ok(gross), Ok(forwarded)) => Ok(gross.above(*forwarded, 1)),
            (Err(why), _) | (_, Err(why)) => Err(why.clone()),
        };
        tell(Row {
            workload: format!("nftables DNAT, {what}"),
            figure: "ns a packet above one forwarded without rules".to_owned(),
            compared: format!("{floors}; gross {}", told(gross)),
            measured: told(net),
            goal: "".into(),
        });
    }
}

fn cost(rules: Rules, kind: Kind, flows: u32, new: bool) -> Result<Figure, String> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let device = network::enter()?;
        run("nft -f -", &text(rules))?;
        if let Rules::Translate { .. } = rules {
            run("sysctl -q net.netfilter.nf_conntrack_checksum=0", "")?;
        }
        let mut arrivals = Arrivals::load(device, DEVICE);
        let stream = Stream::to(kind, SERVICE, flows);
        arrivals.expect(&stream, 0);
        if !new {
            arrivals.send_up(flows);
        }
        arrivals.departures();
        samples.take(arrivals.send_up(PACKETS));
        let all = u64::from(PACKETS);
        let expected = match rules {
            Rules::Drop => [0, 0],
            Rules::Forward => [all, 0],
            Rules::Translate { .. } => [0, all],
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
fn text(rules: Rules) -> String {
    match rules {
        Rules::Drop => "table ip bench { chain first { type filter hook prerouting priority -300; drop; }; }".to_owned(),
        Rules::Forward => String::new(),
        Rules::Translate { services } => {
            let mut text = String::from("table ip bench {\n");
            for service in 0..services {
                let backends: Vec<String> = (0..BACKENDS)
                    .map(|place| format!("{place} : {}", Ipv4Addr::from_bits(0x0A80_0001 + service * BACKENDS + place)))
                    .collect();
                let backends = backends.join(", ");
                _ = writeln!(text, "chain s{service} {{ dnat to numgen random mod {BACKENDS} map {{ {backends} }}; }}");
            }
            text.push_str("map services { type ipv4_addr . inet_proto . inet_service : verdict; elements = {\n");
            for service in 0..services {
                let address = Ipv4Addr::from_bits(SERVICE.to_bits() + service);
                for protocol in ["tcp", "udp"] {
                    _ = writeln!(text, "{address} . {protocol} . 80 : goto s{service},");
                }
            }
            text.push_str("}; }\nchain first { type nat hook prerouting priority -100; ip daddr . meta l4proto . th dport vmap @services; }\n}\n");
            text
        }
    }
}
