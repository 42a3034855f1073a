//! Both sides of a flow, and one verdict from them.
//!
//! A side that denies decides; else a side that redirects does, and every redirected side must let the
//! request pass; else the flow is allowed.
//!
//! The reason is that of the deciding side. Where several sides decide alike the source's goes first,
//! as packets meet it first; but a default gives way to a rule, and the absence of policy to both.

use super::Flow;
use crate::ir::Direction;
use serde::{Deserialize, Serialize};
use std::fmt;
use weir_abi::{Action, Reason};

/// What one direction of policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// What happens to the connection.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The rule that decided; for default deny the first that isolates.
    pub rule: Option<u32>,
    /// For a redirect: whether the proxy lets pass what is asked.
    pub passes: Option<bool>,
}

impl Side {
    /// What is said where no policy selects the subject.
    pub const NO_POLICY: Side =
        Side { action: Action::Allow, reason: Reason::NoPolicy, rule: None, passes: None };

    const fn is_refused_request(&self) -> bool {
        matches!((self.action, self.passes), (Action::Redirect, Some(false) | None))
    }
}

/// What knows the policies: the reference evaluator, an image, the kernel.
pub trait Engine {
    /// What the policies of the subject in this direction say of a flow.
    fn side(&self, flow: &Flow, direction: Direction) -> Side;
}

impl<E: Engine + ?Sized> Engine for &E {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        (**self).side(flow, direction)
    }
}

/// What happens to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Passes.
    Allow,
    /// Is dropped.
    Deny,
    /// Is handed to the request proxy, which lets pass what is asked.
    RedirectAllow,
    /// Is handed to the request proxy, which refuses what is asked.
    RedirectDeny,
}

impl Verdict {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::RedirectAllow => "redirect-allow",
            Verdict::RedirectDeny => "redirect-deny",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict and the sides that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What happens.
    pub verdict: Verdict,
    /// What each enforced direction said, egress first.
    pub sides: Vec<(Direction, Side)>,
}

impl Judgement {
    /// Combines sides.
    pub fn of(sides: Vec<(Direction, Side)>) -> Self {
        let any = |test: fn(&Side) -> bool| sides.iter().any(|(_, side)| test(side));
        let verdict = if any(|side| side.action == Action::Deny) {
            Verdict::Deny
        } else if any(Side::is_refused_request) {
            Verdict::RedirectDeny
        } else if any(|side| side.action == Action::Redirect) {
            Verdict::RedirectAllow
        } else {
            Verdict::Allow
        };
        Judgement { verdict, sides }
    }

    /// The side that decided; `None` only where no direction was asked.
    pub fn deciding(&self) -> Option<&(Direction, Side)> {
        let decides = |side: &Side| match self.verdict {
            Verdict::Deny => side.action == Action::Deny,
            Verdict::RedirectDeny => side.is_refused_request(),
            Verdict::RedirectAllow => side.action == Action::Redirect,
            Verdict::Allow => side.reason == Reason::AllowedByRule,
        };
        // Where no rule allowed, a default says more than the absence of policy.
        let by_default = |side: &Side| side.reason != Reason::NoPolicy;
        let first = |test: &dyn Fn(&Side) -> bool| self.sides.iter().find(|(_, side)| test(side));
        first(&decides).or_else(|| first(&by_default)).or(self.sides.first())
    }

    /// Why, as printed: [`Reason`] of the deciding side, or `denied-by-request` where the connection
    /// is redirected and what is asked over it refused.
    pub fn reason(&self) -> &'static str {
        match (self.verdict, self.deciding()) {
            (Verdict::RedirectDeny, _) => "denied-by-request",
            (_, Some((_, side))) => side.reason.as_str(),
            (_, None) => Reason::NoPolicy.as_str(),
        }
    }
}

/// Asks an engine for both sides of a flow, as far as they are enforced.
#[must_use]
pub fn judge(engine: &(impl Engine + ?Sized), flow: &Flow) -> Judgement {
    let side = |&direction| (direction, engine.side(flow, direction));
    Judgement::of(flow.enforced.directions().iter().map(side).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: Side =
        Side { action: Action::Allow, reason: Reason::AllowedByRule, rule: Some(1), passes: None };
    const DENY: Side =
        Side { action: Action::Deny, reason: Reason::DefaultDeny, rule: Some(2), passes: None };
    const PASS: Side =
        Side { action: Action::Redirect, reason: Reason::AllowedByRule, rule: Some(3), passes: Some(true) };
    const DEFAULT: Side = Side { reason: Reason::DefaultAllow, rule: None, ..ALLOW };
    const REFUSE: Side = Side { passes: Some(false), ..PASS };

    fn both(egress: Side, ingress: Side) -> (Verdict, &'static str) {
        let judgement = Judgement::of(vec![(Direction::Egress, egress), (Direction::Ingress, ingress)]);
        (judgement.verdict, judgement.reason())
    }

    #[test]
    fn deny_then_redirect_then_allow() {
        assert_eq!(both(REFUSE, DENY), (Verdict::Deny, "default-deny"));
        assert_eq!(both(PASS, REFUSE), (Verdict::RedirectDeny, "denied-by-request"));
        assert_eq!(both(PASS, ALLOW), (Verdict::RedirectAllow, "allowed-by-rule"));
        assert_eq!(both(Side::NO_POLICY, ALLOW), (Verdict::Allow, "allowed-by-rule"));
        assert_eq!(both(DEFAULT, ALLOW), (Verdict::Allow, "allowed-by-rule"));
        assert_eq!(both(Side::NO_POLICY, DEFAULT), (Verdict::Allow, "default-allow"));
        assert_eq!(both(Side::NO_POLICY, Side::NO_POLICY), (Verdict::Allow, "no-policy"));
    }
}
