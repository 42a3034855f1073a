//! IPv4 ranges into a directory and chunks (see `weir_abi`'s `prefix`).

use crate::classes::sweep::Range;
use weir_abi::layout::{
    V4_BLOCK, V4_LANES, V4_NARROW, V4_NARROW_SHIFT, V4_PARITY, V4_WIDE, V4Block, V4Range,
};
use zerocopy::IntoBytes;

/// The table's sections and header fields.
#[derive(Debug, Default)]
pub struct V4Image {
    /// Bits below those of the directory.
    pub shift: u32,
    /// Where each chunk's ranges begin, and the end.
    pub directory: Vec<u32>,
    /// The ranges.
    pub ranges: V4Ranges,
    /// Ranges of the fullest chunk, with those that are repeated.
    pub longest: u32,
}

/// The ranges of all chunks.
#[derive(Debug)]
pub enum V4Ranges {
    /// [`V4_NARROW`].
    Narrow(Vec<V4Block>),
    /// [`V4_WIDE`].
    Wide(Vec<V4Range>),
}

impl V4Ranges {
    /// [`V4_NARROW`] or [`V4_WIDE`].
    pub fn format(&self) -> u32 {
        match self {
            V4Ranges::Narrow(_) => V4_NARROW,
            V4Ranges::Wide(_) => V4_WIDE,
        }
    }

    /// The section.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            V4Ranges::Narrow(blocks) => blocks.as_bytes(),
            V4Ranges::Wide(ranges) => ranges.as_bytes(),
        }
    }
}

impl Default for V4Ranges {
    fn default() -> Self {
        V4Ranges::Wide(Vec::new())
    }
}

/// How finely the directory cuts, and whether ranges are narrow.
///
/// Narrow chunks hold one or two ranges, so that few have more than are compared at once; wide ones
/// eight to sixteen, for the fewest bytes. Narrow tables may take half as much again as wide ones, which are several times slower.
fn shape(ranges: usize, classes: usize) -> (u32, bool) {
    let magnitude = ranges.max(8).ilog2();
    let wide_bits = magnitude.saturating_sub(3).min(20);
    let narrow_bits = magnitude.clamp(32 - V4_NARROW_SHIFT, 22);
    let wide = (4 << wide_bits) + 8 * ranges;
    // A cache line holds thirteen or so, with what it repeats and leaves free.
    let narrow = (4 << narrow_bits) + 5 * ranges;
    let is_narrow = classes <= 1 << 16 && narrow <= wide + wide / 2;
    (if is_narrow { narrow_bits } else { wide_bits }, is_narrow)
}

/// Lays out the ranges of all addresses; the first begins at 0.
pub fn lay_out(ranges: &[Range<u32>], classes: usize) -> V4Image {
    let (bits, is_narrow) = shape(ranges.len(), classes);
    let shift = 32 - bits;
    let mut image = V4Image { shift, ..V4Image::default() };
    image.directory.reserve_exact((1 << bits) + 1);
    if is_narrow {
        lay_out_narrow(&mut image, ranges);
    } else {
        lay_out_wide(&mut image, ranges);
    }
    image
}

/// Chunk by chunk, the ranges that start in it.
fn chunks(mut rest: &[Range<u32>], shift: u32) -> impl Iterator<Item = &[Range<u32>]> {
    (0..1u64 << (32 - shift)).map(move |chunk| {
        let is_own = |range: &&Range<u32>| u64::from(range.start) >> shift == chunk;
        let (own, after) = rest.split_at(rest.iter().take_while(is_own).count());
        rest = after;
        own
    })
}

fn lay_out_wide(image: &mut V4Image, ranges: &[Range<u32>]) {
    let mut laid_out = Vec::with_capacity(ranges.len());
    // u64, because with no directory bits all 32 are the offset.
    let offsets = (1u64 << image.shift) - 1;
    for own in chunks(ranges, image.shift) {
        image.directory.push(number(laid_out.len()));
        image.longest = image.longest.max(number(own.len()));
        laid_out.extend(
            own.iter().map(|range| V4Range {
                start: (u64::from(range.start) & offsets) as u32,
                class: range.class,
            }),
        );
    }
    image.directory.push(number(laid_out.len()));
    image.ranges = V4Ranges::Wide(laid_out);
}

fn lay_out_narrow(image: &mut V4Image, ranges: &[Range<u32>]) {
    let mut blocks = Blocks::default();
    // Chunks without starts begin where the next with some does, and have the parity of the one before.
    let (mut parity, mut empty, mut begun) = (0, 0, 0);
    for own in chunks(ranges, image.shift).map(Some).chain([None]) {
        if own.is_some_and(<[_]>::is_empty) {
            empty += 1;
            continue;
        }
        let entry = blocks.begin_chunk(parity ^ V4_PARITY);
        image.longest = image.longest.max(number(blocks.len - begun));
        begun = blocks.len;
        image.directory.extend(std::iter::repeat_n(entry | parity, empty));
        empty = 0;
        parity ^= V4_PARITY;
        image.directory.push(entry | parity);
        for range in own.unwrap_or_default() {
            debug_assert!(range.class < 1 << 16, "does not fit narrow");
            let offset = range.start as u16 & ((1u32 << image.shift) - 1) as u16;
            blocks.push_range(offset | half(parity), range.class as u16);
        }
    }
    for _ in 0..V4_LANES {
        blocks.push(half(parity), 0);
    }
    image.ranges = V4Ranges::Narrow(blocks.blocks);
}

/// Blocks, filled one range after the other.
#[derive(Default)]
struct Blocks {
    blocks: Vec<V4Block>,
    /// Starts so far.
    len: usize,
    /// The last range.
    last: (u16, u16),
}

impl Blocks {
    fn push(&mut self, start: u16, class: u16) {
        let at = self.len % V4_BLOCK;
        if at == 0 {
            self.blocks.push(V4Block::default());
        }
        if let Some(block) = self.blocks.last_mut() {
            (block.starts[at], block.classes[at]) = (start, class);
        }
        self.len += 1;
    }

    /// Takes the next range of a chunk.
    fn push_range(&mut self, start: u16, class: u16) {
        if self.len.is_multiple_of(V4_BLOCK) {
            self.push(self.last.0, self.last.1);
        }
        self.push(start, class);
        self.last = (start, class);
    }

    /// Goes to where a chunk of this parity may begin; its entry in the directory, without the parity.
    fn begin_chunk(&mut self, parity: u32) -> u32 {
        if self.len % V4_BLOCK > V4_BLOCK - V4_LANES {
            while !self.len.is_multiple_of(V4_BLOCK) {
                self.push(half(parity), 0);
            }
        }
        if self.len.is_multiple_of(V4_BLOCK) {
            self.push(half(parity), self.last.1);
        }
        number(self.len / V4_BLOCK * size_of::<V4Block>() + self.len % V4_BLOCK * 2)
    }
}

/// A parity as a start has it.
fn half(parity: u32) -> u16 {
    (parity >> 16) as u16
}

/// Sections are bounded to 512 MiB when the image is put together.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
