//! W607: toFQDNs without a DNS rule. What it asks, and why, is on its page, `docs/codes/W607.md`.

use super::implication::implies;
use super::view::{View, parts};
use crate::ir::{Direction, Requests, Rule};
use roaring::RoaringBitmap;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::Span;

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let dns_rules: Vec<&Rule> = view
        .set
        .rules
        .iter()
        .filter(|rule| rule.direction == Direction::Egress && matches!(rule.requests, Some(Requests::Dns(_))))
        .collect();
    let mut asked = RoaringBitmap::new();
    for rule in &dns_rules {
        asked |= view.subject(rule);
    }
    for rule in view.elements() {
        let fqdns = &view.peers(rule).fqdns;
        let Some(span) = fqdns.iter().map(|fqdn| fqdn.span).reduce(Span::to) else { continue };
        if view.is_idle(rule) {
            continue;
        }
        let (missing, some) = if view.knows_subject(rule) {
            let missing = view.subject(rule) - &asked;
            (missing.min(), missing.len() < view.subject(rule).len())
        } else if dns_rules.iter().any(|dns| covers(view, dns, rule)) {
            continue;
        } else {
            (Some(u32::MAX), false)
        };
        let Some(place) = missing else { continue };
        let message = if some {
            let name = view.name_of(place).unwrap_or_default();
            format!("no policy has a DNS rule for some of the rule's subjects, such as {name}")
        } else {
            "no policy has a DNS rule for the rule's subjects".to_owned()
        };
        found.push(
            view.finding(Code::FqdnWithoutDns, rule, span, message)
                .labelled("the addresses of these names are never learnt")
                .help("allow the DNS server on port 53 with `rules: {dns: [{matchPattern: \"*\"}]}`"),
        );
    }
}

/// Whether a DNS rule is surely for all subjects of another rule.
fn covers(view: &View<'_>, dns: &Rule, rule: &Rule) -> bool {
    let (dns_nodes, wide) = parts(&view.set.subjects[dns.subject]);
    let (nodes, narrow) = parts(&view.set.subjects[rule.subject]);
    dns_nodes == nodes && (dns.policy == rule.policy || implies(narrow, wide))
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found};

    const FQDN: &str = "egress: [{toFQDNs: [{matchName: bank.example.com}]}]";
    const DNS: &str = "egress: [{toEntities: [world], toPorts: [{ports: [{port: '53', protocol: UDP}], rules: {dns: [{matchPattern: '*'}]}}]}]";

    #[test]
    fn nobody_asks() {
        for cluster in ["", CLUSTER] {
            let lines = found(&cnp("", "app: web", FQDN), cluster);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(
                lines[0].starts_with("W607 6:35 no policy has a DNS rule for the rule's subjects |"),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn whoever_writes_the_language_is_answered_in_it() {
        let text = "policy p in shop { for app=web; allow egress to fqdn \"bank.example.com\" }";
        let help = "allow the DNS server on port 53 with `dns \"*\"`";
        assert!(found(text, "")[0].ends_with(help), "{:?}", found(text, ""));
    }

    #[test]
    fn another_policy_asks() {
        for cluster in ["", CLUSTER] {
            let text = cnp("", "app: web", FQDN) + &cnp("-dns", "", DNS);
            assert_eq!(found(&text, cluster), [""; 0]);
        }
    }

    #[test]
    fn some_ask() {
        let lines = found(&(cnp("", "", FQDN) + &cnp("-dns", "app: web", DNS)), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("some of the rule's subjects, such as shop/checkout"), "{lines:?}");
    }
}
