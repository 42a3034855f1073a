//! W605: a CIDR covers addresses of pods or nodes. What it asks, and why, is on its page, `docs/codes/W605.md`.

mod inside;

use super::view::{View, side, verb};
use crate::cluster::Party;
use crate::ir::{CidrPart, PolicyKind, Rule};
use inside::{GroupHit, Hit, Inside};
use rustc_hash::FxHashMap;
use weir_grammar::diagnostic::{Code, Diagnostic};

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let inside = Inside::new(view);
    if inside.addresses.is_empty() {
        return;
    }
    let mut groups: FxHashMap<usize, GroupHit> = FxHashMap::default();
    for rule in view.elements().filter(|rule| !view.is_idle(rule)) {
        let peers = view.peers(rule);
        if peers.anyone || peers.cidrs.is_empty() {
            continue;
        }
        let mut selected = None;
        for part in &peers.cidrs {
            let Some(mut hit) = inside.part(view, rule, part, &mut groups) else { continue };
            let selected = selected.get_or_insert_with(|| view.places(peers));
            if !selected.is_empty() {
                hit.covered = hit.covered.iter().filter(|&at| !inside.is_among(view, at, selected)).collect();
            }
            if hit.covered.is_empty() {
                continue;
            }
            if let CidrPart::Group { group, .. } = part
                && let Some(known) = groups.get_mut(group)
            {
                known.told = true;
            }
            found.push(finding(view, rule, part, &hit, &inside));
        }
    }
}

fn finding(view: &View<'_>, rule: &Rule, part: &CidrPart, hit: &Hit, inside: &Inside) -> Diagnostic {
    let is_pod = |at: u32| matches!(inside.addresses.get(at as usize), Some((_, Party::Pod(_))));
    let pods = hit.covered.iter().filter(|&at| is_pod(at)).count();
    let nodes = usize::try_from(hit.covered.len()).unwrap_or(usize::MAX) - pods;
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let whose = match (pods, nodes) {
        (pods, 0) => count(pods, "pod"),
        (0, nodes) => count(nodes, "node"),
        (pods, nodes) => format!("{} and {}", count(pods, "pod"), count(nodes, "node")),
    };
    let (what, at, group) = match part {
        CidrPart::Written(_) if hit.blocks == 1 => (format!("{} covers", hit.first), hit.at, None),
        CidrPart::Written(_) => {
            (format!("{} and {} more of the list cover", hit.first, hit.blocks - 1), hit.at, None)
        }
        CidrPart::Group { group, .. } => {
            let name = &view.cluster.groups[*group].meta.name;
            (format!("{} of group `{name}` covers", hit.first), None, hit.at)
        }
        CidrPart::Addresses(_) => ("the service's endpoints are".to_owned(), None, None),
    };
    let message = format!("{what} the addresses of {whose}, which a CIDR never matches");
    let shown: Vec<String> = hit.covered.iter().take(2).map(|at| inside.shown(view, at)).collect();
    let more = hit.covered.len().saturating_sub(2);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let finding = view
        .finding(Code::CidrCoversPods, rule, at.unwrap_or(rule.span), message)
        .labelled(format!("covers {}{more}", shown.join(", ")));
    let finding = match group {
        Some(at) => finding.also(at, "the group's prefix"),
        None => finding,
    };
    let (does, side) = (verb(rule.effect), side(rule.direction));
    finding.help(match view.kind(rule) {
        PolicyKind::Network if nodes == 0 => {
            format!("the rule {does} only addresses outside; name pods with `podSelector` and `namespaceSelector`")
        }
        PolicyKind::Network => format!(
            "the rule {does} only addresses outside; a NetworkPolicy cannot name nodes, a CiliumNetworkPolicy can: `{side}Entities: [host, remote-node]`"
        ),
        _ => format!(
            "the rule {does} only addresses outside; name pods with `{side}Endpoints` and nodes with `{side}Entities: [host, remote-node]`"
        ),
    })
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found, network};

    #[test]
    fn a_prefix_over_pods() {
        let lines =
            found(&cnp("", "app: db", "ingressDeny: [{fromCIDR: [192.0.2.0/24, 10.1.0.0/16]}]"), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("W605 6:43 10.1.0.0/16 covers the addresses of 2 pods"), "{lines:?}");
        assert!(
            lines[0].contains("covers 10.1.0.10 (pod shop/web), 10.1.0.11 (pod shop/checkout)"),
            "{lines:?}"
        );
        assert!(lines[0].contains("the rule denies only addresses outside"), "{lines:?}");
    }

    #[test]
    fn one_finding_for_a_list() {
        let rules = "egress: [{toCIDR: [10.0.0.0/8, 172.16.0.0/12]}]";
        let lines = found(&cnp("", "app: db", rules), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("10.0.0.0/8 and 1 more of the list cover the addresses of 4 pods and 2 nodes"),
            "{lines:?}"
        );
        assert!(lines[0].contains("and 4 more |"), "{lines:?}");
    }

    #[test]
    fn what_is_excepted_or_selected_besides_or_everywhere() {
        let rules = "egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}]}]";
        assert_eq!(found(&cnp("", "app: db", rules), CLUSTER), [""; 0]);
        assert_eq!(found(&cnp("", "app: db", "egress: [{toCIDR: [0.0.0.0/0]}]"), CLUSTER), [""; 0]);
        let rules = "egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}, {podSelector: {}}]}]";
        assert_eq!(found(&network("app: db", rules), CLUSTER), [""; 0]);
    }

    #[test]
    fn groups_and_endpoints_of_services() {
        let group = "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: lan}\nspec: {externalCIDRs: [172.20.0.0/24]}\n---\n";
        let rules = "egress: [{toCIDRSet: [{cidrGroupRef: lan}]}]";
        let text = format!("{}{}{group}", cnp("", "app: db", rules), cnp("-2", "app: web", rules));
        let lines = found(&text, CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("172.20.0.0/24 of group `lan` covers the addresses of 2 nodes"),
            "{lines:?}"
        );

        let service = "---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}, spec: {}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
  addressType: IPv4
  endpoints: [{addresses: [172.20.0.1]}]
";
        let rules = "egress: [{toServices: [{k8sService: {serviceName: kubernetes, namespace: default}}]}]";
        let lines = found(&cnp("", "app: db", rules), &format!("{CLUSTER}{service}"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("the service's endpoints are the addresses of 1 node"), "{lines:?}");
    }
}
