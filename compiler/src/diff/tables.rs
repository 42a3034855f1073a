//! Two tables of one endpoint, cell by cell where they can differ.
//!
//! A row is a peer class, a column a port class, and the rules that meet in a cell are those that the row and the
//! column have in common: two sets of bits, one `and`. A cell that no changed clause touches is the same in
//! both tables, so only the others are looked at, unless default deny itself comes or goes.
//!
//! The clauses of both tables are numbered together, the first table's first. What they say of a cell is told as in
//! the reference evaluator; rows are also asked together with the DNS names that an address outside may have.
//!
//! Not here: which endpoints have these tables, and how changes are put together ([`super::merge`]).

use super::lists::{List, Lists};
use super::requests::Contents;
use crate::classes::ports::PortClasses;
use crate::classes::{Classes, Mark};
use crate::ir::Direction;
use crate::tables::{Clause, ClausePorts, Conflict, PeerMembers, Strength, TableRules};
use rustc_hash::{FxHashMap, FxHashSet};
use weir_abi::{Action, Reason, RequestKind};

/// What a table says of a cell, as far as it is compared and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Verdict {
    pub(super) action: Action,
    pub(super) reason: Reason,
    /// The rules that decide; none for a default.
    pub(super) rules: List,
    /// For a redirect: whether every request passes.
    pub(super) free: bool,
    /// For a redirect: what is asked, by number; where every request passes only what acts on them.
    pub(super) requests: List,
}

impl Verdict {
    /// Whether both let pass the same.
    pub(super) fn is_same(&self, other: &Verdict) -> bool {
        (self.action, self.free, self.requests) == (other.action, other.free, other.requests)
    }
}

/// Before and after.
pub(super) type Change = [Verdict; 2];

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
    fn look(&mut self, words: usize) -> Result<(), Refusal> {
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

/// A set of clauses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bits(Box<[u64]>);

impl Bits {
    fn new(len: usize) -> Self {
        Bits(vec![0; len.div_ceil(64)].into())
    }

    fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn add(&mut self, other: &Bits) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    fn meets(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(one, other)| one & other != 0)
    }

    fn meets_both(&self, one: &Bits, other: &Bits) -> bool {
        self.0.iter().zip(&one.0).zip(&other.0).any(|((word, one), other)| word & one & other != 0)
    }

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

/// Two tables' clauses, numbered together.
struct Pair<'t> {
    clauses: Vec<&'t Clause>,
    /// Clauses from here on are the second table's.
    split: usize,
    /// Those that are in one of the tables only.
    touched: Bits,
    /// Default deny comes or goes, so that any cell may change.
    is_open: bool,
    isolated_by: [Option<u32>; 2],
}

/// Peer classes that the pair's clauses do not tell apart.
struct Rows {
    rows: Vec<Row>,
    /// What names add: bits, and the combinations. The first are those that add nothing.
    names: Vec<(Bits, List)>,
}

struct Row {
    bits: Bits,
    classes: Vec<u32>,
    /// Those of them that addresses outside have.
    outside: Vec<u32>,
}

impl Rows {
    fn new(
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
struct Columns(Vec<Column>);

struct Column {
    bits: Bits,
    /// Those of the clauses that are about exactly this port.
    exact: Bits,
    classes: Vec<u32>,
}

impl Columns {
    fn new(pair: &Pair<'_>, ports: &PortClasses) -> Self {
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

/// What meets in a cell of one table.
#[derive(Default)]
struct Met {
    deny: Option<u32>,
    allow: Option<u32>,
    exact_port: bool,
    own_node: bool,
    redirects: Vec<(u32, RequestKind)>,
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
        let verdict = |met: &Met, isolated_by, ground: &mut Ground<'_>| {
            // What meets through a name alone is no conflict of an image: only then are two kinds told apart by requests.
            if !by_name && let Some(conflict) = met.conflict() {
                return Err(Refusal::Conflict(conflict));
            }
            Ok(met.verdict(isolated_by, ground))
        };
        Ok([verdict(&before, self.isolated_by[0], ground)?, verdict(&after, self.isolated_by[1], ground)?])
    }
}

impl Met {
    fn add(&mut self, clause: &Clause, is_exact: bool) {
        let first = |known: Option<u32>| Some(known.map_or(clause.rule, |known| known.min(clause.rule)));
        match clause.strength {
            Strength::Deny => self.deny = first(self.deny),
            Strength::Allow => {
                self.allow = first(self.allow);
                self.exact_port |= is_exact;
            }
            Strength::OwnNode => self.own_node = true,
            Strength::Redirect(kind) => self.redirects.push((clause.rule, kind)),
        }
    }

    fn conflict(&self) -> Option<Conflict> {
        if self.deny.is_some() {
            return None;
        }
        let of = |kind| self.redirects.iter().find(|&&(_, known)| known == kind).map(|&(rule, _)| rule);
        let (http, dns) = (of(RequestKind::Http)?, of(RequestKind::Dns)?);
        Some(Conflict { first: http.min(dns), second: http.max(dns) })
    }

    fn verdict(&self, isolated_by: Option<u32>, ground: &mut Ground<'_>) -> Verdict {
        let none = ground.lists.number(Vec::new());
        let plain = |action, reason, rule: Option<u32>, lists: &mut Lists| Verdict {
            action,
            reason,
            rules: lists.number(rule.into_iter().collect()),
            free: false,
            requests: none,
        };
        if self.deny.is_some() {
            return plain(Action::Deny, Reason::DeniedByRule, self.deny, &mut ground.lists);
        }
        if !self.redirects.is_empty() {
            return self.redirect(isolated_by, ground);
        }
        let lists = &mut ground.lists;
        if self.allow.is_some() {
            return plain(Action::Allow, Reason::AllowedByRule, self.allow, lists);
        }
        match isolated_by {
            None => plain(Action::Allow, Reason::DefaultAllow, None, lists),
            Some(_) if self.own_node => plain(Action::Allow, Reason::OwnNode, None, lists),
            Some(_) => plain(Action::Deny, Reason::DefaultDeny, None, lists),
        }
    }

    fn redirect(&self, isolated_by: Option<u32>, ground: &mut Ground<'_>) -> Verdict {
        let contents = &ground.contents;
        let rules: Vec<u32> = self.redirects.iter().map(|&(rule, _)| rule).collect();
        let asked = || rules.iter().flat_map(|&rule| contents.of(rule).iter().copied());
        let freed = self.redirects.iter().any(|&(_, kind)| match kind {
            RequestKind::Tls => true,
            RequestKind::Http => self.allow.is_some(),
            RequestKind::Dns => self.exact_port,
        });
        let free = isolated_by.is_none()
            || self.own_node
            || freed
            || asked().any(|number| contents.effects(number).admits_all);
        let requests = asked().filter(|&number| !free || contents.effects(number).acts).collect();
        Verdict {
            action: Action::Redirect,
            reason: Reason::AllowedByRule,
            free,
            requests: ground.lists.number(requests),
            rules: ground.lists.number(rules),
        }
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
