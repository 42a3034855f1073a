//! Who is outside, as rules name it: blocks of addresses, groups, DNS names, and the rest of the world.
//!
//! All prefixes are swept once, so addresses that the same lists cover are one, however many there are. Such a set is named by the
//! smallest list that covers it.
//!
//! Not here: which of them are treated alike, and so drawn as one.

use crate::classes::sweep::{Range, Sweep};
use crate::classes::{Classes, Mark};
use crate::cluster::Cluster;
use crate::fqdn::FqdnPattern;
use crate::ir::{CidrPart, PolicySet};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::{Image, PeerClass};

/// The addresses that no list covers, by family.
pub(super) const WORLD: [&str; 2] = ["world, IPv4", "world, IPv6"];

/// Addresses that the same lists cover, or what a DNS name leads to.
#[derive(Clone, Debug)]
pub(super) struct Atom {
    /// What they are to the image.
    pub(super) classes: Vec<PeerClass>,
    /// As people say it.
    pub(super) name: String,
    /// One of the addresses, for names that would be the same.
    pub(super) first: Option<IpAddr>,
}

/// A list of blocks that some rule names.
struct List {
    name: String,
    /// Its addresses, as far as they can be counted: a smaller list says more.
    size: u128,
}

/// All atoms, the rest of the world first.
pub(super) fn atoms(
    image: &Image<'_>,
    set: &PolicySet,
    cluster: &Cluster,
    addresses_of: &dyn Fn(&str, bool) -> Vec<IpAddr>,
) -> Vec<Atom> {
    let mut lists: Vec<List> = Vec::new();
    let mut sweep = Sweep::default();
    let parts = set.peers.iter().flat_map(|peers| &peers.cidrs);
    for part in parts {
        let mark = Mark::try_from(lists.len()).unwrap_or(Mark::MAX);
        let mut size = 0u128;
        match part {
            CidrPart::Written(list) => {
                for block in &list.blocks {
                    let except = list.excepts_of(block).iter().map(|placed| placed.net);
                    sweep.add(mark, block.cidr.net, except);
                    size = size.saturating_add(addresses(block.cidr.net));
                }
            }
            CidrPart::Group { group, except } => {
                for placed in cluster.groups.get(*group).map_or(&[][..], |group| &group.cidrs) {
                    sweep.add(mark, placed.net, except.iter().copied());
                    size = size.saturating_add(addresses(placed.net));
                }
            }
            CidrPart::Addresses(list) => {
                for &address in list.iter() {
                    sweep.give(mark, address);
                    size = size.saturating_add(1);
                }
            }
        }
        lists.push(List { name: list_name(part, cluster), size });
    }
    for name in image.fqdns() {
        let mark = Mark::try_from(lists.len()).unwrap_or(Mark::MAX);
        for address in addresses_of(name.text, name.is_pattern) {
            sweep.give(mark, address.into());
        }
        lists.push(List { name: name.text.to_owned(), size: 0 });
    }
    let apiserver = Mark::try_from(lists.len()).unwrap_or(Mark::MAX);
    for address in cluster.outside_apiservers() {
        sweep.give(apiserver, address.into());
    }
    lists.push(List { name: "API server".to_owned(), size: 0 });

    let mut classes = Classes::default();
    let v4 = sweep.v4_ranges(lists.len(), &[], &mut classes);
    let v6 = sweep.v6_ranges(lists.len(), &[], &mut classes);
    let mut found = Found { atoms: BTreeMap::new(), image };
    found.add(&v4, |start| IpAddr::V4(Ipv4Addr::from_bits(start)));
    found.add(&v6, |start| IpAddr::V6(Ipv6Addr::from_bits(start)));
    let mut atoms: Vec<Atom> = Vec::new();
    let fewest = |&(&(cover, ..), _): &(&(u32, PeerClass, bool), &IpAddr)| classes.marks(cover).len();
    let rest = found.atoms.iter().filter(|((.., is_v6), _)| !is_v6).min_by_key(fewest);
    let rest = rest.map(|(&(_, class, _), _)| class).unwrap_or_default();
    for ((cover, class, is_v6), first) in found.atoms {
        let covering = classes.marks(cover).iter().filter_map(|&mark| lists.get(mark as usize));
        let name = match covering.min_by_key(|list| (list.size, &list.name)) {
            Some(list) => list.name.clone(),
            None => WORLD[usize::from(is_v6)].to_owned(),
        };
        atoms.push(Atom { classes: vec![class], name, first: Some(first) });
    }
    atoms.extend(names(image, rest));
    atoms
}

/// Which class the addresses of one cover and family have, and the first of them.
struct Found<'i> {
    atoms: BTreeMap<(u32, PeerClass, bool), IpAddr>,
    image: &'i Image<'i>,
}

impl Found<'_> {
    fn add<A: Copy>(&mut self, ranges: &[Range<A>], address: impl Fn(A) -> IpAddr) {
        for range in ranges {
            let first = address(range.start);
            let class = self.image.address_class(first);
            self.atoms.entry((range.class, class, first.is_ipv6())).or_insert(first);
        }
    }
}

/// Addresses that have a DNS name and else are like most of the world.
fn names(image: &Image<'_>, rest: PeerClass) -> Vec<Atom> {
    let patterns: Vec<(FqdnPattern, PeerClass)> = image
        .fqdns()
        .map(|entry| (FqdnPattern::from_text(entry.text, entry.is_pattern), entry.class))
        .collect();
    let atom = |text: &str| {
        let example = example(text);
        let selecting = patterns.iter().filter(|(pattern, _)| pattern.matches(&example));
        let mut classes = vec![rest];
        classes.extend(selecting.map(|&(_, class)| class));
        Atom { classes, name: text.to_owned(), first: None }
    };
    image.fqdns().map(|entry| atom(entry.text)).collect()
}

/// A name that a pattern selects, and hardly any other does.
pub fn example(text: &str) -> String {
    let mut name = String::with_capacity(text.len() + 16);
    let mut in_stars = false;
    for character in text.chars() {
        match (character == '*', in_stars) {
            (true, false) => name.push_str("any-name-of-it"),
            (true, true) => {}
            (false, _) => name.push(character),
        }
        in_stars = character == '*';
    }
    name
}

fn addresses(net: IpNet) -> u128 {
    let free = u32::from(net.max_prefix_len() - net.prefix_len());
    1u128.checked_shl(free).unwrap_or(u128::MAX)
}

/// A list as people say it.
fn list_name(part: &CidrPart, cluster: &Cluster) -> String {
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    match part {
        CidrPart::Written(list) => {
            let Some(first) = list.blocks.first() else { return String::new() };
            let mut name = first.cidr.net.to_string();
            match (list.blocks.len(), &list.excepts[..]) {
                (1, []) => {}
                (1, [except]) => name.push_str(&format!(" except {}", except.net)),
                (1, excepts) => name.push_str(&format!(" less {}", counted(excepts.len(), "exception"))),
                (blocks, _) => name.push_str(&format!(" and {} more", blocks - 1)),
            }
            name
        }
        CidrPart::Group { group, except } => {
            let Some(group) = cluster.groups.get(*group) else { return String::new() };
            let less = if except.is_empty() {
                String::new()
            } else {
                format!(" less {}", counted(except.len(), "exception"))
            };
            format!("group {} ({}){less}", group.meta.name, counted(group.cidrs.len(), "block"))
        }
        CidrPart::Addresses(list) => match &list[..] {
            [] => String::new(),
            [one] => one.addr().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.addr(), rest.len()),
        },
    }
}
