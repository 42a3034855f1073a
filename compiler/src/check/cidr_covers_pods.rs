//! # W605: a CIDR covers addresses of pods or nodes
//!
//! A prefix of a rule (`toCIDR`, `fromCIDRSet`, `ipBlock`, a CIDR group, the endpoints of a service
//! without a selector) contains addresses of pods or nodes of the cluster. `0.0.0.0/0` and `::/0` are
//! not told, nor are pods that the same rule selects by label too.
//!
//! ## Why it surprises
//!
//! Prefixes are about addresses outside the cluster. Pods and nodes are known by their labels, so no
//! prefix ever matches them, as in Cilium: an allow rule does not admit them, and a deny rule, which is
//! worse, does not keep them out.
//!
//! ## Example
//!
//! ```yaml
//! apiVersion: cilium.io/v2
//! kind: CiliumNetworkPolicy
//! metadata: {name: db, namespace: shop}
//! spec:
//!   endpointSelector: {matchLabels: {app: db}}
//!   ingressDeny:
//!   - fromCIDR: [10.1.0.0/16]   # the pods' own network: denies none of them
//! ```
//!
//! ## What to write instead
//!
//! Name pods by their labels (`fromEndpoints`, `podSelector`) and nodes by entity (`host`,
//! `remote-node`) or labels (`fromNodes`), in a rule of their own. If only addresses outside are
//! meant, take the cluster's networks out with `except`.

use super::reach::{ends, overlap};
use super::view::{View, side, verb};
use crate::cluster::Party;
use crate::ir::{CidrPart, PolicyKind, Rule};
use ipnet::IpNet;
use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::Span;

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let inside = Inside::new(view);
    if inside.addresses.is_empty() {
        return;
    }
    let mut groups: FxHashMap<usize, GroupHit> = FxHashMap::default();
    for rule in view.elements().filter(|rule| !view.is_idle(rule)) {
        let peers = view.peers(rule);
        if peers.anyone || peers.cidrs.is_empty() {
            continue;
        }
        let mut selected = None;
        for part in &peers.cidrs {
            let Some(mut hit) = inside.part(view, rule, part, &mut groups) else { continue };
            let selected = selected.get_or_insert_with(|| view.places(peers));
            if !selected.is_empty() {
                hit.covered = hit.covered.iter().filter(|&at| !inside.is_among(view, at, selected)).collect();
            }
            if hit.covered.is_empty() {
                continue;
            }
            if let CidrPart::Group { group, .. } = part
                && let Some(known) = groups.get_mut(group)
            {
                known.told = true;
            }
            found.push(finding(view, rule, part, &hit, &inside));
        }
    }
}

/// Which addresses inside a list covers.
#[derive(Clone)]
struct Hit {
    /// By place in [`Inside::addresses`].
    covered: RoaringBitmap,
    /// The first block that covers any.
    first: IpNet,
    at: Option<Span>,
    /// Blocks that cover any.
    blocks: usize,
}

/// A group may stand in many rules; it is searched once, and told of once.
struct GroupHit {
    hit: Option<Hit>,
    told: bool,
}

/// The addresses of pods and nodes.
struct Inside {
    /// Sorted, IPv4 first.
    addresses: Vec<(IpAddr, Party)>,
    v4: Vec<u32>,
    v6: Vec<u128>,
    /// Which upper halves IPv4 addresses have: most prefixes of a long list are sorted out by it.
    halves: Vec<u64>,
}

impl Inside {
    fn new(view: &View<'_>) -> Self {
        let mut addresses: Vec<(IpAddr, Party)> = view.cluster.addresses().collect();
        addresses.sort_unstable();
        let mut inside = Inside { addresses, v4: Vec::new(), v6: Vec::new(), halves: vec![0; 1 << 10] };
        for (address, _) in &inside.addresses {
            match address {
                IpAddr::V4(address) => {
                    let bits = address.to_bits();
                    inside.v4.push(bits);
                    inside.halves[(bits >> 22) as usize] |= 1 << (bits >> 16 & 63);
                }
                IpAddr::V6(address) => inside.v6.push(address.to_bits()),
            }
        }
        inside
    }

