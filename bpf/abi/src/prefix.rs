//! Address -> peer class: range tables laid out for the cache.
//!
//! Prefixes of all rules are swept into maximal ranges of equal membership before they come here, so
//! a lookup is a predecessor search, never a longest-prefix match.
//!
//! IPv4 (after DXR, Zec et al., CCR 2012): the top bits index a directory, the ranges that start in a
//! chunk are searched by the rest; if none starts at or before the address, the last of the chunks
//! before reaches over it. Of a large table, four starts are compared at once, which for most chunks is
//! all of the search, and the classes before them are in the same cache line. IPv6: a static search tree over the upper 64 bits, eight keys (one cache line) a
//! node; upper halves that prefixes longer than /64 divide lead to a sorted run of lower halves.

use crate::image::PeerClass;
use crate::layout::{
    INDIRECT, LowTable, V4_BYTE_BLOCK, V4_GROUP, V4_HALF_BLOCK, V4_LANES, V4_SPREAD, V4ByteBlock, V4Group,
    V4HalfBlock, V4Range, V6_BLOCK,
};
use zerocopy::{Immutable, IntoBytes};

/// The IPv4 table.
#[derive(Clone, Copy, Debug)]
pub struct V4Table<'a> {
    pub(crate) shift: u32,
    pub(crate) ranges: V4Ranges<'a>,
}

/// The ranges of all chunks, in order, and where each chunk's begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum V4Ranges<'a> {
    Bytes(NarrowDirectory<'a>, &'a [V4ByteBlock]),
    Halves(NarrowDirectory<'a>, &'a [V4HalfBlock]),
    Wide(&'a [u32], &'a [V4Range]),
}

impl V4Table<'_> {
    /// The class of an address (host byte order); `None` only for an image that changed after it
    /// was opened.
    #[inline]
    pub fn class(&self, address: u32) -> Option<PeerClass> {
        // u64, because a shift by 32 (no directory bits) is meant to give 0.
        let chunk = (u64::from(address) >> self.shift) as usize;
        let offset = (u64::from(address) & ((1u64 << self.shift) - 1)) as u32;
        match self.ranges {
            V4Ranges::Bytes(directory, blocks) => narrow_class(directory, blocks, chunk, offset as u16),
            V4Ranges::Halves(directory, blocks) => narrow_class(directory, blocks, chunk, offset as u16),
            V4Ranges::Wide(directory, ranges) => {
                let &[first, next] = directory.get(chunk..chunk + 2)? else { return None };
                let own = ranges.get(first as usize..next as usize)?;
                let not_above = own.partition_point(|range| range.start <= offset);
                // The range before the chunk's first reaches into the chunk.
                let range = ranges.get((first as usize + not_above).checked_sub(1)?)?;
                Some(PeerClass(range.class))
            }
        }
    }
}

/// Where narrow chunks begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NarrowDirectory<'a>(pub(crate) &'a [V4Group]);

/// Where a chunk's starts begin, in bytes from the start of the section, and what is in their top bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NarrowChunk {
    place: u32,
    parity: u16,
}

impl NarrowDirectory<'_> {
    #[inline]
    pub(crate) fn chunk(self, chunk: usize) -> Option<NarrowChunk> {
        let group = self.0.get(chunk / V4_GROUP)?;
        let (mut base, mut step) = (group.base, group.steps[chunk % V4_GROUP]);
        if base & V4_SPREAD != 0 {
            let own = self.0.get((base & !V4_SPREAD) as usize + chunk % V4_GROUP)?;
            (base, step) = (own.base, own.steps[0]);
        }
        let place = base.checked_add(u32::from(step & !1))?;
        (place & V4_SPREAD == 0).then_some(NarrowChunk { place, parity: u16::from(step & 1) << 15 })
    }
}

impl NarrowChunk {
    /// Which start it begins with, counted over all blocks; `None` where no chunk may begin.
    #[inline]
    pub(crate) fn first<B: NarrowBlock>(self) -> Option<usize> {
        let place = self.place as usize;
        let within = place % size_of::<B>();
        let may_begin = within.is_multiple_of(2) && within / 2 < B::LEN;
        may_begin.then_some(place / size_of::<B>() * B::LEN + within / 2)
    }

    /// A start without the chunk's parity: of another's chunk, it is above every offset.
    #[inline]
    pub(crate) const fn own(self, start: u16) -> u16 {
        start ^ self.parity
    }

    /// Starts from a place of a block on, without the chunk's parity, as one number: the first in the lowest bits. Behind the block's
    /// last start is anything.
    #[inline]
    pub(crate) fn lanes<B: NarrowBlock>(self, block: &B, at: usize) -> Option<u64> {
        let bytes = block.as_bytes().get(2 * at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes) ^ (u64::from(self.parity) * LANES))
    }
}

/// A cache line of narrow ranges.
pub(crate) trait NarrowBlock: IntoBytes + Immutable {
    /// How many.
    const LEN: usize;
    fn starts(&self) -> &[u16];
    /// What lies before a start.
    fn class(&self, at: usize) -> Option<u32>;
    /// No class is greater.
    fn greatest(&self) -> u32;
}

