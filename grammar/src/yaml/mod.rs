//! YAML text to trees of values with places, one tree per document.
//!
//! Everything here is bounded: nesting, the number of values after aliases are expanded, and (by
//! the caller) the size of the text. No code recurses over a tree.
//!
//! Deliberately absent: what the values mean. The one exception is the lane for long CIDR lists
//! ([`lane`]), which reads such lists before the YAML parser would and must never change a result.

mod build;
pub(crate) mod lane;
mod mapping;
mod message;
mod offsets;
mod prefix;
mod print;
mod scalar;
mod tree;

pub(crate) use build::Documents;
pub(crate) use offsets::Offsets;
pub(crate) use prefix::parse_prefix;
pub(crate) use print::{Item, document as document_text};
pub(crate) use scalar::Resolved;
pub(crate) use tree::{Content, Node, NodeId, Tag, Tree, Value};
