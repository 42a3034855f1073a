//! Packets as bytes, whole and broken: a transport, what stands between it and the IP header, the Ethernet header before.
//!
//! ```text
//! tcp(..) ─> Transport ─ Ip::new(..).with what stands between ─ carrying ─> bytes ─ frame ─> what a program gets
//! ```
//!
//! Checksums are left zero: no program reads them. Not here: what must become of them.

use std::net::IpAddr;

/// TCP flags.
pub mod flags {
    /// No more comes from here.
    pub const FIN: u8 = 1;
    /// The connection begins.
    pub const SYN: u8 = 2;
    /// The connection is over.
    pub const RST: u8 = 4;
    /// What came is acknowledged.
    pub const ACK: u8 = 16;
}

/// IP protocols and IPv6 extension headers.
pub mod number {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP of IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// ICMP of IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// A transport header with what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// IP protocol.
    pub protocol: u8,
    /// The header's bytes and the payload's.
    pub bytes: Vec<u8>,
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// A TCP segment with a few bytes of payload.
pub fn tcp(source: u16, destination: u16, flags: u8) -> Transport {
    let mut bytes = ports(source, destination);
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    bytes.extend([b't'; 12]);
    Transport { protocol: number::TCP, bytes }
}

/// A UDP datagram with so many bytes of payload.
pub fn udp(source: u16, destination: u16, payload: usize) -> Transport {
    let mut bytes = ports(source, destination);
    bytes.extend(u16::try_from(payload + 8).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.resize(8 + payload, b'u');
    Transport { protocol: number::UDP, bytes }
}

/// An SCTP packet of one chunk.
pub fn sctp(source: u16, destination: u16, chunk: u8) -> Transport {
    let mut bytes = ports(source, destination);
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, chunk, 0, 0, 8, 0, 0, 0, 0]);
    Transport { protocol: number::SCTP, bytes }
}

/// An ICMP message of the family of `between`: type, code, four bytes, the rest.
pub fn icmp(between: IpAddr, kind: u8, word: [u8; 4], rest: &[u8]) -> Transport {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(word);
    bytes.extend(rest);
    let protocol = if between.is_ipv4() { number::ICMP } else { number::ICMPV6 };
    Transport { protocol, bytes }
}

/// An echo request, or the reply to one.
pub fn echo(between: IpAddr, is_reply: bool, identifier: u16) -> Transport {
    let kind = match (between.is_ipv4(), is_reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, false) => 128,
        (false, true) => 129,
    };
    let [high, low] = identifier.to_be_bytes();
    icmp(between, kind, [high, low, 0, 1], &[b'e'; 16])
}

/// The error that a packet was too big, about one whose bytes begin with its IP header: as much of it as errors hold.
pub fn too_big(about: &[u8]) -> Transport {
    let v4 = about.first().is_some_and(|first| first >> 4 == 4);
    let most = if v4 { 28 } else { 96 };
    let inner = about.get(..most.min(about.len())).unwrap_or(about);
    let (protocol, kind, code) = if v4 { (number::ICMP, 3, 4) } else { (number::ICMPV6, 2, 0) };
    let mut bytes = vec![kind, code, 0, 0, 0, 0, 0x05, 0x14];
    bytes.extend(inner);
    Transport { protocol, bytes }
}

/// A piece of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// Which datagram.
    pub id: u16,
    /// Where it begins, in units of eight bytes.
    pub place: u16,
    /// Whether more follow.
    pub more: bool,
}

/// An IP header and what may stand between it and a transport header.
#[derive(Clone, Debug)]
pub struct Ip {
    source: IpAddr,
    destination: IpAddr,
    hops: u8,
    options: Vec<u8>,
    fragment: Option<Fragment>,
    extensions: Vec<(u8, Vec<u8>)>,
}

impl Ip {
    /// From an address to another of the same family.
    pub fn new(source: IpAddr, destination: IpAddr) -> Self {
        Ip { source, destination, hops: 64, options: Vec::new(), fragment: None, extensions: Vec::new() }
    }

    /// With so many hops left.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// With IPv4 options; whole words.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// With an IPv6 extension header, after those that it has. The first byte of `body` is where the next header's number goes.
    pub fn extension(mut self, kind: u8, body: &[u8]) -> Self {
        self.extensions.push((kind, body.to_vec()));
        self
    }

    /// As a piece of a datagram. In IPv6 the fragment header goes after the extension headers that are there so far.
    pub fn fragment(mut self, fragment: Fragment) -> Self {
        if self.source.is_ipv6() {
            let [high, low] = (fragment.place << 3 | u16::from(fragment.more)).to_be_bytes();
            let [id_high, id_low] = fragment.id.to_be_bytes();
            self.extensions.push((number::FRAGMENT, vec![0, 0, high, low, 0, 0, id_high, id_low]));
        }
        self.fragment = Some(fragment);
        self
    }

    /// The packet's bytes from its IP header on.
    pub fn carrying(&self, transport: &Transport) -> Vec<u8> {
        self.with(transport.protocol, &transport.bytes)
    }

    /// The same with any bytes behind the headers.
    pub fn with(&self, protocol: u8, rest: &[u8]) -> Vec<u8> {
        let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
        let mut packet = Vec::new();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let words = 5 + self.options.len() / 4;
                packet.extend([0x40 | u8::try_from(words).unwrap_or(15), 0]);
                packet.extend(length(words * 4 + rest.len()));
                let Fragment { id, place, more } =
                    self.fragment.unwrap_or(Fragment { id: 1, place: 0, more: false });
                packet.extend(id.to_be_bytes());
                packet.extend((place | u16::from(more) << 13).to_be_bytes());
                packet.extend([self.hops, protocol, 0, 0]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet.extend(&self.options);
            }
            (source, destination) => {
                let mut kinds = self.extensions.iter().map(|&(kind, _)| kind).chain([protocol]);
                let first = kinds.next().unwrap_or(protocol);
                let between: usize = self.extensions.iter().map(|(_, body)| body.len()).sum();
                packet.extend([0x60, 0, 0, 0]);
                packet.extend(length(between + rest.len()));
                packet.extend([first, self.hops]);
                packet.extend(octets(source));
                packet.extend(octets(destination));
                for ((_, body), next) in self.extensions.iter().zip(kinds) {
                    packet.push(next);
                    packet.extend(&body[1..]);
                }
            }
        }
        packet.extend(rest);
        packet
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A packet behind an Ethernet header, which names its family.
pub fn frame(packet: &[u8]) -> Vec<u8> {
    let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    tagged(if is_v6 { &[0x86, 0xDD] } else { &[0x08, 0x00] }, packet)
}

/// Bytes behind an Ethernet header that ends in these: a type, or a tag and a type.
pub fn tagged(kind: &[u8], packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    bytes.extend(kind);
    bytes.extend(packet);
    bytes
}
