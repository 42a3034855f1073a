//! Port lists that match nothing, and port names that nobody has.

use super::{field, finding};
use crate::check::view::{View, parts};
use crate::identity::Entry;
use crate::ir::{CidrPart, Direction, PortMatch, Ports, Rule, protocol};
use ipnet::IpNet;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::tree::Protocol;

pub(super) fn check(view: &View<'_>, rule: &Rule, found: &mut Vec<Diagnostic>) {
    let Ports::Any(matches) = &rule.ports else { return };
    if matches.is_empty() {
        found.push(
            finding(view, rule, rule.span, "the port list has no ports, so it matches nothing".to_owned())
                .labelled("no `ports` here")
                .help("name ports; `port: \"0\"` means every port of the protocol"),
        );
        return;
    }
    found.extend(icmp(view, rule, matches));
    names(view, rule, matches, found);
}

/// An address of one family never sees the other's ICMP.
fn icmp(view: &View<'_>, rule: &Rule, matches: &[PortMatch]) -> Option<Diagnostic> {
    let of = |port: &PortMatch| match port {
        PortMatch::Range { protocol, .. } | PortMatch::Named { protocol, .. } => *protocol,
    };
    let first = of(matches.first()?);
    if !matches!(first, protocol::ICMP | protocol::ICMPV6) || matches.iter().any(|port| of(port) != first) {
        return None;
    }
    let peers = view.peers(rule);
    let only_cidrs =
        !peers.anyone && peers.selectors.is_empty() && peers.fqdns.is_empty() && !peers.cidrs.is_empty();
    let fits = |net: &IpNet| matches!(net, IpNet::V4(_)) == (first == protocol::ICMP);
    let some_fit = peers.cidrs.iter().any(|part| match part {
        CidrPart::Written(list) => list.blocks.iter().any(|block| fits(&block.cidr.net)),
        CidrPart::Group { group, .. } => {
            let cidrs = &view.cluster.groups[*group].cidrs;
            cidrs.is_empty() || cidrs.iter().any(|placed| fits(&placed.net))
        }
        CidrPart::Addresses(list) => list.is_empty() || list.iter().any(fits),
    });
    if !only_cidrs || some_fit {
        return None;
    }
    let (types, addresses, family) =
        if first == protocol::ICMP { ("ICMP", "IPv6", "IPv6") } else { ("ICMPv6", "IPv4", "IPv4") };
    let message = format!("the rule is about {types} types, but all its addresses are {addresses}");
    Some(
        finding(view, rule, rule.span, message)
            .labelled("never meet")
            .help(format!("write `family: {family}` with the types of that family")),
    )
}

fn names(view: &View<'_>, rule: &Rule, matches: &[PortMatch], found: &mut Vec<Diagnostic>) {
    let mut named: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for port in matches {
        if let PortMatch::Named { protocol, name } = port {
            named.entry(name).or_default().push(*protocol);
        }
    }
    if named.is_empty() || view.is_idle(rule) {
        return;
    }
    let (of_nodes, _) = parts(&view.set.subjects[rule.subject]);
    let peers = view.peers(rule);
    let (pods, whose) = match rule.direction {
        Direction::Ingress if of_nodes => (RoaringBitmap::new(), "nodes have no named ports"),
        Direction::Ingress => (view.subject(rule).clone(), "no pod that the policy selects has it"),
        Direction::Egress if peers.anyone => (view.index.select(&[]), "no pod of the cluster has it"),
        Direction::Egress => (view.places(peers), "no pod that the rule's peers select has it"),
    };
    let outside_only = rule.direction == Direction::Egress && !peers.anyone && peers.selectors.is_empty();
    // Whether somebody is selected at all is another finding.
    let unknown = if of_nodes { !view.has_nodes } else { !view.has_pods };
    if !outside_only && (unknown || (pods.is_empty() && !of_nodes)) {
        return;
    }
    let entries: Vec<&Entry<'_>> =
        pods.iter().map(|place| &view.identities.entries[place as usize]).collect();
    for (name, protocols) in named {
        let mut ports = entries.iter().flat_map(|entry| &entry.ports);
        let is_it = |protocol: Protocol| match protocol {
            Protocol::Tcp => protocols.contains(&protocol::TCP),
            Protocol::Udp => protocols.contains(&protocol::UDP),
            Protocol::Sctp => protocols.contains(&protocol::SCTP),
            Protocol::Other(number) => protocols.contains(&number),
            Protocol::Any => true,
        };
        if ports.any(|port| port.name.as_deref() == Some(name) && is_it(port.protocol)) {
            continue;
        }
        let message = format!("no port is named `{name}` here");
        let finding = finding(view, rule, rule.span, message);
        if outside_only {
            found.push(
                finding.labelled("port names are of pods, and no pod is among the peers").help(format!(
                    "write a number; an address of `{}` has no named ports",
                    field(rule, "CIDR")
                )),
            );
            continue;
        }
        found.push(finding.labelled(format!("`{name}`: {whose}")).help(instead(name, &entries)));
    }
}

