//! What an image says of a pair, over all ports: which pass, which are looked into, and which a rule denies.
//!
//! A pair passes a port if neither the source's egress nor the destination's ingress denies it. Verdicts are read as rows, one a
//! table and peer; pairs with equal rows share a treatment, so a cluster has few of them.
//!
//! Not here: who the pairs are.

use super::ports::{NamedPorts, PortSet};
use crate::interpret::strength;
use crate::ir::Direction;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use weir_abi::{Action, Image, Outcome, PeerClass, PortClass, Reason, RequestKind, Table};

/// What happens on some ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// Passes.
    Passes,
    /// Is handed to the request proxy, which asks these sets of request rules; none: all requests pass.
    Proxied(Vec<Asked>),
    /// A deny rule matches. What is denied by default is in no part.
    Denied,
}

/// A set of request rules, of the egress or the ingress side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asked {
    /// Whose.
    pub direction: Direction,
    /// The number of the set in the image.
    pub set: u32,
}

/// Ports of one pair on which the same happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// What.
    pub what: What,
    /// On which ports.
    pub ports: PortSet,
    /// The rules that decide, egress and ingress; none where no rule does.
    pub rules: [Vec<u32>; 2],
}

/// All that a pair may do, in parts. On ports of no part it is denied by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Treatment {
    /// What passes first.
    pub parts: Vec<Part>,
}

impl Treatment {
    /// Whether anything passes.
    pub fn passes(&self) -> bool {
        self.parts.iter().any(|part| part.what != What::Denied)
    }

    /// Whether everything passes, and no proxy looks into it.
    pub fn is_everything(&self) -> bool {
        matches!(&self.parts[..], [Part { what: What::Passes, ports, .. }] if ports.is_everything())
    }

    /// Whether any rule has a part in it.
    pub fn is_by_rule(&self) -> bool {
        self.parts.iter().any(|part| part.rules.iter().any(|rules| !rules.is_empty()))
    }
}

/// What one side says on one port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Said {
    action: Action,
    reason: Reason,
    rule: Option<u32>,
    /// Sets of request rules that must be asked.
    asked: Vec<u32>,
}

/// A row: what one side says on every port class, by number of what is said.
type Row = u32;

/// Reads an image row by row.
pub(super) struct Reader<'i> {
    image: Image<'i>,
    named: NamedPorts,
    port_classes: u16,
    said: Numbered<Said>,
    rows: Numbered<Vec<u32>>,
    by_peer: FxHashMap<(Table, Vec<PeerClass>), Row>,
    treatments: Numbered<Treatment>,
    by_rows: FxHashMap<(Row, Row), usize>,
}

/// Values by number, equal ones once.
struct Numbered<T> {
    all: Vec<T>,
    numbers: FxHashMap<T, u32>,
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn new() -> Self {
        Numbered { all: Vec::new(), numbers: FxHashMap::default() }
    }

    fn number(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.all.push(value.clone());
            next
        })
    }
}

impl<'i> Reader<'i> {
    pub(super) fn new(image: Image<'i>) -> Self {
        Reader {
            named: NamedPorts::of(&image),
            port_classes: u16::try_from(image.header().port_classes).unwrap_or(u16::MAX),
            image,
            said: Numbered::new(),
            rows: Numbered::new(),
            by_peer: FxHashMap::default(),
            treatments: Numbered::new(),
            by_rows: FxHashMap::default(),
        }
    }

    /// How many questions one row is.
    pub(super) const fn width(&self) -> usize {
        self.port_classes as usize
    }

    /// Whether a table lets pass what no rule names.
    pub(super) fn is_open(&self, table: Table) -> bool {
        self.image.judge(table, PeerClass::default(), PortClass::default()).action == Action::Allow
    }

    /// What a table says of a peer. One that has DNS names has several classes; the strongest verdict holds.
    pub(super) fn row(&mut self, table: Table, peer: &[PeerClass]) -> Row {
        if let Some(&row) = self.by_peer.get(&(table, peer.to_vec())) {
            return row;
        }
        let mut row = Vec::with_capacity(self.width());
        for port in 0..self.port_classes {
            let verdicts = self.image.verdicts(table, PortClass(port));
            let outcomes: Vec<Outcome> = peer.iter().map(|&class| verdicts.of(class)).collect();
            let said = combine(&self.image, &outcomes);
            row.push(self.said.number(said));
        }
        let row = self.rows.number(row);
        self.by_peer.insert((table, peer.to_vec()), row);
        row
    }

