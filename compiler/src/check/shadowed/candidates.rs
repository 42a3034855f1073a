//! Which rules may cover which: those of one direction whose subjects are at least as wide.
//!
//! Subjects of different namespaces have nothing to do with each other, so they are never compared. All
//! comparisons are counted, and beyond a budget there are no more candidates.

use crate::check::view::{View, parts};
use crate::ir::{Direction, Effect};
use crate::labels::POD_NAMESPACE;
use rustc_hash::FxHashMap;
use weir_grammar::tree::{Operator, Requirement};

/// Pairs of rules that are compared in one run.
const MOST_PAIRS: usize = 2_000_000;

pub(super) struct Candidates<'v> {
    view: &'v View<'v>,
    /// Rules by direction and the one namespace of their subjects; `None`: of several or all.
    rules: [FxHashMap<Option<&'v str>, Vec<u32>>; 2],
    /// The same, of deny rules alone.
    denies: [FxHashMap<Option<&'v str>, Vec<u32>>; 2],
    left: usize,
}

impl<'v> Candidates<'v> {
    pub(super) fn new(view: &'v View<'v>) -> Self {
        let mut candidates =
            Candidates { view, rules: Default::default(), denies: Default::default(), left: MOST_PAIRS };
        for (id, rule) in view.rules() {
            let namespace = namespace(parts(&view.set.subjects[rule.subject]).1);
            let direction = rule.direction as usize;
            candidates.rules[direction].entry(namespace).or_default().push(id);
            if rule.effect == Effect::Deny {
                candidates.denies[direction].entry(namespace).or_default().push(id);
            }
        }
        candidates
    }

    /// The rules that may cover a rule, by id. `None`: the budget is used up.
    pub(super) fn of(&mut self, id: u32) -> Option<Vec<u32>> {
        let rule = &self.view.set.rules[id as usize];
        let own = namespace(parts(&self.view.set.subjects[rule.subject]).1);
        // Only a plain rule repeats another, and only a deny rule repeats a deny rule.
        let of = match rule.effect {
            Effect::Deny => &self.denies[rule.direction as usize],
            Effect::Allow => &self.rules[rule.direction as usize],
        };
        let within = |namespace: Option<&'v str>| of.get(&namespace).map_or(&[][..], Vec::as_slice);
        let wider = if own.is_some() { within(None) } else { &[] };
        let mut candidates: Vec<u32> =
            within(own).iter().chain(wider).copied().filter(|&other| other != id).collect();
        self.left = self.left.checked_sub(candidates.len())?;
        candidates.sort_unstable();
        Some(candidates)
    }
}

/// The one namespace that a selector looks into.
fn namespace(selector: &[Requirement]) -> Option<&str> {
    selector.iter().find_map(|requirement| match requirement.values.as_slice() {
        [one] if requirement.operator == Operator::In && requirement.key.value.name == POD_NAMESPACE => {
            Some(one.as_str())
        }
        _ => None,
    })
}

/// Both directions index the arrays above.
const _: () = assert!(Direction::Ingress as usize == 0 && Direction::Egress as usize == 1);
