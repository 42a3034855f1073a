//! Ports that an expectation is about, one for each class of the image.
//!
//! Not here: what a port means to a rule (the image knows), ports of services.

use crate::cluster::{Cluster, Party};
use crate::ir::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;
use weir_abi::{Image, PortClass};
use weir_grammar::tree::{ContainerPort, Expectation, IcmpFamily, Port, PortSpec, Protocol};

/// Protocols with ports.
const WITH_PORTS: [u8; 3] = [TCP, UDP, SCTP];
/// Protocols without, that rules may name (IGMP and VRRP), and one that none can (GRE).
const WITHOUT_PORTS: [u8; 3] = [2, 112, 47];

/// ICMP types are bytes.
const MOST_TYPE: u16 = 255;

/// Where each class of ports begins.
#[derive(Debug)]
pub(super) struct PortClasses {
    /// By protocol: the first port of each range of one class.
    protocols: Vec<(u8, Vec<(u16, PortClass)>)>,
}

impl PortClasses {
    pub(super) fn new(image: &Image<'_>) -> Self {
        let ranges = |protocol: u8, last: u16| {
            let mut ranges: Vec<(u16, PortClass)> = Vec::new();
            for port in 0..=last {
                let class = image.port_class(protocol, port);
                if ranges.last().is_none_or(|&(_, last)| last != class) {
                    ranges.push((port, class));
                }
            }
            (protocol, ranges)
        };
        let with_ports = WITH_PORTS.map(|protocol| ranges(protocol, u16::MAX));
        let with_types = [ICMP, ICMPV6].map(|protocol| ranges(protocol, MOST_TYPE));
        let without = WITHOUT_PORTS.map(|protocol| ranges(protocol, 0));
        PortClasses { protocols: with_ports.into_iter().chain(with_types).chain(without).collect() }
    }

    /// Protocols and ports to ask a destination about.
    pub(super) fn of(
        &self,
        expectation: &Expectation,
        destination: Party,
        cluster: &Cluster,
    ) -> Vec<(u8, u16)> {
        let mut asked = Asked { classes: self, seen: FxHashSet::default(), ports: Vec::new() };
        let Expectation { ports, icmps, .. } = expectation;
        if ports.is_empty() && icmps.is_empty() {
            WITH_PORTS.into_iter().for_each(|protocol| asked.add(protocol, 1, u16::MAX));
            [ICMP, ICMPV6].into_iter().for_each(|protocol| asked.add(protocol, 0, MOST_TYPE));
            WITHOUT_PORTS.into_iter().for_each(|protocol| asked.add(protocol, 0, 0));
        }
        for spec in ports {
            for &protocol in &numbers(spec.protocol) {
                match &spec.port {
                    Port::All if WITH_PORTS.contains(&protocol) => asked.add(protocol, 1, u16::MAX),
                    Port::All => asked.add(protocol, 0, 0),
                    Port::Range(first, last) => asked.add(protocol, *first, *last),
                    Port::Name(name) => {
                        for port in named(name, protocol, destination, cluster) {
                            asked.add(protocol, port, port);
                        }
                    }
                }
            }
        }
        for icmp in icmps {
            let protocol = match icmp.family {
                IcmpFamily::V4 => ICMP,
                IcmpFamily::V6 => ICMPV6,
            };
            asked.add(protocol, icmp.icmp_type.into(), icmp.icmp_type.into());
        }
        asked.ports
    }
}

struct Asked<'c> {
    classes: &'c PortClasses,
    seen: FxHashSet<(u8, PortClass)>,
    ports: Vec<(u8, u16)>,
}

impl Asked<'_> {
    fn add(&mut self, protocol: u8, first: u16, last: u16) {
        let ranges = self.classes.protocols.iter().find(|(known, _)| *known == protocol);
        let ranges = ranges.map_or(&[][..], |(_, ranges)| ranges);
        let from = ranges.partition_point(|&(start, _)| start <= first).saturating_sub(1);
        for &(start, class) in ranges.iter().skip(from).take_while(|&&(start, _)| start <= last) {
            if self.seen.insert((protocol, class)) {
                self.ports.push((protocol, start.max(first)));
            }
        }
    }
}

/// The IP protocols that a written one stands for.
fn numbers(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Any => WITH_PORTS.to_vec(),
        Protocol::Tcp => vec![TCP],
        Protocol::Udp => vec![UDP],
        Protocol::Sctp => vec![SCTP],
        Protocol::Other(number) => vec![number],
    }
}

/// The numbers that a port name has at a pod.
fn named<'c>(
    name: &'c str,
    protocol: u8,
    destination: Party,
    cluster: &'c Cluster,
) -> impl Iterator<Item = u16> + 'c {
    let ports: &[ContainerPort] = match destination {
        Party::Pod(place) => cluster.pods.get(place).map_or(&[], |pod| &pod.ports),
        Party::Node(_) | Party::Outside(_) => &[],
    };
    let is_it = move |port: &&ContainerPort| {
        port.name.as_deref() == Some(name) && numbers(port.protocol).contains(&protocol)
    };
    ports.iter().filter(is_it).map(|port| port.port)
}

/// The port names that an expectation has, if it has nothing else.
pub(super) fn names(expectation: &Expectation) -> Vec<&str> {
    let name = |spec: &'_ PortSpec| matches!(spec.port, Port::Name(_));
    if !expectation.icmps.is_empty() || !expectation.ports.iter().all(name) {
        return Vec::new();
    }
    let names = expectation.ports.iter().filter_map(|spec| match &spec.port {
        Port::Name(name) => Some(name.as_str()),
        Port::All | Port::Range(..) => None,
    });
    names.collect()
}

/// The port names that pods have.
pub(super) fn known_names(cluster: &Cluster) -> BTreeSet<&str> {
    cluster.pods.iter().flat_map(|pod| &pod.ports).filter_map(|port| port.name.as_deref()).collect()
}
