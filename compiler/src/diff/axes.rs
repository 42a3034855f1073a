//! Rows and columns of two tables: the peer and port classes that their clauses do not tell apart.

use super::bits::Bits;
use super::lists::List;
use super::tables::{Ground, Pair, Refusal, Work};
use crate::classes::Mark;
use crate::classes::ports::PortClasses;
use crate::ir::Direction;
use crate::tables::ClausePorts;
use rustc_hash::FxHashMap;

/// Peer classes that the pair's clauses do not tell apart.
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// What names add: bits, and the combinations. The first are those that add nothing.
    pub(super) names: Vec<(Bits, List)>,
}

pub(super) struct Row {
    pub(super) bits: Bits,
    pub(super) classes: Vec<u32>,
    /// Those of them that addresses outside have.
    pub(super) outside: Vec<u32>,
}

impl Rows {
    pub(super) fn new(
        pair: &Pair<'_>,
        ground: &mut Ground<'_>,
        direction: Direction,
        work: &mut Work,
    ) -> Result<Self, Refusal> {
        let mut of_mark: FxHashMap<Mark, Vec<usize>> = FxHashMap::default();
        let mut anyone = Bits::new(pair.clauses.len());
        for (at, clause) in pair.clauses.iter().enumerate() {
            match clause.peers {
                Some(mark) => of_mark.entry(mark).or_default().push(at),
                None => anyone.set(at),
            }
        }
        let with = |bits: &mut Bits, marks: &[Mark]| {
            for &at in marks.iter().filter_map(|mark| of_mark.get(mark)).flatten() {
                bits.set(at);
            }
        };

        let mut names: FxHashMap<Bits, Vec<u32>> = FxHashMap::default();
        let nothing = Bits::new(pair.clauses.len());
        names.insert(nothing.clone(), vec![0]);
        for (number, marks) in (0u32..).zip(&ground.names).skip(1) {
            let mut bits = nothing.clone();
            if direction == Direction::Egress {
                with(&mut bits, marks);
            }
            names.entry(bits).or_default().push(number);
        }
        // A name that a changed clause is about may change any address.
        let every =
            pair.is_open || anyone.meets(&pair.touched) || names.keys().any(|bits| bits.meets(&pair.touched));

        let mut relevant: Vec<u32> = of_mark
            .iter()
            .filter(|(_, clauses)| every || clauses.iter().any(|&at| pair.touched.has(at)))
            .flat_map(|(&mark, _)| ground.members.of(mark).iter().copied())
            .collect();
        relevant.sort_unstable();
        relevant.dedup();
        let mut by_bits: FxHashMap<Bits, Vec<u32>> = FxHashMap::default();
        for &class in &relevant {
            let mut bits = anyone.clone();
            let marks = ground.classes.marks(class);
            work.look(bits.0.len() + marks.len())?;
            with(&mut bits, marks);
            by_bits.entry(bits).or_default().push(class);
        }
        if every {
            let mut relevant = relevant.iter().copied().peekable();
            let all = 0..u32::try_from(ground.classes.len()).unwrap_or(u32::MAX);
            let rest = all.filter(|class| relevant.next_if_eq(class).is_none());
            by_bits.entry(anyone).or_default().extend(rest);
        }
        let mut rows: Vec<Row> = by_bits
            .into_iter()
            .map(|(bits, mut classes)| {
                classes.sort_unstable();
                let is_outside = |class: &u32| ground.outside.get(*class as usize) == Some(&true);
                let outside = classes.iter().copied().filter(is_outside).collect();
                Row { bits, classes, outside }
            })
            .collect();
        rows.sort_unstable_by(|a, b| a.classes.cmp(&b.classes));
        let mut names: Vec<(Bits, Vec<u32>)> = names.into_iter().collect();
        names.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        let names = names.into_iter().map(|(bits, names)| (bits, ground.lists.number(names))).collect();
        Ok(Rows { rows, names })
    }
}

/// Port classes that the pair's clauses do not tell apart.
pub(super) struct Columns(pub(super) Vec<Column>);

pub(super) struct Column {
    pub(super) bits: Bits,
    /// Those of the clauses that are about exactly this port.
    pub(super) exact: Bits,
    pub(super) classes: Vec<u32>,
}

impl Columns {
    pub(super) fn new(pair: &Pair<'_>, ports: &PortClasses) -> Self {
        let mut everywhere = Bits::new(pair.clauses.len());
        let mut of_class: FxHashMap<u32, (Bits, Bits)> = FxHashMap::default();
        let nothing = Bits::new(pair.clauses.len());
        for (at, clause) in pair.clauses.iter().enumerate() {
            match &clause.ports {
                ClausePorts::Everything => everywhere.set(at),
                ClausePorts::Marks(marks) => {
                    for &(mark, is_exact) in marks {
                        for &class in ports.of(mark) {
                            let (bits, exact) =
                                of_class.entry(class).or_insert_with(|| (nothing.clone(), nothing.clone()));
                            bits.set(at);
                            if is_exact {
                                exact.set(at);
                            }
                        }
                    }
                }
            }
        }
        let mut by_bits: FxHashMap<(Bits, Bits), Vec<u32>> = FxHashMap::default();
        for class in 0..u32::try_from(ports.classes.len()).unwrap_or(u32::MAX) {
            let (mut bits, exact) =
                of_class.remove(&class).unwrap_or_else(|| (nothing.clone(), nothing.clone()));
            bits.add(&everywhere);
            by_bits.entry((bits, exact)).or_default().push(class);
        }
        let mut columns: Vec<Column> =
            by_bits.into_iter().map(|((bits, exact), classes)| Column { bits, exact, classes }).collect();
        columns.sort_unstable_by(|a, b| a.classes.cmp(&b.classes));
        Columns(columns)
    }
}
