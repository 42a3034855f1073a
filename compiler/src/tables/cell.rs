//! What a table is made from, and how rules that meet in one cell add up.

use crate::classes::Mark;
use weir_abi::RequestKind;
use weir_abi::layout::NO_RULE;

/// What a matching clause does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strength {
    /// The node that the endpoint runs on: passes, if nothing stronger says otherwise.
    OwnNode,
    /// Passes.
    Allow,
    /// Passes if its requests do.
    Redirect(RequestKind),
    /// Is refused.
    Deny,
}

/// Ports of a clause.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClausePorts {
    /// All protocols and ports.
    Everything,
    /// Port marks, each with whether it is a single port.
    Marks(Vec<(Mark, bool)>),
}

/// A rule made concrete for one table: names of ports are numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clause {
    /// The rule's id; meaningless for [`Strength::OwnNode`].
    pub rule: u32,
    /// Who; `None`: anyone.
    pub peers: Option<Mark>,
    /// On which ports.
    pub ports: ClausePorts,
    /// What it does.
    pub strength: Strength,
}

/// All that one table depends on; equal rules give equal tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct TableRules {
    /// By rule id.
    pub clauses: Vec<Clause>,
    /// The first rule that isolates (default deny), if any.
    pub isolated_by: Option<u32>,
}

/// The rules that meet in one cell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    /// The first rule that denies, [`NO_RULE`] if none.
    pub(super) deny: u32,
    /// The first plain rule that allows, [`NO_RULE`] if none.
    pub(super) allow: u32,
    pub(super) exact_port: bool,
    pub(super) own_node: bool,
    pub(super) redirects: Vec<(u32, RequestKind)>,
}

impl Default for Cell {
    fn default() -> Self {
        Cell { deny: NO_RULE, allow: NO_RULE, exact_port: false, own_node: false, redirects: Vec::new() }
    }
}

/// What one clause adds to the cells it touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) rule: u32,
    pub(super) strength: Strength,
    /// Through a single port.
    pub(super) exact: bool,
}

impl Clause {
    pub(super) fn part(&self, exact: bool) -> Part {
        Part { rule: self.rule, strength: self.strength, exact }
    }
}

impl Cell {
    /// Makes this cell equal to another; most have no redirects, and then nothing is looked at twice.
    pub(super) fn reset(&mut self, to: &Cell) {
        (self.deny, self.allow) = (to.deny, to.allow);
        (self.exact_port, self.own_node) = (to.exact_port, to.own_node);
        if !self.redirects.is_empty() || !to.redirects.is_empty() {
            self.redirects.clone_from(&to.redirects);
        }
    }

    pub(super) fn add(&mut self, part: Part) {
        match part.strength {
            Strength::Deny => self.deny = self.deny.min(part.rule),
            Strength::Allow => {
                self.allow = self.allow.min(part.rule);
                self.exact_port |= part.exact;
            }
            Strength::OwnNode => self.own_node = true,
            Strength::Redirect(kind) => {
                let redirect = (part.rule, kind);
                if let Err(at) = self.redirects.binary_search(&redirect) {
                    self.redirects.insert(at, redirect);
                }
            }
        }
    }
}
