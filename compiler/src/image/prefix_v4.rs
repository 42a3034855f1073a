//! IPv4 ranges into a directory and chunks (see `weir_abi`'s `prefix`).

use crate::classes::sweep::Range;
use weir_abi::layout::{
    V4_BYTE_BLOCK, V4_BYTE_CLASSES, V4_GROUP, V4_HALF_BLOCK, V4_HALF_CLASSES, V4_LANES, V4_NARROW_SHIFT,
    V4_SPREAD, V4_WIDE, V4ByteBlock, V4Group, V4HalfBlock, V4Range,
};
use zerocopy::IntoBytes;

/// The table's sections and header fields.
#[derive(Debug, Default)]
pub struct V4Image {
    /// Bits below those of the directory.
    pub shift: u32,
    /// The ranges.
    pub ranges: V4Ranges,
    /// Starts of the fullest chunk, with those of no range behind them.
    pub longest: u32,
}

/// The directory, and the ranges of all chunks.
#[derive(Debug)]
pub enum V4Ranges {
    /// [`V4_BYTE_CLASSES`].
    Bytes(Vec<V4Group>, Vec<V4ByteBlock>),
    /// [`V4_HALF_CLASSES`].
    Halves(Vec<V4Group>, Vec<V4HalfBlock>),
    /// [`V4_WIDE`].
    Wide(Vec<u32>, Vec<V4Range>),
}

impl V4Ranges {
    /// [`V4_BYTE_CLASSES`], [`V4_HALF_CLASSES`] or [`V4_WIDE`].
    pub fn format(&self) -> u32 {
        match self {
            V4Ranges::Bytes(..) => V4_BYTE_CLASSES,
            V4Ranges::Halves(..) => V4_HALF_CLASSES,
            V4Ranges::Wide(..) => V4_WIDE,
        }
    }

    /// The section of the directory.
    pub fn directory(&self) -> &[u8] {
        match self {
            V4Ranges::Bytes(groups, _) | V4Ranges::Halves(groups, _) => groups.as_bytes(),
            V4Ranges::Wide(directory, _) => directory.as_bytes(),
        }
    }

    /// The section of the ranges.
    pub fn ranges(&self) -> &[u8] {
        match self {
            V4Ranges::Bytes(_, blocks) => blocks.as_bytes(),
            V4Ranges::Halves(_, blocks) => blocks.as_bytes(),
            V4Ranges::Wide(_, ranges) => ranges.as_bytes(),
        }
    }
}

impl Default for V4Ranges {
    fn default() -> Self {
        V4Ranges::Wide(Vec::new(), Vec::new())
    }
}

/// How finely the directory cuts, and how ranges are stored.
struct Shape {
    directory_bits: u32,
    format: u32,
}

impl Shape {
    /// Wide chunks hold eight to sixteen ranges, for the fewest bytes. Narrow chunks hold one or two, so that few have more than are
    /// compared at once. Narrow tables may take half as much again as wide ones, which are several times slower.
    fn of(ranges: usize, classes: usize) -> Shape {
        let magnitude = ranges.max(8).ilog2();
        let wide_bits = magnitude.saturating_sub(3).min(20);
        let wide = (4 << wide_bits) + size_of::<V4Range>() * ranges;
        let (format, block) = match classes {
            0..=0x100 => (V4_BYTE_CLASSES, V4_BYTE_BLOCK),
            0x101..=0x1_0000 => (V4_HALF_CLASSES, V4_HALF_BLOCK),
            _ => return Shape { directory_bits: wide_bits, format: V4_WIDE },
        };
        let narrow_bits = magnitude.clamp(32 - V4_NARROW_SHIFT, 22);
        let directory = (1 << narrow_bits) / V4_GROUP * size_of::<V4Group>();
        // A start or so of each block is left free.
        let narrow = directory + size_of::<V4ByteBlock>() * ranges / (block - 1);
        if narrow <= wide + wide / 2 {
            Shape { directory_bits: narrow_bits, format }
        } else {
            Shape { directory_bits: wide_bits, format: V4_WIDE }
        }
    }
}

