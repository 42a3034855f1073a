//! Lists of numbers that come up again and again, each kept once: two are equal if their numbers are.

use rustc_hash::FxHashMap;
use std::rc::Rc;

/// The number of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct List(u32);

/// Sorted lists without repeats.
#[derive(Debug, Default)]
pub(super) struct Lists {
    numbers: FxHashMap<Rc<[u32]>, List>,
    lists: Vec<Rc<[u32]>>,
}

impl Lists {
    /// The number of a list, which is sorted here.
    pub(super) fn number(&mut self, mut list: Vec<u32>) -> List {
        list.sort_unstable();
        list.dedup();
        if let Some(&number) = self.numbers.get(&list[..]) {
            return number;
        }
        let number = List(u32::try_from(self.lists.len()).unwrap_or(u32::MAX));
        let list: Rc<[u32]> = list.into();
        self.lists.push(Rc::clone(&list));
        self.numbers.insert(list, number);
        number
    }

    /// A list by its number.
    pub(super) fn get(&self, number: List) -> &[u32] {
        self.lists.get(number.0 as usize).map_or(&[], |list| list)
    }

    /// All of several lists.
    pub(super) fn union(&mut self, numbers: &[List]) -> List {
        if let &[one] = numbers {
            return one;
        }
        let all = numbers.iter().flat_map(|&number| self.get(number).iter().copied()).collect();
        self.number(all)
    }

    /// Pairs (names, classes) as a partition: the classes of every name, and names with the same classes together.
    pub(super) fn partition(&mut self, pairs: Vec<(List, List)>) -> Vec<(List, List)> {
        if pairs.len() < 2 {
            return pairs;
        }
        let mut by_name: FxHashMap<u32, Vec<List>> = FxHashMap::default();
        for (names, classes) in pairs {
            for &name in self.get(names) {
                by_name.entry(name).or_default().push(classes);
            }
        }
        let mut by_classes: FxHashMap<List, Vec<u32>> = FxHashMap::default();
        let mut by_lists: FxHashMap<Vec<List>, List> = FxHashMap::default();
        for (name, mut lists) in by_name {
            lists.sort_unstable();
            lists.dedup();
            let classes = match by_lists.get(&lists) {
                Some(&known) => known,
                None => {
                    let all = self.union(&lists);
                    by_lists.insert(lists, all);
                    all
                }
            };
            by_classes.entry(classes).or_default().push(name);
        }
        let mut parts: Vec<(List, List)> =
            by_classes.into_iter().map(|(classes, names)| (self.number(names), classes)).collect();
        // By the names themselves: numbers of lists depend on the order in which they were met.
        parts.sort_unstable_by(|a, b| self.get(a.0).cmp(self.get(b.0)));
        parts
    }
}
