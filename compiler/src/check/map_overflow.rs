//! W618: a policy map of Cilium would overflow. What it asks, and why, is on its page, `docs/codes/W618.md`.

use super::view::{View, verb};
use crate::ir::{CidrPart, Rule};
use crate::policy_map::{DEFAULT_SIZE, PolicyMap};
use std::collections::BTreeMap;
use weir_grammar::diagnostic::{Code, Diagnostic};

/// Rules shown beside the costliest.
const ALSO: usize = 2;

pub(super) fn check(view: &View<'_>, maps: &[PolicyMap], found: &mut Vec<Diagnostic>) {
    // One finding for all maps that the same rule is to blame for; the largest is told.
    let mut by_rule: BTreeMap<u32, Vec<&PolicyMap>> = BTreeMap::new();
    for map in maps.iter().filter(|map| map.total() > DEFAULT_SIZE) {
        if let Some(&(rule, _)) = map.rules.first() {
            by_rule.entry(rule).or_default().push(map);
        }
    }
    for maps in by_rule.values() {
        found.extend(finding(view, maps));
    }
}

fn finding(view: &View<'_>, maps: &[&PolicyMap]) -> Option<Diagnostic> {
    let largest = maps.first()?;
    let rule = |id: u32| view.set.rules.get(id as usize);
    let [(id, entries), others @ ..] = &largest.rules[..] else { return None };
    let costliest = rule(*id)?;
    // What is small beside the costliest is not to blame.
    let others = others.iter().take(ALSO).filter(|&&(_, other)| other.saturating_mul(20) >= *entries);
    let others = others.filter_map(|&(id, entries)| Some((rule(id)?, entries)));
    let name = largest.endpoints.first().map(|&party| view.cluster.name(party))?;
    let count: usize = maps.iter().map(|map| map.endpoints.len()).sum();
    let whose = match count {
        1 => name,
        2 => format!("{name} and 1 more endpoint"),
        _ => format!("{name} and {} more endpoints", count - 1),
    };
    let message = format!(
        "on Cilium the policy map of {whose} would need {} entries, and holds {DEFAULT_SIZE}",
        largest.total()
    );
    let asks = |rule: &Rule, entries: u64| format!("{} by {entries} entries", verb(rule.effect));
    let finding = view.finding(Code::MapOverflow, costliest, costliest.span, message);
    let finding = finding.labelled(asks(costliest, *entries)).help(instead(view, costliest));
    Some(others.fold(finding, |finding, (rule, entries)| finding.also(rule.span, asks(rule, entries))))
}

fn instead(view: &View<'_>, rule: &Rule) -> &'static str {
    let is_written = |part: &CidrPart| matches!(part, CidrPart::Written(_) | CidrPart::Addresses(_));
    if view.peers(rule).cidrs.iter().any(is_written) {
        "put the blocks into a CiliumCIDRGroup, which is one identity, or give wide blocks and those inside of them the same ports"
    } else {
        "name fewer ports or all of them, or peers of fewer identities"
    }
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found_by};
    use crate::check::overflows;
    use crate::policy_map::forecast;

    fn blocks(count: usize) -> String {
        let blocks: Vec<String> =
            (0..count).map(|number| format!("10.{}.{}.0/24", number / 256, number % 256)).collect();
        let ports: Vec<String> =
            (0..20).map(|port| format!("{{port: '{}', protocol: TCP}}", 80 + 2 * port)).collect();
        format!("egress: [{{toCIDR: [{}], toPorts: [{{ports: [{}]}}]}}]", blocks.join(", "), ports.join(", "))
    }

    #[test]
    fn what_would_not_fit_is_told_of_the_costliest_rule() {
        let told = |count: usize| -> Vec<String> {
            found_by(&cnp("", "app: web", &blocks(count)), CLUSTER, |set, cluster, sources| {
                overflows(set, cluster, sources, &forecast(set, cluster))
            })
        };
        assert_eq!(told(819), [""; 0], "16,380 entries, the own node and open ingress do fit");
        let lines = told(820);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("would need 16401 entries, and holds 16384"), "{lines:?}");
    }
}
