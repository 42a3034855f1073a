//! Address prefixes as text, read fast: a list may hold a million.
//!
//! What is taken is what Go's netip takes: no leading zeros, no zones, and no dotted masks.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A prefix as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The network, its host bits cleared.
    pub(crate) net: IpNet,
    /// No length was given: one address.
    pub(crate) bare: bool,
    /// Bits beyond the length were set.
    pub(crate) host_bits: bool,
}

/// Reads a prefix or a lone address.
pub(crate) fn parse_prefix(text: &str) -> Option<Prefix> {
    let bytes = text.as_bytes();
    match v4(bytes) {
        Some((address, rest)) => v4_net(address, length(rest, 32)?),
        None => {
            let slash = memchr::memchr(b'/', bytes).unwrap_or(bytes.len());
            // The standard parser takes addresses of 45 characters at most.
            let address: Ipv6Addr = text.get(..slash).filter(|address| address.len() <= 45)?.parse().ok()?;
            v6_net(address, length(bytes.get(slash..)?, 128)?)
        }
    }
}

fn v4_net(address: Ipv4Addr, length: Option<u8>) -> Option<Prefix> {
    let net = Ipv4Net::new(address, length.unwrap_or(32)).ok()?.trunc();
    Some(Prefix { net: IpNet::V4(net), bare: length.is_none(), host_bits: net.addr() != address })
}

fn v6_net(address: Ipv6Addr, length: Option<u8>) -> Option<Prefix> {
    let net = Ipv6Net::new(address, length.unwrap_or(128)).ok()?.trunc();
    Some(Prefix { net: IpNet::V6(net), bare: length.is_none(), host_bits: net.addr() != address })
}

/// Four octets at the beginning of `text`, and what follows them.
fn v4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (mut octets, mut rest) = ([0; 4], text);
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        (*octet, rest) = number(rest)?;
    }
    Some((Ipv4Addr::from(octets), rest))
}

/// Nothing (`None`), or a slash and a length up to `most`.
fn length(text: &[u8], most: u8) -> Option<Option<u8>> {
    let Some(digits) = text.strip_prefix(b"/") else { return text.is_empty().then_some(None) };
    let (length, rest) = number(digits)?;
    (rest.is_empty() && length <= most).then_some(Some(length))
}

/// A decimal number up to 255 without leading zeros.
fn number(text: &[u8]) -> Option<(u8, &[u8])> {
    let (mut value, mut digits) = (0u16, 0);
    while let Some(digit @ b'0'..=b'9') = text.get(digits) {
        value = value * 10 + u16::from(digit - b'0');
        digits += 1;
        if digits > 3 {
            return None;
        }
    }
    if digits == 0 || (digits > 1 && text[0] == b'0') {
        return None;
    }
    Some((u8::try_from(value).ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_addresses() {
        for (text, net, bare, host_bits) in [
            ("10.0.0.0/8", "10.0.0.0/8", false, false),
            ("10.1.2.3/8", "10.0.0.0/8", false, true),
            ("10.1.2.3", "10.1.2.3/32", true, false),
            ("0.0.0.0/0", "0.0.0.0/0", false, false),
            ("2001:db8::/32", "2001:db8::/32", false, false),
            ("::1", "::1/128", true, false),
            ("::/0", "::/0", false, false),
            ("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104", false, false),
        ] {
            let expected = Prefix { net: net.parse().unwrap(), bare, host_bits };
            assert_eq!(parse_prefix(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_prefix() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "256.0.0.0/8",
            "10.0.0.0.0/8",
            "10.0.0.0/255.0.0.0",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "::/129",
            "fe80::1%eth0/64",
            ":::/0",
            "1.2.3.4:80",
            "a",
            "10.0.0.0/256",
        ] {
            assert_eq!(parse_prefix(text), None, "{text}");
        }
    }
}
