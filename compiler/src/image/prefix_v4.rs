//! IPv4 ranges into a directory and chunks (see `weir_abi`'s `prefix`).

use crate::classes::sweep::Range;
use weir_abi::layout::{
    V4_BYTE_BLOCK, V4_BYTE_CLASSES, V4_HALF_BLOCK, V4_HALF_CLASSES, V4_LANES, V4_NARROW_SHIFT, V4_PARITY,
    V4_WIDE, V4ByteBlock, V4HalfBlock, V4Range,
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
    /// Starts of the fullest chunk, with those of no range behind them.
    pub longest: u32,
}

/// The ranges of all chunks.
#[derive(Debug)]
pub enum V4Ranges {
    /// [`V4_BYTE_CLASSES`].
    Bytes(Vec<V4ByteBlock>),
    /// [`V4_HALF_CLASSES`].
    Halves(Vec<V4HalfBlock>),
    /// [`V4_WIDE`].
    Wide(Vec<V4Range>),
}

impl V4Ranges {
    /// [`V4_BYTE_CLASSES`], [`V4_HALF_CLASSES`] or [`V4_WIDE`].
    pub fn format(&self) -> u32 {
        match self {
            V4Ranges::Bytes(_) => V4_BYTE_CLASSES,
            V4Ranges::Halves(_) => V4_HALF_CLASSES,
            V4Ranges::Wide(_) => V4_WIDE,
        }
    }

    /// The section.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            V4Ranges::Bytes(blocks) => blocks.as_bytes(),
            V4Ranges::Halves(blocks) => blocks.as_bytes(),
            V4Ranges::Wide(ranges) => ranges.as_bytes(),
        }
    }
}

impl Default for V4Ranges {
    fn default() -> Self {
        V4Ranges::Wide(Vec::new())
    }
}

/// How finely the directory cuts, and how ranges are stored.
struct Shape {
    directory_bits: u32,
    format: u32,
}

impl Shape {
    /// Wide chunks hold eight to sixteen ranges, for the fewest bytes. Narrow chunks hold as few as 6 bytes a range pay for: the
    /// fewer, the more often they are compared at once. Narrow tables may take half as much again as wide ones, which are several
    /// times slower.
    fn of(ranges: usize, classes: usize) -> Shape {
        let wide_bits = ranges.max(8).ilog2().saturating_sub(3).min(20);
        let wide = (4 << wide_bits) + size_of::<V4Range>() * ranges;
        let (format, block) = match classes {
            0..=0x100 => (V4_BYTE_CLASSES, V4_BYTE_BLOCK),
            0x101..=0x1_0000 => (V4_HALF_CLASSES, V4_HALF_BLOCK),
            _ => return Shape { directory_bits: wide_bits, format: V4_WIDE },
        };
        // A start or so of each block is left free.
        let blocks = size_of::<V4ByteBlock>() * ranges / (block - 1);
        let narrow = |bits: u32| (4 << bits) + blocks;
        let coarsest = 32 - V4_NARROW_SHIFT;
        let pays = |bits: &u32| narrow(*bits) <= 6 * ranges;
        let narrow_bits = (coarsest..=22).rev().find(pays).unwrap_or(coarsest);
        if narrow(narrow_bits) <= wide + wide / 2 {
            Shape { directory_bits: narrow_bits, format }
        } else {
            Shape { directory_bits: wide_bits, format: V4_WIDE }
        }
    }
}

/// Lays out the ranges of all addresses; the first begins at 0.
pub fn lay_out(ranges: &[Range<u32>], classes: usize) -> V4Image {
    let Shape { directory_bits, format } = Shape::of(ranges.len(), classes);
    let mut image = V4Image { shift: 32 - directory_bits, ..V4Image::default() };
    image.directory.reserve_exact((1 << directory_bits) + 1);
    image.ranges = match format {
        V4_BYTE_CLASSES => V4Ranges::Bytes(lay_out_narrow(&mut image, ranges)),
        V4_HALF_CLASSES => V4Ranges::Halves(lay_out_narrow(&mut image, ranges)),
        _ => V4Ranges::Wide(lay_out_wide(&mut image, ranges)),
    };
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

fn lay_out_wide(image: &mut V4Image, ranges: &[Range<u32>]) -> Vec<V4Range> {
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
    laid_out
}

fn lay_out_narrow<B: Block>(image: &mut V4Image, ranges: &[Range<u32>]) -> Vec<B> {
    let mut blocks = Blocks::with_room_for(ranges.len());
    // Chunks without starts begin where the next with some does, and have the parity of the one before.
    let (mut parity, mut empty, mut begun) = (0, 0, 0);
    for own in chunks(ranges, image.shift).map(Some).chain([None]) {
        if own.is_some_and(<[_]>::is_empty) {
            empty += 1;
            continue;
        }
        let entry = blocks.begin_chunk(own.map_or(0, <[_]>::len), parity ^ V4_PARITY);
        image.longest = image.longest.max(number(blocks.len - begun));
        begun = blocks.len;
        image.directory.extend(std::iter::repeat_n(entry | parity, empty));
        empty = 0;
        parity ^= V4_PARITY;
        image.directory.push(entry | parity);
        for range in own.unwrap_or_default() {
            let offset = range.start as u16 & ((1u32 << image.shift) - 1) as u16;
            blocks.push(offset | half(parity));
            blocks.last = range.class;
        }
    }
    // The last chunk ends in it, and beyond it.
    blocks.push(half(parity));
    blocks.blocks
}

/// A cache line of narrow ranges.
trait Block: Default {
    const LEN: usize;
    fn put(&mut self, at: usize, start: u16, class_before: u32);
}

impl Block for V4ByteBlock {
    const LEN: usize = V4_BYTE_BLOCK;

    fn put(&mut self, at: usize, start: u16, class_before: u32) {
        debug_assert!(class_before < 1 << 8, "{class_before}");
        (self.starts[at], self.classes[at]) = (start, class_before as u8);
    }
}

impl Block for V4HalfBlock {
    const LEN: usize = V4_HALF_BLOCK;

    fn put(&mut self, at: usize, start: u16, class_before: u32) {
        debug_assert!(class_before < 1 << 16, "{class_before}");
        (self.starts[at], self.classes[at]) = (start, class_before as u16);
    }
}

/// Blocks, filled one start after the other.
struct Blocks<B> {
    blocks: Vec<B>,
    /// Starts so far.
    len: usize,
    /// The class of the last range.
    last: u32,
}

impl<B: Block> Blocks<B> {
    fn with_room_for(ranges: usize) -> Self {
        Blocks { blocks: Vec::with_capacity(ranges / (B::LEN - 1) + 2), len: 0, last: 0 }
    }

    fn push(&mut self, start: u16) {
        let at = self.len % B::LEN;
        if at == 0 {
            self.blocks.push(B::default());
        }
        if let Some(block) = self.blocks.last_mut() {
            block.put(at, start, self.last);
        }
        self.len += 1;
    }

    /// Goes to where a chunk of so many starts may begin; its entry in the directory, without the parity.
    fn begin_chunk(&mut self, starts: usize, parity: u32) -> u32 {
        // It ends in a start of the other parity, which this block has, too, unless the chunk has more than are compared at once.
        if self.len % B::LEN + (starts + 1).min(V4_LANES) > B::LEN {
            while !self.len.is_multiple_of(B::LEN) {
                self.push(half(parity));
            }
        }
        number(self.len / B::LEN * size_of::<B>() + self.len % B::LEN * 2)
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
