//! The parts of an image laid out as bytes. What they mean is `weir_abi`'s to say.

pub mod ports;
pub mod prefix_v4;
pub mod prefix_v6;
pub mod write;