/// Lays out the ranges of all addresses; the first begins at 0.
pub fn lay_out(ranges: &[Range<u32>], classes: usize) -> V4Image {
    let Shape { directory_bits, format } = Shape::of(ranges.len(), classes);
    let shift = 32 - directory_bits;
    let mut longest = 0;
    let ranges = match format {
        V4_BYTE_CLASSES => {
            let (groups, blocks) = lay_out_narrow(ranges, shift, &mut longest);
            V4Ranges::Bytes(groups, blocks)
        }
        V4_HALF_CLASSES => {
            let (groups, blocks) = lay_out_narrow(ranges, shift, &mut longest);
            V4Ranges::Halves(groups, blocks)
        }
        _ => lay_out_wide(ranges, shift, &mut longest),
    };
    V4Image { shift, ranges, longest }
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

fn lay_out_wide(ranges: &[Range<u32>], shift: u32, longest: &mut u32) -> V4Ranges {
    let mut laid_out = Vec::with_capacity(ranges.len());
    let mut directory = Vec::with_capacity((1 << (32 - shift)) + 1);
    // u64, because with no directory bits all 32 are the offset.
    let offsets = (1u64 << shift) - 1;
    for own in chunks(ranges, shift) {
        directory.push(number(laid_out.len()));
        *longest = number(own.len()).max(*longest);
        laid_out.extend(
            own.iter().map(|range| V4Range {
                start: (u64::from(range.start) & offsets) as u32,
                class: range.class,
            }),
        );
    }
    directory.push(number(laid_out.len()));
    V4Ranges::Wide(directory, laid_out)
}

fn lay_out_narrow<B: Block>(ranges: &[Range<u32>], shift: u32, longest: &mut u32) -> (Vec<V4Group>, Vec<B>) {
    let mut blocks = Blocks::with_room_for(ranges.len());
    let mut directory = Vec::with_capacity((1 << (32 - shift)) + 1);
    // Chunks without starts begin where the next with some does, and have the parity of the one before.
    let (mut parity, mut empty, mut begun) = (false, 0, 0);
    for own in chunks(ranges, shift).map(Some).chain([None]) {
        if own.is_some_and(<[_]>::is_empty) {
            empty += 1;
            continue;
        }
        let place = blocks.begin_chunk(own.map_or(0, <[_]>::len), !parity);
        *longest = number(blocks.len - begun).max(*longest);
        begun = blocks.len;
        directory.extend(std::iter::repeat_n(Chunk { place, parity }, empty));
        empty = 0;
        parity = !parity;
        directory.push(Chunk { place, parity });
        for range in own.unwrap_or_default() {
            let offset = range.start & ((1u32 << shift) - 1);
            blocks.push(offset as u16, parity);
            blocks.last = range.class;
        }
    }
    // The last chunk ends in it, and beyond it.
    blocks.push(0, parity);
    (groups(&directory), blocks.blocks)
}

/// Where a chunk's starts begin.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Bytes from the start of the section.
    pub place: u32,
    /// The top bit of each of its starts.
    pub parity: bool,
}

/// A narrow table's directory, from where each of all chunks begins and where they end.
pub fn groups(chunks: &[Chunk]) -> Vec<V4Group> {
    let own = chunks.len().div_ceil(V4_GROUP);
    let (mut groups, mut spread) = (Vec::with_capacity(own), Vec::new());
    for chunks in chunks.chunks(V4_GROUP) {
        let base = chunks[0].place;
        let mut steps = [0; V4_GROUP];
        let fits = chunks.iter().zip(&mut steps).all(|(chunk, step)| {
            let distance = chunk.place.checked_sub(base).and_then(|distance| u8::try_from(distance).ok());
            let even = distance.filter(|distance| distance.is_multiple_of(2));
            *step = even.unwrap_or(0) | u8::from(chunk.parity);
            even.is_some()
        });
        if fits {
            groups.push(V4Group { base, steps });
        } else {
            groups.push(V4Group { base: V4_SPREAD | number(own + spread.len()), steps: [0; V4_GROUP] });
            let alone = |chunk: &Chunk| V4Group { base: chunk.place, steps: [chunk.parity.into(); V4_GROUP] };
            spread.extend(chunks.iter().map(alone));
        }
    }
    groups.extend(spread);
    groups
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

    fn push(&mut self, offset: u16, parity: bool) {
        let at = self.len % B::LEN;
        if at == 0 {
            self.blocks.push(B::default());
        }
        if let Some(block) = self.blocks.last_mut() {
            block.put(at, offset | u16::from(parity) << V4_NARROW_SHIFT, self.last);
        }
        self.len += 1;
    }

    /// Goes to where a chunk of so many starts may begin; that place.
    fn begin_chunk(&mut self, starts: usize, parity: bool) -> u32 {
        // It ends in a start of the other parity, which this block has, too, unless the chunk has more than are compared at once.
        if self.len % B::LEN + (starts + 1).min(V4_LANES) > B::LEN {
            while !self.len.is_multiple_of(B::LEN) {
                self.push(0, parity);
            }
        }
        number(self.len / B::LEN * size_of::<B>() + self.len % B::LEN * 2)
    }
}

/// Sections are bounded to 512 MiB when the image is put together.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
