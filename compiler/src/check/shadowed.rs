//! W606: the rule is shadowed. What it asks, and why, is on its page, `docs/codes/W606.md`.

mod candidates;
mod containment;

use super::no_default_deny::filters;
use super::view::View;
use crate::ir::{Direction, Effect, Requests, Rule};
use candidates::Candidates;
use containment::Containment;
use weir_grammar::diagnostic::{Code, Diagnostic};

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let mut candidates = Candidates::new(view);
    let mut containment = Containment::new(view);
    let watches_dns = view.set.rules.iter().any(is_dns);
    for (id, rule) in view.rules() {
        if view.is_idle(rule) || containment.is_void(id) {
            continue;
        }
        let Some(others) = candidates.of(id) else { return };
        // A deny says more than a repetition does.
        let shadow =
            others.iter().find_map(|&other| denied(view, &mut containment, id, other)).or_else(|| {
                others.iter().find_map(|&other| covered(view, &mut containment, watches_dns, id, other))
            });
        let Some((other, shadow)) = shadow else { continue };
        found.push(finding(view, rule, &view.set.rules[other as usize], shadow));
    }
}

/// What another rule does to one that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shadow {
    /// Denies all of it.
    Denies,
    /// Denies all of it in this cluster.
    DeniesHere,
    /// Does the same.
    Repeats,
    /// Admits every request.
    Admits,
}

fn is_dns(rule: &Rule) -> bool {
    matches!(rule.requests, Some(Requests::Dns(_)))
}

/// Whether `other` denies all that a rule allows.
fn denied(view: &View<'_>, containment: &mut Containment<'_>, id: u32, other: u32) -> Option<(u32, Shadow)> {
    let (rule, wide) = (&view.set.rules[id as usize], &view.set.rules[other as usize]);
    if rule.effect != Effect::Allow || wide.effect != Effect::Deny || !containment.ports(id, other) {
        return None;
    }
    if containment.subjects(rule, wide) && containment.peers(rule.peers, wide.peers) {
        return Some((other, Shadow::Denies));
    }
    (containment.subjects_here(rule, wide) && containment.peers_here(rule, wide))
        .then_some((other, Shadow::DeniesHere))
}

/// Whether `other` already does what a rule does.
fn covered(
    view: &View<'_>,
    containment: &mut Containment<'_>,
    watches_dns: bool,
    id: u32,
    other: u32,
) -> Option<(u32, Shadow)> {
    let (rule, wide) = (&view.set.rules[id as usize], &view.set.rules[other as usize]);
    if wide.requests.is_some() || rule.effect != wide.effect {
        return None;
    }
    let shadow = match &rule.requests {
        // Without the rule its subjects must be as isolated as with it.
        None if rule.isolates && !wide.isolates => return None,
        None => Shadow::Repeats,
        Some(Requests::Tls) => return None,
        Some(_) if filters(rule) => Shadow::Admits,
        Some(_) => return None,
    };
    // A plain allow for one very port lets DNS requests pass, one for more than that does not.
    let lone_port = shadow == Shadow::Repeats
        && rule.direction == Direction::Egress
        && rule.effect == Effect::Allow
        && watches_dns
        && containment.has_single_port(id);
    let ports = if lone_port || is_dns(rule) {
        containment.same_single_ports(id, other)
    } else {
        containment.ports(id, other)
    };
    if !ports || !containment.subjects(rule, wide) || !containment.peers(rule.peers, wide.peers) {
        return None;
    }
    // Of two that repeat each other, the later one is told.
    let mutual = shadow == Shadow::Repeats
        && other > id
        && (wide.isolates == rule.isolates || !wide.isolates)
        && containment.ports(other, id)
        && containment.subjects(wide, rule)
        && containment.peers(wide.peers, rule.peers);
    (!mutual).then_some((other, shadow))
}

fn finding(view: &View<'_>, rule: &Rule, wide: &Rule, shadow: Shadow) -> Diagnostic {
    let policy = &view.set.policies[wide.policy];
    let whose = if wide.policy == rule.policy {
        "this policy".to_owned()
    } else {
        format!("{} {}", policy.kind.as_str(), policy.qualified_name())
    };
    let (message, label, also, help) = match shadow {
        Shadow::Denies | Shadow::DeniesHere => (
            format!(
                "all that this rule allows is denied by a rule of {whose}{}",
                if shadow == Shadow::DeniesHere { " (in this cluster)" } else { "" }
            ),
            "admits nobody",
            "denied here",
            "a deny is stronger than every allow: narrow it, or remove this rule",
        ),
        Shadow::Repeats => {
            let does = if rule.effect == Effect::Deny { "denies" } else { "allows" };
            (
                format!("a rule of {whose} already {does} all that this rule does"),
                "changes nothing",
                "covers it",
                "remove one of the two",
            )
        }
        Shadow::Admits => (
            format!("a rule of {whose} allows the same traffic without looking at requests"),
            "refuses no request",
            "admits every request",
            "remove the plain allow, or give it other peers or ports",
        ),
    };
    view.finding(Code::Shadowed, rule, rule.span, message).labelled(label).also(wide.span, also).help(help)
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
