//! IPv4 ranges into a directory and chunks (see `weir_abi`'s `prefix`).

use crate::classes::sweep::Range;
use weir_abi::layout::{V4_NARROW, V4_WIDE};

/// The table's sections and header fields.
#[derive(Debug, Default)]
pub struct V4Image {
    /// Directory bits.
    pub bits: u32,
    /// [`V4_NARROW`] or [`V4_WIDE`].
    pub format: u32,
    /// Where each chunk's ranges begin, and the end.
    pub directory: Vec<u32>,
    /// The ranges.
    pub ranges: Vec<u32>,
    /// Ranges of the fullest chunk.
    pub longest: u32,
}

/// How finely the directory cuts, and the size of a range, by what takes the fewest bytes that
/// leave chunks of eight to sixteen ranges.
fn shape(ranges: usize, classes: usize) -> (u32, u32) {
    let bits = ranges.max(8).ilog2().saturating_sub(3).min(20);
    let wide = (4 << bits) + 8 * ranges;
    let narrow_bits = bits.max(16);
    let narrow = (4 << narrow_bits) + 4 * ranges;
    if classes <= 1 << 16 && narrow <= wide { (narrow_bits, V4_NARROW) } else { (bits, V4_WIDE) }
}

/// Lays out the ranges of all addresses; the first begins at 0.
pub fn lay_out(ranges: &[Range<u32>], classes: usize) -> V4Image {
    let (bits, format) = shape(ranges.len(), classes);
    let mut image = V4Image { bits, format, ..V4Image::default() };
    let words = if format == V4_NARROW { 1 } else { 2 };
    image.directory.reserve_exact((1 << bits) + 1);
    image.ranges.reserve_exact(ranges.len() * words);
    let mut ranges = ranges.iter().peekable();
    for chunk in 0..1u64 << bits {
        let first = chunk << (32 - bits);
        let end = (chunk + 1) << (32 - bits);
        let start = image.ranges.len() / words;
        image.directory.push(u32::try_from(start).unwrap_or(u32::MAX));
        while let Some(range) = ranges.next_if(|range| u64::from(range.start) < end) {
            push(&mut image, range.start - u32::try_from(first).unwrap_or(0), range.class);
        }
        let longest = image.ranges.len() / words - start;
        image.longest = image.longest.max(u32::try_from(longest).unwrap_or(u32::MAX));
    }
    image.directory.push(u32::try_from(image.ranges.len() / words).unwrap_or(u32::MAX));
    image
}

fn push(image: &mut V4Image, offset: u32, class: u32) {
    debug_assert!(image.format == V4_WIDE || (offset < 1 << 16 && class < 1 << 16), "does not fit narrow");
    if image.format == V4_NARROW {
        image.ranges.push(offset | class << 16);
    } else {
        image.ranges.extend([offset, class]);
    }
}
