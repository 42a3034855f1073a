//! The fewest prefixes that cover exactly what a list covers.
//!
//! The sweep with a single mark, its ranges cut back into prefixes. For people and exports; the image
//! keeps ranges.

use super::Classes;
use super::sweep::{Range, Sweep};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Aggregates; IPv4 first, both by rising address.
pub fn aggregate(list: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
    let mut sweep = Sweep::default();
    sweep.reserve(list.size_hint().0);
    for net in list {
        sweep.give(0, net);
    }
    let mut classes = Classes::default();
    let v4 = sweep.v4_ranges(1, &[], &mut classes);
    let v6 = sweep.v6_ranges(1, &[], &mut classes);
    let mut prefixes = Vec::with_capacity(v4.len() + v6.len());
    for (first, last) in covered(&v4, u32::MAX, |start| start - 1) {
        blocks_v4(first, last, &mut prefixes);
    }
    for (first, last) in covered(&v6, u128::MAX, |start| start - 1) {
        blocks_v6(first, last, &mut prefixes);
    }
    prefixes
}

/// The fewest prefixes that cover exactly what a list does not.
pub fn complement(list: &[IpNet]) -> Vec<IpNet> {
    let mut sweep = Sweep::default();
    for net in list {
        sweep.give(0, *net);
    }
    let mut classes = Classes::default();
    let mut prefixes = Vec::new();
    for (first, last) in lacking(&sweep.v4_ranges(1, &[], &mut classes), u32::MAX, |start| start - 1) {
        blocks_v4(first, last, &mut prefixes);
    }
    for (first, last) in lacking(&sweep.v6_ranges(1, &[], &mut classes), u128::MAX, |start| start - 1) {
        blocks_v6(first, last, &mut prefixes);
    }
    prefixes
}

/// Appends the fewest prefixes that cover `first..=last`.
pub(crate) fn blocks_v4(first: u32, last: u32, prefixes: &mut Vec<IpNet>) {
    let net = |at, length| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(at), length));
    cut_v4(first, last, |at, length| prefixes.push(net(at, length)));
}

/// Appends the fewest prefixes that cover `first..=last`.
pub(crate) fn blocks_v6(first: u128, last: u128, prefixes: &mut Vec<IpNet>) {
    let net = |at, length| IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(at), length));
    cut_v6(first, last, |at, length| prefixes.push(net(at, length)));
}

/// First and last addresses of the ranges that carry the mark.
fn covered<A: Copy>(ranges: &[Range<A>], end: A, before: impl Fn(A) -> A) -> impl Iterator<Item = (A, A)> {
    all(ranges, end, before).filter(|(range, _)| range.class != 0).map(|(range, last)| (range.start, last))
}

/// First and last addresses of the ranges that do not.
fn lacking<A: Copy>(ranges: &[Range<A>], end: A, before: impl Fn(A) -> A) -> impl Iterator<Item = (A, A)> {
    all(ranges, end, before).filter(|(range, _)| range.class == 0).map(|(range, last)| (range.start, last))
}

/// The ranges, each with its last address.
fn all<A: Copy>(
    ranges: &[Range<A>],
    end: A,
    before: impl Fn(A) -> A,
) -> impl Iterator<Item = (&Range<A>, A)> {
    let next = ranges.iter().skip(1).map(move |range| before(range.start)).chain([end]);
    ranges.iter().zip(next)
}

macro_rules! cut {
    ($name:ident, $address:ty) => {
        /// Cuts `first..=last` into prefixes, each the widest that begins where the one before ended.
        fn $name(mut first: $address, last: $address, mut push: impl FnMut($address, u8)) {
            loop {
                // One past the last may not fit; then the whole space is left.
                let left = (last - first).checked_add(1).map_or(<$address>::BITS, |left| left.ilog2());
                let host = first.trailing_zeros().min(left);
                push(first, u8::try_from(<$address>::BITS - host).unwrap_or(u8::MAX));
                let next = (1 as $address).checked_shl(host).and_then(|size| first.checked_add(size));
                match next {
                    Some(next) if next <= last => first = next,
                    _ => return,
                }
            }
        }
    };
}

cut!(cut_v4, u32);
cut!(cut_v6, u128);

#[cfg(test)]
mod tests {
    use super::*;

    fn aggregated(list: &[&str]) -> Vec<String> {
        aggregate(list.iter().map(|net| net.parse().unwrap())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn neighbours_and_nested_prefixes_become_one() {
        assert_eq!(
            aggregated(&["10.0.0.0/25", "10.0.0.128/25", "10.0.0.7/32", "10.0.1.0/24"]),
            ["10.0.0.0/23"]
        );
        assert_eq!(aggregated(&["10.0.1.0/24", "10.0.2.0/24"]), ["10.0.1.0/24", "10.0.2.0/24"]);
    }

    #[test]
    fn what_is_not_covered_is_the_rest() {
        let rest = |list: &[&str]| -> Vec<String> {
            let list: Vec<IpNet> = list.iter().map(|net| net.parse().unwrap()).collect();
            complement(&list).iter().map(ToString::to_string).collect()
        };
        assert_eq!(rest(&[]), ["0.0.0.0/0", "::/0"]);
        assert_eq!(rest(&["0.0.0.0/0", "8000::/1", "::/2"]), ["4000::/2"]);
        assert_eq!(rest(&["::/0", "0.0.0.0/1", "255.0.0.0/8", "128.0.0.0/2"]).len(), 6);
    }

    #[test]
    fn the_ends_of_the_address_space_hold() {
        assert_eq!(aggregated(&["0.0.0.0/1", "128.0.0.0/1"]), ["0.0.0.0/0"]);
        assert_eq!(aggregated(&["::/1", "8000::/1"]), ["::/0"]);
        assert_eq!(aggregated(&["255.255.255.255/32"]), ["255.255.255.255/32"]);
        assert_eq!(aggregated(&["::/128"]), ["::/128"]);
        assert_eq!(
            aggregated(&["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]),
            ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]
        );
        assert_eq!(aggregated(&[]), [""; 0]);
    }
}
