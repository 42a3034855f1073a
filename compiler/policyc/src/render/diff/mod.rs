//! What changes between two policy sets: for people, and as JSON.
//!
//! A difference is a line that says who, to whom and on what, as the connection goes, and below it what happened
//! before and what happens now, each with the rule, file and line that decides. Long lists are cut short with a
//! count; JSON has all of them.
//!
//! Not here: what changes (`weir_compiler::diff`).

pub(crate) mod github;
pub(crate) mod json;
mod outside;
mod parties;
mod requests;

use super::{count, policies};
use crate::output::Terminal;
use parties::Roster;
use std::fmt::Write;
use weir_abi::{Action, Reason};
use weir_compiler::diff::{Difference, Kind, PortRange, Ports, Request, Said, Trend};
use weir_compiler::flow::{Origin, Origins, protocol_name};
use weir_compiler::ir::{Direction, protocol};
use weir_project::Comparison;
use weir_project::visible::visible;

/// Items of a list that are written out.
const SHOWN: usize = 6;
/// Rules of one side that are written out.
const RULES: usize = 3;

/// How many differences there are of each kind.
pub(crate) fn counted(differences: &[Difference]) -> [(Kind, usize); 3] {
    [Kind::Opened, Kind::Closed, Kind::Requests]
        .map(|kind| (kind, differences.iter().filter(|one| one.kind() == kind).count()))
}

/// As text.
pub(crate) fn text(
    comparison: &Comparison,
    differences: &[Difference],
    origins: &dyn Origins,
    terminal: &Terminal,
) -> String {
    let roster = Roster::new(&comparison.project.cluster);
    let [from, to] = comparison.policies;
    let [from_rules, to_rules] = comparison.rules;
    let mut text = format!(
        "{} with {} -> {} with {}\n",
        policies(from),
        count(from_rules, "rule"),
        policies(to),
        count(to_rules, "rule")
    );
    if differences.is_empty() {
        text.push_str("no difference\n");
        return text;
    }
    let counts = counted(differences).map(|(kind, count)| format!("{count} {}", title(kind)));
    _ = writeln!(text, "{}: {}", count(differences.len(), "difference"), counts.join(", "));
    let mut last = None;
    for difference in differences {
        let kind = difference.kind();
        if last != Some(kind) {
            let (start, end) = if terminal.colors_stdout() { (color(kind), "\x1b[0m") } else { ("", "") };
            _ = writeln!(text, "\n{start}{}{end}", title(kind));
            last = Some(kind);
        }
        one(&mut text, difference, &roster, origins);
    }
    text
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Opened => "opened",
        Kind::Closed => "closed",
        Kind::Requests => "with other requests",
    }
}

const fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Opened => "\x1b[1;31m",
        Kind::Closed => "\x1b[1;33m",
        Kind::Requests => "\x1b[1;36m",
    }
}

fn one(text: &mut String, difference: &Difference, roster: &Roster<'_>, origins: &dyn Origins) {
    let subjects = roster.subjects(&difference.subjects);
    let peers = roster.peers(&difference.peers, &difference.subjects);
    let ports = ports(&difference.ports);
    _ = match difference.direction {
        Direction::Ingress => writeln!(text, "  {peers} -> {subjects}  {ports}  ingress"),
        Direction::Egress => writeln!(text, "  {subjects} -> {peers}  {ports}  egress"),
    };
    for list in difference.peers.outside.iter().filter_map(outside::lists) {
        _ = write!(text, "      {list}");
    }
    for (when, said) in [("was", &difference.before), ("now", &difference.after)] {
        _ = write!(text, "      {when} {}", what(said));
        let rules: Vec<String> =
            said.rules.iter().filter_map(|&rule| origins.origin(rule)).map(rule).collect();
        _ = match listed(&rules, RULES) {
            _ if rules.is_empty() => writeln!(text),
            rules => writeln!(text, ": {rules}"),
        };
    }
    if difference.kind() == Kind::Opened && difference.after.action == Action::Redirect {
        let asked = difference.after.requests.as_ref().map_or(&[][..], |asked| &asked.rules);
        both(text, &[], asked);
    }
    let other = match difference.direction {
        Direction::Ingress => "egress",
        Direction::Egress => "ingress",
    };
    let denying = roster.some(&difference.other_side_denies);
    match difference.kind() {
        Kind::Requests => requests(text, difference),
        _ if difference.other_side_denies.is_empty() => {}
        Kind::Opened => _ = writeln!(text, "      but {other} of {denying} denies it still"),
        Kind::Closed => _ = writeln!(text, "      but {other} of {denying} denied it before"),
    }
}