/// What ports there are instead.
fn instead(name: &str, entries: &[&Entry<'_>]) -> String {
    let ports = || entries.iter().flat_map(|entry| &entry.ports);
    if ports().any(|port| port.name.as_deref() == Some(name)) {
        return format!("their port `{name}` is of another protocol");
    }
    let names: BTreeSet<&str> = ports().filter_map(|port| port.name.as_deref()).collect();
    let shown: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
    if shown.is_empty() {
        return "their containers name no ports (a service's port names do not count); write a number"
            .to_owned();
    }
    format!("their containers' ports are named {} (a service's port names do not count)", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found, network};

    #[test]
    fn a_name_that_no_selected_pod_has() {
        let text = network("app: web", "ingress: [{ports: [{port: web}]}]");
        let lines = found(&text, CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0]
                .starts_with("W602 6:13 no port is named `web` here | `web`: no pod that the policy selects"),
            "{lines:?}"
        );
        assert!(lines[0].contains("are named `http`"), "{lines:?}");
        assert_eq!(found(&text, ""), [""; 0]);
        assert_eq!(found(&network("app: web", "ingress: [{ports: [{port: http}]}]"), CLUSTER), [""; 0]);
    }

    #[test]
    fn a_name_of_another_protocol() {
        let lines = found(&network("app: web", "ingress: [{ports: [{port: http, protocol: UDP}]}]"), CLUSTER);
        assert!(lines[0].ends_with("their port `http` is of another protocol"), "{lines:?}");
    }

    #[test]
    fn a_name_on_egress_is_the_peers() {
        let rule = |peer: &str| {
            format!("egress: [{{{peer}, toPorts: [{{ports: [{{port: sql, protocol: TCP}}]}}]}}]")
        };
        let to = |peer: &str| found(&cnp("", "app: web", &rule(peer)), CLUSTER);
        assert_eq!(to("toEndpoints: [{matchLabels: {app: db}}]"), [""; 0]);
        assert!(
            to("toEndpoints: [{matchLabels: {app: checkout}}]")[0].contains("no pod that the rule's peers")
        );
        assert!(to("toCIDR: [192.0.2.0/24]")[0].contains("no pod is among the peers"));
    }

    #[test]
    fn an_empty_port_list() {
        let lines = found(&cnp("", "app: web", "ingress: [{toPorts: [{ports: []}]}]"), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("the port list has no ports"), "{lines:?}");
    }

    #[test]
    fn icmp_of_the_other_family() {
        let rule = |family: &str| {
            format!(
                "egress: [{{toCIDR: [2001:db8::/32], icmps: [{{fields: [{{type: 8, family: {family}}}]}}]}}]"
            )
        };
        assert!(found(&cnp("", "app: web", &rule("IPv4")), "")[0].contains("all its addresses are IPv6"));
        assert_eq!(found(&cnp("", "app: web", &rule("IPv6")), ""), [""; 0]);
    }
}
