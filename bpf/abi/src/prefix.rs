//! Address -> peer class: range tables laid out for the cache.
//!
//! Prefixes of all rules are swept into maximal ranges of equal membership before they come here, so
//! a lookup is a predecessor search, never a longest-prefix match.
//!
//! IPv4 (after DXR, Zec et al., CCR 2012): the top bits index a directory, the ranges that start in a
//! chunk are searched by the rest; if none starts at or before the address, the last of the chunks
//! before reaches over it. Of a large table, four starts are compared at once, which for most chunks is
//! all of the search, and their classes are in the same cache line. IPv6: a static search tree over the upper 64 bits, eight keys (one cache line) a
//! node; upper halves that prefixes longer than /64 divide lead to a sorted run of lower halves.

use crate::image::PeerClass;
use crate::layout::{INDIRECT, LowTable, V4_BLOCK, V4_LANES, V4_PARITY, V4Block, V4Range, V6_BLOCK};

/// The IPv4 table.
#[derive(Clone, Copy, Debug)]
pub struct V4Table<'a> {
    pub(crate) shift: u32,
    pub(crate) directory: &'a [u32],
    pub(crate) ranges: V4Ranges<'a>,
}

/// The ranges of all chunks, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum V4Ranges<'a> {
    Narrow(&'a [V4Block]),
    Wide(&'a [V4Range]),
}

impl V4Table<'_> {
    /// The class of an address (host byte order); `None` only for an image that changed after it
    /// was opened.
    #[inline]
    pub fn class(&self, address: u32) -> Option<PeerClass> {
        // u64, because a shift by 32 (no directory bits) is meant to give 0.
        let chunk = (u64::from(address) >> self.shift) as usize;
        let &[first, next] = self.directory.get(chunk..chunk + 2)? else { return None };
        let offset = (u64::from(address) & ((1u64 << self.shift) - 1)) as u32;
        // The range before the chunk's first reaches into the chunk.
        let class = match self.ranges {
            V4Ranges::Narrow(blocks) => NarrowChunk::class(blocks, first, next, offset as u16)?.into(),
            V4Ranges::Wide(ranges) => {
                let own = ranges.get(first as usize..next as usize)?;
                let not_above = own.partition_point(|range| range.start <= offset);
                ranges.get((first as usize + not_above).checked_sub(1)?)?.class
            }
        };
        Some(PeerClass(class))
    }
}

/// The lowest, and the highest, bit of each of four starts in one number.
const LANES: u64 = 0x0001_0001_0001_0001;
pub(crate) const LANE_TOPS: u64 = 0x8000_8000_8000_8000;

/// Chunks of a narrow table, by their entries in the directory.
pub(crate) enum NarrowChunk {}

impl NarrowChunk {
    /// Offsets are below this.
    pub(crate) const END: u16 = 1 << 15;

    /// Which start, counted over all blocks, an entry leads to; `None` where no chunk may begin.
    #[inline]
    pub(crate) fn number(entry: u32) -> Option<usize> {
        const BLOCK_BYTES: usize = size_of::<V4Block>();
        let place = (entry & !V4_PARITY) as usize;
        let within = place % BLOCK_BYTES;
        let may_begin = within.is_multiple_of(2) && (1..=V4_BLOCK - V4_LANES).contains(&(within / 2));
        may_begin.then_some(place / BLOCK_BYTES * V4_BLOCK + within / 2)
    }

    /// A start without the chunk's parity: of another's chunk, it is above every offset.
    #[inline]
    pub(crate) const fn own(entry: u32, start: u16) -> u16 {
        start ^ ((entry & V4_PARITY) >> 16) as u16
    }

    /// Starts from a place of a block on, without the chunk's parity, as one number: the first in the lowest bits.
    #[inline]
    pub(crate) fn lanes(entry: u32, block: &V4Block, at: usize) -> Option<u64> {
        let lanes = block.starts.get(at..at + V4_LANES)?;
        Some(lanes.iter().rev().fold(0, |all, &start| all << 16 | u64::from(Self::own(entry, start))))
    }

    /// The class at an offset; `next` is the entry of the chunk behind.
    #[inline]
    fn class(blocks: &[V4Block], entry: u32, next: u32, offset: u16) -> Option<u16> {
        let first = Self::number(entry)?;
        let (block, at) = (blocks.get(first / V4_BLOCK)?, first % V4_BLOCK);
        let starts = Self::lanes(entry, block, at)?;
        // As bpf/prefix.h compares them: a carry out of 15 bits, or another chunk's parity, sets a lane's top.
        let above = (starts.wrapping_add((u64::from(offset) * LANES) ^ !LANE_TOPS) | starts) & LANE_TOPS;
        if above != 0 {
            return block.classes.get((at + above.trailing_zeros() as usize / 16).checked_sub(1)?).copied();
        }
        // Those before `from` are not above, those from `to` on are.
        let (mut from, mut to) = (first + V4_LANES, Self::number(next)?);
        while from < to {
            let middle = from.midpoint(to);
            let start = blocks.get(middle / V4_BLOCK)?.starts[middle % V4_BLOCK];
            if Self::own(entry, start) <= offset {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Some(blocks.get((from - 1) / V4_BLOCK)?.classes[(from - 1) % V4_BLOCK])
    }
}

/// The IPv6 table.
#[derive(Clone, Copy, Debug)]
pub struct V6Table<'a> {
    pub(crate) levels: u32,
    pub(crate) keys: &'a [u64],
    pub(crate) values: &'a [u32],
    pub(crate) low_tables: &'a [LowTable],
    pub(crate) low_keys: &'a [u64],
    pub(crate) low_values: &'a [u32],
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
        let value = *self.values.get(best)?;
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