fn what(said: &Said) -> &'static str {
    match (said.action, said.reason) {
        (Action::Deny, Reason::DefaultDeny) => "denied by default, isolated by",
        (Action::Deny, _) => "denied",
        (Action::Redirect, _) if said.requests.as_ref().is_some_and(|asked| asked.everything) => {
            if said.requests.as_ref().is_some_and(|asked| asked.rules.iter().any(is_tls)) {
                "allowed through the proxy, by TLS rules"
            } else {
                "allowed through the proxy, every request"
            }
        }
        (Action::Redirect, _) => "allowed for some requests",
        (Action::Allow, Reason::NoPolicy) => "allowed, no policy",
        (Action::Allow, Reason::DefaultAllow) => "allowed by default",
        (Action::Allow, Reason::OwnNode) => "allowed, its own node",
        (Action::Allow, _) => "allowed",
    }
}

fn is_tls(rule: &Request) -> bool {
    matches!(rule, Request::Tls { .. })
}

/// Request rules that went and came.
fn requests(text: &mut String, difference: &Difference) {
    let rules = |said: &Said| said.requests.as_ref().map_or(Vec::new(), |asked| asked.rules.clone());
    let (before, after) = (rules(&difference.before), rules(&difference.after));
    let trend = match difference.trend() {
        Trend::Wider => "more requests pass",
        Trend::Narrower => "fewer requests pass",
        Trend::Other => return both(text, &before, &after),
    };
    _ = writeln!(text, "      {trend}");
    both(text, &before, &after);
}

fn both(text: &mut String, before: &[Request], after: &[Request]) {
    for (sign, some, others) in [("-", before, after), ("+", after, before)] {
        for rule in some.iter().filter(|rule| !others.contains(rule)) {
            _ = writeln!(text, "      {sign} {}", requests::words(rule));
        }
    }
}

fn rule(origin: Origin<'_>) -> String {
    let Origin { kind, namespace, name, path, file, line } = origin;
    let slash = if namespace.is_empty() { "" } else { "/" };
    let (namespace, name) = (visible(namespace), visible(name));
    format!("{kind} {namespace}{slash}{name} {path} {}:{line}", visible(file))
}

/// Some of a list, and how many more.
fn listed(items: &[String], most: usize) -> String {
    match items.len().checked_sub(most) {
        // One more is not worth a word.
        Some(more @ 2..) => format!("{} and {more} more", items[..most].join(", ")),
        _ => items.join(", "),
    }
}

fn ports(ports: &Ports) -> String {
    let words = |ranges: &[PortRange]| listed(&ranges.iter().map(range).collect::<Vec<_>>(), SHOWN);
    if ports.is_everything() {
        "every port".to_owned()
    } else if ports.other_protocols {
        format!("every port but {}", words(&ports.rest))
    } else {
        words(&ports.ranges)
    }
}

fn range(range: &PortRange) -> String {
    let PortRange { protocol, first, last } = *range;
    let is_icmp = matches!(protocol, protocol::ICMP | protocol::ICMPV6);
    let name = match protocol_name(protocol).to_lowercase() {
        number if number.starts_with(|digit: char| digit.is_ascii_digit()) => format!("protocol-{number}"),
        name => name,
    };
    let all = if is_icmp { (0, 255) } else { (0, u16::MAX) };
    match (is_icmp, (first, last)) {
        (_, range) if range == all => format!("all {name}"),
        (true, (first, last)) if first == last => format!("{name}/{first}"),
        (true, (first, last)) => format!("{name}/{first}-{last}"),
        (false, (first, last)) if first == last => format!("{first}/{name}"),
        (false, (first, last)) => format!("{first}-{last}/{name}"),
    }
}
