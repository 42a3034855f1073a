//! IPv4 CIDRs dealt to groups, and rules of one group and one port each: what a policy decision is measured on.
//!
//! The CIDRs do not overlap, so that a datapath that knows only the longest prefix decides alike. One rule in ten, at most
//! 400, names a port for every peer.

use crate::prefixes::{self, Prefix};
use crate::random::Random;
use crate::tiny_cluster;
use crate::yaml::Yaml;
use std::net::{IpAddr, Ipv4Addr};

/// Ports of the rules of one group.
pub const PORTS_OF_GROUP: u32 = 5;
const MOST_PORTS_FOR_ALL: u32 = 400;
const FIRST_PORT: u32 = 1000;
/// Ports that groups draw from.
const PORTS: u32 = 200;
const FIRST_PORT_FOR_ALL: u32 = 20_000;
const SEED: u64 = 0x5eed_0006;

/// So many prefixes under so many rules.
#[derive(Clone, Debug)]
pub struct Dealt {
    prefixes: Vec<Prefix>,
    rules: u32,
}

/// The first packet of a connection to somewhere outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where to.
    pub address: Ipv4Addr,
    /// TCP port.
    pub port: u16,
}

impl Dealt {
    /// The workload of that size.
    pub fn new(prefixes: usize, rules: u32) -> Self {
        Dealt { prefixes: prefixes::disjoint(SEED, prefixes), rules }
    }

    /// How many rules there are.
    pub fn rules(&self) -> u32 {
        self.rules
    }

    /// The prefixes with their groups.
    pub fn prefixes(&self) -> impl Iterator<Item = (Prefix, u32)> {
        let groups = self.groups();
        self.prefixes.iter().zip(0..).map(move |(prefix, place): (&Prefix, u32)| (*prefix, place % groups))
    }

    /// How many groups there are.
    pub fn groups(&self) -> u32 {
        (self.rules - (self.rules / 10).min(MOST_PORTS_FOR_ALL)) / PORTS_OF_GROUP
    }

    /// The ports that a group may be asked on.
    pub fn ports(&self, group: u32) -> impl Iterator<Item = u32> {
        (0..PORTS_OF_GROUP).map(move |place| FIRST_PORT + (group + place * (PORTS / PORTS_OF_GROUP)) % PORTS)
    }

    /// The ports that everybody may be asked on.
    pub fn ports_for_all(&self) -> impl Iterator<Item = u32> {
        (0..self.rules - self.groups() * PORTS_OF_GROUP).map(|place| FIRST_PORT_FOR_ALL + place)
    }

    /// `policies.yaml`.
    pub fn policies(&self) -> String {
        let mut yaml = Yaml::with_capacity(self.prefixes.len() * 24 + self.rules as usize * 130);
        let groups = self.groups();
        for group in 0..groups {
            yaml.object("cilium.io/v2", "CiliumCIDRGroup", None, &format!("group-{group}"));
            yaml.line("spec:\n  externalCIDRs:");
            for prefix in self.prefixes.iter().skip(group as usize).step_by(groups as usize) {
                yaml.line(format_args!("  - \"{prefix}\""));
            }
        }
        yaml.object("cilium.io/v2", "CiliumNetworkPolicy", Some(tiny_cluster::NAMESPACE), "dealt");
        yaml.line("spec:\n  endpointSelector:\n    matchLabels:\n      app: crawler\n  egress:");
        for group in 0..groups {
            for port in self.ports(group) {
                yaml.line(format_args!("  - toCIDRSet:\n    - cidrGroupRef: group-{group}"));
                yaml.line("    toPorts:\n    - ports:");
                yaml.line(format_args!("      - port: \"{port}\"\n        protocol: TCP"));
            }
        }
        for port in self.ports_for_all() {
            yaml.line(format_args!(
                "  - toPorts:\n    - ports:\n      - port: \"{port}\"\n        protocol: TCP"
            ));
        }
        yaml.finish()
    }

    /// Random queries: nine addresses in ten within a prefix, four ports in five named by a rule, most of them by one of the
    /// address's own group.
    pub fn queries(&self, count: usize) -> Vec<Query> {
        let mut random = Random::new(SEED + 1);
        (0..count).map(|_| self.query(&mut random)).collect()
    }

    fn query(&self, random: &mut Random) -> Query {
        let place = random.below(u32::try_from(self.prefixes.len()).unwrap_or(u32::MAX));
        let within = self.prefixes.get(place as usize).filter(|_| random.below(10) > 0);
        let address = within.map(|prefix| prefix.address_within(random));
        let address = match address {
            Some(IpAddr::V4(address)) => address,
            _ => prefixes::v4_address(random),
        };
        let port = match random.below(50) {
            0..36 => self.ports(place % self.groups()).nth(random.below(PORTS_OF_GROUP) as usize),
            36..40 => {
                let count = self.ports_for_all().count();
                self.ports_for_all().nth(random.below(u32::try_from(count).unwrap_or(1)) as usize)
            }
            _ => None,
        };
        let port = port.unwrap_or_else(|| 1 + random.below(65_535));
        Query { address, port: u16::try_from(port).unwrap_or(u16::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::Dealt;

    #[test]
    fn there_are_as_many_rules_as_asked_for() {
        for rules in [1000, 16_384] {
            let dealt = Dealt::new(20_000, rules);
            assert_eq!(dealt.policies().matches("- toPorts:\n").count(), dealt.ports_for_all().count());
            assert_eq!(dealt.policies().matches("toPorts:\n").count(), rules as usize);
            let entries = dealt.policies().matches("  - \"").count();
            assert_eq!(entries, 20_000);
        }
    }

    #[test]
    fn queries_are_mixed() {
        let dealt = Dealt::new(5000, 1000);
        let queries = dealt.queries(10_000);
        let named = |port: u32| (1000..1200).contains(&port) || (20_000..20_100).contains(&port);
        let listed = queries.iter().filter(|query| named(u32::from(query.port))).count();
        assert!((7_800..8_300).contains(&listed), "{listed}");
    }
}
