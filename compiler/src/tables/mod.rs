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

use crate::classes::ports::PortClasses;
use crate::classes::{Classes, Mark};
use cell::Cell;
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
    /// Outcome where no rule speaks.
    pub(crate) default_outcome: u32,
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
}

/// Cells of one table, at most: beyond this its rows alone would fill an image.
const MAX_CELLS: usize = 1 << 27;

/// Builds one table. `members` lists for each mark the classes that carry it.
pub(crate) fn build(
    rules: &TableRules,
    members: &[Vec<u32>],
    ports: &PortClasses,
    outcomes: &mut Outcomes,
) -> Result<Table, TableError> {
    let columns = columns(rules, ports);
    let mut table = Table { column_map: columns.map, ..Table::default() };
    table.default_outcome = outcomes.of(&Cell::default(), rules).map_err(TableError::Conflict)?;

    // Row 0: a peer without marks meets only the clauses for anyone.
    let count = columns.clauses.len();
    let mut base = vec![Cell::default(); count];
    for (column, clauses) in columns.clauses.iter().enumerate() {
        for &(clause, exact) in clauses {
            if rules.clauses[clause as usize].peers.is_none() {
                base[column].add(&rules.clauses[clause as usize], exact);
            }
        }
    }
    for cell in &base {
        table.dictionaries.push(vec![outcomes.of(cell, rules).map_err(TableError::Conflict)?]);
    }

    // For each mark, the cells that its clauses touch.
    let mut touched: FxHashMap<Mark, Vec<(u16, u32, bool)>> = FxHashMap::default();
    for (column, clauses) in (0u16..).zip(&columns.clauses) {
        for &(clause, exact) in clauses {
            if let Some(mark) = rules.clauses[clause as usize].peers {
                touched.entry(mark).or_default().push((column, clause, exact));
            }
        }
    }

    let mut codes: Vec<FxHashMap<u32, u32>> = table
        .dictionaries
        .iter()
        .map(|dictionary| FxHashMap::from_iter([(dictionary[0], 0)]))
        .collect();
    let mut signatures: FxHashMap<Vec<Mark>, u32> = FxHashMap::default();
    let mut scratch: Vec<Option<Cell>> = vec![None; count];
    let mut dirty: Vec<u16> = Vec::new();
    table.row_ends.push(0);
    for (class, signature) in marks_by_class(touched.keys().copied(), members) {
        if let Some(&row) = signatures.get(&signature) {
            table.rows.push((class, row));
            continue;
        }
        for mark in &signature {
            for &(column, clause, exact) in &touched[mark] {
                let cell = &mut scratch[usize::from(column)];
                if cell.is_none() {
                    dirty.push(column);
                }
                cell.get_or_insert_with(|| base[usize::from(column)].clone())
                    .add(&rules.clauses[clause as usize], exact);
            }
        }
        dirty.sort_unstable();
        for column in dirty.drain(..) {
            let at = usize::from(column);
            let Some(cell) = scratch[at].take() else { continue };
            let outcome = outcomes.of(&cell, rules).map_err(TableError::Conflict)?;
            let dictionary = &mut table.dictionaries[at];
            let next = u32::try_from(dictionary.len()).unwrap_or(u32::MAX);
            let code = *codes[at].entry(outcome).or_insert(next);
            if code == next {
                dictionary.push(outcome);
            }
            if code != 0 {
                table.cells.push((column, code));
            }
        }
        if table.cells.len() > MAX_CELLS {
            return Err(TableError::TooLarge { cells: table.cells.len() });
        }
        let row = u32::try_from(table.row_ends.len()).unwrap_or(u32::MAX);
        table.row_ends.push(table.cells.len());
        signatures.insert(signature, row);
        table.rows.push((class, row));
    }
    Ok(table)
}

/// For each class that carries any of `marks`: which ones, sorted.
fn marks_by_class(
    marks: impl Iterator<Item = Mark>,
    members: &[Vec<u32>],
) -> impl Iterator<Item = (u32, Vec<Mark>)> {
    let mut pairs: Vec<(u32, Mark)> = marks
        .flat_map(|mark| members[mark as usize].iter().map(move |&class| (class, mark)))
        .collect();
    pairs.sort_unstable();
    let mut pairs = pairs.into_iter().peekable();
    std::iter::from_fn(move || {
        let (class, first) = pairs.next()?;
        let mut signature = vec![first];
        while let Some((_, mark)) = pairs.next_if(|&(next, _)| next == class) {
            signature.push(mark);
        }
        Some((class, signature))
    })
}

/// Port classes that the table's rules do not tell apart are one column.
struct Columns {
    map: Vec<u16>,
    /// Clauses that cover each column, and whether through a single port.
    clauses: Vec<Vec<(u32, bool)>>,
}

fn columns(rules: &TableRules, ports: &PortClasses) -> Columns {
    let mut everywhere: Vec<(u32, bool)> = Vec::new();
    let mut by_class: FxHashMap<u32, Vec<(u32, bool)>> = FxHashMap::default();
    for (place, clause) in (0u32..).zip(&rules.clauses) {
        match &clause.ports {
            ClausePorts::Everything => everywhere.push((place, false)),
            ClausePorts::Marks(marks) => {
                for &(mark, exact) in marks {
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
            clauses.extend(&everywhere);
            columns.clauses.push(clauses);
        }
        columns.map[class as usize] = column;
    }
    columns
}

/// For each mark the classes that carry it.
pub(crate) fn members(classes: &Classes, marks: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); marks];
    for class in 0..u32::try_from(classes.len()).unwrap_or(u32::MAX) {
        for &mark in classes.marks(class) {
            members[mark as usize].push(class);
        }
    }
    members
}
