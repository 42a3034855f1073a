//! What was settled before: so that flows that are there stay where they are.
//!
//! A slot is *settled* while every flow of it is with its present backend. When the choice changes it becomes unsettled, and what it was when it was
//! last settled is kept beside it, through any further changes: every flow that sent a packet meanwhile is on record, so one that is on no record
//! comes from before. It is settled again once whoever holds the records says that none tells of another backend.
//!
//! A table that changes its size is held against the former slot by slot too: sizes nest, so every slot of one lies in a slot of the other (`maglev`).
//! Where they do not (services whose backends are chosen at random have one slot for each) the whole of the former one is kept, and it settles as a whole.
//! Not here: records of flows, and names of backends.

use weir_abi::services::SlotTable;

/// What a table says of its time: the choice of every slot when it was last settled, and which may not be settled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// By slot, of the former table's size or of what it kept: the number of a backend.
    pub(super) settled: Vec<u32>,
    /// By the same slots.
    pub(super) kept: Vec<bool>,
    /// The former table's present choices, for a service that nobody serves now.
    pub(super) present: Vec<u32>,
}

/// Slots of the larger of two sizes for each of the smaller's, if they nest.
fn pieces(one: usize, other: usize) -> Option<usize> {
    let (small, large) = (one.min(other), one.max(other));
    (small > 0 && large.is_multiple_of(small)).then(|| large / small)
}

/// Whether slots of a table cannot settle one by one.
pub(super) fn settles_as_a_whole(table: &SlotTable<'_>) -> bool {
    pieces(table.previous_len() as usize, table.len() as usize).is_none()
}

/// Reads what a table of the image in force says.
pub(super) fn past(table: &SlotTable<'_>, keeps: &dyn Fn(u32) -> bool) -> Past {
    let slots: Vec<(u32, bool)> = table.slots().collect();
    let present: Vec<u32> = slots.iter().map(|&(backend, _)| backend).collect();
    let kept: Vec<bool> = (0..).zip(&slots).map(|(slot, &(_, unsettled))| unsettled && keeps(slot)).collect();
    if !kept.contains(&true) {
        return Past { settled: present.clone(), kept, present };
    }
    let previous: Vec<u32> = (0..table.previous_len()).filter_map(|slot| table.previous_slot(slot)).collect();
    if settles_as_a_whole(table) {
        return Past { kept: vec![true; previous.len()], settled: previous, present };
    }
    let fine = previous.len().max(present.len());
    let (of_present, of_previous) = (fine / present.len(), fine / previous.len());
    let was = |slot: usize| {
        if kept[slot / of_present] { previous[slot / of_previous] } else { present[slot / of_present] }
    };
    Past {
        settled: (0..fine).map(was).collect(),
        kept: (0..fine).map(|slot| kept[slot / of_present]).collect(),
        present,
    }
}

/// Which slots of the present choices are unsettled, after such a past told in the present's numbers.
pub(super) fn unsettled(present: &[u32], past: &Past) -> Vec<bool> {
    if past.settled.is_empty() {
        return vec![false; present.len()];
    }
    let Some(pieces) = pieces(present.len(), past.settled.len()) else { return vec![true; present.len()] };
    let mut unsettled = vec![false; present.len()];
    let is_larger = present.len() > past.settled.len();
    for fine in 0..present.len().max(past.settled.len()) {
        let (own, former) = if is_larger { (fine, fine / pieces) } else { (fine / pieces, fine) };
        unsettled[own] |= past.kept[former] || present[own] != past.settled[former];
    }
    unsettled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(settled: &[u32], kept: &[bool]) -> Past {
        Past { settled: settled.to_vec(), kept: kept.to_vec(), present: settled.to_vec() }
    }

    #[test]
    fn a_slot_whose_choice_changes_is_unsettled() {
        assert_eq!(unsettled(&[0, 2, 0], &past(&[0, 1, 0], &[false; 3])), [false, true, false]);
    }

    #[test]
    fn a_slot_that_changes_back_is_not_settled_by_that() {
        assert_eq!(unsettled(&[0, 1], &past(&[0, 1], &[false, true])), [false, true]);
    }

    #[test]
    fn one_backend_needs_no_slots() {
        assert_eq!(unsettled(&[0, 1, 0], &past(&[0], &[false])), [false, true, false]);
        assert_eq!(unsettled(&[0, 1, 0], &past(&[0], &[true])), [true; 3]);
    }

    #[test]
    fn a_larger_table_is_held_against_the_slots_that_its_own_lie_in() {
        assert_eq!(unsettled(&[0, 2, 1, 1], &past(&[0, 1], &[false; 2])), [false, true, false, false]);
        assert_eq!(unsettled(&[0, 2, 1, 1], &past(&[0, 1], &[false, true])), [false, true, true, true]);
    }

    #[test]
    fn a_smaller_table_is_settled_where_all_pieces_are() {
        assert_eq!(unsettled(&[0, 1], &past(&[0, 0, 1, 2], &[false; 4])), [false, true]);
        assert_eq!(unsettled(&[0, 1], &past(&[0, 0, 1, 1], &[false, true, false, false])), [true, false]);
    }

    #[test]
    fn sizes_that_do_not_nest_unsettle_all() {
        assert_eq!(unsettled(&[0, 1, 0], &past(&[0, 1], &[false; 2])), [true; 3]);
    }
}
