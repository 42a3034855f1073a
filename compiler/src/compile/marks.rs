//! Peers of rules to marks: who they are among the identities, and which prefixes they name.
//!
//! Peers that come out the same share a mark. Prefixes are only collected here; the sweep makes
//! ranges of them.

use super::cost::prefixes;
use crate::classes::Mark;
use crate::classes::sweep::Sweep;
use crate::cluster::Cluster;
use crate::identity::Identities;
use crate::ir::{CidrPart, Peers, PolicySet, protocol};
use crate::resolve::LabelIndex;
use ipnet::IpNet;
use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_grammar::tree::Protocol;

/// Who a rule's peers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Anyone at all.
    Anyone,
    /// Nobody.
    Nobody,
    /// Whoever carries the mark.
    Marked(Mark),
}

/// A container port's name and protocol.
pub(crate) type PortName = (String, u8);

/// What a mark stands for.
struct Meaning {
    /// Identities by place.
    places: RoaringBitmap,
    /// Whose prefixes and DNS names count too, by place in the policy set.
    outside: Option<usize>,
}

pub(super) struct PeerMarks<'a, 'i> {
    set: &'a PolicySet,
    cluster: &'a Cluster,
    index: &'i LabelIndex<'i>,
    meanings: Vec<Meaning>,
    by_peers: FxHashMap<(usize, Option<(PortName, u16)>), Who>,
    by_content: FxHashMap<Vec<u8>, Mark>,
    named_ports: BTreeMap<PortName, BTreeMap<u16, RoaringBitmap>>,
}

/// Lists with more blocks written out are taken to be each one of a kind.
const COMPARED_BLOCKS: usize = 1024;

/// Writes down which addresses peers name, so that equal ones are found: the same groups, services'
/// addresses, DNS names and short lists. `false` if a list is too long to compare.
fn write_outside(content: &mut Vec<u8>, peers: &Peers) -> bool {
    let mut text = String::new();
    for part in &peers.cidrs {
        match part {
            CidrPart::Written(list) if list.blocks.len() > COMPARED_BLOCKS => return false,
            CidrPart::Written(list) => {
                for block in &list.blocks {
                    let except = list.excepts_of(block).iter().map(|placed| placed.net);
                    text.push_str(&format!("+{}-{:?}", block.cidr.net, except.collect::<Vec<_>>()));
                }
            }
            CidrPart::Group { group, except } => text.push_str(&format!("group {group}-{except:?}")),
            CidrPart::Addresses(addresses) => text.push_str(&format!("at {addresses:?}")),
        }
        text.push('\n');
    }
    for fqdn in &peers.fqdns {
        text.push_str(&format!("name {} {}\n", fqdn.is_pattern, fqdn.text));
    }
    content.extend_from_slice(text.as_bytes());
    true
}

/// The IP protocol of a container port.
fn protocol_number(written: Protocol) -> u8 {
    match written {
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
        Protocol::Other(number) => number,
        Protocol::Tcp | Protocol::Any => protocol::TCP,
    }
}

/// The named ports of one identity.
pub(crate) fn named_ports(entry: &crate::identity::Entry<'_>) -> impl Iterator<Item = (PortName, u16)> {
    entry
        .ports
        .iter()
        .filter_map(|port| Some(((port.name.clone()?, protocol_number(port.protocol)), port.port)))
}

