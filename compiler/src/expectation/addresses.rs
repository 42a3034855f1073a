//! Addresses outside the cluster, as the image tells them apart: ranges of one class.
//!
//! The places where a class may change are the ends of the prefixes that the policies name; between two of them the
//! image is asked once. Addresses of pods and nodes are not outside and are passed over.
//!
//! Not here: classes of pods and nodes.

use crate::cluster::{Cluster, Party};
use crate::fqdn::FqdnLock;
use crate::ir::{CidrPart, PolicySet};
use ipnet::IpNet;
use rustc_hash::FxHashSet;
use std::net::IpAddr;
use weir_abi::{Image, PeerClass};

/// Addresses that people know to be examples, shown where they do as well as any.
const EXAMPLES: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// The ranges of both families.
#[derive(Debug)]
pub(super) struct Addresses {
    v4: Vec<Range>,
    v6: Vec<Range>,
}

/// Addresses from `start` up to the next range's; IPv4 as the lowest 32 bits.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u128,
    class: PeerClass,
}

/// First and last address.
type Interval = (u128, u128);

impl Addresses {
    pub(super) fn new(
        image: &Image<'_>,
        set: &PolicySet,
        cluster: &Cluster,
        lock: Option<&FqdnLock>,
    ) -> Self {
        let mut starts = Starts { v4: vec![0], v6: vec![0] };
        for part in set.peers.iter().flat_map(|peers| &peers.cidrs) {
            match part {
                CidrPart::Written(list) => {
                    list.blocks.iter().for_each(|block| starts.add(block.cidr.net));
                    list.excepts.iter().for_each(|except| starts.add(except.net));
                }
                CidrPart::Group { group, except } => {
                    let cidrs = cluster.groups.get(*group).map_or(&[][..], |group| &group.cidrs);
                    cidrs.iter().for_each(|cidr| starts.add(cidr.net));
                    except.iter().for_each(|&net| starts.add(net));
                }
                CidrPart::Addresses(addresses) => addresses.iter().for_each(|&net| starts.add(net)),
            }
        }
        let named =
            lock.iter().flat_map(|lock| lock.iter()).flat_map(|(_, addresses)| addresses.iter().copied());
        for address in named.chain(cluster.outside_apiservers()) {
            starts.add(address.into());
        }
        let ranges = |mut starts: Vec<u128>, is_v4| {
            starts.sort_unstable();
            starts.dedup();
            let mut ranges: Vec<Range> = Vec::new();
            for start in starts {
                let class = image.address_class(address(start, is_v4));
                if ranges.last().is_none_or(|last| last.class != class) {
                    ranges.push(Range { start, class });
                }
            }
            ranges
        };
        Addresses { v4: ranges(starts.v4, true), v6: ranges(starts.v6, false) }
    }

    /// An address of each class that the block, less its exceptions, has outside the cluster.
    pub(super) fn of(&self, block: IpNet, except: &[IpNet], cluster: &Cluster) -> Vec<IpAddr> {
        let is_v4 = block.addr().is_ipv4();
        let intervals = less(block, except);
        let is_outside = |&at: &u128| matches!(cluster.party(address(at, is_v4)), Party::Outside(_));
        let mut found = Vec::new();
        let mut seen = FxHashSet::default();
        let examples = EXAMPLES.iter().filter_map(|text| text.parse::<IpAddr>().ok());
        let example = examples.filter(|example| block.contains(example)).map(bits).find(is_outside);
        if let Some(at) =
            example.filter(|at| intervals.iter().any(|(first, last)| (first..=last).contains(&at)))
        {
            seen.extend(self.class(address(at, is_v4)));
            found.push(address(at, is_v4));
        }
        for &(first, last) in &intervals {
            for (from, to, class) in self.within(first, last, is_v4) {
                if seen.contains(&class) {
                    continue;
                }
                // A block's first address is that of the network itself: no example for people.
                let host = (to - from > 2).then(|| from + 1);
                if let Some(at) = host.into_iter().chain(from..=to).find(is_outside) {
                    seen.insert(class);
                    found.push(address(at, is_v4));
                }
            }
        }
        found
    }

