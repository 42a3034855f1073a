//! IPv6 ranges into a search tree over upper halves and runs of lower halves (see `weir_abi`'s
//! `prefix`).

use crate::classes::sweep::Range;
use weir_abi::layout::{INDIRECT, LowTable, V6_BLOCK, V6_HALF_VALUES, V6_WORD_VALUES};
use zerocopy::IntoBytes;

/// The table's sections and header fields.
#[derive(Debug, Default)]
pub struct V6Image {
    /// Levels of the tree.
    pub levels: u32,
    /// Keys in blocks.
    pub keys: Vec<u64>,
    /// What each key leads to.
    pub values: V6Values,
    /// Runs of lower halves.
    pub low_tables: Vec<LowTable>,
    /// Lower halves.
    pub low_keys: Vec<u64>,
    /// Classes.
    pub low_values: Vec<u32>,
    /// The longest run.
    pub longest: u32,
}

/// Class or low table for each key.
#[derive(Debug)]
pub enum V6Values {
    /// [`V6_HALF_VALUES`].
    Halves(Vec<u16>),
    /// [`V6_WORD_VALUES`].
    Words(Vec<u32>),
}

impl V6Values {
    /// Halves if every number fits.
    fn of(words: Vec<u32>) -> Self {
        let half = |&word: &u32| {
            let number = u16::try_from(word & !INDIRECT).ok().filter(|number| number >> 15 == 0)?;
            Some(number | (word >> 16 & 0x8000) as u16)
        };
        words.iter().map(half).collect::<Option<_>>().map_or(V6Values::Words(words), V6Values::Halves)
    }

    /// [`V6_HALF_VALUES`] or [`V6_WORD_VALUES`].
    pub const fn format(&self) -> u32 {
        match self {
            V6Values::Halves(_) => V6_HALF_VALUES,
            V6Values::Words(_) => V6_WORD_VALUES,
        }
    }

    /// The section.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            V6Values::Halves(values) => values.as_bytes(),
            V6Values::Words(values) => values.as_bytes(),
        }
    }
}

impl Default for V6Values {
    fn default() -> Self {
        V6Values::Words(Vec::new())
    }
}

/// Lays out the ranges of all addresses; the first begins at 0.
pub fn lay_out(ranges: &[Range<u128>]) -> V6Image {
    let mut image = V6Image::default();
    let mut sorted: Vec<(u64, u32)> = Vec::with_capacity(ranges.len());
    let split = |range: &Range<u128>| ((range.start >> 64) as u64, range.start as u64);
    let mut class = 0;
    let mut rest = ranges;
    while let Some((range, after)) = rest.split_first() {
        let (high, low) = split(range);
        if low == 0 && after.first().is_none_or(|next| split(next).0 != high) {
            class = range.class;
            sorted.push((high, class));
            rest = after;
            continue;
        }
        // Prefixes longer than /64 divide this upper half.
        let (divided, after) = rest.split_at(rest.iter().take_while(|range| split(range).0 == high).count());
        rest = after;
        let start = image.low_keys.len();
        if low != 0 {
            image.low_keys.push(0);
            image.low_values.push(class);
        }
        for range in divided {
            class = range.class;
            image.low_keys.push(split(range).1);
            image.low_values.push(class);
        }
        let len = u32::try_from(image.low_keys.len() - start).unwrap_or(u32::MAX);
        sorted.push((high, INDIRECT | u32::try_from(image.low_tables.len()).unwrap_or(INDIRECT)));
        image.low_tables.push(LowTable { start: u32::try_from(start).unwrap_or(u32::MAX), len });
        image.longest = image.longest.max(len);
        // What is in force at its end goes on, unless the next upper half has ranges of its own.
        if let Some(next) = high.checked_add(1)
            && rest.first().is_none_or(|range| split(range).0 != next)
        {
            sorted.push((next, class));
        }
    }
    tree(&mut image, &sorted);
    image
}

/// Fills the implicit tree in order: the children of block `b` are `9b + 1 ..= 9b + 9`.
fn tree(image: &mut V6Image, sorted: &[(u64, u32)]) {
    let blocks = sorted.len().div_ceil(V6_BLOCK).max(1);
    // What is left over at the end repeats the last range under the greatest key.
    let last = sorted.last().map_or(0, |&(_, value)| value);
    image.keys = vec![u64::MAX; blocks * V6_BLOCK];
    let mut values = vec![last; blocks * V6_BLOCK];
    fill(&mut image.keys, &mut values, &mut sorted.iter(), 0);
    image.values = V6Values::of(values);
    let mut level_start = 0usize;
    let mut width = 1usize;
    while level_start < blocks {
        image.levels += 1;
        level_start += width;
        width *= V6_BLOCK + 1;
    }
}

/// In-order descent; as deep as the tree has levels, so at most eleven.
fn fill<'s>(
    keys: &mut [u64],
    values: &mut [u32],
    next: &mut impl Iterator<Item = &'s (u64, u32)>,
    block: usize,
) {
    let own = block * V6_BLOCK;
    if own >= keys.len() {
        return;
    }
    for at in 0..V6_BLOCK {
        fill(keys, values, next, block * (V6_BLOCK + 1) + 1 + at);
        if let Some(&range) = next.next() {
            (keys[own + at], values[own + at]) = range;
        }
    }
    fill(keys, values, next, block * (V6_BLOCK + 1) + 1 + V6_BLOCK);
}
