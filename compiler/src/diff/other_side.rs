//! Whether the policies of the other end deny all of a difference, so that nothing really opens or closes.
//!
//! Told only where all of it is denied: every subject, every peer, every port. A connection between pods is up to both;
//! what is outside has no policies here.
//!
//! Not here: nodes, which pods see in two ways. Of differences with nodes nothing is told.

use super::merge::Merged;
use super::tables::Ground;
use crate::compile::classified::Classified;
use crate::identity::{Identities, Kind};
use crate::ir::Direction;
use crate::tables::{Clause, ClausePorts, Strength, TableRules};

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

    /// Whether under a set the peers' policies deny all of it.
    pub(super) fn denies(&mut self, merged: &Merged, set: usize, ground: &Ground<'_>) -> bool {
        let direction = match merged.direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        };
        let [subjects, peers] = [merged.subjects, merged.peers.parties].map(|list| ground.lists.get(list));
        let is_pod = |&place: &u32| {
            self.identities.entries.get(place as usize).is_some_and(|entry| entry.kind == Kind::Pods)
        };
        let are_pods = subjects.iter().chain(peers).all(is_pod);
        if !are_pods || !merged.peers.outside.is_empty() {
            return false;
        }
        let classes = subjects.iter().filter_map(|&place| self.classified.peers.by_place.get(place as usize));
        let mut classes: Vec<u32> = classes.copied().collect();
        classes.sort_unstable();
        classes.dedup();
        let mut known: Vec<&TableRules> = Vec::new();
        for &peer in peers {
            let Some(table) = self.table(peer, direction, set) else { return false };
            // Peers under the same rules say the same of everybody.
            if known.iter().any(|&known| std::ptr::eq(known, table)) {
                continue;
            }
            known.push(table);
            for &class in &classes {
                for &port in ground.lists.get(merged.ports) {
                    let cost = table.clauses.len() + 1;
                    let Some(left) = self.left.checked_sub(cost) else { return false };
                    self.left = left;
                    if !self.is_denied(table, class, port) {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn table(&self, place: u32, direction: Direction, set: usize) -> Option<&'c TableRules> {
        let at = self.classified.endpoints.binary_search(&place).ok()?;
        let under = &self.classified.under[set];
        let [ingress, egress] = *under.endpoints.get(at)?;
        under.rules.get(match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }?)
    }

    fn is_denied(&self, table: &TableRules, class: u32, port: u32) -> bool {
        let marks = self.classified.peers.classes.marks(class);
        let meets = |clause: &&Clause| {
            clause.peers.is_none_or(|mark| marks.binary_search(&mark).is_ok())
                && match &clause.ports {
                    ClausePorts::Everything => true,
                    ClausePorts::Marks(ports) => {
                        ports.iter().any(|&(mark, _)| self.classified.ports.of(mark).contains(&port))
                    }
                }
        };
        let mut admits = table.isolated_by.is_none();
        for clause in table.clauses.iter().filter(meets) {
            match clause.strength {
                Strength::Deny => return true,
                Strength::Allow | Strength::Redirect(_) | Strength::OwnNode => admits = true,
            }
        }
        !admits
    }
}
