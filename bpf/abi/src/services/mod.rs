//! The packed service image: which address and port leads to which backends.
//!
//! It is a byte string of its own beside the policy image, with the same header, checks and conventions, because services change at
//! another pace.
//!
//! ```text
//! bytes ── ServiceImage::open ──> ServiceImage
//!   (address, port, protocol) ─ perfect hash ──> Frontend ─┐
//!   the flow ─ flow_hash ──> slot of the scope's table ────┴─ ServiceImage::ask ──> Answer (backend, reason)
//! ```
//!
//! Invariants: as those of the policy image. A frontend is found with one read of a small table and one cache line, and a flow's backend with
//! two more reads, however many services there are.
//!
//! Not here: what a service means, and flows: which of them are on record is live state.

mod image;
pub mod layout;
pub mod live;
mod lookup;
mod open;
mod user;

pub use image::{Backend, Frontend, Scope, ServiceImage, SlotTable};
pub use layout::{BackendState, Choice, FrontendKind};
pub use lookup::{Answer, FlowSlot, Question};
pub use user::{FrontendPort, ServiceEntry};

use core::net::IpAddr;

/// Layout version of service images. Any change to [`layout`] takes the next number; a reader refuses every other.
pub const SERVICE_VERSION: u32 = 3;

/// Odd, so that multiplying loses nothing.
const FACTOR: u64 = layout::HASH_FACTOR;

/// Mixes a word into a hash.
pub const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(FACTOR);
    hash ^ (hash >> 32)
}

/// A number below `count` by the upper half of a hash.
pub const fn reduce(hash: u64, count: u32) -> u32 {
    // Below `count`, so it fits.
    (((hash >> 32) * count as u64) >> 32) as u32
}

/// An address in 16 bytes; IPv4 as `::ffff:a.b.c.d`.
pub const fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The two halves of an address, as a little-endian machine loads them.
const fn halves(address: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = address;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest)]
}

/// What a frontend is looked up by: `mix` over both halves of the address, then `port << 8 | protocol`, from the image's seed.
pub const fn key_hash(seed: u64, address: [u8; 16], port: u16, protocol: u8) -> u64 {
    let [high, low] = halves(address);
    mix(mix(mix(seed, high), low), (port as u64) << 8 | protocol as u64)
}

/// The hash by which the keys of one group are set apart.
pub const fn displaced(hash: u64, displacement: u32) -> u64 {
    mix(mix(hash, displacement as u64), 0)
}

/// The hash that a flow's backend is chosen by: `mix` over client and frontend address, then
/// `client port << 32 | port << 8 | protocol`. The same on every node and in every image. Under session affinity the client's port
/// is left out (0).
pub const fn flow_hash(
    client: [u8; 16],
    client_port: u16,
    address: [u8; 16],
    port: u16,
    protocol: u8,
) -> u64 {
    let [client_high, client_low] = halves(client);
    let [high, low] = halves(address);
    let ports = (client_port as u64) << 32 | (port as u64) << 8 | protocol as u64;
    let client = mix(mix(layout::FLOW_SEED, client_high), client_low);
    mix(mix(mix(client, high), low), ports)
}
