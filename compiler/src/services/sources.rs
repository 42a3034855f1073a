//! Source ranges: prefixes as sorted ranges of 16-byte addresses that do not touch.
//!
//! Who may come is asked of IPv4 and IPv6 clients alike: a service with ranges of one family alone is closed to the other. Not here: which
//! frontends ask.

use ipnet::IpNet;
use std::net::IpAddr;
use weir_abi::services::address_bytes;
use weir_abi::services::layout::SourceRangeRecord;

/// Where IPv4 addresses stand among the others.
const IPV4: (u128, u128) = (0xFFFF_0000_0000, 0xFFFF_FFFF_FFFF);

/// The ranges of prefixes.
pub(super) fn ranges(prefixes: &[IpNet]) -> Vec<SourceRangeRecord> {
    let number = |address: IpAddr| u128::from_be_bytes(address_bytes(address));
    let mut all: Vec<(u128, u128)> = Vec::with_capacity(prefixes.len());
    for net in prefixes {
        let (first, last) = (number(net.network()), number(net.broadcast()));
        if matches!(net, IpNet::V6(_)) && first <= IPV4.0 && IPV4.1 <= last {
            // A prefix of IPv6 addresses means no IPv4 clients.
            all.extend(
                [(first, IPV4.0 - 1), (IPV4.1 + 1, last)].into_iter().filter(|(first, last)| first <= last),
            );
        } else {
            all.push((first, last));
        }
    }
    all.sort_unstable();
    let mut ranges: Vec<(u128, u128)> = Vec::new();
    for (first, last) in all {
        match ranges.last_mut() {
            Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
            _ => ranges.push((first, last)),
        }
    }
    let record = |(first, last): (u128, u128)| SourceRangeRecord {
        first: first.to_be_bytes(),
        last: last.to_be_bytes(),
    };
    ranges.into_iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_ipv6_is_not_ipv4() {
        let ranges = ranges(&["::/0".parse().unwrap()]);
        let is_in = |address: &str| {
            let address = address_bytes(address.parse().unwrap());
            ranges.iter().any(|range| range.first <= address && address <= range.last)
        };
        assert!(is_in("::1") && is_in("2001:db8::1") && !is_in("192.0.2.1") && !is_in("255.255.255.255"));
    }

    #[test]
    fn what_touches_is_one() {
        let nets =
            ["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "192.0.2.1/32"].map(|net| net.parse().unwrap());
        let ranges = ranges(&nets);
        assert_eq!(ranges.len(), 2);
        assert_eq!(ranges[0].last[12..], [10, 255, 255, 255]);
    }
}
