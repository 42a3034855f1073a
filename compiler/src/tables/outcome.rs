//! From the rules of a cell to what happens, numbered so that equal outcomes are one.

use super::cell::{Cell, TableRules};
use rustc_hash::FxHashMap;
use weir_abi::layout::{EXACT_PORT, NO_RULE, OutcomeRecord, PLAIN};
use weir_abi::{Action, Reason, RequestKind};

/// Two rules whose requests are of different kinds, on one peer and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// One rule.
    pub first: u32,
    /// The other.
    pub second: u32,
}

/// The rules whose requests meet in one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestSet {
    /// Of this kind.
    pub kind: RequestKind,
    /// Every request passes.
    pub wildcard: bool,
    /// Rule ids, sorted, never empty.
    pub rules: Vec<u32>,
}

/// All outcomes and request sets of an image.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// In order of first sight.
    pub records: Vec<OutcomeRecord>,
    /// In order of first sight.
    pub request_sets: Vec<RequestSet>,
    numbers: FxHashMap<(u8, u8, u8, u8, u32), u32>,
    /// Numbers of the outcomes that most cells have, by rule: denied, allowed, allowed on exactly
    /// this port. [`UNNUMBERED`] until first met.
    of_rule: [Vec<u32>; 3],
    set_numbers: FxHashMap<RequestSet, u32>,
}

const UNNUMBERED: u32 = u32::MAX;

impl Outcomes {
    /// The number of what happens where these rules meet.
    pub(super) fn of(&mut self, cell: &Cell, rules: &TableRules) -> Result<u32, Conflict> {
        if cell.deny != NO_RULE {
            return Ok(self.number_of_rule(0, cell.deny));
        }
        if let Some(&(first, _)) = cell.redirects.first() {
            let kind = request_kind(cell, first)?;
            // Where nothing is isolated, requests are watched and all pass. A plain rule beside the
            // redirect lets every HTTP request pass; a DNS request only if it is for this very port.
            let plain = match kind {
                RequestKind::Http | RequestKind::Tls => cell.allow != NO_RULE,
                RequestKind::Dns => cell.exact_port,
            };
            let tls = cell.redirects.iter().any(|&(_, kind)| kind == RequestKind::Tls);
            let wildcard = rules.isolated_by.is_none() || plain || cell.own_node || tls;
            let rules = cell.redirects.iter().map(|&(rule, _)| rule).collect();
            let set = self.request_set(RequestSet { kind, wildcard, rules });
            let flags = plain_flags(cell.allow != NO_RULE, cell.exact_port);
            return Ok(self.number(Action::Redirect, Reason::AllowedByRule, kind as u8, flags, set));
        }
        if cell.allow != NO_RULE {
            return Ok(self.number_of_rule(1 + usize::from(cell.exact_port), cell.allow));
        }
        Ok(match rules.isolated_by {
            Some(_) if cell.own_node => self.number(Action::Allow, Reason::OwnNode, 0, 0, NO_RULE),
            Some(rule) => self.number(Action::Deny, Reason::DefaultDeny, 0, 0, rule),
            None => self.number(Action::Allow, Reason::DefaultAllow, 0, 0, NO_RULE),
        })
    }

    fn number_of_rule(&mut self, form: usize, rule: u32) -> u32 {
        let at = rule as usize;
        if let Some(&number) = self.of_rule[form].get(at)
            && number != UNNUMBERED
        {
            return number;
        }
        let number = match form {
            0 => self.number(Action::Deny, Reason::DeniedByRule, 0, 0, rule),
            _ => self.number(Action::Allow, Reason::AllowedByRule, 0, plain_flags(true, form == 2), rule),
        };
        let numbers = &mut self.of_rule[form];
        if numbers.len() <= at {
            numbers.resize(at + 1, UNNUMBERED);
        }
        numbers[at] = number;
        number
    }

    fn number(&mut self, action: Action, reason: Reason, requests: u8, flags: u8, value: u32) -> u32 {
        let (action, reason) = (action as u8, reason as u8);
        let next = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        *self.numbers.entry((action, reason, requests, flags, value)).or_insert_with(|| {
            self.records.push(OutcomeRecord { action, reason, requests, flags, rule_or_set: value });
            next
        })
    }

    fn request_set(&mut self, set: RequestSet) -> u32 {
        let next = u32::try_from(self.request_sets.len()).unwrap_or(u32::MAX);
        *self.set_numbers.entry(set).or_insert_with_key(|set| {
            self.request_sets.push(set.clone());
            next
        })
    }
}

/// The flags that tell of plain rules in a cell.
fn plain_flags(plain: bool, exact_port: bool) -> u8 {
    (if plain { PLAIN } else { 0 }) | (if exact_port { EXACT_PORT } else { 0 })
}

/// The one kind of requests in a cell. TLS goes with either of the others.
fn request_kind(cell: &Cell, first: u32) -> Result<RequestKind, Conflict> {
    let mut found: Option<(u32, RequestKind)> = None;
    for &(rule, kind) in cell.redirects.iter().filter(|&&(_, kind)| kind != RequestKind::Tls) {
        match found {
            Some((other, known)) if known != kind => return Err(Conflict { first: other, second: rule }),
            Some(_) => {}
            None => found = Some((rule, kind)),
        }
    }
    Ok(found.unwrap_or((first, RequestKind::Tls)).1)
}
