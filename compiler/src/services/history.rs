//! What was settled before: so that flows that are there stay where they are.
//!
//! A slot is *settled* while every flow of it is with its present backend. When the choice changes it becomes unsettled, and what it was when it was
//! last settled is kept beside it, through any further changes: every flow that sent a packet meanwhile is on record, so one that is on no record
//! comes from before. It is settled again once whoever holds the records says that none tells of another backend.
//!
//! A table that changes its size cannot tell by slots what was before; then the whole of the former one is kept, and it settles as a whole.
//! Not here: records of flows, and names of backends.

use weir_abi::services::SlotTable;

/// What a table says of its time: the choice of every slot when it was last settled, and which may not be settled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// By slot of its own size: the number of a backend.
    pub(super) settled: Vec<u32>,
    /// By slot of the former table's size, which may be another.
    pub(super) kept: Vec<bool>,
    /// The former table's present choices, for a service that nobody serves now.
    pub(super) present: Vec<u32>,
}

/// Reads what a table of the image in force says.
pub(super) fn past(table: &SlotTable<'_>, keeps: &dyn Fn(u32) -> bool) -> Past {
    let slots: Vec<(u32, bool)> = table.slots().collect();
    let present: Vec<u32> = slots.iter().map(|&(backend, _)| backend).collect();
    let mut kept: Vec<bool> =
        (0..).zip(&slots).map(|(slot, &(_, unsettled))| unsettled && keeps(slot)).collect();
    let is_other_size = table.previous_len() != table.len();
    let settled = if !kept.contains(&true) {
        present.clone()
    } else if is_other_size {
        kept.fill(true);
        (0..table.previous_len()).filter_map(|slot| table.previous_slot(slot)).collect()
    } else {
        let before = |(slot, backend): (u32, &u32)| {
            if kept[slot as usize] { table.previous_slot(slot).unwrap_or(*backend) } else { *backend }
        };
        (0..).zip(&present).map(before).collect()
    };
    Past { settled, kept, present }
}

/// Which slots of the present choices are unsettled, after such a past told in the present's numbers.
pub(super) fn unsettled(present: &[u32], past: &Past) -> Vec<bool> {
    let keeps_any = past.kept.contains(&true);
    if past.settled.len() == present.len() && past.kept.len() == present.len() {
        let slots = present.iter().zip(&past.settled).zip(&past.kept);
        return slots.map(|((now, before), &kept)| kept || now != before).collect();
    }
    match past.settled.first() {
        // One backend had every flow, so it needs no slot to say which.
        Some(only) if !keeps_any && past.settled.iter().all(|before| before == only) => {
            present.iter().map(|now| now != only).collect()
        }
        Some(_) => vec![true; present.len()],
        None => vec![false; present.len()],
    }
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
    fn another_size_unsettles_all() {
        assert_eq!(unsettled(&[0, 1, 0], &past(&[0, 1], &[false; 2])), [true; 3]);
    }
}
