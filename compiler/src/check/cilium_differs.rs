//! W608: Cilium decides otherwise here. What it asks, and why, is on its page, `docs/codes/W608.md`.

use super::view::{View, parts};
use crate::identity::PER_POD;
use crate::ir::{Direction, PolicyKind, PortMatch, Ports, Rule, protocol};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::tree::{Protocol, Requirement};

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let numbers = numbers(view);
    let mut seen = FxHashSet::default();
    for rule in &view.set.rules {
        found.extend(type_zero(view, rule));
        ports(view, rule, &numbers, found);
        if seen.insert((rule.policy, rule.path.spec)) {
            let (of_nodes, selector) = parts(&view.set.subjects[rule.subject]);
            if let Some(requirement) =
                selector.iter().find(|requirement| !of_nodes && is_per_pod(requirement))
            {
                found.push(per_pod(view, rule, requirement, rule.subject_span));
            }
        }
    }
    for rule in view.elements() {
        for requirement in
            view.peers(rule).selectors.iter().flatten().filter(|requirement| is_per_pod(requirement))
        {
            found.push(per_pod(view, rule, requirement, requirement.key.span));
        }
    }
}

fn is_per_pod(requirement: &Requirement) -> bool {
    PER_POD.contains(&requirement.key.value.name.as_str())
}

fn type_zero(view: &View<'_>, rule: &Rule) -> Option<Diagnostic> {
    let Ports::Any(matches) = &rule.ports else { return None };
    let is_zero = |port: &PortMatch| match port {
        PortMatch::Range { protocol, first, last } => {
            matches!(*protocol, protocol::ICMP | protocol::ICMPV6) && (*first, *last) == (0, 0)
        }
        PortMatch::Named { .. } => false,
    };
    matches.iter().any(is_zero).then(|| {
        view.finding(
            Code::CiliumDiffers,
            rule,
            rule.span,
            "ICMP type 0 is one type to Weir, and every type of its family to Cilium",
        )
        .labelled("has type 0")
        .help("leave type 0 out: replies to an admitted echo request pass without it")
    })
}

/// The numbers that each port name and protocol has among the cluster's pods.
fn numbers<'a>(view: &View<'a>) -> FxHashMap<(&'a str, u8), BTreeSet<u16>> {
    let mut numbers: FxHashMap<(&str, u8), BTreeSet<u16>> = FxHashMap::default();
    for port in view.identities.entries.iter().flat_map(|entry| &entry.ports) {
        let protocol = match port.protocol {
            Protocol::Udp => protocol::UDP,
            Protocol::Sctp => protocol::SCTP,
            Protocol::Other(number) => number,
            Protocol::Tcp | Protocol::Any => protocol::TCP,
        };
        if let Some(name) = &port.name {
            numbers.entry((name, protocol)).or_default().insert(port.port);
        }
    }
    numbers
}

fn ports(
    view: &View<'_>,
    rule: &Rule,
    numbers: &FxHashMap<(&str, u8), BTreeSet<u16>>,
    found: &mut Vec<Diagnostic>,
) {
    let Ports::Any(matches) = &rule.ports else { return };
    if view.kind(rule) != PolicyKind::Network || rule.direction != Direction::Egress || view.is_idle(rule) {
        return;
    }
    for port in matches {
        let PortMatch::Named { protocol, name } = port else { continue };
        let Some(several) = numbers.get(&(name.as_str(), *protocol)).filter(|several| several.len() > 1)
        else {
            continue;
        };
        let shown: Vec<String> = several.iter().take(3).map(u16::to_string).collect();
        let more = if several.len() > 3 { ", …" } else { "" };
        found.push(
            view.finding(
                Code::CiliumDiffers,
                rule,
                rule.span,
                format!("port `{name}` has several numbers in the cluster, for which Cilium drops the rule"),
            )
            .labelled(format!("`{name}` is {}{more}", shown.join(", ")))
            .help("write the numbers; Kubernetes and Weir take each destination pod's own"),
        );
    }
}

fn per_pod(
    view: &View<'_>,
    rule: &Rule,
    requirement: &Requirement,
    span: weir_grammar::span::Span,
) -> Diagnostic {
    let key = &requirement.key.value.name;
    view.finding(
        Code::CiliumDiffers,
        rule,
        span,
        format!("label `{key}` differs from pod to pod by design, and Cilium does not look at it"),
    )
    .labelled("to Cilium no pod has this label")
    .help("select by labels that all pods of the workload share")
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found, network};

    #[test]
    fn icmp_type_zero() {
        let rule = |number: &str| {
            format!("ingress: [{{fromEntities: [cluster], icmps: [{{fields: [{{type: {number}}}]}}]}}]")
        };
        let lines = found(&cnp("", "app: web", &rule("EchoReply")), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("W608 6:13 ICMP type 0"), "{lines:?}");
        assert_eq!(found(&cnp("", "app: web", &rule("8")), CLUSTER), [""; 0]);
    }

    #[test]
    fn a_port_name_with_several_numbers() {
        let rules = "egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]";
        let lines = found(&network("app: db", rules), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("W608") && lines[0].contains("`http` is 8080, 8443"), "{lines:?}");
        let rules = rules.replace("http", "sql").replace("app: web", "app: db");
        assert_eq!(found(&network("app: web", &rules), CLUSTER), [""; 0]);
    }

    #[test]
    fn a_label_that_differs_from_pod_to_pod() {
        let rules = "ingress: [{fromEndpoints: [{matchLabels: {app: web, pod-template-hash: abc}}]}]";
        let lines = found(&cnp("", "app: db", rules), "");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("W608 6:55 label `pod-template-hash`"), "{lines:?}");
        let lines = found(&cnp("", "pod-template-hash: abc", "ingress: [{fromEntities: [all]}]"), "");
        assert!(lines[0].starts_with("W608 5:21"), "{lines:?}");
    }
}
