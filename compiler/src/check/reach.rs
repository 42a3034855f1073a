//! How far peers and ports reach, as sorted ranges, so that containment is a search.

use crate::cluster::Cluster;
use crate::ir::{CidrPart, Peers, PortMatch, Ports};
use ipnet::IpNet;

/// Prefixes of one rule's peers that are still made into ranges.
const MOST_PREFIXES: usize = 4096;

/// First and last, inclusive.
type Range = (u128, u128);

/// First and last address of a prefix, as a number of its family.
pub(super) fn ends(net: &IpNet) -> Range {
    match net {
        IpNet::V4(net) => (u128::from(net.network().to_bits()), u128::from(net.broadcast().to_bits())),
        IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
    }
}

/// Whether two prefixes have addresses in common.
pub(super) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// What is left of a block without its exceptions.
pub(super) fn without<'n>(block: &IpNet, except: impl Iterator<Item = &'n IpNet>) -> Vec<Range> {
    let (mut from, last) = ends(block);
    let mut out: Vec<Range> = except.filter(|except| overlap(except, block)).map(ends).collect();
    out.sort_unstable();
    let mut left = Vec::new();
    for (out_first, out_last) in out {
        if out_first > from {
            left.push((from, out_first - 1));
        }
        if out_last >= last {
            return left;
        }
        from = from.max(out_last + 1);
    }
    left.push((from, last));
    left
}

/// Sorts ranges and joins those that touch.
fn join(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let touches = next.0 <= last.1.saturating_add(1);
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
    ranges
}

fn covers(wide: &[Range], narrow: &[Range]) -> bool {
    narrow.iter().all(|&(first, last)| {
        let at = wide.partition_point(|range| range.0 <= first);
        at > 0 && wide[at - 1].1 >= last
    })
}

/// The addresses outside that some peers name by prefix.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AddressReach {
    v4: Vec<Range>,
    v6: Vec<Range>,
}

impl AddressReach {
    /// `None` if there are too many prefixes to look into.
    pub(super) fn of(peers: &Peers, cluster: &Cluster) -> Option<AddressReach> {
        let count: usize = peers.cidrs.iter().map(|part| prefixes(part, cluster)).sum();
        if count > MOST_PREFIXES {
            return None;
        }
        let mut reach = AddressReach::default();
        let mut add = |block: &IpNet, left: Vec<Range>| match block {
            IpNet::V4(_) => reach.v4.extend(left),
            IpNet::V6(_) => reach.v6.extend(left),
        };
        for part in &peers.cidrs {
            match part {
                CidrPart::Written(list) => {
                    for block in &list.blocks {
                        let except = list.excepts_of(block).iter().map(|placed| &placed.net);
                        add(&block.cidr.net, without(&block.cidr.net, except));
                    }
                }
                CidrPart::Group { group, except } => {
                    for placed in &cluster.groups[*group].cidrs {
                        add(&placed.net, without(&placed.net, except.iter()));
                    }
                }
                CidrPart::Addresses(addresses) => {
                    addresses.iter().for_each(|address| add(address, vec![ends(address)]));
                }
            }
        }
        Some(AddressReach { v4: join(reach.v4), v6: join(reach.v6) })
    }

    /// Whether it has all addresses of `narrow` that are not in `families` anyway.
    pub(super) fn covers(&self, narrow: &AddressReach, families: Families) -> bool {
        (families.v4 || covers(&self.v4, &narrow.v4)) && (families.v6 || covers(&self.v6, &narrow.v6))
    }

    /// The families of which it has every address.
    pub(super) fn whole_families(&self) -> Families {
        Families {
            v4: covers(&self.v4, &[(0, u128::from(u32::MAX))]),
            v6: covers(&self.v6, &[(0, u128::MAX)]),
        }
    }
}

/// Families of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    pub(super) v4: bool,
    pub(super) v6: bool,
}

