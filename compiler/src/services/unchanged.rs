//! Tables of the image in force that would come out the same: most services do not change from one image to the next, and filling tables is most
//! of the work.
//!
//! A table is taken over where all its slots are settled and its members, by name and weight, are those that serve now, at the same places. Both were
//! made by one version of the layout, so by one algorithm: any change of that takes the next `SERVICE_VERSION`. Not here: what changes.

use super::tables::{Encoded, Members, Tables, named};
use rustc_hash::FxHashMap;
use std::rc::Rc;
use weir_abi::services::layout::BYTE_SLOTS;
use weir_abi::services::{Backend, BackendState, Choice, Frontend, Scope, SlotTable};

/// What is known of the tables of the image in force, by their numbers there.
#[derive(Debug, Default)]
pub(super) struct Unchanged {
    /// The places that have slots, if all of them are settled.
    used: FxHashMap<u32, Option<Rc<Vec<u32>>>>,
    /// Their numbers in the next image, by those that are listed there.
    taken: FxHashMap<(u32, u32), u32>,
}

impl Unchanged {
    /// The number of the table that a frontend of the image in force has, taken over if it is the members' as it is.
    pub(super) fn take<'i>(
        &mut self,
        tables: &mut Tables<'i>,
        members: &Members,
        frontend: &Frontend<'i>,
        scope: Scope,
    ) -> Option<u32> {
        if frontend.choice(scope) != Choice::Backend || frontend.is_random() != members.random {
            return None;
        }
        let (number, table) = frontend.table(scope)?;
        let used = self.used.entry(number).or_insert_with(|| used(&table)).clone()?;
        if *used != members.places {
            return None;
        }
        // Those that leave stand behind the candidates, in no order.
        let is_listed = |backend: &Backend| backend.state != BackendState::Leaving;
        let former: Vec<Backend> = frontend.backends().take_while(is_listed).collect();
        let known = named(former.iter().map(|one| (one.address, one.port, one.weight)));
        let own = used.iter().map(|&place| known.get(place as usize));
        if !own.eq(members.members.iter().map(Some)) {
            return None;
        }
        // Its slots may be too narrow for those that have none.
        if members.listed > 1 << (8 * table.width() - 1) {
            return None;
        }
        let taken = self.taken.entry((number, members.listed));
        Some(*taken.or_insert_with(|| tables.put(encoded(&table, members.listed))))
    }
}

/// The places that have slots, rising; `None` if a slot is not settled.
fn used(table: &SlotTable<'_>) -> Option<Rc<Vec<u32>>> {
    if table.previous_len() > 0 {
        return None;
    }
    let mut has_slot = vec![false; 256];
    if table.width() == BYTE_SLOTS {
        // Most tables are of bytes, and there may be many: these are read as they are.
        table.bytes().iter().for_each(|&place| has_slot[usize::from(place)] = true);
    } else {
        for (backend, _) in table.slots() {
            let place = backend as usize;
            if has_slot.len() <= place {
                has_slot.resize(place + 1, false);
            }
            has_slot[place] = true;
        }
    }
    Some(Rc::new((0..).zip(has_slot).filter(|(_, has)| *has).map(|(place, _)| place).collect()))
}

fn encoded<'i>(table: &SlotTable<'i>, listed: u32) -> Encoded<'i> {
    Encoded {
        width: table.width(),
        count: table.len(),
        backends: listed,
        slots: table.bytes().into(),
        previous: None,
    }
}
