//! Prefixes of all rules into ranges of one class each.
//!
//! Prefixes nest or are apart, never across. Sorted by where they begin, wider ones first, one pass with
//! a stack of those that are open visits every place where the set of marks changes. An exception is a
//! prefix that takes its block's mark away again. Ranges of one class that touch are one. The cost is
//! that of sorting the prefixes; nothing is multiplied by nesting or overlap.

use super::{Active, Classes, Mark};
use ipnet::IpNet;
use rustc_hash::FxHashMap;

/// The prefixes of one sweep, by address family.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Packed, because there may be millions: 32 bits of address, 6 of length, 1 that says whether the
    /// mark is taken away, 25 of mark. So their order is the order of the sweep.
    v4: Vec<u64>,
    v6: Vec<(u128, u8, Mark, bool)>,
}

/// Marks fit 25 bits.
pub const MAX_MARKS: usize = 1 << MARK_BITS;
const MARK_BITS: u32 = 25;
const AWAY_SHIFT: u32 = MARK_BITS;
const LENGTH_SHIFT: u32 = AWAY_SHIFT + 1;
const ADDRESS_SHIFT: u32 = LENGTH_SHIFT + 6;

/// A range of addresses of one class, up to the next range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<A> {
    /// First address, in host byte order.
    pub start: A,
    /// Its class.
    pub class: u32,
}

impl Sweep {
    /// Makes room for so many IPv4 prefixes, the bulk of every large list.
    pub fn reserve(&mut self, v4: usize) {
        self.v4.reserve(v4);
    }

    /// A mark holds on `block` but for `except`. What of an exception lies outside the block is ignored.
    pub fn add(&mut self, mark: Mark, block: IpNet, except: impl Iterator<Item = IpNet>) {
        self.give(mark, block);
        let mut except: Vec<IpNet> = except.filter_map(|net| common(net, block)).collect();
        // An exception within another would take the mark away twice.
        except.sort_unstable_by_key(|net| (net.network(), net.prefix_len()));
        let mut outer: Option<IpNet> = None;
        for net in except {
            if outer.is_none_or(|outer| !outer.contains(&net)) {
                outer = Some(net);
                self.take(mark, net);
            }
        }
    }

    /// A mark's count is one higher on `net`.
    pub fn give(&mut self, mark: Mark, net: IpNet) {
        self.push(mark, net, false);
    }

    /// A mark's count is one lower on `net`.
    pub fn take(&mut self, mark: Mark, net: IpNet) {
        self.push(mark, net, true);
    }

    fn push(&mut self, mark: Mark, net: IpNet, away: bool) {
        match net {
            IpNet::V4(net) => {
                let head = u64::from(net.network().to_bits()) << ADDRESS_SHIFT;
                let length = u64::from(net.prefix_len()) << LENGTH_SHIFT;
                self.v4.push(head | length | u64::from(away) << AWAY_SHIFT | u64::from(mark));
            }
            IpNet::V6(net) => self.v6.push((net.network().to_bits(), net.prefix_len(), mark, away)),
        }
    }

    /// The ranges of all IPv4 addresses. `base` are the marks that hold everywhere.
    pub fn v4_ranges(&mut self, marks: usize, base: &[Mark], classes: &mut Classes) -> Vec<Range<u32>> {
        let prefixes = sorted(std::mem::take(&mut self.v4), LENGTH_SHIFT);
        let unpack = |&packed: &u64| {
            let first = (packed >> ADDRESS_SHIFT) as u32;
            let length = (packed >> LENGTH_SHIFT) as u32 & 0x3F;
            Prefix {
                first,
                last: first | u32::MAX.checked_shr(length).unwrap_or(0),
                mark: packed as u32 & (MAX_MARKS as u32 - 1),
                by: if packed >> AWAY_SHIFT & 1 == 1 { -1 } else { 1 },
            }
        };
        ranges(prefixes.iter().map(unpack), marks, base, classes, |last| last.checked_add(1))
    }

    /// The ranges of all IPv6 addresses.
    pub fn v6_ranges(&mut self, marks: usize, base: &[Mark], classes: &mut Classes) -> Vec<Range<u128>> {
        let mut prefixes = std::mem::take(&mut self.v6);
        prefixes.sort_unstable_by_key(|&(first, length, ..)| (first, length));
        let unpack = |&(first, length, mark, away): &(u128, u8, Mark, bool)| Prefix {
            first,
            last: first | u128::MAX.checked_shr(length.into()).unwrap_or(0),
            mark,
            by: if away { -1 } else { 1 },
        };
        ranges(prefixes.iter().map(unpack), marks, base, classes, |last| last.checked_add(1))
    }
}

/// What two prefixes have in common: the longer, if the other contains it.
fn common(a: IpNet, b: IpNet) -> Option<IpNet> {
    if b.contains(&a) { Some(a) } else { a.contains(&b).then_some(b) }
}

