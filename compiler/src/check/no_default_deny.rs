//! W614: request rules only watch without default deny. What it asks, and why, is on its page, `docs/codes/W614.md`.

use super::implication::implies;
use super::view::{View, parts};
use crate::ir::{Direction, Requests, Rule};
use roaring::RoaringBitmap;
use rustc_hash::FxHashSet;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::tree::{FqdnSelector, HttpRule};

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let rules = view.set.rules.iter();
    let watching: Vec<&Rule> = rules.filter(|rule| !rule.isolates && filters(rule)).collect();
    if watching.is_empty() {
        return;
    }
    let isolated = Direction::BOTH.map(|direction| {
        let mut isolated = RoaringBitmap::new();
        for rule in view.set.rules.iter().filter(|rule| rule.isolates && rule.direction == direction) {
            isolated |= view.subject(rule);
        }
        isolated
    });
    let mut seen = FxHashSet::default();
    for rule in watching {
        if !seen.insert((rule.policy, rule.path.spec, rule.direction)) {
            continue;
        }
        let direction = rule.direction.as_str();
        let message = if view.knows_subject(rule) {
            let open = view.subject(rule) - &isolated[rule.direction as usize];
            let Some(name) = open.min().and_then(|place| view.name_of(place)) else { continue };
            if open.len() < view.subject(rule).len() {
                format!(
                    "no policy isolates {direction} of some of the rule's subjects, such as {name}: their requests all pass"
                )
            } else {
                format!("no policy isolates {direction} of the rule's subjects: their requests all pass")
            }
        } else if view.set.rules.iter().any(|other| isolates(view, other, rule)) {
            continue;
        } else {
            format!("no policy isolates {direction} of the rule's subjects: their requests all pass")
        };
        found.push(
            view.finding(Code::NoDefaultDeny, rule, rule.span, message)
                .labelled("requests are watched, none is refused")
                .help(format!(
                    "leave `enableDefaultDeny.{direction}` out, or isolate these endpoints in another policy"
                )),
        );
    }
}

/// Whether a rule would refuse any request.
pub(super) fn filters(rule: &Rule) -> bool {
    let admits_all = |rule: &HttpRule| {
        rule.method.is_none()
            && rule.path.is_none()
            && rule.host.is_none()
            && rule.headers.is_empty()
            && rule.header_matches.is_empty()
    };
    let any_name = |name: &FqdnSelector| name.is_pattern && name.text.bytes().all(|byte| byte == b'*');
    match &rule.requests {
        Some(Requests::Http(rules)) => !rules.iter().any(admits_all),
        Some(Requests::Dns(names)) => !names.iter().any(any_name),
        Some(Requests::Tls) | None => false,
    }
}

/// Whether `other` surely isolates all subjects of a rule.
fn isolates(view: &View<'_>, other: &Rule, rule: &Rule) -> bool {
    let (other_nodes, wide) = parts(&view.set.subjects[other.subject]);
    let (nodes, narrow) = parts(&view.set.subjects[rule.subject]);
    other.isolates && other.direction == rule.direction && other_nodes == nodes && implies(narrow, wide)
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found};

    const WATCH: &str = "enableDefaultDeny: {ingress: false}\n  ingress: [{toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{method: GET}]}}]}]";
    const ISOLATE: &str = "ingress: [{fromEntities: [host]}]";

    #[test]
    fn nothing_is_isolated() {
        for cluster in ["", CLUSTER] {
            let lines = found(&cnp("", "app: web", WATCH), cluster);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(
                lines[0].starts_with("W614 7:24 no policy isolates ingress of the rule's subjects:"),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn another_policy_isolates() {
        for cluster in ["", CLUSTER] {
            assert_eq!(found(&(cnp("", "app: web", WATCH) + &cnp("-2", "", ISOLATE)), cluster), [""; 0]);
        }
        let lines = found(&(cnp("", "", WATCH) + &cnp("-2", "app: web", ISOLATE)), CLUSTER);
        assert!(lines[0].contains("of some of the rule's subjects, such as shop/checkout"), "{lines:?}");
    }

    #[test]
    fn who_admits_everything_only_wants_to_watch() {
        assert_eq!(found(&cnp("", "app: web", &WATCH.replace("method: GET", "")), CLUSTER), [""; 0]);
    }
}