impl NarrowBlock for V4ByteBlock {
    const LEN: usize = V4_BYTE_BLOCK;

    fn starts(&self) -> &[u16] {
        &self.starts
    }

    fn class(&self, at: usize) -> Option<u32> {
        self.classes.get(at).map(|&class| class.into())
    }

    fn greatest(&self) -> u32 {
        self.classes.iter().copied().fold(0, u8::max).into()
    }
}

impl NarrowBlock for V4HalfBlock {
    const LEN: usize = V4_HALF_BLOCK;

    fn starts(&self) -> &[u16] {
        &self.starts
    }

    fn class(&self, at: usize) -> Option<u32> {
        self.classes.get(at).map(|&class| class.into())
    }

    fn greatest(&self) -> u32 {
        self.classes.iter().copied().fold(0, u16::max).into()
    }
}

/// Offsets of narrow starts are below this.
pub(crate) const NARROW_END: u16 = 1 << 15;
/// The lowest, and the highest, bit of each of four starts in one number.
const LANES: u64 = 0x0001_0001_0001_0001;
pub(crate) const LANE_TOPS: u64 = 0x8000_8000_8000_8000;

/// The class at an offset of a chunk.
#[inline]
fn narrow_class<B: NarrowBlock>(
    directory: NarrowDirectory<'_>,
    blocks: &[B],
    chunk: usize,
    offset: u16,
) -> Option<PeerClass> {
    let own = directory.chunk(chunk)?;
    let first = own.first::<B>()?;
    let (block, at) = (blocks.get(first / B::LEN)?, first % B::LEN);
    let starts = own.lanes(block, at)?;
    // As bpf/prefix.h compares them: a carry out of 15 bits, or another chunk's parity, sets a lane's top.
    let above = (starts.wrapping_add((u64::from(offset) * LANES) ^ !LANE_TOPS) | starts) & LANE_TOPS;
    if above != 0 {
        return block.class(at + above.trailing_zeros() as usize / 16).map(PeerClass);
    }
    // Those before `from` are not above, those from `to` on are.
    let (mut from, mut to) = (first + V4_LANES, directory.chunk(chunk + 1)?.first::<B>()?);
    while from < to {
        let middle = from.midpoint(to);
        let start = *blocks.get(middle / B::LEN)?.starts().get(middle % B::LEN)?;
        if own.own(start) <= offset {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    blocks.get(from / B::LEN)?.class(from % B::LEN).map(PeerClass)
}

/// The IPv6 table.
#[derive(Clone, Copy, Debug)]
pub struct V6Table<'a> {
    pub(crate) levels: u32,
    pub(crate) keys: &'a [u64],
    pub(crate) values: V6Values<'a>,
    pub(crate) low_tables: &'a [LowTable],
    pub(crate) low_keys: &'a [u64],
    pub(crate) low_values: &'a [u32],
}

/// A class, or [`INDIRECT`] and a low table, for each key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum V6Values<'a> {
    Halves(&'a [u16]),
    Words(&'a [u32]),
}

impl V6Values<'_> {
    pub(crate) const fn len(&self) -> usize {
        match self {
            V6Values::Halves(values) => values.len(),
            V6Values::Words(values) => values.len(),
        }
    }

    #[inline]
    fn get(&self, at: usize) -> Option<u32> {
        match self {
            V6Values::Halves(values) => values.get(at).map(|&half| word_of_half(half)),
            V6Values::Words(values) => values.get(at).copied(),
        }
    }
}

/// An IPv6 value of two bytes as one of four.
#[inline]
pub(crate) const fn word_of_half(half: u16) -> u32 {
    // The sign is INDIRECT, and what it was extended to is not part of the number.
    half as i16 as u32 & (INDIRECT | 0x7FFF)
}

impl V6Table<'_> {
    /// The class of an address (host byte order); `None` only for an image that changed after it
    /// was opened.
    #[inline]
    pub fn class(&self, address: u128) -> Option<PeerClass> {
        let (high, low) = ((address >> 64) as u64, address as u64);
        let mut block = 0usize;
        let mut best = usize::MAX;
        for _ in 0..self.levels {
            let Some(keys) = self.keys.get(block * V6_BLOCK..(block + 1) * V6_BLOCK) else { break };
            let below = keys.iter().filter(|&&key| key <= high).count();
            // No branch here: where a key ends up in its block is as good as random.
            let found = (block * V6_BLOCK + below).wrapping_sub(1);
            best = core::hint::select_unpredictable(below > 0, found, best);
            block = block * (V6_BLOCK + 1) + 1 + below;
        }
        let value = self.values.get(best)?;
        if value & INDIRECT == 0 {
            return Some(PeerClass(value));
        }
        let table = self.low_tables.get((value & !INDIRECT) as usize)?;
        let start = table.start as usize;
        // The check at opening asks before it has looked at this run; on 32 bits the sum may not fit.
        let keys = self.low_keys.get(start..start.checked_add(table.len as usize)?)?;
        let at = keys.partition_point(|&key| key <= low).checked_sub(1)?;
        Some(PeerClass(*self.low_values.get(start + at)?))
    }
}
