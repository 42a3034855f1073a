//! Which rules may cover which: those of one direction whose subjects are at least as wide.
//!
//! Subjects of different namespaces have nothing to do with each other, so they are never compared. All
//! comparisons are counted, and beyond a budget there are no more candidates.

use crate::check::implication::implies;
use crate::check::view::{View, parts};
use crate::ir::{Effect, Rule};
use crate::labels::POD_NAMESPACE;
use rustc_hash::FxHashMap;
use weir_grammar::tree::{Operator, Requirement};

/// Pairs of subjects and of rules that are compared in one run.
const MOST_PAIRS: usize = 4_000_000;

pub(super) struct Candidates<'v> {
    view: &'v View<'v>,
    /// Subjects by the one namespace that they look into; `None`: several or all.
    subjects: FxHashMap<Option<&'v str>, Vec<usize>>,
    /// By subject: the rules of each direction.
    rules: Vec<[Vec<u32>; 2]>,
    /// By subject, once asked for: the subjects that are at least as wide.
    wider: Vec<Option<Vec<usize>>>,
    left: usize,
}

impl<'v> Candidates<'v> {
    pub(super) fn new(view: &'v View<'v>) -> Self {
        let count = view.set.subjects.len();
        let mut candidates = Candidates {
            view,
            subjects: FxHashMap::default(),
            rules: vec![Default::default(); count],
            wider: vec![None; count],
            left: MOST_PAIRS,
        };
        for (place, subject) in view.set.subjects.iter().enumerate() {
            candidates.subjects.entry(namespace(parts(subject).1)).or_default().push(place);
        }
        for (id, rule) in view.rules() {
            candidates.rules[rule.subject][rule.direction as usize].push(id);
        }
        candidates
    }

    /// The rules that may cover a rule, by id. `None`: the budget is used up.
    pub(super) fn of(&mut self, id: u32) -> Option<Vec<u32>> {
        let rule = &self.view.set.rules[id as usize];
        let wider = match self.wider[rule.subject].take() {
            Some(wider) => wider,
            None => self.wider_than(rule.subject)?,
        };
        let rules = || wider.iter().map(|&subject| &self.rules[subject][rule.direction as usize]);
        self.left = self.left.checked_sub(rules().map(Vec::len).sum())?;
        // Only a deny rule repeats a deny rule.
        let may_cover = |other: &Rule| rule.effect == Effect::Allow || other.effect == Effect::Deny;
        let rules = rules().flatten().copied();
        let mut candidates: Vec<u32> =
            rules.filter(|&other| other != id && may_cover(&self.view.set.rules[other as usize])).collect();
        candidates.sort_unstable();
        self.wider[rule.subject] = Some(wider);
        Some(candidates)
    }

    fn wider_than(&mut self, subject: usize) -> Option<Vec<usize>> {
        let own = namespace(parts(&self.view.set.subjects[subject]).1);
        let within =
            |namespace: Option<&'v str>| self.subjects.get(&namespace).map_or(&[][..], Vec::as_slice);
        let everywhere = if own.is_some() { within(None) } else { &[] };
        let others = || within(own).iter().chain(everywhere).copied();
        self.left = self.left.checked_sub(others().count())?;
        Some(others().filter(|&other| self.is_wider(subject, other)).collect())
    }

    /// By what they say or, which is enough for a deny, by whom they select in this cluster.
    fn is_wider(&self, subject: usize, other: usize) -> bool {
        let (nodes, narrow) = parts(&self.view.set.subjects[subject]);
        let (other_nodes, wide) = parts(&self.view.set.subjects[other]);
        let here = &self.view.subjects[subject];
        nodes == other_nodes
            && (subject == other
                || implies(narrow, wide)
                || (!here.is_empty() && here.is_subset(&self.view.subjects[other])))
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