/// Sorts by all bits from `low` on: a radix sort from the lowest digit, several times faster here than
/// comparing.
fn sorted(mut words: Vec<u64>, low: u32) -> Vec<u64> {
    const DIGIT: u32 = 10;
    const FEW: usize = 1 << 12;
    if words.len() < FEW {
        words.sort_unstable();
        return words;
    }
    let mut other = vec![0; words.len()];
    for shift in (low..u64::BITS).step_by(DIGIT as usize) {
        let digit = |word: u64| (word >> shift) as usize & ((1 << DIGIT) - 1);
        let mut ends = [0usize; 1 << DIGIT];
        for &word in &words {
            ends[digit(word)] += 1;
        }
        if ends.contains(&words.len()) {
            continue;
        }
        let mut next = 0;
        for end in &mut ends {
            next += std::mem::replace(end, next);
        }
        for &word in &words {
            let place = &mut ends[digit(word)];
            other[*place] = word;
            *place += 1;
        }
        std::mem::swap(&mut words, &mut other);
    }
    words
}

struct Prefix<A> {
    first: A,
    last: A,
    mark: Mark,
    by: i32,
}

/// What holds inside the prefixes that are open, numbered by the way there: the prefixes around, from
/// the widest. Where many marks hold, to know the class of a place again is worth more than to build
/// its set again; a list of a million prefixes below ten thousand wide ones has two sets.
#[derive(Default)]
struct Ways {
    known: FxHashMap<(u32, Mark, bool), u32>,
    /// By number; [`Ways::UNKNOWN`] until something begins or ends there.
    classes: Vec<u32>,
}

impl Ways {
    const UNKNOWN: u32 = u32::MAX;
    /// Where no prefix is open.
    const OUTSIDE: u32 = 0;

    fn new() -> Self {
        Ways { classes: vec![Self::UNKNOWN], ..Ways::default() }
    }

    fn within(&mut self, way: u32, mark: Mark, by: i32) -> u32 {
        let next = u32::try_from(self.classes.len()).unwrap_or(Self::UNKNOWN);
        let number = *self.known.entry((way, mark, by > 0)).or_insert(next);
        if number == next {
            self.classes.push(Self::UNKNOWN);
        }
        number
    }
}

fn ranges<A: Copy + Ord + Default>(
    prefixes: impl ExactSizeIterator<Item = Prefix<A>>,
    marks: usize,
    base: &[Mark],
    classes: &mut Classes,
    after: impl Fn(A) -> Option<A>,
) -> Vec<Range<A>> {
    // One word of marks is as quick to look up as a way.
    if marks <= u64::BITS as usize {
        pass::<A, false>(prefixes, marks, base, classes, after)
    } else {
        pass::<A, true>(prefixes, marks, base, classes, after)
    }
}

fn pass<A: Copy + Ord + Default, const WAYS: bool>(
    prefixes: impl ExactSizeIterator<Item = Prefix<A>>,
    marks: usize,
    base: &[Mark],
    classes: &mut Classes,
    after: impl Fn(A) -> Option<A>,
) -> Vec<Range<A>> {
    let mut sweeping = Sweeping::<A, WAYS> {
        active: Active::new(marks),
        ways: Ways::new(),
        way: Ways::OUTSIDE,
        classes,
        start: A::default(),
        ranges: Vec::with_capacity(prefixes.len() * 2 + 1),
    };
    for &mark in base {
        sweeping.active.change(mark, 1);
    }
    let mut open: Vec<(Prefix<A>, u32)> = Vec::new();
    for prefix in prefixes {
        while let Some((ended, around)) = open.pop_if(|(open, _)| open.last < prefix.first) {
            sweeping.end(&ended, around, &after);
        }
        if prefix.first > sweeping.start {
            sweeping.advance(prefix.first);
            if sweeping.classes.is_full() {
                // There will be no image; the rest would cost time and memory for nothing.
                return Vec::new();
            }
        }
        let around = sweeping.begin(&prefix);
        open.push((prefix, around));
    }
    while let Some((ended, around)) = open.pop() {
        if after(ended.last).is_none() {
            // It and all those around it reach the last address.
            break;
        }
        sweeping.end(&ended, around, &after);
    }
    sweeping.close();
    sweeping.ranges.shrink_to_fit();
    sweeping.ranges
}

struct Sweeping<'c, A, const WAYS: bool> {
    active: Active,
    /// Kept if `WAYS`.
    ways: Ways,
    way: u32,
    classes: &'c mut Classes,
    start: A,
    ranges: Vec<Range<A>>,
}

impl<A: Copy + Ord, const WAYS: bool> Sweeping<'_, A, WAYS> {
    /// The set of marks changes at `to`.
    fn advance(&mut self, to: A) {
        if to > self.start {
            self.close();
            self.start = to;
        }
    }

    /// Returns the way of what is around the prefix.
    fn begin(&mut self, prefix: &Prefix<A>) -> u32 {
        self.active.change(prefix.mark, prefix.by);
        let around = self.way;
        if WAYS {
            self.way = self.ways.within(around, prefix.mark, prefix.by);
        }
        around
    }

    fn end(&mut self, prefix: &Prefix<A>, around: u32, after: impl Fn(A) -> Option<A>) {
        if let Some(next) = after(prefix.last) {
            self.advance(next);
        }
        self.active.change(prefix.mark, -prefix.by);
        if WAYS {
            self.way = around;
        }
    }

    fn class(&mut self) -> u32 {
        if !WAYS {
            return self.active.class(self.classes);
        }
        let ways = &mut self.ways;
        let known = &mut ways.classes[self.way as usize];
        if *known == Ways::UNKNOWN {
            *known = self.active.class(self.classes);
        }
        *known
    }

    fn close(&mut self) {
        let class = self.class();
        if self.ranges.last().is_none_or(|range| range.class != class) {
            self.ranges.push(Range { start: self.start, class });
        }
    }
}
