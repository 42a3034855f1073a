//! Peers as Cilium numbers them.
//!
//! Pods are one identity for each set of labels, those left out that Cilium leaves out; port names do not count. Remote nodes are one, the own
//! node one, entities one each. Of addresses outside, each block that any policy of the cluster names, exceptions included, is an identity,
//! and the longest block that holds an address is the address's: so a rule for a block asks for the identities of all blocks inside
//! too. Blocks that groups alone name are one identity for each set of groups and block around them. A DNS selector is one.
//!
//! Numbers go by place: pods, nodes and entities first, then written blocks in the order of their addresses, so that all blocks inside
//! of one follow it; then sets of groups; then DNS selectors.

use crate::cluster::Cluster;
use crate::identity::{Identities, Kind, PER_POD};
use crate::ir::{CidrPart, Peers, PolicySet};
use crate::resolve::LabelIndex;
use ipnet::IpNet;
use roaring::RoaringBitmap;
use rustc_hash::{FxHashMap, FxHashSet};
use weir_abi::Identity;

/// Whose entries a rule's peers ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Selected {
    /// Everyone's: one entry without an identity.
    pub(super) anyone: bool,
    /// Their identities.
    pub(super) identities: RoaringBitmap,
    /// In how many parts these are kept.
    pub(super) parts: usize,
}

/// Blocks that the same groups name alone, inside of one written block.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct GroupSet {
    /// Place of the written block around them.
    block: Option<u32>,
    is_v6: bool,
    groups: Vec<usize>,
}

/// The identities of a cluster and of what its policies name outside.
pub(super) struct CiliumIdentities<'a> {
    cluster: &'a Cluster,
    /// By place among Weir's identities; none for what Cilium has no identity of.
    of_place: Vec<Option<u32>>,
    /// Places of the world, IPv4 and IPv6.
    world: [u32; 2],
    /// Place of the own node.
    host: u32,
    /// Number of the first block, of the first set of groups, of the first DNS selector.
    first: [u32; 3],
    /// Written blocks in order, and behind the last block inside of each.
    blocks: Vec<(IpNet, u32)>,
    /// Sorted, so that those inside of a written block follow each other.
    group_sets: Vec<GroupSet>,
    /// By group: written blocks that are in it.
    blocks_of_group: Vec<RoaringBitmap>,
    names: FxHashMap<(&'a str, bool), u32>,
}

impl<'a> CiliumIdentities<'a> {
    pub(super) fn new(set: &'a PolicySet, cluster: &'a Cluster, identities: &Identities<'_>) -> Self {
        let (of_place, count) = inside(cluster, identities);
        let world = identities.world();
        let written = written(set);
        let mut found = CiliumIdentities {
            cluster,
            of_place,
            world: [world.v4, world.v6],
            host: number(
                identities.entries.iter().take_while(|entry| entry.identity != Identity::HOST).count(),
            ),
            first: [count; 3],
            blocks: Vec::with_capacity(written.len()),
            group_sets: Vec::new(),
            blocks_of_group: vec![RoaringBitmap::new(); cluster.groups.len()],
            names: FxHashMap::default(),
        };
        found.nest(written);
        found.first[1] = count.saturating_add(number(found.blocks.len()));
        found.first[2] = found.first[1].saturating_add(number(found.group_sets.len()));
        for fqdn in set.peers.iter().flat_map(|peers| &peers.fqdns) {
            let next = found.first[2].saturating_add(number(found.names.len()));
            found.names.entry((&fqdn.text, fqdn.is_pattern)).or_insert(next);
        }
        found
    }