    /// An address of the class that has most addresses, in each family: where a name leads that nobody knows the
    /// addresses of.
    pub(super) fn widest(&self, cluster: &Cluster) -> Vec<IpAddr> {
        let widest = |is_v4: bool| {
            let mut sizes: Vec<(PeerClass, u128)> = Vec::new();
            for (from, to, class) in self.within(0, end(is_v4), is_v4) {
                // A class of all IPv6 addresses has one more than can be counted.
                let size = (to - from).saturating_add(1);
                match sizes.iter_mut().find(|(known, _)| *known == class) {
                    Some((_, sum)) => *sum = sum.saturating_add(size),
                    None => sizes.push((class, size)),
                }
            }
            let (class, _) = sizes.into_iter().max_by_key(|&(_, size)| size)?;
            let everything = if is_v4 { "0.0.0.0/0" } else { "::/0" };
            let all = self.of(everything.parse().ok()?, &[], cluster);
            all.into_iter().find(|&address| self.class(address) == Some(class))
        };
        [true, false].into_iter().filter_map(widest).collect()
    }

    fn class(&self, address: IpAddr) -> Option<PeerClass> {
        let at = bits(address);
        self.within(at, at, address.is_ipv4()).next().map(|(_, _, class)| class)
    }

    /// The parts of an interval, each of one class.
    fn within(
        &self,
        first: u128,
        last: u128,
        is_v4: bool,
    ) -> impl Iterator<Item = (u128, u128, PeerClass)> + '_ {
        let ranges = if is_v4 { &self.v4 } else { &self.v6 };
        let from = ranges.partition_point(|range| range.start <= first).saturating_sub(1);
        let ranges = ranges.get(from..).unwrap_or_default();
        let ends = ranges.iter().skip(1).map(|next| next.start - 1).chain([end(is_v4)]);
        let parts = ranges.iter().zip(ends);
        parts
            .take_while(move |(range, _)| range.start <= last)
            .map(move |(range, to)| (range.start.max(first), to.min(last), range.class))
    }
}

struct Starts {
    v4: Vec<u128>,
    v6: Vec<u128>,
}

impl Starts {
    fn add(&mut self, net: IpNet) {
        let starts = if net.addr().is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let (first, last) = interval(net);
        starts.push(first);
        if last < end(net.addr().is_ipv4()) {
            starts.push(last + 1);
        }
    }
}

/// What is left of a block, in order.
fn less(block: IpNet, except: &[IpNet]) -> Vec<Interval> {
    let (mut first, last) = interval(block);
    let is_of_family = |net: &&IpNet| net.addr().is_ipv4() == block.addr().is_ipv4();
    let mut gaps: Vec<Interval> = except.iter().filter(is_of_family).map(|&net| interval(net)).collect();
    gaps.sort_unstable();
    let mut left = Vec::new();
    for (from, to) in gaps {
        if from > last || to < first {
            continue;
        }
        if from > first {
            left.push((first, from - 1));
        }
        if to >= last {
            return left;
        }
        first = to + 1;
    }
    left.push((first, last));
    left
}

fn interval(net: IpNet) -> Interval {
    (bits(net.network()), bits(net.broadcast()))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(bits: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if is_v4 => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

const fn end(is_v4: bool) -> u128 {
    if is_v4 { u32::MAX as u128 } else { u128::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_leave_what_is_between_them() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let left = |block: &str, except: &[&str]| {
            let except: Vec<IpNet> = except.iter().map(|text| net(text)).collect();
            let shown = |bits| address(bits, net(block).addr().is_ipv4()).to_string();
            less(net(block), &except)
                .into_iter()
                .map(|(first, last)| format!("{}-{}", shown(first), shown(last)))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(left("10.0.0.0/24", &[]), "10.0.0.0-10.0.0.255");
        assert_eq!(
            left("10.0.0.0/24", &["10.0.0.64/26", "10.0.0.64/32", "10.0.0.255/32", "11.0.0.0/8"]),
            "10.0.0.0-10.0.0.63 10.0.0.128-10.0.0.254"
        );
        assert_eq!(left("10.0.0.0/24", &["10.0.0.0/8"]), "");
        assert_eq!(left("::/0", &["::/1", "0.0.0.0/0"]), "8000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }
}
