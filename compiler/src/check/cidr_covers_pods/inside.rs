//! The addresses of pods and nodes, and which of them a list of prefixes covers.
//!
//! The addresses are sorted once; each prefix is then a search or two, and most prefixes of a long list
//! are sorted out before by their upper half.

use crate::check::reach::{ends, overlap};
use crate::check::view::View;
use crate::cluster::Party;
use crate::ir::{CidrPart, Rule};
use ipnet::IpNet;
use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use weir_grammar::span::Span;

/// Which addresses inside a list covers.
#[derive(Clone)]
pub(super) struct Hit {
    /// By place in [`Inside::addresses`].
    pub(super) covered: RoaringBitmap,
    /// The first block that covers any.
    pub(super) first: IpNet,
    pub(super) at: Option<Span>,
    /// Blocks that cover any.
    pub(super) blocks: usize,
}

/// A group may stand in many rules; it is searched once, and told of once.
pub(super) struct GroupHit {
    hit: Option<Hit>,
    pub(super) told: bool,
}

/// The addresses of pods and nodes.
pub(super) struct Inside {
    /// Sorted, IPv4 first.
    pub(super) addresses: Vec<(IpAddr, Party)>,
    v4: Vec<u32>,
    v6: Vec<u128>,
    /// Which upper halves IPv4 addresses have: most prefixes of a long list are sorted out by it.
    halves: Vec<u64>,
}

impl Inside {
    pub(super) fn new(view: &View<'_>) -> Self {
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

    pub(super) fn part(
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
    pub(super) fn is_among(&self, view: &View<'_>, at: u32, selected: &RoaringBitmap) -> bool {
        let Some(&(_, party)) = self.addresses.get(at as usize) else { return false };
        let seen_from =
            |home| view.identities.place(party, home).is_some_and(|place| selected.contains(place));
        match party {
            // Whoever looks from elsewhere; the node itself is another entity.
            Party::Node(_) | Party::Pod(_) => seen_from(None),
            Party::Outside(_) => true,
        }
    }

    pub(super) fn shown(&self, view: &View<'_>, at: u32) -> String {
        match self.addresses.get(at as usize) {
            Some(&(address, party @ Party::Pod(_))) => {
                format!("{address} (pod {})", view.cluster.name(party))
            }
            Some(&(address, party)) => format!("{address} (node {})", view.cluster.name(party)),
            None => String::new(),
        }
    }
}
