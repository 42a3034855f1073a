//! Verdict tables: for each set of rules that endpoints are under, one row for every distinct peer
//! and one column for every distinct port.
//!
//! A cell is the strongest rule that both the row's marks and the column's ports match. Rows are kept
//! as differences from the row of a peer without marks, so a table costs what its rules touch.

mod cell;
mod encode;
mod outcome;

pub use cell::{Clause, ClausePorts, Strength, TableRules};
pub use encode::{EncodedTables, Encoder};
pub use outcome::{Conflict, Outcomes, RequestSet};

use crate::classes::Classes;
use crate::classes::ports::PortClasses;
use cell::{Cell, Part};
use rustc_hash::FxHashMap;

/// One table before it is packed.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Column by port class.
    pub(crate) column_map: Vec<u16>,
    /// Outcomes of each column that differ between rows; code 0 is the one of row 0.
    pub(crate) dictionaries: Vec<Vec<u32>>,
    /// Cells with a code other than 0, one run per row.
    pub(crate) cells: Vec<(u16, u32)>,
    /// Where each row's run ends. Row 0 has none.
    pub(crate) row_ends: Vec<usize>,
    /// Rows other than 0, by peer class, sorted.
    pub(crate) rows: Vec<(u32, u32)>,
}

/// Why a table cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// Two kinds of request rules meet.
    Conflict(Conflict),
    /// More cells than an image can hold.
    TooLarge {
        /// Cells counted when it stopped.
        cells: usize,
    },
    /// Rules meet in so many cells that adding them up would not end in reasonable time.
    TooManyOverlaps {
        /// The limit.
        most: usize,
    },
}

/// Cells of one table, at most: beyond this its rows alone would fill an image.
const MAX_CELLS: usize = 1 << 26;
/// Clauses of all columns of one table, at most, each counted for every column it covers.
const MAX_COLUMN_CLAUSES: usize = 1 << 25;
/// Clauses added to cells of one table, at most: some seven seconds.
const MAX_ADDITIONS: usize = 1 << 30;

/// Builds one table.
pub(crate) fn build(
    rules: &TableRules,
    peers: &PeerMembers<'_>,
    ports: &PortClasses,
    outcomes: &mut Outcomes,
) -> Result<Table, TableError> {
    let columns = columns(rules, ports)?;
    let mut table = Table { column_map: columns.map, ..Table::default() };

    // Row 0: a peer without marks meets only the clauses for anyone.
    let count = columns.clauses.len();
    let mut base = vec![Cell::default(); count];
    for (column, clauses) in columns.clauses.iter().enumerate() {
        for &(clause, exact) in clauses {
            if rules.clauses[clause as usize].peers.is_none() {
                base[column].add(rules.clauses[clause as usize].part(exact));
            }
        }
    }
    for cell in &base {
        table.dictionaries.push(vec![outcomes.of(cell, rules).map_err(TableError::Conflict)?]);
    }

    let touched = Touched::new(rules, &columns.clauses, peers);
    let mut codes = vec![Codes::default(); count];
    // Neighbouring classes mostly differ in a column or two; what a cell was and its code are kept.
    let mut known: Vec<(Cell, u32)> = base.iter().map(|cell| (cell.clone(), 0)).collect();
    let mut signatures: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
    let mut cells = base.clone();
    let mut cells_of = vec![0u32; count];
    let mut dirty: Vec<u16> = Vec::new();
    table.row_ends.push(0);
    let mut signature = Vec::new();
    let mut additions = 0usize;
    for class in touched.carriers() {
        touched.signature(peers.classes.marks(class), &mut signature);
        if let Some(&row) = signatures.get(&signature) {
            table.rows.push((class, row));
            continue;
        }
        let row = u32::try_from(table.row_ends.len()).unwrap_or(u32::MAX);
        for &mark in &signature {
            additions += touched.cells[mark as usize].len();
            if additions > MAX_ADDITIONS {
                return Err(TableError::TooManyOverlaps { most: MAX_ADDITIONS });
            }
            for &(column, part) in &touched.cells[mark as usize] {
                let at = usize::from(column);
                if cells_of[at] != row {
                    cells_of[at] = row;
                    cells[at].reset(&base[at]);
                    dirty.push(column);
                }
                cells[at].add(part);
            }
        }
        for column in dirty.drain(..) {
            let at = usize::from(column);
            if known[at].0 != cells[at] {
                let outcome = outcomes.of(&cells[at], rules).map_err(TableError::Conflict)?;
                known[at].0.reset(&cells[at]);
                known[at].1 = codes[at].of(outcome, &mut table.dictionaries[at]);
            }
            let code = known[at].1;
            if code != 0 {
                table.cells.push((column, code));
            }
        }
        if table.cells.len() > MAX_CELLS {
            return Err(TableError::TooLarge { cells: table.cells.len() });
        }
        table.row_ends.push(table.cells.len());
        signatures.insert(signature.clone(), row);
        table.rows.push((class, row));
    }
    Ok(table)
}

/// The cells that each mark of a table's clauses touches. The marks are renumbered for the table.
struct Touched {
    /// By the peers' mark; [`Touched::NONE`] for marks that no clause names.
    own_mark: Vec<u32>,
    /// By the table's own mark: column, and what is added there.
    cells: Vec<Vec<(u16, Part)>>,
    /// Whether a class carries any of the marks.
    carriers: Vec<bool>,
}

impl Touched {
    const NONE: u32 = u32::MAX;