/// How many prefixes a part has, exceptions included.
pub(super) fn prefixes(part: &CidrPart, cluster: &Cluster) -> usize {
    match part {
        CidrPart::Written(list) => list.blocks.len() + list.excepts.len(),
        CidrPart::Group { group, except } => cluster.groups[*group].cidrs.len() * (1 + except.len()),
        CidrPart::Addresses(addresses) => addresses.len(),
    }
}

/// Protocols and ports: one number for both, so that ranges do.
#[derive(Debug)]
pub(super) struct PortReach<'r> {
    everything: bool,
    ranges: Vec<Range>,
    names: Vec<(u8, &'r str)>,
    /// The single ports among them.
    singles: Vec<Range>,
}

impl<'r> PortReach<'r> {
    pub(super) fn of(ports: &'r Ports) -> Self {
        let mut reach =
            PortReach { everything: false, ranges: Vec::new(), names: Vec::new(), singles: Vec::new() };
        let number = |protocol: u8, port: u16| u128::from(protocol) << 32 | u128::from(port);
        match ports {
            Ports::Everything => reach.everything = true,
            Ports::Any(matches) => {
                for port in matches {
                    match port {
                        PortMatch::Range { protocol, first, last } => {
                            let range = (number(*protocol, *first), number(*protocol, *last));
                            reach.ranges.push(range);
                            if first == last {
                                reach.singles.push(range);
                            }
                        }
                        PortMatch::Named { protocol, name } => reach.names.push((*protocol, name)),
                    }
                }
            }
        }
        reach.ranges = join(reach.ranges);
        reach.singles.sort_unstable();
        reach
    }

    /// Whether nothing at all is matched.
    pub(super) fn is_empty(&self) -> bool {
        !self.everything && self.ranges.is_empty() && self.names.is_empty()
    }

    /// Whether it matches wherever `narrow` does.
    pub(super) fn covers(&self, narrow: &PortReach<'_>) -> bool {
        self.everything
            || (!narrow.everything
                && covers(&self.ranges, &narrow.ranges)
                && narrow.names.iter().all(|name| self.has_name(name)))
    }

    /// The same, port by port: for each single port of `narrow` that very port.
    pub(super) fn covers_singly(&self, narrow: &PortReach<'_>) -> bool {
        !narrow.everything
            && narrow.singles.len() == narrow.ranges.len()
            && narrow.singles.iter().all(|single| self.singles.binary_search(single).is_ok())
            && narrow.names.iter().all(|name| self.names.contains(name))
    }

    /// Whether a single port or a name is among them.
    pub(super) fn has_single(&self) -> bool {
        !self.singles.is_empty() || !self.names.is_empty()
    }

    fn has_name(&self, name: &(u8, &str)) -> bool {
        let whole = (u128::from(name.0) << 32, u128::from(name.0) << 32 | u128::from(u16::MAX));
        self.names.contains(name) || covers(&self.ranges, &[whole])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_its_exceptions() {
        let left = |block: &str, except: &[&str]| {
            let except: Vec<IpNet> = except.iter().map(|net| net.parse().unwrap()).collect();
            without(&block.parse().unwrap(), except.iter())
        };
        assert_eq!(left("0.0.0.0/30", &[]), [(0, 3)]);
        assert_eq!(left("0.0.0.0/30", &["0.0.0.1/32"]), [(0, 0), (2, 3)]);
        assert_eq!(left("0.0.0.0/30", &["0.0.0.2/31", "0.0.0.0/31"]), []);
        assert_eq!(left("0.0.0.0/30", &["0.0.0.0/8"]), []);
        assert_eq!(left("::/0", &["::/1", "8000::/1"]), []);
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(join(vec![(4, 5), (0, 1), (2, 3), (9, 9)]), [(0, 5), (9, 9)]);
        assert!(covers(&[(0, 5), (9, 9)], &[(1, 5), (9, 9)]));
        assert!(!covers(&[(0, 5), (9, 9)], &[(5, 9)]));
    }
}