impl<'a, 'i> PeerMarks<'a, 'i> {
    pub(super) fn new(
        set: &'a PolicySet,
        cluster: &'a Cluster,
        identities: &Identities<'_>,
        index: &'i LabelIndex<'i>,
    ) -> Self {
        let mut ports: BTreeMap<PortName, BTreeMap<u16, RoaringBitmap>> = BTreeMap::new();
        for (place, entry) in (0..).zip(&identities.entries) {
            for (name, number) in named_ports(entry) {
                ports.entry(name).or_default().entry(number).or_default().insert(place);
            }
        }
        PeerMarks {
            set,
            cluster,
            index,
            meanings: Vec::new(),
            by_peers: FxHashMap::default(),
            by_content: FxHashMap::default(),
            named_ports: ports,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.meanings.len()
    }

    /// The numbers that a port name has among the cluster's pods.
    pub(super) fn numbers(&self, name: &PortName) -> Vec<u16> {
        self.named_ports.get(name).map(|numbers| numbers.keys().copied().collect()).unwrap_or_default()
    }

    /// Who some peers are; with a port name and number, only the pods that have that port.
    pub(super) fn who(&mut self, peers: usize, with_port: Option<(PortName, u16)>) -> Who {
        let key = (peers, with_port);
        if let Some(&who) = self.by_peers.get(&key) {
            return who;
        }
        let written = &self.set.peers[peers];
        let who = match &key.1 {
            None if written.anyone => Who::Anyone,
            None => {
                let outside = !written.cidrs.is_empty() || !written.fqdns.is_empty();
                self.meaning(self.places(written), outside.then_some(peers))
            }
            Some((name, number)) => {
                let with_port = self.named_ports.get(name).and_then(|numbers| numbers.get(number));
                let mut places = with_port.cloned().unwrap_or_default();
                if !written.anyone {
                    places &= self.places(written);
                }
                self.meaning(places, None)
            }
        };
        self.by_peers.insert(key, who);
        who
    }

    /// Whoever has these labels, with no prefixes.
    pub(super) fn entity(&mut self, name: &str) -> Who {
        use crate::labels::reserved_key;
        use weir_grammar::span::{FileId, Span, Spanned};
        use weir_grammar::tree::{Operator, Requirement};
        let key = Spanned::new(reserved_key(name), Span::point(FileId(0), 0));
        let exists = Requirement { key, operator: Operator::Exists, values: Vec::new() };
        let places = self.index.select(&[exists]);
        self.meaning(places, None)
    }

    fn places(&self, peers: &Peers) -> RoaringBitmap {
        let mut places = RoaringBitmap::new();
        for selector in &peers.selectors {
            places |= self.index.select(selector);
        }
        places
    }

    fn meaning(&mut self, places: RoaringBitmap, outside: Option<usize>) -> Who {
        let next = Mark::try_from(self.meanings.len()).unwrap_or(Mark::MAX);
        if outside.is_none() && places.is_empty() {
            return Who::Nobody;
        }
        let mut content = Vec::with_capacity(places.serialized_size());
        // Writing to a vector does not fail.
        let _ = places.serialize_into(&mut content);
        if outside.is_none_or(|peers| write_outside(&mut content, &self.set.peers[peers])) {
            if let Some(&mark) = self.by_content.get(&content) {
                return Who::Marked(mark);
            }
            self.by_content.insert(content, next);
        }
        self.meanings.push(Meaning { places, outside });
        Who::Marked(next)
    }

    /// For every identity (by place) its marks, sorted.
    pub(super) fn by_place(&self, places: usize) -> Vec<Vec<Mark>> {
        let mut marks = vec![Vec::new(); places];
        for (mark, meaning) in (0..).zip(&self.meanings) {
            for place in &meaning.places {
                marks[place as usize].push(mark);
            }
        }
        marks
    }

    /// The marks that an address has through a DNS name or pattern alone, for every one written.
    pub(super) fn by_fqdn(&self) -> BTreeMap<(&'a str, bool), Vec<Mark>> {
        let mut marks: BTreeMap<(&str, bool), Vec<Mark>> = BTreeMap::new();
        for (mark, peers) in self.outside() {
            for fqdn in &peers.fqdns {
                let marks = marks.entry((&fqdn.text, fqdn.is_pattern)).or_default();
                if marks.last() != Some(&mark) {
                    marks.push(mark);
                }
            }
        }
        marks
    }

    fn outside(&self) -> impl Iterator<Item = (Mark, &'a Peers)> {
        let set = self.set;
        (0..)
            .zip(&self.meanings)
            .filter_map(move |(mark, meaning)| Some((mark, &set.peers[meaning.outside?])))
    }

    /// How many prefixes the sweep may get at most, those that DNS names lead to included.
    pub(super) fn prefix_count(&self, addresses_of: &dyn Fn(&str, bool) -> Vec<IpAddr>) -> usize {
        let part = |part: &CidrPart| match part {
            CidrPart::Written(list) => list.blocks.len() + list.excepts.len(),
            // Each of the group's prefixes may have each of the exceptions in it.
            CidrPart::Group { group, except } => {
                self.cluster.groups[*group].cidrs.len().saturating_mul(1 + except.len())
            }
            CidrPart::Addresses(addresses) => addresses.len(),
        };
        self.outside()
            .flat_map(|(_, peers)| {
                let named = peers.fqdns.iter().map(|fqdn| addresses_of(&fqdn.text, fqdn.is_pattern).len());
                peers.cidrs.iter().map(part).chain(named)
            })
            .fold(0, usize::saturating_add)
    }

    /// Hands all prefixes to the sweep, those that DNS names lead to included.
    pub(super) fn prefixes(&self, sweep: &mut Sweep, addresses_of: &dyn Fn(&str, bool) -> Vec<IpAddr>) {
        sweep.reserve(self.outside().map(|(_, peers)| prefixes(peers, self.cluster)).sum());
        for (mark, peers) in self.outside() {
            for part in &peers.cidrs {
                match part {
                    CidrPart::Written(list) => {
                        for block in &list.blocks {
                            let except = list.excepts_of(block).iter().map(|placed| placed.net);
                            sweep.add(mark, block.cidr.net, except);
                        }
                    }
                    CidrPart::Group { group, except } => {
                        for placed in &self.cluster.groups[*group].cidrs {
                            sweep.add(mark, placed.net, except.iter().copied());
                        }
                    }
                    CidrPart::Addresses(addresses) => {
                        for &address in addresses.iter() {
                            sweep.give(mark, address);
                        }
                    }
                }
            }
            for fqdn in &peers.fqdns {
                for address in addresses_of(&fqdn.text, fqdn.is_pattern) {
                    sweep.give(mark, IpNet::from(address));
                }
            }
        }
    }
}
