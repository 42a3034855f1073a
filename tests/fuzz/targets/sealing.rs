//! Any bytes at a multiple of eight in memory, as they are and once more with size and checksum made right: without that nothing would get past
//! those. Both kinds of images have them in the same places.

use std::mem::offset_of;
use weir_abi::checksum;
use weir_abi::layout::Header;

/// Calls `open` for both, where the bytes are as many as `header_bytes`.
pub fn both(data: &[u8], header_bytes: usize, mut open: impl FnMut(&[u8])) {
    let mut words = vec![0_u64; data.len().div_ceil(8)];
    let bytes = &mut zerocopy::IntoBytes::as_mut_bytes(&mut words[..])[..data.len()];
    bytes.copy_from_slice(data);
    open(bytes);
    if bytes.len() < header_bytes {
        return;
    }
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    put(bytes, offset_of!(Header, image_bytes), &size.to_le_bytes());
    let sum = checksum(bytes);
    put(bytes, offset_of!(Header, checksum), &sum.to_le_bytes());
    open(bytes);
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}
