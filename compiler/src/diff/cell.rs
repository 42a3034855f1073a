//! What the rules that meet in a cell say, as the reference evaluator says it; and what of that is compared.

use super::lists::{List, Lists};
use super::requests::Contents;
use crate::tables::{Clause, Conflict, Strength};
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

/// What meets in a cell of one table.
#[derive(Default)]
pub(super) struct Met {
    deny: Option<u32>,
    allow: Option<u32>,
    exact_port: bool,
    own_node: bool,
    redirects: Vec<(u32, RequestKind)>,
}

impl Met {
    pub(super) fn add(&mut self, clause: &Clause, is_exact: bool) {
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

    pub(super) fn conflict(&self) -> Option<Conflict> {
        if self.deny.is_some() {
            return None;
        }
        let of = |kind| self.redirects.iter().find(|&&(_, known)| known == kind).map(|&(rule, _)| rule);
        let (http, dns) = (of(RequestKind::Http)?, of(RequestKind::Dns)?);
        Some(Conflict { first: http.min(dns), second: http.max(dns) })
    }

    pub(super) fn verdict(
        &self,
        isolated_by: Option<u32>,
        contents: &Contents,
        lists: &mut Lists,
    ) -> Verdict {
        let none = lists.number(Vec::new());
        let plain = |action, reason, rule: Option<u32>, lists: &mut Lists| Verdict {
            action,
            reason,
            rules: lists.number(rule.into_iter().collect()),
            free: false,
            requests: none,
        };
        if self.deny.is_some() {
            return plain(Action::Deny, Reason::DeniedByRule, self.deny, lists);
        }
        if !self.redirects.is_empty() {
            return self.redirect(isolated_by, contents, lists);
        }
        if self.allow.is_some() {
            return plain(Action::Allow, Reason::AllowedByRule, self.allow, lists);
        }
        match isolated_by {
            None => plain(Action::Allow, Reason::DefaultAllow, None, lists),
            Some(_) if self.own_node => plain(Action::Allow, Reason::OwnNode, None, lists),
            Some(_) => plain(Action::Deny, Reason::DefaultDeny, None, lists),
        }
    }

    fn redirect(&self, isolated_by: Option<u32>, contents: &Contents, lists: &mut Lists) -> Verdict {
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
            requests: lists.number(requests),
            rules: lists.number(rules),
        }
    }
}
