//! Two tables of one endpoint, cell by cell where they can differ.
//!
//! A row is a peer class, a column a port class, and the rules that meet in a cell are those that the row and the
//! column have in common: two sets of bits, one `and`. A cell that no changed clause touches is the same in
//! both tables, so only the others are looked at, unless default deny itself comes or goes.
//!
//! The clauses of both tables are numbered together, the first table's first. What they say of a cell is told as in
//! the reference evaluator; rows are also asked together with the DNS names that an address outside may have.
//!
//! Not here: which endpoints have these tables, and how changes are put together ([`super::merge()`]).

use super::axes::{Column, Columns, Rows};
use super::bits::Bits;
use super::cell::{Change, Met};
use super::lists::{List, Lists};
use super::requests::Contents;
use crate::classes::ports::PortClasses;
use crate::classes::{Classes, Mark};
use crate::ir::Direction;
use crate::tables::{Clause, ClausePorts, Conflict, PeerMembers, Strength, TableRules};
use rustc_hash::{FxHashMap, FxHashSet};

/// Cells of one change: some peers on some ports.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) change: Change,
    pub(super) peers: Peers,
    /// Port classes.
    pub(super) ports: List,
}

/// Peers; equal ones are told alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Peers {
    /// Identities, by place.
    pub(super) parties: List,
    /// Addresses outside: under some combinations of names (0: no name), some classes. No combination is in two
    /// of them, and no two have the same classes.
    pub(super) outside: Vec<(List, List)>,
}

/// What all pairs of tables have in common.
pub(super) struct Ground<'c> {
    pub(super) members: PeerMembers<'c>,
    pub(super) ports: &'c PortClasses,
    pub(super) classes: &'c Classes,
    /// By peer class, the identities that have it, by place.
    pub(super) places: Vec<Vec<u32>>,
    /// By peer class, whether an address outside has it.
    pub(super) outside: Vec<bool>,
    /// The marks that each combination of names adds; number 0 is no name.
    pub(super) names: Vec<Vec<Mark>>,
    pub(super) contents: Contents,
    pub(super) lists: Lists,
    pub(super) clauses: ClauseNumbers<'c>,
}

/// Clauses by what they do, whatever rule they are of.
#[derive(Default)]
pub(super) struct ClauseNumbers<'c>(FxHashMap<ClauseKey<'c>, u32>);

type ClauseKey<'c> = (Option<Mark>, &'c ClausePorts, Strength, List);

/// Words of bits that are looked at, at most: some seconds.
const MAX_WORDS: usize = 1 << 32;
/// Cells found to change, at most.
const MAX_FOUND: usize = 1 << 24;

/// What may still be looked at and found in one comparison.
pub(super) struct Work {
    words: usize,
    found: usize,
}

impl Default for Work {
    fn default() -> Self {
        Work { words: MAX_WORDS, found: MAX_FOUND }
    }
}

impl Work {
    pub(super) fn look(&mut self, words: usize) -> Result<(), Refusal> {
        self.words = self.words.checked_sub(words).ok_or(Refusal::TooMany { most: MAX_WORDS })?;
        Ok(())
    }

    fn find(&mut self, cells: usize) -> Result<(), Refusal> {
        self.found = self.found.checked_sub(cells).ok_or(Refusal::TooMany { most: MAX_FOUND })?;
        Ok(())
    }
}

/// Why two tables cannot be compared.
pub(super) enum Refusal {
    /// Request rules of two kinds on one peer and port.
    Conflict(Conflict),
    /// More than can be looked at, or told.
    TooMany {
        /// The limit.
        most: usize,
    },
}

impl<'c> Ground<'c> {
    /// What a table depends on, as numbers: two tables that have the same say the same.
    pub(super) fn content(&mut self, rules: &'c TableRules) -> (List, bool) {
        let numbers = rules.clauses.iter().map(|clause| self.clause(clause)).collect();
        (self.lists.number(numbers), rules.isolated_by.is_some())
    }

