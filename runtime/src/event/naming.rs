//! From a record of the kernel to an event with names.

use super::{End, Event, Fate, InterfaceName};
use crate::clock;
use crate::legend::{Legend, RuleName};
use crate::roster::Roster;
use crate::wanted::Placement;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use weir_abi::layout::NO_RULE;
use weir_abi::state::{EventKind, EventRecord, Hook};
use weir_abi::{Action, Identity, Reason};

/// Images whose names are kept: the one in force, the one before it, and one for events that waited long.
const LEGENDS: usize = 3;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP_FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];

/// Everything that has a name at a time.
#[derive(Clone, Debug)]
pub struct Naming {
    node: String,
    boot: SystemTime,
    /// The newest first.
    legends: Vec<Arc<Legend>>,
    addresses: Arc<HashMap<IpAddr, String>>,
    placements: Arc<BTreeMap<u32, Placement>>,
}

impl Naming {
    /// Nothing but the node has a name.
    pub fn new(node: &str) -> Self {
        Naming {
            node: node.to_owned(),
            boot: clock::boot(),
            legends: Vec::new(),
            addresses: Arc::default(),
            placements: Arc::default(),
        }
    }

    /// Whether there are names for all that there can be: for rules, and for pods at interfaces.
    pub fn is_complete(&self) -> bool {
        !self.legends.is_empty() && !self.placements.is_empty()
    }

    /// Adds the names of an image that is about to come into force.
    pub fn add_legend(&mut self, legend: Arc<Legend>) {
        self.legends.retain(|known| known.checksum != legend.checksum);
        self.legends.insert(0, legend);
        self.legends.truncate(LEGENDS);
    }

    /// Takes the names of addresses from a roster.
    pub fn set_roster(&mut self, roster: &Roster) {
        let named = roster
            .members
            .iter()
            .flat_map(|member| member.addresses.iter().map(move |&address| (address, member.name.clone())));
        self.addresses = Arc::new(named.collect());
    }

    /// Takes the pods behind interfaces.
    pub fn set_placements(&mut self, placements: BTreeMap<u32, Placement>) {
        // The clock of the world may have been set meanwhile.
        self.boot = clock::boot();
        self.placements = Arc::new(placements);
    }

    /// The names under an image.
    pub fn legend(&self, checksum: u64) -> Option<&Arc<Legend>> {
        self.legends.iter().find(|legend| legend.checksum == checksum)
    }

    /// The pod behind an interface.
    pub fn placement(&self, interface: u32) -> Option<&Placement> {
        self.placements.get(&interface)
    }

    /// A record with names.
    pub fn event(&self, record: &EventRecord) -> Event {
        let legend = self.legend(record.image);
        let placement = self.placement(record.interface);
        let pod_sent = record.hook == Hook::FromPod as u8;
        let end = |address: [u8; 16], port: u16, is_pod: bool| {
            let ip = plain(address);
            let identity = Identity(if is_pod { record.pod } else { record.peer });
            let of_pod = placement.filter(|_| is_pod).map(|placement| placement.pod.clone());
            // An address that a pod has no right to is told as it is.
            let is_forged = is_pod && record.reason == Reason::SpoofedSource as u8;
            End {
                name: of_pod.or_else(|| self.addresses.get(&ip).cloned()).filter(|_| !is_forged),
                ip,
                port: (port != 0 && !is_icmp(record.protocol)).then_some(port),
                identity: (identity != Identity::UNKNOWN).then_some(identity.0),
                labels: legend.and_then(|legend| legend.labels(identity)).cloned(),
            }
        };
        let icmp_type = is_icmp(record.protocol).then_some(record.destination_port);
        Event {
            time: clock::rfc3339(self.boot + Duration::from_nanos(record.time)),
            node: self.node.clone(),
            kind: EventKind::from_number(record.kind)
                .map_or_else(|| format!("kind-{}", record.kind), |kind| kind.as_str().to_owned()),
            verdict: fate(record),
            reason: Reason::from_number(record.reason)
                .map_or_else(|| format!("reason-{}", record.reason), |reason| reason.as_str().to_owned()),
            direction: if pod_sent { Hook::FromPod } else { Hook::ToPod }.as_str().to_owned(),
            is_reply: record.is_reply == 1,
            protocol: protocol(record.protocol),
            tcp_flags: if record.protocol == TCP { tcp_flags(record.flags) } else { Vec::new() },
            icmp_type,
            source: end(record.source, record.source_port, pod_sent),
            destination: end(record.destination, record.destination_port, !pod_sent),
            by: legend.and_then(|legend| rule(legend, record)),
            interface: InterfaceName {
                index: record.interface,
                name: placement.map(|placement| placement.interface.clone()),
            },
            bytes: record.length,
            left_out: record.left_out,
            image: (record.image != 0).then(|| format!("{:016x}", record.image)),
        }
    }
}

/// What happened: a drop is one whatever the policy said.
const fn fate(record: &EventRecord) -> Fate {
    if record.kind == EventKind::Drop as u8 || record.action == Action::Deny as u8 {
        Fate::Dropped
    } else if record.action == Action::Redirect as u8 {
        Fate::Redirected
    } else {
        Fate::Forwarded
    }
}

fn rule(legend: &Legend, record: &EventRecord) -> Option<RuleName> {
    if record.rule_or_set == NO_RULE {
        None
    } else if record.action == Action::Redirect as u8 {
        legend.rule_of_set(record.rule_or_set)
    } else {
        legend.rule(record.rule_or_set)
    }
}

/// IPv4 addresses are `::ffff:a.b.c.d`.
fn plain(address: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}

const fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, ICMP | ICMPV6)
}

/// An IP protocol's name, or its number.
pub(crate) fn protocol(number: u8) -> String {
    match number {
        ICMP => "ICMP".to_owned(),
        TCP => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        ICMPV6 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        136 => "UDP-Lite".to_owned(),
        other => format!("IP-{other}"),
    }
}

fn tcp_flags(flags: u8) -> Vec<String> {
    let set = TCP_FLAGS.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}
