//! What each policy adds to an image, so that a refusal can name those to look at first.
//!
//! Counted as written, without compiling: prefixes become ranges, port ranges columns, rules that meet
//! the cells of tables. What several policies cause together (classes, shared rows) has no one owner,
//! so these are no bytes; they say where to begin.

use crate::cluster::Cluster;
use crate::ir::{CidrPart, Peers, PolicySet, Ports};
use rustc_hash::FxHashSet;

/// What a policy adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cost {
    /// Prefixes and exceptions of its peers, groups and services included.
    pub prefixes: usize,
    /// Rules: its elements, split by their port lists.
    pub rules: usize,
    /// Ports, port ranges and ICMP types of its rules.
    pub port_ranges: usize,
}

impl Cost {
    /// One number to compare by.
    pub const fn total(&self) -> usize {
        self.prefixes.saturating_add(self.rules).saturating_add(self.port_ranges)
    }
}

/// The policies that cost most, by place in the set, dearest first; of equals the first in the set.
pub fn costliest(set: &PolicySet, cluster: &Cluster, most: usize) -> Vec<(usize, Cost)> {
    costliest_by(set, cluster, most, Cost::total)
}

/// The same by a part of the cost, for who knows what there is too much of.
pub fn costliest_by(
    set: &PolicySet,
    cluster: &Cluster,
    most: usize,
    by: impl Fn(&Cost) -> usize,
) -> Vec<(usize, Cost)> {
    let mut costs: Vec<(usize, Cost)> = costs(set, cluster).into_iter().enumerate().collect();
    costs.sort_by_key(|(_, cost)| std::cmp::Reverse(by(cost)));
    costs.truncate(most);
    costs
}

/// The cost of every policy, by place in the set.
pub fn costs(set: &PolicySet, cluster: &Cluster) -> Vec<Cost> {
    let mut costs = vec![Cost::default(); set.policies.len()];
    // Rules split from one element share their peers.
    let mut counted: FxHashSet<(usize, usize)> = FxHashSet::default();
    for rule in &set.rules {
        let Some(cost) = costs.get_mut(rule.policy) else { continue };
        cost.rules += 1;
        if let Ports::Any(matches) = &rule.ports {
            cost.port_ranges += matches.len();
        }
        if counted.insert((rule.policy, rule.peers))
            && let Some(peers) = set.peers.get(rule.peers)
        {
            cost.prefixes += prefixes(peers, cluster);
        }
    }
    costs
}

/// The prefixes that peers are written with, exceptions included.
pub fn prefixes(peers: &Peers, cluster: &Cluster) -> usize {
    let of_part = |part: &CidrPart| match part {
        CidrPart::Written(list) => list.blocks.len() + list.excepts.len(),
        CidrPart::Group { group, except } => {
            cluster.groups.get(*group).map_or(0, |group| group.cidrs.len()) + except.len()
        }
        CidrPart::Addresses(addresses) => addresses.len(),
    };
    peers.cidrs.iter().map(of_part).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::translate;
    use weir_grammar::{Limits, Reading};

    const TEXT: &str = r#"
{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: g}, spec: {externalCIDRs: [10.0.0.0/8, 192.0.2.0/24]}}
---
{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: group},
 spec: {endpointSelector: {}, egress: [{toCIDRSet: [{cidrGroupRef: g, except: [10.1.0.0/16]}]}]}}
---
{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: list},
 spec: {endpointSelector: {}, egress: [{toCIDR: [10.0.0.0/8, 172.16.0.0/12, 192.0.2.0/24],
   toPorts: [{ports: [{port: "80", protocol: TCP}]}, {ports: [{port: "90", endPort: 99, protocol: TCP}]}]}]}}
---
{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: small},
 spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}}
"#;

    #[test]
    fn the_dearest_policy_is_named_first() {
        let mut reading = Reading::default();
        weir_grammar::read(&mut reading, "p.yaml", TEXT.as_bytes().to_vec(), &Limits::default());
        let mut findings = reading.diagnostics;
        let cluster = Cluster::collect(&mut reading.objects, &mut findings);
        let set = translate(reading.objects, &cluster, &mut findings);
        let named: Vec<(&str, Cost)> = costliest(&set, &cluster, 2)
            .into_iter()
            .map(|(at, cost)| (&*set.policies[at].name, cost))
            .collect();
        let list = Cost { prefixes: 3, rules: 2, port_ranges: 2 };
        let group = Cost { prefixes: 3, rules: 1, port_ranges: 0 };
        assert_eq!(named, [("list", list), ("group", group)], "shared peers count once, ports for each rule");
        let by_prefixes = costliest_by(&set, &cluster, 3, |cost| cost.prefixes);
        let names: Vec<&str> = by_prefixes.iter().map(|&(at, _)| &*set.policies[at].name).collect();
        assert_eq!(names, ["group", "list", "small"], "equals in the order of the set");
    }
}