    fn clause(&mut self, clause: &'c Clause) -> u32 {
        let asked = match clause.strength {
            Strength::Redirect(_) => self.contents.of(clause.rule).to_vec(),
            Strength::Deny | Strength::Allow | Strength::OwnNode => Vec::new(),
        };
        let key = (clause.peers, &clause.ports, clause.strength, self.lists.number(asked));
        let next = u32::try_from(self.clauses.0.len()).unwrap_or(u32::MAX);
        *self.clauses.0.entry(key).or_insert(next)
    }

    /// What changes from one table to the other.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn compare(
        &mut self,
        direction: Direction,
        tables: [&'c TableRules; 2],
        work: &mut Work,
    ) -> Result<Vec<Block>, Refusal> {
        let contents = tables.map(|table| self.content(table));
        if contents[0] == contents[1] {
            return Ok(Vec::new());
        }
        let changed: FxHashSet<u32> = {
            let [one, other] = contents.map(|(list, _)| self.lists.get(list).iter().copied().collect());
            let (one, other): (FxHashSet<u32>, FxHashSet<u32>) = (one, other);
            one.symmetric_difference(&other).copied().collect()
        };
        let clauses: Vec<&Clause> = tables.iter().flat_map(|table| &table.clauses).collect();
        let mut touched = Bits::new(clauses.len());
        for (at, clause) in tables.iter().flat_map(|table| &table.clauses).enumerate() {
            if changed.contains(&self.clause(clause)) {
                touched.set(at);
            }
        }
        let pair = Pair {
            is_open: contents[0].1 != contents[1].1,
            split: tables[0].clauses.len(),
            isolated_by: tables.map(|table| table.isolated_by),
            clauses,
            touched,
        };
        let rows = Rows::new(&pair, self, direction, work)?;
        let columns = Columns::new(&pair, self.ports);
        let found = pair.cells(&rows, &columns, self, work)?;
        Ok(blocks(found, &rows, &columns, self))
    }
}

/// Two tables' clauses, numbered together.
pub(super) struct Pair<'t> {
    pub(super) clauses: Vec<&'t Clause>,
    /// Clauses from here on are the second table's.
    split: usize,
    /// Those that are in one of the tables only.
    pub(super) touched: Bits,
    /// Default deny comes or goes, so that any cell may change.
    pub(super) is_open: bool,
    isolated_by: [Option<u32>; 2],
}

/// Peers of a pair: a row, and a number among what names add.
type Point = (u32, u32);

impl Pair<'_> {
    /// The cells that change.
    fn cells(
        &self,
        rows: &Rows,
        columns: &Columns,
        ground: &mut Ground<'_>,
        work: &mut Work,
    ) -> Result<FxHashMap<Change, Vec<(Point, u32)>>, Refusal> {
        // A name says something else than its address on the ports of its own clauses alone.
        let all: Vec<u32> = (0u32..).take(columns.0.len()).collect();
        let of_names = |added: &Bits| -> Vec<u32> {
            (0u32..)
                .zip(&columns.0)
                .filter(|(_, column)| column.bits.meets(added))
                .map(|(at, _)| at)
                .collect()
        };
        let of_names: Vec<Vec<u32>> = rows.names.iter().map(|(added, _)| of_names(added)).collect();
        let mut found: FxHashMap<Change, Vec<(Point, u32)>> = FxHashMap::default();
        for (number, row) in (0u32..).zip(&rows.rows) {
            let mut plain: Vec<(Change, u32)> = Vec::new();
            for (with, ((added, _), own)) in (0u32..).zip(rows.names.iter().zip(&of_names)) {
                let is_named = with > 0;
                if is_named && row.outside.is_empty() {
                    break;
                }
                let mut peers = row.bits.clone();
                peers.add(added);
                let mut changes = Vec::new();
                for &at in if is_named { own } else { &all } {
                    let Some(column) = columns.0.get(at as usize) else { continue };
                    work.look(peers.0.len())?;
                    if !self.is_open && !column.bits.meets_both(&peers, &self.touched) {
                        continue;
                    }
                    let verdicts = self.verdicts(&peers, column, is_named, ground)?;
                    if !verdicts[0].is_same(&verdicts[1]) {
                        changes.push((verdicts, at));
                    }
                }
                if is_named {
                    changes.extend(plain.iter().filter(|(_, at)| own.binary_search(at).is_err()));
                } else {
                    plain.clone_from(&changes);
                }
                work.find(changes.len())?;
                for (change, at) in changes {
                    found.entry(change).or_default().push(((number, with), at));
                }
            }
        }
        Ok(found)
    }

    fn verdicts(
        &self,
        peers: &Bits,
        ports: &Column,
        by_name: bool,
        ground: &mut Ground<'_>,
    ) -> Result<Change, Refusal> {
        let mut met = [Met::default(), Met::default()];
        for (place, (word, others)) in peers.0.iter().zip(&ports.bits.0).enumerate() {
            let mut word = word & others;
            while word != 0 {
                let at = place * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                let Some(clause) = self.clauses.get(at) else { continue };
                met[usize::from(at >= self.split)].add(clause, ports.exact.has(at));
            }
        }
        let [before, after] = met;
        let Ground { contents, lists, .. } = ground;
        let mut verdict = |met: &Met, isolated_by| {
            // What meets through a name alone is no conflict of an image: only then are two kinds told apart by requests.
            if !by_name && let Some(conflict) = met.conflict() {
                return Err(Refusal::Conflict(conflict));
            }
            Ok(met.verdict(isolated_by, contents, lists))
        };
        Ok([verdict(&before, self.isolated_by[0])?, verdict(&after, self.isolated_by[1])?])
    }
}

