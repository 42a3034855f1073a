//! Whose policies at the other end deny all of a difference, so that towards them nothing really opens or closes.
//!
//! Told of a peer where all of it is denied: every subject, every port. A connection between pods is up to both; what is
//! outside has no policies here.
//!
//! Not here: nodes, which pods see in two ways. Of them nothing is told.

use super::merge::Merged;
use super::tables::Ground;
use crate::compile::classified::Classified;
use crate::identity::{Identities, Kind};
use crate::ir::Direction;
use crate::tables::{Clause, ClausePorts, Strength, TableRules};
use rustc_hash::FxHashMap;

/// Clauses looked at for all differences, at most. Beyond, nothing is told.
const MAX_CLAUSES: usize = 1 << 24;

/// The policies of both ends.
pub(super) struct OtherSide<'c> {
    classified: &'c Classified<'c, 2>,
    identities: &'c Identities<'c>,
    /// Clauses that may still be looked at.
    left: usize,
}

impl<'c> OtherSide<'c> {
    pub(super) fn new(classified: &'c Classified<'c, 2>, identities: &'c Identities<'c>) -> Self {
        OtherSide { classified, identities, left: MAX_CLAUSES }
    }

    /// The peers, by place among the identities, whose policies deny all of it under a set.
    pub(super) fn denying(&mut self, merged: &Merged, set: usize, ground: &Ground<'_>) -> Vec<u32> {
        let direction = match merged.direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        };
        let [subjects, peers] = [merged.subjects, merged.peers.parties].map(|list| ground.lists.get(list));
        let is_pod = |place: &u32| {
            self.identities.entries.get(*place as usize).is_some_and(|entry| entry.kind == Kind::Pods)
        };
        if !subjects.iter().all(is_pod) {
            return Vec::new();
        }
        let classes = subjects.iter().filter_map(|&place| self.classified.peers.by_place.get(place as usize));
        let mut classes: Vec<u32> = classes.copied().collect();
        classes.sort_unstable();
        classes.dedup();
        let peers: Vec<u32> = peers.iter().copied().filter(is_pod).collect();
        // Peers under the same rules say the same of everybody.
        let mut known: FxHashMap<usize, bool> = FxHashMap::default();
        let mut denying = Vec::new();
        for peer in peers {
            let Some(number) = self.table(peer, direction, set) else { continue };
            let denies = match known.get(&number) {
                Some(&denies) => denies,
                None => {
                    let denies = self.classified.under[set].rules.get(number).is_some_and(|table| {
                        self.denies_all(table, &classes, ground.lists.get(merged.ports))
                    });
                    known.insert(number, denies);
                    denies
                }
            };
            if denies {
                denying.push(peer);
            }
        }
        denying
    }

    fn denies_all(&mut self, table: &TableRules, classes: &[u32], ports: &[u32]) -> bool {
        for &class in classes {
            let marks = self.classified.peers.classes.marks(class);
            let is_of = |clause: &&Clause| clause.peers.is_none_or(|mark| marks.binary_search(&mark).is_ok());
            let (denies, admits): (Vec<&Clause>, Vec<&Clause>) =
                table.clauses.iter().filter(is_of).partition(|clause| clause.strength == Strength::Deny);
            let Some(left) = self.left.checked_sub(table.clauses.len()) else { return false };
            self.left = left;
            let is_isolated = table.isolated_by.is_some();
            if is_isolated && admits.is_empty() {
                continue;
            }
            for &port in ports {
                let Some(left) = self.left.checked_sub(denies.len() + admits.len()) else { return false };
                self.left = left;
                let meets = |clause: &&Clause| match &clause.ports {
                    ClausePorts::Everything => true,
                    ClausePorts::Marks(marks) => {
                        marks.iter().any(|&(mark, _)| self.classified.ports.of(mark).contains(&port))
                    }
                };
                if !denies.iter().any(meets) && (!is_isolated || admits.iter().any(meets)) {
                    return false;
                }
            }
        }
        true
    }

    /// The number of an endpoint's table, if any policy selects it.
    fn table(&self, place: u32, direction: Direction, set: usize) -> Option<usize> {
        let at = self.classified.endpoints.binary_search(&place).ok()?;
        let [ingress, egress] = *self.classified.under[set].endpoints.get(at)?;
        match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }
}