    /// The places of the addresses in a block.
    fn places(&self, block: &IpNet) -> std::ops::Range<u32> {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (first, last) = ends(block);
        match block {
            IpNet::V4(net) => {
                let bits = net.network().to_bits();
                let none = self.halves[(bits >> 22) as usize] & 1 << (bits >> 16 & 63) == 0;
                if net.prefix_len() >= 16 && none {
                    return 0..0;
                }
                let start = self.v4.partition_point(|&address| u128::from(address) < first);
                let len = self.v4[start..].partition_point(|&address| u128::from(address) <= last);
                place(start)..place(start + len)
            }
            IpNet::V6(_) => {
                let start = self.v6.partition_point(|&address| address < first);
                let len = self.v6[start..].partition_point(|&address| address <= last);
                place(self.v4.len() + start)..place(self.v4.len() + start + len)
            }
        }
    }

    /// Which of the blocks, each with its exceptions, cover any.
    fn search<'n, I: Iterator<Item = &'n IpNet>>(
        &self,
        blocks: impl Iterator<Item = (&'n IpNet, Option<u32>, I)>,
        near: Option<Span>,
        view: &View<'_>,
    ) -> Option<Hit> {
        let mut hit: Option<Hit> = None;
        for (block, at, except) in blocks {
            if block.prefix_len() == 0 {
                continue;
            }
            let places = self.places(block);
            if places.is_empty() {
                continue;
            }
            let mut covered = RoaringBitmap::from_iter(places);
            for out in except.filter(|out| overlap(out, block)) {
                covered.remove_range(self.places(out));
            }
            if covered.is_empty() {
                continue;
            }
            match &mut hit {
                Some(hit) => {
                    hit.covered |= covered;
                    hit.blocks += 1;
                }
                None => {
                    let at = at.zip(near).map(|(at, near)| view.cidr_span(near, at));
                    hit = Some(Hit { covered, first: *block, at, blocks: 1 });
                }
            }
        }
        hit
    }

    fn part(
        &self,
        view: &View<'_>,
        rule: &Rule,
        part: &CidrPart,
        groups: &mut FxHashMap<usize, GroupHit>,
    ) -> Option<Hit> {
        match part {
            CidrPart::Written(list) => {
                let except = |block| list.excepts_of(block).iter().map(|placed| &placed.net);
                let blocks =
                    list.blocks.iter().map(|block| (&block.cidr.net, Some(block.cidr.at), except(block)));
                self.search(blocks, Some(list.span), view)
            }
            CidrPart::Group { group, except } => {
                let of_group = &view.cluster.groups[*group];
                let known = groups.entry(*group).or_insert_with(|| {
                    let blocks = of_group
                        .cidrs
                        .iter()
                        .map(|placed| (&placed.net, Some(placed.at), std::iter::empty()));
                    GroupHit { hit: self.search(blocks, Some(of_group.meta.span), view), told: false }
                });
                if known.told {
                    return None;
                }
                let mut hit = known.hit.clone()?;
                for out in except.iter() {
                    hit.covered.remove_range(self.places(out));
                }
                Some(hit)
            }
            CidrPart::Addresses(addresses) => {
                let blocks = addresses.iter().map(|address| (address, None, std::iter::empty()));
                self.search(blocks, None, view).map(|hit| Hit { at: Some(rule.span), ..hit })
            }
        }
    }

    /// Whether the pod or node at an address is among identities.
    fn is_among(&self, view: &View<'_>, at: u32, selected: &RoaringBitmap) -> bool {
        let Some(&(_, party)) = self.addresses.get(at as usize) else { return false };
        let seen_from =
            |home| view.identities.place(party, home).is_some_and(|place| selected.contains(place));
        match party {
            // Whoever looks from elsewhere; the node itself is another entity.
            Party::Node(_) | Party::Pod(_) => seen_from(None),
            Party::Outside(_) => true,
        }
    }

    fn shown(&self, view: &View<'_>, at: u32) -> String {
        match self.addresses.get(at as usize) {
            Some(&(address, party @ Party::Pod(_))) => {
                format!("{address} (pod {})", view.cluster.name(party))
            }
            Some(&(address, party)) => format!("{address} (node {})", view.cluster.name(party)),
            None => String::new(),
        }
    }
}

fn finding(view: &View<'_>, rule: &Rule, part: &CidrPart, hit: &Hit, inside: &Inside) -> Diagnostic {
    let is_pod = |at: u32| matches!(inside.addresses.get(at as usize), Some((_, Party::Pod(_))));
    let pods = hit.covered.iter().filter(|&at| is_pod(at)).count();
    let nodes = usize::try_from(hit.covered.len()).unwrap_or(usize::MAX) - pods;
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let whose = match (pods, nodes) {
        (pods, 0) => count(pods, "pod"),
        (0, nodes) => count(nodes, "node"),
        (pods, nodes) => format!("{} and {}", count(pods, "pod"), count(nodes, "node")),
    };
    let (what, at, group) = match part {
        CidrPart::Written(_) if hit.blocks == 1 => (format!("{} covers", hit.first), hit.at, None),
        CidrPart::Written(_) => {
            (format!("{} and {} more of the list cover", hit.first, hit.blocks - 1), hit.at, None)
        }
        CidrPart::Group { group, .. } => {
            let name = &view.cluster.groups[*group].meta.name;
            (format!("{} of group `{name}` covers", hit.first), None, hit.at)
        }
        CidrPart::Addresses(_) => ("the service's endpoints are".to_owned(), None, None),
    };
    let message = format!("{what} the addresses of {whose}, which a CIDR never matches");
    let shown: Vec<String> = hit.covered.iter().take(2).map(|at| inside.shown(view, at)).collect();
    let more = hit.covered.len().saturating_sub(2);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let finding = view
        .finding(Code::CidrCoversPods, rule, at.unwrap_or(rule.span), message)
        .labelled(format!("covers {}{more}", shown.join(", ")));
    let finding = match group {
        Some(at) => finding.also(at, "the group's prefix"),
        None => finding,
    };
    let (does, side) = (verb(rule.effect), side(rule.direction));
    finding.help(match view.kind(rule) {
        PolicyKind::Network if nodes == 0 => {
            format!("the rule {does} only addresses outside; name pods with `podSelector` and `namespaceSelector`")
        }
        PolicyKind::Network => format!(
            "the rule {does} only addresses outside; a NetworkPolicy cannot name nodes, a CiliumNetworkPolicy can: `{side}Entities: [host, remote-node]`"
        ),
        _ => format!(
            "the rule {does} only addresses outside; name pods with `{side}Endpoints` and nodes with `{side}Entities: [host, remote-node]`"
        ),
    })
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found, network};

