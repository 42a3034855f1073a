//! The lane for long CIDR lists (stub).

use crate::tree::{CidrBlock, PlacedCidr};

/// Where a run stood, in the text as parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Start of the value of the run's first item, which is still in the text.
    pub(crate) first_at: u32,
    /// Start of the value of the item after the run, which is still in the text.
    pub(crate) last_at: u32,
    /// YAML values that were cut.
    pub(crate) values: usize,
}

/// The places of all runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    places: Vec<Place>,
}

impl Lane {
    /// The runs in order.
    pub(crate) fn runs(&self) -> &[Place] {
        &self.places
    }
}

/// The items of a run, its first (also still in the text) included.
#[derive(Debug)]
pub(crate) enum RunItems {
    /// `- 10.0.0.0/8`
    Plain {
        /// The prefixes.
        cidrs: Vec<PlacedCidr>,
        /// Places, after the first item, of those with host bits.
        host_bits: Vec<u32>,
        /// Whether some are addresses without a prefix length.
        bare: bool,
    },
    /// `- cidr: 10.0.0.0/8`, perhaps with `except`.
    Blocks {
        /// The blocks.
        blocks: Vec<CidrBlock>,
        /// Their exceptions.
        excepts: Vec<PlacedCidr>,
        /// Places, after the first item, of those with host bits.
        host_bits: Vec<u32>,
    },
}

/// A prefix as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The network.
    pub(crate) net: ipnet::IpNet,
    /// No length was given: one address.
    pub(crate) bare: bool,
    /// Bits beyond the length were set, and are cleared.
    pub(crate) host_bits: bool,
}

/// Reads a prefix or a lone address.
pub(crate) fn parse_prefix(text: &str) -> Option<Prefix> {
    use ipnet::IpNet;
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: std::net::IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match length {
        None => most,
        Some(length) => {
            if length.is_empty()
                || length.len() > 3
                || !length.bytes().all(|b| b.is_ascii_digit())
                || (length.len() > 1 && length.starts_with('0'))
            {
                return None;
            }
            length.parse::<u8>().ok()?
        }
    };
    let net = IpNet::new(address, bits).ok()?;
    let trunc = net.trunc();
    Some(Prefix { net: trunc, bare: length.is_none(), host_bits: trunc.addr() != address })
}