    /// Goes through written blocks and those of groups in the order of their addresses, with a stack of those around.
    fn nest(&mut self, written: Vec<IpNet>) {
        let of_groups = self.cluster.groups.iter().enumerate();
        let of_groups = of_groups
            .flat_map(|(group, object)| object.cidrs.iter().map(move |cidr| (cidr.net, Some(group))));
        let mut all: Vec<(IpNet, Option<usize>)> =
            written.into_iter().map(|net| (net, None)).chain(of_groups).collect();
        all.sort_unstable();
        all.dedup();
        let mut sets: FxHashSet<GroupSet> = FxHashSet::default();
        let mut around: Vec<(IpNet, Option<u32>, Vec<usize>)> = Vec::new();
        for same in all.chunk_by(|(one, _), (other, _)| one == other) {
            let [(net, source), ..] = same else { continue };
            while around.last().is_some_and(|(outer, ..)| !outer.contains(net)) {
                around.pop();
            }
            let (mut block, mut groups) =
                around.last().map_or((None, Vec::new()), |(_, block, groups)| (*block, groups.clone()));
            groups.extend(same.iter().filter_map(|(_, group)| *group));
            groups.sort_unstable();
            groups.dedup();
            if source.is_none() {
                let place = number(self.blocks.len());
                block = Some(place);
                self.blocks.push((*net, place + 1));
                for &group in &groups {
                    if let Some(blocks) = self.blocks_of_group.get_mut(group) {
                        blocks.insert(place);
                    }
                }
                for (_, outer, _) in &around {
                    if let Some((_, end)) = outer.and_then(|outer| self.blocks.get_mut(outer as usize)) {
                        *end = place + 1;
                    }
                }
            } else {
                sets.insert(GroupSet { block, is_v6: net.addr().is_ipv6(), groups: groups.clone() });
            }
            around.push((*net, block, groups));
        }
        self.group_sets = sets.into_iter().collect();
        self.group_sets.sort_unstable();
    }

    /// The node of an endpoint.
    pub(super) fn own_node(&self) -> Option<u32> {
        self.of_place.get(self.host as usize).copied().flatten()
    }

    /// Whom peers select.
    pub(super) fn select(&self, peers: &Peers, index: &LabelIndex<'_>) -> Selected {
        if peers.anyone {
            return Selected { anyone: true, ..Selected::default() };
        }
        let mut identities = RoaringBitmap::new();
        for selector in &peers.selectors {
            let places = index.select(selector);
            identities.extend(places.iter().filter_map(|place| *self.of_place.get(place as usize)?));
            for (place, is_v6) in self.world.into_iter().zip([false, true]) {
                if places.contains(place) {
                    self.add_family(is_v6, &mut identities);
                }
            }
        }
        for part in &peers.cidrs {
            match part {
                CidrPart::Written(list) => {
                    for block in &list.blocks {
                        let excepts = list.excepts_of(block);
                        if excepts.is_empty() {
                            self.add(block.cidr.net, &mut identities);
                        } else {
                            let mut own = RoaringBitmap::new();
                            self.add(block.cidr.net, &mut own);
                            for except in excepts {
                                self.remove(except.net, &mut own);
                            }
                            identities |= own;
                        }
                    }
                }
                CidrPart::Group { group, except } => {
                    let mut own = RoaringBitmap::new();
                    let blocks = self.blocks_of_group.get(*group).into_iter().flatten();
                    own.extend(blocks.map(|place| self.first[0].saturating_add(place)));
                    own.extend(self.group_sets(|set| set.groups.contains(group)));
                    for &except in except.iter() {
                        self.remove(except, &mut own);
                    }
                    identities |= own;
                }
                CidrPart::Addresses(addresses) => {
                    for &address in addresses.iter() {
                        self.add(address, &mut identities);
                    }
                }
            }
        }
        for fqdn in &peers.fqdns {
            identities.extend(self.names.get(&(fqdn.text.as_str(), fqdn.is_pattern)));
        }
        let parts = identities.statistics().n_containers as usize;
        Selected { anyone: false, identities, parts }
    }