    /// The number of what happens where both sides say these.
    pub(super) fn treatment(&mut self, egress: Row, ingress: Row) -> usize {
        if let Some(&known) = self.by_rows.get(&(egress, ingress)) {
            return known;
        }
        let treatment = self.both(egress, ingress);
        let number = self.treatments.number(treatment) as usize;
        self.by_rows.insert((egress, ingress), number);
        number
    }

    pub(super) fn known(&self, treatment: usize) -> Option<&Treatment> {
        self.treatments.all.get(treatment)
    }

    /// All that were met, by number.
    pub(super) fn into_treatments(self) -> Vec<Treatment> {
        self.treatments.all
    }

    fn both(&self, egress: Row, ingress: Row) -> Treatment {
        let row = |row: Row| self.rows.all.get(row as usize).map_or(&[][..], Vec::as_slice);
        let mut parts: BTreeMap<What, (BTreeSet<PortClass>, [BTreeSet<u32>; 2])> = BTreeMap::new();
        for (port, sides) in (0..).zip(row(egress).iter().zip(row(ingress))) {
            let said = |number: u32| self.said.all.get(number as usize);
            let (Some(out), Some(into)) = (said(*sides.0), said(*sides.1)) else { continue };
            let sides = [(Direction::Egress, out), (Direction::Ingress, into)];
            let Some((what, rules)) = together(sides) else { continue };
            let (ports, by) = parts.entry(what).or_default();
            ports.insert(PortClass(port));
            for (by, rule) in by.iter_mut().zip(rules) {
                by.extend(rule);
            }
        }
        let part = |(what, (ports, rules)): (What, (BTreeSet<PortClass>, [BTreeSet<u32>; 2]))| Part {
            what,
            ports: self.named.set(|class| ports.contains(&class)),
            rules: rules.map(|rules| rules.into_iter().collect()),
        };
        Treatment { parts: parts.into_iter().map(part).collect() }
    }
}

/// What happens where two sides meet, and the rules of each; `None`: denied by default.
fn together(sides: [(Direction, &Said); 2]) -> Option<(What, [Option<u32>; 2])> {
    let mut rules = [None; 2];
    let mut asked = Vec::new();
    let (mut denied, mut by_default, mut proxied) = (false, false, false);
    for ((direction, said), rule) in sides.into_iter().zip(&mut rules) {
        match (said.action, said.reason) {
            (Action::Deny, Reason::DeniedByRule) => denied = true,
            (Action::Deny, _) => by_default = true,
            (Action::Redirect, _) => {
                proxied = true;
                asked.extend(said.asked.iter().map(|&set| Asked { direction, set }));
            }
            (Action::Allow, _) => {}
        }
        if matches!(said.reason, Reason::AllowedByRule | Reason::DeniedByRule) {
            *rule = said.rule;
        }
    }
    if denied {
        // Only the rules that deny matter.
        for ((_, said), rule) in sides.into_iter().zip(&mut rules) {
            if said.action != Action::Deny {
                *rule = None;
            }
        }
        return Some((What::Denied, rules));
    }
    if by_default {
        return None;
    }
    Some((if proxied { What::Proxied(asked) } else { What::Passes }, rules))
}

/// The strongest of the outcomes that an address gets by its own and by its names.
fn combine(image: &Image<'_>, outcomes: &[Outcome]) -> Said {
    let level = outcomes.iter().map(strength).max().unwrap_or_default();
    let winners = || outcomes.iter().filter(|outcome| strength(outcome) == level);
    let first = winners().next().copied().unwrap_or(Outcome::UNKNOWN);
    let mut asked: Vec<u32> = Vec::new();
    if first.action == Action::Redirect {
        let is_free = |&(kind, set): &(RequestKind, u32)| {
            image.request_set(set).is_some_and(|set| set.wildcard)
                || outcomes.iter().any(|outcome| match kind {
                    RequestKind::Http | RequestKind::Tls => outcome.plain,
                    RequestKind::Dns => outcome.exact_port,
                })
        };
        let sets: Vec<(RequestKind, u32)> = winners().filter_map(|outcome| outcome.requests).collect();
        if !sets.iter().any(is_free) {
            asked.extend(sets.iter().map(|&(_, set)| set));
            asked.sort_unstable();
            asked.dedup();
        }
    }
    let rule = winners().filter_map(|outcome| outcome.rule).min();
    Said { action: first.action, reason: first.reason, rule, asked }
}
