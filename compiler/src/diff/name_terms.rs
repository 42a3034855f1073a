//! Combinations of names and patterns in as few terms as will do: `*.test` but not `a.test`.
//!
//! Not here: which combinations there are ([`super::names`]).

use crate::fqdn::FqdnPattern;
use rustc_hash::FxHashSet;

/// The names that an address may be known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Names {
    /// Any, or none.
    Any,
    /// None, or one that no term is about.
    NoneOf(Vec<NameTerm>),
    /// One that some term is about.
    Of(Vec<NameTerm>),
}

/// Names that match all of some names and patterns, and none of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameTerm {
    /// Never empty. Each with whether stars are meant.
    pub all_of: Vec<(String, bool)>,
    /// Each with whether stars are meant.
    pub none_of: Vec<(String, bool)>,
}

impl NameTerm {
    /// Whether it is about a name.
    pub fn matches(&self, name: &str) -> bool {
        let selects =
            |(text, is_pattern): &(String, bool)| FqdnPattern::from_text(text, *is_pattern).matches(name);
        self.all_of.iter().all(selects) && !self.none_of.iter().any(selects)
    }
}

impl Names {
    /// Whether an address is meant that is known by this name, or by none.
    pub fn include(&self, name: Option<&str>) -> bool {
        let about = |terms: &[NameTerm]| name.is_some_and(|name| terms.iter().any(|term| term.matches(name)));
        match self {
            Names::Any => true,
            Names::NoneOf(terms) => !about(terms),
            Names::Of(terms) => about(terms),
        }
    }
}

/// The names and patterns that are written, and the combinations that single names match.
pub(super) struct Naming<'c> {
    /// Each with whether stars are meant, and its class.
    pub(super) patterns: &'c [(&'c str, bool, u32)],
    /// As places among the patterns; number 1 is the first.
    pub(super) combinations: &'c [Vec<u32>],
}

impl Naming<'_> {
    /// The names of some combinations by number, where 0 is no name.
    pub(super) fn names(&self, numbers: &[u32]) -> Names {
        let of = |number: &u32| self.combinations.get((*number as usize).checked_sub(1)?);
        if numbers.first() != Some(&0) {
            return Names::Of(self.terms(&numbers.iter().filter_map(of).collect()));
        }
        let among: FxHashSet<&u32> = numbers.iter().collect();
        let others = (1u32..).zip(self.combinations).filter(|(number, _)| !among.contains(number));
        let others: FxHashSet<&Vec<u32>> = others.map(|(_, combination)| combination).collect();
        if others.is_empty() { Names::Any } else { Names::NoneOf(self.terms(&others)) }
    }

    /// Terms that are about exactly these combinations: patterns whose names are all among them, then patterns less
    /// others, and what is left one by one.
    fn terms(&self, wanted: &FxHashSet<&Vec<u32>>) -> Vec<NameTerm> {
        let mut of_pattern: Vec<Vec<&Vec<u32>>> = vec![Vec::new(); self.patterns.len()];
        for combination in self.combinations {
            for &pattern in combination {
                if let Some(combinations) = of_pattern.get_mut(pattern as usize) {
                    combinations.push(combination);
                }
            }
        }
        let mut left: FxHashSet<&Vec<u32>> = wanted.clone();
        let mut terms = Vec::new();
        let mut by_reach: Vec<u32> = (0u32..).take(of_pattern.len()).collect();
        by_reach.sort_by_key(|&pattern| std::cmp::Reverse(of_pattern[pattern as usize].len()));
        let is_wanted = |pattern: u32| of_pattern[pattern as usize].iter().all(|one| wanted.contains(one));
        for &pattern in by_reach.iter().filter(|&&pattern| is_wanted(pattern)) {
            let before = left.len();
            of_pattern[pattern as usize].iter().for_each(|one| _ = left.remove(one));
            if left.len() < before {
                terms.push(self.term(&[pattern], &[]));
            }
        }
        for &pattern in &by_reach {
            let all = &of_pattern[pattern as usize];
            let mut bad: FxHashSet<&Vec<u32>> =
                all.iter().filter(|one| !wanted.contains(*one)).copied().collect();
            if left.is_empty() || !all.iter().any(|one| left.contains(one)) {
                continue;
            }
            let mut without = Vec::new();
            let takes_nothing_wanted = |other: u32| {
                let both = of_pattern[other as usize].iter().filter(|one| one.contains(&pattern));
                both.clone().next().is_some() && both.clone().all(|one| !wanted.contains(one))
            };
            for &other in by_reach.iter().filter(|&&other| other != pattern) {
                if bad.is_empty() {
                    break;
                }
                if takes_nothing_wanted(other) {
                    let before = bad.len();
                    bad.retain(|one| !one.contains(&other));
                    if bad.len() < before {
                        without.push(other);
                    }
                }
            }
            if bad.is_empty() {
                left.retain(|one| !one.contains(&pattern));
                terms.push(self.term(&[pattern], &without));
            }
        }
        let mut left: Vec<&Vec<u32>> = left.into_iter().collect();
        left.sort_unstable();
        for combination in left {
            let beside = |other: &u32| {
                !combination.contains(other)
                    && of_pattern[*other as usize]
                        .iter()
                        .any(|one| combination.iter().all(|pattern| one.contains(pattern)))
            };
            let without: Vec<u32> = (0u32..).take(of_pattern.len()).filter(beside).collect();
            terms.push(self.term(combination, &without));
        }
        terms.sort_unstable();
        terms
    }

    fn term(&self, all_of: &[u32], none_of: &[u32]) -> NameTerm {
        let texts = |patterns: &[u32]| {
            let fqdns = patterns.iter().filter_map(|&pattern| self.patterns.get(pattern as usize));
            let mut texts: Vec<(String, bool)> =
                fqdns.map(|&(text, is_pattern, _)| (text.to_owned(), is_pattern)).collect();
            texts.sort_unstable();
            texts
        };
        NameTerm { all_of: texts(all_of), none_of: texts(none_of) }
    }
}
