//! Address -> peer class: range tables laid out for the cache.
//!
//! Prefixes of all rules are swept into maximal ranges of equal membership before they come here, so
//! a lookup is a predecessor search, never a longest-prefix match.
//!
//! IPv4 (after DXR, Zec et al., CCR 2012): the top bits index a directory, the ranges that begin in a
//! chunk are binary-searched by the rest; if none begins at or before the address, the last of the
//! chunks before reaches over it. IPv6: a static search tree over the upper 64 bits, eight keys (one
//! cache line) a node; upper halves that prefixes longer than /64 divide lead to a sorted run of
//! lower halves.

use crate::image::PeerClass;
use crate::layout::{INDIRECT, LowTable, V4_NARROW, V6_BLOCK};

/// The IPv4 table.
#[derive(Clone, Copy, Debug)]
pub struct V4Table<'a> {
    pub(crate) bits: u32,
    pub(crate) format: u32,
    pub(crate) directory: &'a [u32],
    pub(crate) ranges: &'a [u32],
}

impl V4Table<'_> {
    /// The class of an address (host byte order); `None` only for an image that changed after it
    /// was opened.
    #[inline]
    pub fn class(&self, address: u32) -> Option<PeerClass> {
        // u64, because a shift by 32 (no directory bits) is meant to give 0.
        let chunk = (u64::from(address) >> (32 - self.bits)) as usize;
        let &[start, end] = self.directory.get(chunk..chunk + 2)? else { return None };
        let offset = (u64::from(address) & ((1u64 << (32 - self.bits)) - 1)) as u32;
        // The range before the chunk's first reaches into the chunk, so the search begins with it.
        let mut at = (start as usize).wrapping_sub(1);
        let mut len = (end as usize).checked_sub(start as usize)? + 1;
        let narrow = self.format == V4_NARROW;
        while len > 1 {
            let half = len / 2;
            let middle = at.wrapping_add(half);
            let start =
                if narrow { *self.ranges.get(middle)? & 0xFFFF } else { *self.ranges.get(middle * 2)? };
            at = core::hint::select_unpredictable(start <= offset, middle, at);
            len -= half;
        }
        let class = if narrow {
            *self.ranges.get(at)? >> 16
        } else {
            *self.ranges.get(at.wrapping_mul(2).wrapping_add(1))?
        };
        Some(PeerClass(class))
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
