//! Prefixes of all rules into ranges of one class each.
//!
//! Every block, less its exceptions, is a few ranges; their ends are sorted, and one pass over them
//! keeps the set of marks in force. Ranges of one class that touch are one. The cost is that of
//! sorting the ends; nothing is multiplied by nesting or overlap.

use super::{Active, Classes, Mark};
use ipnet::IpNet;

/// Where a mark begins or ends to hold. Changes at one place take effect together.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: u128,
    mark: Mark,
    by: i32,
}

/// One address family's changes.
///
/// IPv4 changes are packed into one word each, because there may be millions: 32 bits of place, 31
/// of mark, 1 of sign. What ends with the last address changes nothing any more and is left out.
#[derive(Debug, Default)]
pub struct Sweep {
    v4: Vec<u64>,
    v6: Vec<Change>,
}

/// Marks fit 31 bits.
pub const MAX_MARKS: usize = 1 << 31;
const MARK_SHIFT: u32 = 1;
const PLACE_SHIFT: u32 = 32;

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
        self.v4.reserve(v4 * 2);
    }

    /// A mark holds on `block` but for `except`.
    pub fn add(&mut self, mark: Mark, block: IpNet, mut except: impl ExactSizeIterator<Item = IpNet>) {
        if except.len() == 0
            && let IpNet::V4(net) = block
        {
            // The bulk of every large list.
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            self.v4.push(pack(first, mark, 1));
            if let Some(after) = last.checked_add(1) {
                self.v4.push(pack(after, mark, -1));
            }
            return;
        }
        let (first, last) = ends(block);
        // An exception that is wider than its block leaves nothing of it.
        let mut except: Vec<(u128, u128)> = except.by_ref().map(ends).collect();
        if except.is_empty() {
            self.add_range(mark, block, first, last);
            return;
        }
        except.sort_unstable();
        let mut from = first;
        for (out_first, out_last) in except {
            if out_first > from {
                self.add_range(mark, block, from, out_first - 1);
            }
            if out_last >= last {
                return;
            }
            from = from.max(out_last + 1);
        }
        self.add_range(mark, block, from, last);
    }

    /// Shifts a mark's count by `by` on one address.
    pub fn shift(&mut self, mark: Mark, address: IpNet, by: i32) {
        let (first, last) = ends(address);
        self.change(address, first, mark, by);
        if let Some(after) = last.checked_add(1) {
            self.change(address, after, mark, -by);
        }
    }

    fn add_range(&mut self, mark: Mark, family: IpNet, first: u128, last: u128) {
        self.change(family, first, mark, 1);
        if let Some(after) = last.checked_add(1) {
            self.change(family, after, mark, -1);
        }
    }

    fn change(&mut self, family: IpNet, at: u128, mark: Mark, by: i32) {
        match family {
            IpNet::V4(_) => self.v4.extend(u32::try_from(at).ok().map(|at| pack(at, mark, by))),
            IpNet::V6(_) => self.v6.push(Change { at, mark, by }),
        }
    }

    /// The ranges of all IPv4 addresses. `base` are the marks that hold everywhere.
    pub fn v4_ranges(&mut self, marks: usize, base: &[Mark], classes: &mut Classes) -> Vec<Range<u32>> {
        let mut changes = std::mem::take(&mut self.v4);
        radsort::sort_by_key(&mut changes, |change| (change >> PLACE_SHIFT) as u32);
        let unpack = |change: &u64| {
            let mark = (*change as u32) >> MARK_SHIFT;
            ((change >> PLACE_SHIFT) as u32, mark, if change & 1 == 1 { -1 } else { 1 })
        };
        ranges(changes.iter().map(unpack), marks, base, classes)
    }

    /// The ranges of all IPv6 addresses.
    pub fn v6_ranges(&mut self, marks: usize, base: &[Mark], classes: &mut Classes) -> Vec<Range<u128>> {
        let mut changes = std::mem::take(&mut self.v6);
        changes.sort_unstable_by_key(|change| change.at);
        let unpack = |change: &Change| (change.at, change.mark, change.by);
        ranges(changes.iter().map(unpack), marks, base, classes)
    }
}

fn ends(net: IpNet) -> (u128, u128) {
    match net {
        IpNet::V4(net) => (u128::from(net.network().to_bits()), u128::from(net.broadcast().to_bits())),
        IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
    }
}

/// A mark's change by one, packed.
const fn pack(at: u32, mark: Mark, by: i32) -> u64 {
    (at as u64) << PLACE_SHIFT | (mark as u64) << MARK_SHIFT | (by < 0) as u64
}

fn ranges<A: Copy + PartialOrd + Default>(
    changes: impl ExactSizeIterator<Item = (A, Mark, i32)>,
    marks: usize,
    base: &[Mark],
    classes: &mut Classes,
) -> Vec<Range<A>> {
    let mut active = Active::new(marks);
    for &mark in base {
        active.change(mark, 1);
    }
    let mut ranges: Vec<Range<A>> = Vec::with_capacity(changes.len() + 1);
    let mut start = A::default();
    let mut close = |start: A, active: &Active| {
        let class = active.class(classes);
        if ranges.last().is_none_or(|range| range.class != class) {
            ranges.push(Range { start, class });
        }
    };
    for (at, mark, by) in changes {
        if at > start {
            close(start, &active);
            start = at;
        }
        active.change(mark, by);
    }
    close(start, &active);
    ranges.shrink_to_fit();
    ranges
}
