//! A packet as a watcher of the wire sees it: addresses, ports, options, and the packet inside of it.
//!
//! Invariant: what cannot be read is left out, and never ends a test. Not here: checksums, which veths leave to whom it may concern.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const IN_IPV4: u8 = 4;
const IN_IPV6: u8 = 41;
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const SCTP: u8 = 132;
const WITH_PORTS: &[u8] = &[6, 17, SCTP];
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// IP protocol of what it carries.
    pub protocol: u8,
    /// Ports of TCP, UDP and SCTP; a later fragment has none.
    pub ports: Option<(u16, u16)>,
    /// Type and code of an ICMP message.
    pub icmp: Option<(u8, u8)>,
    /// Whether it has IPv4 options or IPv6 destination options.
    pub has_options: bool,
    /// Where a fragment begins in the whole, in bytes; `None` for a whole one.
    pub fragment: Option<u16>,
    /// Bytes, by its header.
    pub length: usize,
    /// The packet inside, of IP in IP and of ICMP errors.
    pub inner: Option<Box<Packet>>,
}

impl Packet {
    /// Reads a packet, of which the end may be missing.
    pub(super) fn parse(bytes: &[u8]) -> Option<Packet> {
        Packet::within(bytes, 2)
    }

    /// Whether these are its addresses.
    pub fn is_between(&self, source: IpAddr, destination: IpAddr) -> bool {
        (self.source, self.destination) == (source, destination)
    }

    fn within(bytes: &[u8], depth: usize) -> Option<Packet> {
        match bytes.first()? >> 4 {
            4 => Packet::v4(bytes, depth),
            6 => Packet::v6(bytes, depth),
            _ => None,
        }
    }

    fn v4(bytes: &[u8], depth: usize) -> Option<Packet> {
        let address = |at| Some(Ipv4Addr::from(u32::from_be_bytes(array(bytes, at)?)).into());
        let header = usize::from(bytes.first()? & 15) * 4;
        let word = u16::from_be_bytes(array(bytes, 6)?);
        let (offset, more) = ((word & 0x1fff) * 8, word & 0x2000 != 0);
        let packet = Packet {
            source: address(12)?,
            destination: address(16)?,
            protocol: *bytes.get(9)?,
            ports: None,
            icmp: None,
            has_options: header > 20,
            fragment: (offset > 0 || more).then_some(offset),
            length: u16::from_be_bytes(array(bytes, 2)?).into(),
            inner: None,
        };
        Some(packet.carrying(bytes.get(header..).unwrap_or_default(), depth))
    }

    fn v6(bytes: &[u8], depth: usize) -> Option<Packet> {
        let address = |at| Some(Ipv6Addr::from(array::<16>(bytes, at)?).into());
        let mut packet = Packet {
            source: address(8)?,
            destination: address(24)?,
            protocol: *bytes.get(6)?,
            ports: None,
            icmp: None,
            has_options: false,
            fragment: None,
            length: usize::from(u16::from_be_bytes(array(bytes, 4)?)) + 40,
            inner: None,
        };
        let mut rest = bytes.get(40..).unwrap_or_default();
        while [HOP_BY_HOP, FRAGMENT, DESTINATION_OPTIONS].contains(&packet.protocol) {
            let Some([next, units, offset @ ..]) = array::<4>(rest, 0) else { return Some(packet) };
            let is_fragment = packet.protocol == FRAGMENT;
            if is_fragment {
                packet.fragment = Some(u16::from_be_bytes(offset) & !7);
            }
            packet.has_options |= packet.protocol == DESTINATION_OPTIONS;
            packet.protocol = next;
            let length = if is_fragment { 8 } else { (usize::from(units) + 1) * 8 };
            rest = rest.get(length..).unwrap_or_default();
        }
        Some(packet.carrying(rest, depth))
    }

    /// The same with what it carries.
    fn carrying(mut self, rest: &[u8], depth: usize) -> Packet {
        if self.fragment.is_some_and(|offset| offset > 0) {
            return self;
        }
        if WITH_PORTS.contains(&self.protocol) {
            let ports = array(rest, 0).map(u16::from_be_bytes).zip(array(rest, 2).map(u16::from_be_bytes));
            self.ports = ports;
        }
        let mut inside = None;
        if let (ICMP | ICMPV6, Some([kind, code])) = (self.protocol, array(rest, 0)) {
            self.icmp = Some((kind, code));
            let is_error = if self.protocol == ICMP { [3, 5, 11, 12].contains(&kind) } else { kind < 128 };
            inside = rest.get(8..).filter(|_| is_error);
        }
        if [IN_IPV4, IN_IPV6].contains(&self.protocol) {
            inside = Some(rest);
        }
        if let Some(depth) = depth.checked_sub(1) {
            self.inner = inside.and_then(|inside| Packet::within(inside, depth)).map(Box::new);
        }
        self
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            6 => "TCP".to_owned(),
            17 => "UDP".to_owned(),
            SCTP => "SCTP".to_owned(),
            ICMP | ICMPV6 => "ICMP".to_owned(),
            IN_IPV4 | IN_IPV6 => "IP".to_owned(),
            other => format!("protocol {other}"),
        };
        match self.ports {
            Some((from, to)) => write!(f, "{}.{from} > {}.{to}", self.source, self.destination)?,
            None => write!(f, "{} > {}", self.source, self.destination)?,
        }
        write!(f, " {protocol}")?;
        if let Some((kind, code)) = self.icmp {
            write!(f, " {kind}/{code}")?;
        }
        if self.has_options {
            f.write_str(" with options")?;
        }
        if let Some(offset) = self.fragment {
            write!(f, " from byte {offset}")?;
        }
        write!(f, " {} bytes", self.length)?;
        match &self.inner {
            Some(inner) => write!(f, " ({inner})"),
            None => Ok(()),
        }
    }
}

/// So many bytes from a place on.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_in_a_packet_is_read() {
        let mut bytes = vec![0x45, 0, 0, 48, 0, 0, 0, 0, 64, IN_IPV4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend([0x46, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 3, 10, 0, 0, 4, 1, 1, 1, 1]);
        bytes.extend([0, 7, 0, 80]);
        let told = Packet::parse(&bytes).map(|packet| packet.to_string());
        let inner = "10.0.0.3.7 > 10.0.0.4.80 UDP with options 28 bytes";
        assert_eq!(told.unwrap(), format!("10.0.0.1 > 10.0.0.2 IP 48 bytes ({inner})"));
    }

    #[test]
    fn what_is_cut_off_is_read_as_far_as_it_goes() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 20, DESTINATION_OPTIONS, 64];
        bytes.extend([0; 31]);
        assert_eq!(Packet::parse(&bytes), None);
        bytes.extend([1, 6, 0, 1, 4, 0, 0, 0, 0]);
        let told = Packet::parse(&bytes).unwrap();
        assert!(told.has_options && told.protocol == 6 && told.ports.is_none(), "{told:?}");
        for end in 0..bytes.len() {
            let _ = Packet::parse(&bytes[..end]);
        }
    }
}