    /// A written block and all inside of it.
    fn add(&self, net: IpNet, identities: &mut RoaringBitmap) {
        if let Some((first, end)) = self.inside(net) {
            identities.insert_range(self.first[0].saturating_add(first)..self.first[0].saturating_add(end));
            let place = |block| {
                self.first[1]
                    .saturating_add(number(self.group_sets.partition_point(|set| set.block < Some(block))))
            };
            identities.insert_range(place(first)..place(end));
        }
    }

    fn remove(&self, net: IpNet, identities: &mut RoaringBitmap) {
        let mut own = RoaringBitmap::new();
        self.add(net, &mut own);
        *identities -= own;
    }

    /// The places of a written block and of those inside of it.
    fn inside(&self, net: IpNet) -> Option<(u32, u32)> {
        let at = self.blocks.binary_search_by_key(&net, |&(net, _)| net).ok()?;
        self.blocks.get(at).map(|&(_, end)| (number(at), end))
    }

    /// Every address outside of one family, and the DNS selectors.
    fn add_family(&self, is_v6: bool, identities: &mut RoaringBitmap) {
        let end = self.blocks.partition_point(|(net, _)| !net.addr().is_ipv6());
        let (first, end) = if is_v6 { (number(end), number(self.blocks.len())) } else { (0, number(end)) };
        identities.insert_range(self.first[0].saturating_add(first)..self.first[0].saturating_add(end));
        identities.extend(self.group_sets(|set| set.is_v6 == is_v6));
        identities.extend(self.names.values());
    }

    fn group_sets(&self, holds: impl Fn(&GroupSet) -> bool) -> impl Iterator<Item = u32> {
        (self.first[1]..).zip(&self.group_sets).filter(move |(_, set)| holds(set)).map(|(at, _)| at)
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Pods, nodes and entities: their numbers by place among Weir's identities, and how many there are.
fn inside(cluster: &Cluster, identities: &Identities<'_>) -> (Vec<Option<u32>>, u32) {
    let has_outside_apiserver = !cluster.outside_apiservers().is_empty();
    let mut numbers: FxHashMap<String, u32> = FxHashMap::default();
    let mut of_place = Vec::with_capacity(identities.entries.len());
    for entry in &identities.entries {
        let is_apiserver = entry.labels.iter().any(|label| label.key == "kube-apiserver");
        let name = match entry.kind {
            Kind::Pods => {
                let mut labels = entry.labels.clone();
                labels.retain(|label| !PER_POD.contains(&label.key));
                Some(labels.canonical())
            }
            Kind::OwnNode(_) => Some("host".to_owned()),
            Kind::RemoteNode(_) if is_apiserver => Some("kube-apiserver".to_owned()),
            Kind::RemoteNode(_) => Some("remote-node".to_owned()),
            Kind::Entity if is_apiserver => {
                has_outside_apiserver.then(|| "outside kube-apiserver".to_owned())
            }
            Kind::Entity if entry.identity == Identity::HOST => Some("host".to_owned()),
            Kind::Entity if entry.identity == Identity::REMOTE_NODE => Some("remote-node".to_owned()),
            Kind::Entity => Some(entry.text.clone()),
        };
        let next = number(numbers.len());
        of_place.push(name.map(|name| *numbers.entry(name).or_insert(next)));
    }
    let count = number(numbers.len());
    (of_place, count)
}

/// Every block that a policy writes, exceptions and services' addresses included, in order.
fn written(set: &PolicySet) -> Vec<IpNet> {
    let mut written = Vec::new();
    for part in set.peers.iter().flat_map(|peers| &peers.cidrs) {
        match part {
            CidrPart::Written(list) => {
                written.extend(list.blocks.iter().map(|block| block.cidr.net));
                written.extend(list.excepts.iter().map(|except| except.net));
            }
            CidrPart::Group { except, .. } => written.extend(except.iter().copied()),
            CidrPart::Addresses(addresses) => written.extend(addresses.iter().copied()),
        }
    }
    written
}
