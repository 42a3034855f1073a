//! Random CIDRs with the lengths of a routing table that also holds single addresses.
//!
//! Addresses avoid 0/8, 10/8, 127/8 and 224/3, so that none covers a pod or is nonsense. One in ten of a mixed list is IPv6.

use crate::random::Random;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Lengths of IPv4 prefixes, with how many of a hundred have each. 0 stands for one of 25 to 31.
const V4_LENGTHS: &[(u8, u32)] =
    &[(24, 46), (32, 15), (22, 10), (23, 8), (21, 6), (20, 5), (0, 5), (19, 2), (18, 1), (17, 1), (16, 1)];

/// The same for IPv6.
const V6_LENGTHS: &[(u8, u32)] = &[(48, 46), (32, 20), (44, 10), (40, 8), (64, 8), (36, 5), (128, 3)];

/// A prefix without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// Its length.
    pub length: u8,
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.length)
    }
}

impl Prefix {
    /// The prefix of that length around an address.
    pub fn around(address: IpAddr, length: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Prefix { address, length }
    }

    /// A random address within it.
    pub fn address_within(self, random: &mut Random) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | (random.bits() & host)))
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | (bits128(random) & host)))
            }
        }
    }

    /// A prefix within it that is one to four bits longer, if it has room.
    pub fn part(self, random: &mut Random) -> Option<Self> {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        let length = self.length + 1 + random.below(4) as u8;
        (length <= longest).then(|| Prefix::around(self.address_within(random), length))
    }
}

/// `count` prefixes that overlap as chance has it; every tenth is IPv6.
pub fn mixed(seed: u64, count: usize) -> Vec<Prefix> {
    let mut random = Random::new(seed);
    let one = |index| if index % 10 == 9 { v6(&mut random) } else { v4(&mut random) };
    (0..count).map(one).collect()
}

/// `count` IPv4 prefixes of which no two share an address, in random order.
pub fn disjoint(seed: u64, count: usize) -> Vec<Prefix> {
    let mut random = Random::new(seed);
    let mut lengths: Vec<u8> = (0..count).map(|_| length(&mut random, V4_LENGTHS)).collect();
    // The largest first: they find room while there is much of it.
    lengths.sort_unstable();
    let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
    let mut prefixes = Vec::with_capacity(count);
    for length in lengths {
        loop {
            let prefix = Prefix::around(IpAddr::V4(v4_address(&mut random)), length);
            let IpAddr::V4(address) = prefix.address else { continue };
            let first = address.to_bits();
            let last = first | u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            if taken.range(..=last).next_back().is_none_or(|(_, end)| *end < first) {
                taken.insert(first, last);
                prefixes.push(prefix);
                break;
            }
        }
    }
    random.shuffle(&mut prefixes);
    prefixes
}

fn v4(random: &mut Random) -> Prefix {
    let length = length(random, V4_LENGTHS);
    Prefix::around(IpAddr::V4(v4_address(random)), length)
}

/// An address that a prefix could be around.
pub(crate) fn v4_address(random: &mut Random) -> Ipv4Addr {
    loop {
        let address = Ipv4Addr::from_bits(random.bits());
        if !matches!(address.octets()[0], 0 | 10 | 127 | 224..) {
            return address;
        }
    }
}

fn v6(random: &mut Random) -> Prefix {
    let length = length(random, V6_LENGTHS);
    // 2000::/3, the global unicast addresses.
    let address = (bits128(random) >> 3) | (1 << 125);
    Prefix::around(IpAddr::V6(Ipv6Addr::from_bits(address)), length)
}

fn bits128(random: &mut Random) -> u128 {
    (0..4).fold(0, |bits, _| (bits << 32) | u128::from(random.bits()))
}

fn length(random: &mut Random, lengths: &[(u8, u32)]) -> u8 {
    let mut draw = random.below(lengths.iter().map(|(_, share)| share).sum());
    for (length, share) in lengths {
        if draw < *share {
            return if *length == 0 { 25 + random.below(7) as u8 } else { *length };
        }
        draw -= share;
    }
    24
}

#[cfg(test)]
mod tests {
    use super::{disjoint, mixed};

    #[test]
    fn a_mixed_list_has_its_shares() {
        let prefixes = mixed(1, 100_000);
        let share =
            |wanted: &dyn Fn(&super::Prefix) -> bool| prefixes.iter().filter(|prefix| wanted(prefix)).count();
        assert_eq!(share(&|prefix| prefix.address.is_ipv6()), 10_000);
        let of_24 = share(&|prefix| prefix.address.is_ipv4() && prefix.length == 24);
        assert!((40_000..43_000).contains(&of_24), "{of_24}");
    }

    #[test]
    fn disjoint_prefixes_are_disjoint() {
        let mut prefixes = disjoint(1, 20_000);
        prefixes.sort_unstable();
        for pair in prefixes.windows(2) {
            let (std::net::IpAddr::V4(a), std::net::IpAddr::V4(b)) = (pair[0].address, pair[1].address)
            else {
                panic!("an IPv6 prefix");
            };
            let size = 1_u64 << (32 - pair[0].length);
            assert!(u64::from(a.to_bits()) + size <= u64::from(b.to_bits()), "{} {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn no_prefix_has_host_bits_and_parts_lie_within() {
        let mut random = crate::random::Random::new(5);
        for prefix in mixed(2, 10_000) {
            assert_eq!(super::Prefix::around(prefix.address, prefix.length), prefix);
            if let Some(part) = prefix.part(&mut random) {
                assert_eq!(super::Prefix::around(part.address, prefix.length), prefix);
                assert!(part.length > prefix.length);
            }
        }
    }
}