/// Cells into blocks: columns with the same peers, or peers with the same columns, whichever are fewer.
fn blocks(
    found: FxHashMap<Change, Vec<(Point, u32)>>,
    rows: &Rows,
    columns: &Columns,
    ground: &mut Ground<'_>,
) -> Vec<Block> {
    let mut found: Vec<(Change, Vec<(Point, u32)>)> = found.into_iter().collect();
    found.sort_unstable();
    let mut blocks = Vec::new();
    for (change, cells) in found {
        let by_column = grouped(cells.iter().map(|&(point, column)| (column, point)));
        let by_point = grouped(cells.iter().copied());
        let cut: Vec<(Vec<Point>, Vec<u32>)> = if by_column.len() <= by_point.len() {
            by_column
        } else {
            by_point.into_iter().map(|(columns, points)| (points, columns)).collect()
        };
        for (points, at) in cut {
            let ports = at.iter().filter_map(|&column| columns.0.get(column as usize));
            let ports = ports.flat_map(|column| column.classes.iter().copied()).collect();
            let ports = ground.lists.number(ports);
            blocks.push(Block { change, peers: peers(&points, rows, ground), ports });
        }
    }
    blocks
}

/// Keys that have the same values, with these values first.
fn grouped<K: Copy + Ord + std::hash::Hash, V: Copy + Ord + std::hash::Hash>(
    pairs: impl Iterator<Item = (K, V)>,
) -> Vec<(Vec<V>, Vec<K>)> {
    let mut values: FxHashMap<K, Vec<V>> = FxHashMap::default();
    for (key, value) in pairs {
        values.entry(key).or_default().push(value);
    }
    let mut keys: FxHashMap<Vec<V>, Vec<K>> = FxHashMap::default();
    for (key, mut values) in values {
        values.sort_unstable();
        keys.entry(values).or_default().push(key);
    }
    let mut keys: Vec<(Vec<V>, Vec<K>)> = keys.into_iter().collect();
    for (_, keys) in &mut keys {
        keys.sort_unstable();
    }
    keys.sort_unstable();
    keys
}

fn peers(points: &[Point], rows: &Rows, ground: &mut Ground<'_>) -> Peers {
    let mut parties = Vec::new();
    let mut by_name: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for &(row, with) in points {
        let Some(row) = rows.rows.get(row as usize) else { continue };
        if with == 0 {
            let places = row.classes.iter().filter_map(|&class| ground.places.get(class as usize));
            parties.extend(places.flatten());
        }
        if !row.outside.is_empty() {
            by_name.entry(with).or_default().extend(&row.outside);
        }
    }
    let outside = by_name
        .into_iter()
        .filter_map(|(with, classes)| Some((rows.names.get(with as usize)?.1, ground.lists.number(classes))));
    let outside = outside.collect();
    Peers { parties: ground.lists.number(parties), outside: ground.lists.partition(outside) }
}
