//! Small clusters, counted by hand.

use super::*;
use crate::translate::translate;
use weir_grammar::{Limits, Reading};

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 172.20.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-1-a, namespace: s, labels: {app: web, pod-template-hash: "1"}}, spec: {nodeName: n1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-2-a, namespace: s, labels: {app: web, pod-template-hash: "2"}}, spec: {nodeName: n1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: s, labels: {app: db}},
 spec: {nodeName: n1, containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}}
---
{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: g},
 spec: {externalCIDRs: [192.0.2.0/25, 192.0.2.128/25, 198.51.100.0/24]}}
---
"#;

/// Entries of the map of `db`: for traffic to it and from it.
fn entries(rules: &str) -> [u64; 2] {
    let policy = format!(
        "{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: p, namespace: s}},\n spec: {{endpointSelector: {{matchLabels: {{app: db}}}}, {rules}}}}}\n"
    );
    let mut reading = Reading::default();
    weir_grammar::read(
        &mut reading,
        "p.yaml",
        (CLUSTER.to_owned() + &policy).into_bytes(),
        &Limits::default(),
    );
    let mut findings = reading.diagnostics;
    let cluster = Cluster::collect(&mut reading.objects, &mut findings);
    let set = translate(reading.objects, &cluster, &mut findings);
    let found: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(found, [""; 0]);
    let forecast = forecast(&set, &cluster);
    let db = cluster.party_named("s", "db").unwrap();
    forecast.maps.iter().find(|map| map.endpoints.contains(&db)).unwrap().entries
}

/// What one egress rule asks for.
fn egress(rule: &str) -> u64 {
    let [ingress, egress] = entries(&format!("egress: [{rule}]"));
    assert_eq!(ingress, 1, "ingress is open");
    egress
}

#[test]
fn identities_times_ports() {
    assert_eq!(egress("{toEndpoints: [{matchLabels: {app: web}}]}"), 1, "replicas are one identity");
    assert_eq!(egress("{toEndpoints: [{}]}"), 2);
    let ports =
        "toPorts: [{ports: [{port: '80', protocol: TCP}, {port: '8080', endPort: 8083, protocol: TCP}]}]";
    assert_eq!(egress(&format!("{{toEndpoints: [{{}}], {ports}}}")), 4);
    assert_eq!(egress(&format!("{{toEntities: [all], {ports}}}")), 2, "anyone is no identity");
    assert_eq!(egress("{toPorts: [{ports: [{port: '53', protocol: ANY}]}]}"), 3);
    assert_eq!(egress("{toEndpoints: [{}], toPorts: [{ports: [{port: sql, protocol: TCP}]}]}"), 2);
    let twice = "{toEndpoints: [{}]}, {toEndpoints: [{matchLabels: {app: web}}]}";
    assert_eq!(egress(twice), 2, "what two rules ask for is one entry");
    let covered = format!("{{toEndpoints: [{{}}], {ports}}}, {{toEntities: [all], {ports}}}");
    assert_eq!(egress(&covered), 2, "plain entries below one for anyone are left out");
}

#[test]
fn blocks_inside_of_blocks_are_identities_too() {
    assert_eq!(egress("{toCIDR: [10.0.0.0/8, 172.16.0.0/12]}"), 2);
    assert_eq!(egress("{toCIDR: [10.0.0.0/8]}, {toCIDR: [10.1.0.0/16, 10.1.1.0/24]}"), 3);
    let port = |port: u16| format!("toPorts: [{{ports: [{{port: '{port}', protocol: TCP}}]}}]");
    let rules = format!(
        "{{toCIDR: [10.0.0.0/8], {}}}, {{toCIDR: [10.1.0.0/16, 10.1.1.0/24], {}}}",
        port(80),
        port(81)
    );
    assert_eq!(egress(&rules), 3 + 2);
    assert_eq!(
        egress("{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}"),
        1,
        "an exception is not selected"
    );
    let worlds = 2;
    assert_eq!(
        egress("{toEntities: [world]}, {toCIDR: [10.0.0.0/8, '2001:db8::/32']}"),
        worlds + 2 + 1,
        "and the group"
    );
}

#[test]
fn a_group_is_one_identity_as_far_as_no_rule_writes_its_blocks() {
    assert_eq!(egress("{toCIDRSet: [{cidrGroupRef: g}]}"), 1);
    assert_eq!(egress("{toCIDRSet: [{cidrGroupRef: g}]}, {toCIDR: [192.0.2.0/25]}"), 2);
    assert_eq!(
        egress("{toCIDRSet: [{cidrGroupRef: g}]}, {toCIDR: [192.0.2.0/24]}"),
        3,
        "two sets and the block"
    );
    assert_eq!(egress("{toCIDRSet: [{cidrGroupRef: g, except: [192.0.2.0/24]}]}"), 1);
}

#[test]
fn what_is_open_and_the_own_node_are_entries() {
    assert_eq!(entries("ingress: [{fromEndpoints: [{}]}]"), [2 + 1, 1], "the own node, and open egress");
    let watching = "enableDefaultDeny: {ingress: false, egress: false}, ingress: [{fromEndpoints: [{}]}], egress: [{toEntities: [all]}]";
    assert_eq!(entries(watching), [2 + 1, 1]);
    assert_eq!(entries("ingress: [{fromEntities: [host]}]"), [1, 1], "the own node is there already");
    assert_eq!(
        entries("egressDeny: [{toEndpoints: [{}]}], egress: [{toEndpoints: [{}]}]"),
        [1, 2],
        "denied or allowed"
    );
}
