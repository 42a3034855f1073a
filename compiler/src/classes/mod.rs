//! Peers and ports into classes: what no rule tells apart is one.
//!
//! A class is a set of *marks*. For peers a mark is one rule's peers (equal ones share a mark), for
//! ports one port range. Two peers with the same marks get every verdict alike, so the tables have
//! one row for both, be they a pod and a million prefixes.

pub mod aggregate;
pub mod ports;
pub mod sweep;

use hashbrown::HashTable;
use rustc_hash::FxHashMap;
use std::hash::Hasher;

/// A number for something that rules tell peers or ports apart by.
pub type Mark = u32;

/// Marks of all classes of one image, at most: what is kept for each of them takes about twenty bytes
/// until the image is written. Rules that each make an exception of their own to a common prefix come
/// to as many as the square of their number.
pub const MAX_MEMBERSHIPS: usize = 1 << 25;

/// Sets of marks, each with a number in the order of first sight. Number 0 is the empty set.
///
/// A set that would take the memberships above their limit is not kept: its number is 0 and
/// [`Classes::is_full`] is true from then on, so whoever counts classes must ask and give up.
#[derive(Clone, Debug)]
pub struct Classes {
    numbers: HashTable<u32>,
    starts: Vec<u32>,
    marks: Vec<Mark>,
    most: usize,
    full: bool,
}

impl Default for Classes {
    fn default() -> Self {
        Classes::with_at_most(MAX_MEMBERSHIPS)
    }
}

/// The hash of a set: the sum over its members, so a sweep can keep it up to date mark by mark.
pub(crate) fn mark_hash(mark: Mark) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write_u32(mark);
    // FxHasher alone is linear in small numbers; the multiply-xor keeps sums apart.
    let hash = hasher.finish() ^ 0x9E37_79B9_7F4A_7C15;
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (hash ^ (hash >> 32)).wrapping_mul(0x94D0_49BB_1331_11EB) | 1
}

fn set_hash(marks: &[Mark]) -> u64 {
    marks.iter().fold(0, |sum, &mark| sum.wrapping_add(mark_hash(mark)))
}

impl Classes {
    /// No class yet but the empty set; `most` bounds the marks of all of them.
    pub fn with_at_most(most: usize) -> Self {
        let (numbers, starts, marks) = (HashTable::new(), vec![0], Vec::new());
        let mut classes = Classes { numbers, starts, marks, most, full: false };
        classes.number(&[]);
        classes
    }

    /// Whether a set was met that could not be kept.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Never true: there is always the empty set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The marks of a class, sorted.
    pub fn marks(&self, class: u32) -> &[Mark] {
        let class = class as usize;
        &self.marks[self.starts[class] as usize..self.starts[class + 1] as usize]
    }

    /// The number of a set; `marks` are sorted and without repeats.
    pub fn number(&mut self, marks: &[Mark]) -> u32 {
        self.number_hashed(set_hash(marks), marks.len(), || marks.iter().copied())
    }

    /// The same, for a caller that knows the hash and builds the set only if it must.
    fn number_hashed<I: Iterator<Item = Mark>>(
        &mut self,
        hash: u64,
        len: usize,
        marks: impl Fn() -> I,
    ) -> u32 {
        let Classes { numbers, starts, marks: all, most, full } = self;
        let slice = |class: u32| &all[starts[class as usize] as usize..starts[class as usize + 1] as usize];
        let found = numbers.find(hash, |&class| {
            let known = slice(class);
            known.len() == len && known.iter().copied().eq(marks())
        });
        if let Some(&class) = found {
            return class;
        }
        if all.len() + len > *most {
            *full = true;
            return 0;
        }
        let class = u32::try_from(starts.len() - 1).unwrap_or(u32::MAX);
        all.extend(marks());
        starts.push(u32::try_from(all.len()).unwrap_or(u32::MAX));
        let rehash = |class: &u32| {
            set_hash(&all[starts[*class as usize] as usize..starts[*class as usize + 1] as usize])
        };
        numbers.insert_unique(hash, class, rehash);
        class
    }
}

/// A set of marks that changes one by one, with counts, and knows its class.
#[derive(Debug)]
pub(crate) struct Active {
    counts: Vec<i32>,
    words: Vec<u64>,
    /// Which words have any mark: of tens of thousands of marks a few may be in force. A word that is
    /// alone always counts.
    summary: Vec<u64>,
    len: usize,
    hash: u64,
    /// Classes met so far, where one word holds all marks.
    by_word: FxHashMap<u64, u32>,
}

impl Active {
    pub(crate) fn new(marks: usize) -> Self {
        Active {
            counts: vec![0; marks],
            words: vec![0; marks.div_ceil(64)],
            summary: vec![u64::from(marks <= 64); marks.div_ceil(64 * 64)],
            len: 0,
            hash: 0,
            by_word: FxHashMap::default(),
        }
    }

    /// Counts a mark up or down; it is in the set while its count is above zero.
    pub(crate) fn change(&mut self, mark: Mark, by: i32) {
        let at = mark as usize;
        let before = self.counts[at] > 0;
        self.counts[at] += by;
        let after = self.counts[at] > 0;
        if before != after {
            let word = at / 64;
            self.words[word] ^= 1 << (at % 64);
            if self.words.len() > 1 {
                let any = u64::from(self.words[word] != 0) << (word % 64);
                self.summary[word / 64] = self.summary[word / 64] & !(1 << (word % 64)) | any;
            }
            if after {
                self.len += 1;
                self.hash = self.hash.wrapping_add(mark_hash(mark));
            } else {
                self.len -= 1;
                self.hash = self.hash.wrapping_sub(mark_hash(mark));
            }
        }
    }

    pub(crate) fn class(&mut self, classes: &mut Classes) -> u32 {
        if let [word] = self.words[..] {
            if let Some(&class) = self.by_word.get(&word) {
                return class;
            }
            let class = classes.number_hashed(self.hash, self.len, || self.marks());
            self.by_word.insert(word, class);
            return class;
        }
        classes.number_hashed(self.hash, self.len, || self.marks())
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        let words = (0u32..).zip(&self.summary).flat_map(|(at, &word)| bits(at, word));
        words.flat_map(|word| bits(word, self.words[word as usize]))
    }
}

/// The places of the bits that are set in the word at a place.
fn bits(at: u32, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(at * 64 + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_numbered_by_first_sight() {
        let mut classes = Classes::default();
        let numbers: Vec<u32> =
            [&[][..], &[3], &[1, 3], &[3], &[], &[1]].map(|set| classes.number(set)).to_vec();
        assert_eq!(numbers, [0, 1, 2, 1, 0, 3]);
        assert_eq!(classes.marks(2), [1, 3]);
        assert_eq!(classes.len(), 4);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut classes = Classes::with_at_most(3);
        assert_eq!((classes.number(&[1, 2]), classes.is_full()), (1, false));
        assert_eq!((classes.number(&[1, 3]), classes.is_full()), (0, true), "four marks in all");
        assert_eq!(classes.number(&[1, 2]), 1, "what was kept is still known");
        assert_eq!(classes.len(), 2);
    }
}