    fn new(rules: &TableRules, columns: &[Vec<(u32, bool)>], peers: &PeerMembers<'_>) -> Self {
        let mut touched = Touched {
            own_mark: vec![Self::NONE; peers.classes_of.len()],
            cells: Vec::new(),
            carriers: vec![false; peers.classes.len()],
        };
        for (column, clauses) in (0u16..).zip(columns) {
            for &(clause, exact) in clauses {
                let clause = &rules.clauses[clause as usize];
                let Some(mark) = clause.peers else { continue };
                let own = &mut touched.own_mark[mark as usize];
                if *own == Self::NONE {
                    *own = u32::try_from(touched.cells.len()).unwrap_or(Self::NONE);
                    touched.cells.push(Vec::new());
                    for &class in &peers.classes_of[mark as usize] {
                        touched.carriers[class as usize] = true;
                    }
                }
                touched.cells[*own as usize].push((column, clause.part(exact)));
            }
        }
        touched
    }

    /// The classes that carry any of the marks.
    fn carriers(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.carriers).filter(|&(_, carries)| *carries).map(|(class, _)| class)
    }

    /// Which of the table's own marks are among a class's.
    fn signature(&self, marks: &[u32], signature: &mut Vec<u32>) {
        signature.clear();
        let own = marks.iter().map(|&mark| self.own_mark[mark as usize]);
        signature.extend(own.filter(|&own| own != Self::NONE));
    }
}

/// The codes of one column's outcomes. Most columns have a handful, which a look through finds
/// faster than a hash.
#[derive(Clone, Debug, Default)]
struct Codes {
    many: FxHashMap<u32, u32>,
}

impl Codes {
    const FEW: usize = 32;

    fn of(&mut self, outcome: u32, dictionary: &mut Vec<u32>) -> u32 {
        let found = if dictionary.len() <= Self::FEW {
            dictionary.iter().position(|&known| known == outcome)
        } else {
            if self.many.is_empty() {
                self.many = dictionary.iter().copied().zip(0..).collect();
            }
            self.many.get(&outcome).map(|&code| code as usize)
        };
        let code = found.unwrap_or(dictionary.len());
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        if found.is_none() {
            dictionary.push(outcome);
            if !self.many.is_empty() {
                self.many.insert(outcome, code);
            }
        }
        code
    }
}

/// Port classes that the table's rules do not tell apart are one column.
struct Columns {
    map: Vec<u16>,
    /// Clauses that cover each column, and whether through a single port.
    clauses: Vec<Vec<(u32, bool)>>,
}

fn columns(rules: &TableRules, ports: &PortClasses) -> Result<Columns, TableError> {
    let too_many = TableError::TooManyOverlaps { most: MAX_COLUMN_CLAUSES };
    let mut everywhere: Vec<(u32, bool)> = Vec::new();
    let mut by_class: FxHashMap<u32, Vec<(u32, bool)>> = FxHashMap::default();
    let mut total = 0usize;
    for (place, clause) in (0u32..).zip(&rules.clauses) {
        match &clause.ports {
            ClausePorts::Everything => everywhere.push((place, false)),
            ClausePorts::Marks(marks) => {
                for &(mark, exact) in marks {
                    total += ports.of(mark).len();
                    if total > MAX_COLUMN_CLAUSES {
                        return Err(too_many);
                    }
                    for &class in ports.of(mark) {
                        by_class.entry(class).or_default().push((place, exact));
                    }
                }
            }
        }
    }
    let mut columns = Columns { map: vec![0; ports.classes.len()], clauses: vec![everywhere.clone()] };
    let mut known: FxHashMap<Vec<(u32, bool)>, u16> = FxHashMap::default();
    let mut touched: Vec<(u32, Vec<(u32, bool)>)> = by_class.into_iter().collect();
    touched.sort_unstable_by_key(|&(class, _)| class);
    for (class, mut clauses) in touched {
        // One clause may cover a class through several ranges; exactly is enough once.
        clauses.sort_unstable_by_key(|&(clause, exact)| (clause, !exact));
        clauses.dedup_by_key(|&mut (clause, _)| clause);
        let next = u16::try_from(columns.clauses.len()).unwrap_or(u16::MAX);
        let column = *known.entry(clauses.clone()).or_insert(next);
        if column == next {
            total += everywhere.len();
            if total > MAX_COLUMN_CLAUSES {
                return Err(too_many);
            }
            clauses.extend(&everywhere);
            columns.clauses.push(clauses);
        }
        columns.map[class as usize] = column;
    }
    Ok(columns)
}

/// Peer classes, and for each mark those that carry it.
#[derive(Debug)]
pub(crate) struct PeerMembers<'c> {
    classes: &'c Classes,
    classes_of: Vec<Vec<u32>>,
}

impl<'c> PeerMembers<'c> {
    /// Of classes over so many marks.
    pub(crate) fn new(classes: &'c Classes, marks: usize) -> Self {
        let mut classes_of = vec![Vec::new(); marks];
        for class in 0..u32::try_from(classes.len()).unwrap_or(u32::MAX) {
            for &mark in classes.marks(class) {
                classes_of[mark as usize].push(class);
            }
        }
        PeerMembers { classes, classes_of }
    }

    /// The classes that carry a mark.
    pub(crate) fn of(&self, mark: u32) -> &[u32] {
        self.classes_of.get(mark as usize).map_or(&[], Vec::as_slice)
    }
}
