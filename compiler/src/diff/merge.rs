//! Blocks put together: who has the same change with the same peers on the same ports is told once.
//!
//! Blocks never overlap, and two are joined only where they differ in one of subjects, peers and ports, so what they cover
//! stays what it was. This goes on until nothing can be joined.

use super::cell::Change;
use super::lists::{List, Lists};
use super::tables::Peers;
use crate::ir::Direction;
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// A change of some subjects towards some peers on some ports.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    pub(super) direction: Direction,
    pub(super) change: Change,
    /// Endpoints, by place among the identities.
    pub(super) subjects: List,
    pub(super) peers: Peers,
    pub(super) ports: List,
    /// The rules that isolate the subjects first, before and after.
    pub(super) isolated_by: [List; 2],
}

/// Joins what can be joined.
pub(super) fn merge(mut blocks: Vec<Merged>, lists: &mut Lists) -> Vec<Merged> {
    loop {
        let count = blocks.len();
        blocks = joined(
            blocks,
            lists,
            |block| (block.peers.clone(), block.ports),
            |block, others, lists| block.subjects = lists.union(&column(others, |one| one.subjects)),
        );
        blocks = joined(
            blocks,
            lists,
            |block| (block.subjects, block.ports),
            |block, others, lists| block.peers = peers(others, lists),
        );
        blocks = joined(
            blocks,
            lists,
            |block| (block.subjects, block.peers.clone()),
            |block, others, lists| block.ports = lists.union(&column(others, |one| one.ports)),
        );
        if blocks.len() == count {
            return blocks;
        }
    }
}

/// Joins blocks of one direction, change and key.
fn joined<K: Eq + Hash>(
    blocks: Vec<Merged>,
    lists: &mut Lists,
    key: impl Fn(&Merged) -> K,
    join: impl Fn(&mut Merged, &[Merged], &mut Lists),
) -> Vec<Merged> {
    let mut places: FxHashMap<(Direction, Change, K), usize> = FxHashMap::default();
    let mut groups: Vec<Vec<Merged>> = Vec::new();
    for block in blocks {
        let place = *places.entry((block.direction, block.change, key(&block))).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(block),
            None => groups.push(vec![block]),
        }
    }
    let mut joined = Vec::with_capacity(groups.len());
    for group in groups {
        let Some(mut one) = group.first().cloned() else { continue };
        if group.len() > 1 {
            join(&mut one, &group, lists);
            one.isolated_by = [0, 1].map(|at| lists.union(&column(&group, |other| other.isolated_by[at])));
        }
        joined.push(one);
    }
    joined
}

fn column(blocks: &[Merged], of: impl Fn(&Merged) -> List) -> Vec<List> {
    let mut lists: Vec<List> = blocks.iter().map(of).collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}

fn peers(blocks: &[Merged], lists: &mut Lists) -> Peers {
    let parties = lists.union(&column(blocks, |block| block.peers.parties));
    let mut outside: Vec<(List, List)> =
        blocks.iter().flat_map(|block| block.peers.outside.iter().copied()).collect();
    outside.sort_unstable();
    outside.dedup();
    Peers { parties, outside: lists.partition(outside) }
}
