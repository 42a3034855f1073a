//! The packed policy image: the one definition of its layout, its validation, and verdicts read
//! from it in place. Beside it the service image, in [`services`].
//!
//! An image is a byte string that the compiler writes, the kernel's programs read, and any Rust
//! program can ask for verdicts: [`Image::open`] borrows the bytes (a file mapping, a `Vec`),
//! checks all of them once, and answers without copying, allocating or a kernel.
//!
//! ```text
//! bytes ── Image::open ──> Image
//!   address ── Image::address_class ──> PeerClass ─┐
//!   identity ─ Image::endpoint ──> Endpoint.class ─┤
//!   (protocol, port) ─ Image::port_class ──────────┼─ Image::judge ──> Outcome (action, reason, rule)
//!   identity ─ Image::endpoint ──> ingress, egress ┘
//! ```
//!
//! Invariants: an `Image` exists only for bytes that passed every check; no lookup can panic or read
//! out of bounds, whatever the bytes; all integers are little-endian and naturally aligned, offsets
//! are relative to the image (position-independent).
//!
//! Not here: what a policy means, how an image is made, and regular expressions (the request rules
//! are handed out as text).

#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(feature = "mmap")]
extern crate std;

#[cfg(not(target_endian = "little"))]
compile_error!("images are little-endian and read in place; this target is not");

mod identity;
mod image;
pub mod layout;
#[cfg(feature = "mmap")]
mod mapped;
mod open;
mod prefix;
mod rule_path;
pub mod services;
pub mod shape;
pub mod state;
mod user;

pub use identity::Identity;
pub use image::{Endpoint, Image, Outcome, PeerClass, PortClass, Table, Verdicts};
pub use layout::{Action, Reason, RequestKind};
#[cfg(feature = "mmap")]
pub use mapped::MappedImage;
pub use open::{ImageError, checksum};
pub use prefix::{V4Table, V6Table};
pub use rule_path::{Part, RulePath, RuleSection};
pub use user::{FqdnEntry, HeaderMatch, IdentityEntry, PolicyEntry, RequestRule, RequestSet, RuleEntry};

/// Layout version. Any change to [`layout`] takes the next number; a reader refuses every other.
pub const ABI_VERSION: u32 = 3;