    #[test]
    fn a_prefix_over_pods() {
        let lines =
            found(&cnp("", "app: db", "ingressDeny: [{fromCIDR: [192.0.2.0/24, 10.1.0.0/16]}]"), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("W605 6:43 10.1.0.0/16 covers the addresses of 2 pods"), "{lines:?}");
        assert!(
            lines[0].contains("covers 10.1.0.10 (pod shop/web), 10.1.0.11 (pod shop/checkout)"),
            "{lines:?}"
        );
        assert!(lines[0].contains("the rule denies only addresses outside"), "{lines:?}");
    }

    #[test]
    fn one_finding_for_a_list() {
        let rules = "egress: [{toCIDR: [10.0.0.0/8, 172.16.0.0/12]}]";
        let lines = found(&cnp("", "app: db", rules), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("10.0.0.0/8 and 1 more of the list cover the addresses of 4 pods and 2 nodes"),
            "{lines:?}"
        );
        assert!(lines[0].contains("and 4 more |"), "{lines:?}");
    }

    #[test]
    fn what_is_excepted_or_selected_besides_or_everywhere() {
        let rules = "egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}]}]";
        assert_eq!(found(&cnp("", "app: db", rules), CLUSTER), [""; 0]);
        assert_eq!(found(&cnp("", "app: db", "egress: [{toCIDR: [0.0.0.0/0]}]"), CLUSTER), [""; 0]);
        let rules = "egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}, {podSelector: {}}]}]";
        assert_eq!(found(&network("app: db", rules), CLUSTER), [""; 0]);
    }

    #[test]
    fn groups_and_endpoints_of_services() {
        let group = "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: lan}\nspec: {externalCIDRs: [172.20.0.0/24]}\n---\n";
        let rules = "egress: [{toCIDRSet: [{cidrGroupRef: lan}]}]";
        let text = format!("{}{}{group}", cnp("", "app: db", rules), cnp("-2", "app: web", rules));
        let lines = found(&text, CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("172.20.0.0/24 of group `lan` covers the addresses of 2 nodes"),
            "{lines:?}"
        );

        let service = "---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}, spec: {}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
  addressType: IPv4
  endpoints: [{addresses: [172.20.0.1]}]
";
        let rules = "egress: [{toServices: [{k8sService: {serviceName: kubernetes, namespace: default}}]}]";
        let lines = found(&cnp("", "app: db", rules), &format!("{CLUSTER}{service}"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("the service's endpoints are the addresses of 1 node"), "{lines:?}");
    }
}
