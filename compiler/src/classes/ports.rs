//! (protocol, port) pairs into classes.
//!
//! A port mark is one range of one protocol; ports with the same marks are one class. Class 0 is
//! every port that no rule names. ICMP types stand in as ports of their protocol.

use super::{Active, Classes, Mark};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// A range of ports of one protocol, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// IP protocol.
    pub protocol: u8,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

/// All port ranges of the rules in force.
#[derive(Debug, Default)]
pub struct PortMarks {
    numbers: FxHashMap<PortRange, Mark>,
    ranges: Vec<PortRange>,
}

/// The classes, and where each begins.
#[derive(Debug)]
pub struct PortClasses {
    /// By protocol: (first port, class), sorted, the first at port 0.
    pub protocols: BTreeMap<u8, Vec<(u16, u32)>>,
    /// The classes.
    pub classes: Classes,
    by_mark: Vec<Vec<u32>>,
}

impl PortMarks {
    /// The mark of a range.
    pub fn mark(&mut self, range: PortRange) -> Mark {
        let next = u32::try_from(self.ranges.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(range).or_insert_with(|| {
            self.ranges.push(range);
            next
        })
    }

    /// Sweeps the ranges of each protocol.
    pub fn classify(self) -> PortClasses {
        let mut changes: BTreeMap<u8, Vec<(u32, Mark, i32)>> = BTreeMap::new();
        for (mark, range) in (0..).zip(&self.ranges) {
            let changes = changes.entry(range.protocol).or_default();
            changes.push((u32::from(range.first), mark, 1));
            changes.push((u32::from(range.last) + 1, mark, -1));
        }
        let mut classes = Classes::default();
        let mut protocols = BTreeMap::new();
        for (protocol, mut changes) in changes {
            changes.sort_unstable();
            let mut active = Active::new(self.ranges.len());
            let mut starts: Vec<(u16, u32)> = Vec::new();
            let mut from = 0u32;
            let mut close = |from: u32, active: &mut Active| {
                let (Ok(first), class) = (u16::try_from(from), active.class(&mut classes)) else { return };
                if starts.last().is_none_or(|&(_, last)| last != class) {
                    starts.push((first, class));
                }
            };
            for (at, mark, by) in changes {
                if at > from {
                    close(from, &mut active);
                    from = at;
                }
                active.change(mark, by);
            }
            close(from, &mut active);
            protocols.insert(protocol, starts);
        }
        let mut by_mark = vec![Vec::new(); self.ranges.len()];
        for class in 0..u32::try_from(classes.len()).unwrap_or(u32::MAX) {
            for &mark in classes.marks(class) {
                by_mark[mark as usize].push(class);
            }
        }
        PortClasses { protocols, classes, by_mark }
    }
}

impl PortClasses {
    /// The classes that a range is made of.
    pub fn of(&self, mark: Mark) -> &[u32] {
        &self.by_mark[mark as usize]
    }
}
