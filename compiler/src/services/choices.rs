//! Which table a scope of a frontend has: that of its members, after what the image in force says.
//!
//! Tables and their pasts are made once for each question, however many frontends ask it. Not here: what is in a table (`tables`, `history`).

use super::Previous;
use super::gather::number;
use super::history::{Past, past};
use super::model::Frontend;
use super::tables::{Members, Tables};
use super::unchanged::Unchanged;
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use std::rc::Rc;
use weir_abi::services::{Backend, Choice, Scope};
use weir_grammar::tree::Service;

/// The backends of a port by number: address and port. Those that only the past knows are behind the candidates.
pub(super) type Run = Vec<(IpAddr, u16)>;

/// What a scope of a frontend leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// What comes of new flows.
    pub(super) choice: Choice,
    /// The number of its table. Where new flows are refused, it is for those that are there.
    pub(super) table: Option<u32>,
}

/// All tables, and what they came from.
pub(super) struct Choices<'i> {
    previous: Option<Previous<'i>>,
    pub(super) tables: Tables<'i>,
    unchanged: Unchanged,
    /// What the tables of the image in force say, by their number.
    pasts: FxHashMap<u32, Rc<Past>>,
    /// Tables by what they were made from, and the former backends that had to be added to the run for it.
    after: FxHashMap<AfterKey, (u32, Vec<u32>)>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AfterKey {
    members: Option<Members>,
    table: u32,
    /// Former number to place in the run.
    places: Vec<Option<u32>>,
    free: usize,
}

impl<'i> Choices<'i> {
    pub(super) fn new(previous: Option<Previous<'i>>) -> Self {
        Choices {
            previous,
            tables: Tables::default(),
            unchanged: Unchanged::default(),
            pasts: FxHashMap::default(),
            after: FxHashMap::default(),
        }
    }

    /// What a scope leads to; backends that only the past knows are added to the run.
    pub(super) fn table(
        &mut self,
        service: &Service,
        frontend: &Frontend,
        scope: Scope,
        members: Result<Members, Choice>,
        run: &mut Run,
    ) -> Served {
        if let Ok(members) = &members
            && let Some(found) = self.previous.and_then(|previous| frontend.find(&previous.image))
            && let Some(table) = self.unchanged.take(&mut self.tables, members, &found, scope)
        {
            return Served { choice: Choice::Backend, table: Some(table) };
        }
        let past = self.past(service, frontend, scope);
        match (members, past) {
            (Ok(members), None) => {
                Served { choice: Choice::Backend, table: Some(self.tables.settled(&members)) }
            }
            (Ok(members), Some((former, past))) => {
                Served { choice: Choice::Backend, table: Some(self.after(Some(members), former, &past, run)) }
            }
            // Flows that are there may end.
            (Err(choice @ (Choice::NoBackend | Choice::NoLocalBackend)), Some((former, past))) => {
                Served { choice, table: Some(self.after(None, former, &past, run)) }
            }
            (Err(choice), _) => Served { choice, table: None },
        }
    }

    /// What the image in force says of a frontend: its table by number with its backends, and what the table says.
    fn past(
        &mut self,
        service: &Service,
        frontend: &Frontend,
        scope: Scope,
    ) -> Option<((u32, Run), Rc<Past>)> {
        let previous = self.previous?;
        let found = frontend.find(&previous.image)?;
        // Flows were told apart otherwise, so slots say nothing.
        if found.affinity().is_some() != service.affinity.is_some() {
            return None;
        }
        let (table, slots) = found.table(scope)?;
        let past = self
            .pasts
            .entry(table)
            .or_insert_with(|| Rc::new(past(&slots, &|slot| (previous.keeps)(table, slot))));
        let backends = found.backends().map(|Backend { address, port, .. }| (address, port)).collect();
        Some(((table, backends), Rc::clone(past)))
    }

    fn after(
        &mut self,
        members: Option<Members>,
        (table, former): (u32, Run),
        past: &Past,
        run: &mut Run,
    ) -> u32 {
        let known: FxHashMap<(IpAddr, u16), u32> = run.iter().copied().zip(0..).collect();
        let places: Vec<Option<u32>> = former.iter().map(|backend| known.get(backend).copied()).collect();
        let key = AfterKey { members, table, places, free: run.len() };
        let backend = |number: &u32| former.get(*number as usize).copied();
        if let Some((table, added)) = self.after.get(&key) {
            run.extend(added.iter().filter_map(backend));
            return *table;
        }
        let mut places = key.places.clone();
        let mut added = Vec::new();
        let mut place_of = |former: u32| -> u32 {
            let Some(place) = places.get_mut(former as usize) else { return 0 };
            *place.get_or_insert_with(|| {
                added.push(former);
                number(key.free + added.len() - 1)
            })
        };
        let mut told = |slots: &[u32]| slots.iter().map(|&former| place_of(former)).collect::<Vec<u32>>();
        let table = match &key.members {
            Some(members) => {
                let past =
                    Past { settled: told(&past.settled), kept: past.kept.clone(), present: Vec::new() };
                self.tables.after(members, &past, number(key.free + added.len()))
            }
            None => {
                let past =
                    Past { settled: told(&past.settled), kept: Vec::new(), present: told(&past.present) };
                self.tables.ending(&past, number(key.free + added.len()))
            }
        };
        run.extend(added.iter().filter_map(backend));
        self.after.insert(key, (table, added));
        table
    }
}
