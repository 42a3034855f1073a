//! What is said to be shadowed changes no verdict: random policies, judged by the reference evaluator
//! with and without the rule.

use crate::check::case::CLUSTER;
use crate::check::surprises;
use crate::cluster::{Cluster, Party};
use crate::flow::{Enforced, Engine, Flow, Side};
use crate::ir::{Direction, Peers, PolicySet, Requests, protocol};
use crate::reference::Reference;
use crate::requests::{DnsRequest, HttpRequest};
use crate::translate::translate;
use proptest::prelude::*;
use weir_grammar::diagnostic::{Code, Severity};
use weir_grammar::span::{FileId, Span};
use weir_grammar::tree::{FqdnSelector, HttpRule};
use weir_grammar::{Limits, Reading, read};

const SUBJECTS: &[&str] = &["", "app: web", "app: db"];
const INGRESS: &[&str] = &[
    "",
    "fromEndpoints: [{}], ",
    "fromEndpoints: [{matchLabels: {app: web}}], ",
    "fromEndpoints: [{matchExpressions: [{key: app, operator: NotIn, values: [db]}]}], ",
    "fromEndpoints: [{matchExpressions: [{key: app, operator: In, values: [web, db]}]}, {matchLabels: {app: checkout}}], ",
    "fromEndpoints: [{matchExpressions: [{key: 'k8s:io.kubernetes.pod.namespace', operator: Exists}]}], ",
    "fromEntities: [cluster], ",
    "fromEntities: [all], ",
    "fromEntities: [world], ",
    "fromEntities: [remote-node, world-ipv4], ",
    "fromCIDR: [192.0.2.0/24], ",
    "fromCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.0/30]}], ",
    "fromCIDR: [0.0.0.0/0], ",
    "fromCIDR: [0.0.0.0/0, '::/0'], ",
];
const PORTS: &[&str] = &[
    "",
    "ports: [{port: '80', protocol: TCP}]",
    "ports: [{port: '80', protocol: TCP}], rules: {http: [{method: GET}]}",
    "ports: [{port: '80', protocol: TCP}], rules: {http: [{}]}",
    "ports: [{port: '1', endPort: 100}]",
    "ports: [{port: '0', protocol: TCP}]",
    "ports: [{port: http, protocol: TCP}]",
    "ports: [{port: '53', protocol: UDP}]",
    "ports: [{port: '53', protocol: UDP}], rules: {dns: [{matchName: a.test}]}",
    "ports: [{port: '53'}, {port: '80'}]",
];

/// One section of a policy, such as `ingressDeny: [{…}]`.
fn rule(ingress: bool, deny: bool, peers: usize, ports: usize) -> String {
    let mut peers = INGRESS[peers].to_owned();
    let mut ports = PORTS[ports];
    if !ingress {
        peers = if peers.is_empty() && ports.is_empty() && !deny {
            "toFQDNs: [{matchName: a.test}], ".to_owned()
        } else {
            peers.replace("from", "to")
        };
    }
    // HTTP and DNS rules do not meet, DNS rules are for egress, a deny has neither.
    if ports.contains("rules") && (deny || ingress == ports.contains("dns")) {
        ports = "ports: [{port: '80', protocol: TCP}]";
    }
    let ports = if ports.is_empty() { String::new() } else { format!("toPorts: [{{{ports}}}]") };
    format!("{{{peers}{ports}}}")
}

/// A subject, whether default deny is off, and rules: ingress, deny, peers, ports.
type Written = (usize, bool, Vec<(bool, bool, usize, usize)>);

fn policy() -> impl Strategy<Value = Written> {
    let rules = proptest::collection::vec(
        (any::<bool>(), proptest::bool::weighted(0.2), 0..INGRESS.len(), 0..PORTS.len()),
        1..4,
    );
    (0..SUBJECTS.len(), proptest::bool::weighted(0.2), rules)
}

fn text(policies: &[Written]) -> String {
    let mut text = String::new();
    for (number, (subject, open, rules)) in policies.iter().enumerate() {
        let section = |ingress, deny| {
            let rules = rules.iter().filter(|rule| (rule.0, rule.1) == (ingress, deny));
            rules
                .map(|&(ingress, deny, peers, ports)| rule(ingress, deny, peers, ports))
                .collect::<Vec<_>>()
                .join(", ")
        };
        text.push_str(&format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p{number}, namespace: shop}}\nspec:\n  endpointSelector: {{matchLabels: {{{}}}}}\n  enableDefaultDeny: {{ingress: {}, egress: {}}}\n  ingress: [{}]\n  ingressDeny: [{}]\n  egress: [{}]\n  egressDeny: [{}]\n---\n",
            SUBJECTS[*subject], !open, !open, section(true, false), section(true, true), section(false, false), section(false, true)
        ));
    }
    text
}

/// Every way that parties of the cluster and a few addresses outside may talk to each other.
fn flows(cluster: &Cluster) -> Vec<Flow> {
    let outside = ["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1"];
    let outside = outside.map(|address| Party::Outside(address.parse().unwrap()));
    let pods = (0..cluster.pods.len()).filter(|&pod| !cluster.pods[pod].host_network).map(Party::Pod);
    let parties: Vec<Party> = pods.chain([Party::Node(0), Party::Node(1)]).chain(outside).collect();
    let http = |method: &str| HttpRequest {
        method: method.to_owned(),
        path: "/".to_owned(),
        ..HttpRequest::default()
    };
    let dns = |query: &str| DnsRequest { query: query.to_owned() };
    let asked = [
        (protocol::TCP, 80, Some(http("GET")), None),
        (protocol::TCP, 80, Some(http("POST")), None),
        (protocol::TCP, 8080, None, None),
        (protocol::UDP, 80, None, None),
        (protocol::UDP, 53, None, Some(dns("a.test"))),
        (protocol::UDP, 53, None, Some(dns("b.test"))),
        (protocol::ICMP, 8, None, None),
    ];
    let mut flows = Vec::new();
    for &source in &parties {
        for &destination in &parties {
            for (protocol, port, http, dns) in asked.clone() {
                flows.push(Flow {
                    id: String::new(),
                    span: Span::point(FileId(0), 0),
                    source,
                    destination,
                    protocol,
                    port,
                    enforced: Enforced::Both,
                    http,
                    dns,
                    fqdn: vec!["a.test".to_owned()],
                    expected: Vec::new(),
                    why: None,
                });
            }
        }
    }
    flows
}

/// What is decided, whichever rule it was.
fn sides(set: &PolicySet, cluster: &Cluster, flows: &[Flow]) -> Vec<Side> {
    let reference = Reference::new(set, cluster, None);
    let sides =
        flows.iter().flat_map(|flow| Direction::BOTH.map(|direction| reference.side(flow, direction)));
    sides.map(|side| Side { rule: None, ..side }).collect()
}

/// The set without what a finding says has no effect.
fn without(set: &PolicySet, at: usize, label: &str) -> PolicySet {
    let mut set = set.clone();
    match (label, &set.rules[at].requests) {
        ("admits nobody", _) => {
            set.peers.push(Peers::default());
            set.rules[at].peers = set.peers.len() - 1;
        }
        ("changes nothing", _) => _ = set.rules.remove(at),
        (_, Some(Requests::Http(rules))) => {
            let free = HttpRule { method: None, ..rules[0].clone() };
            set.rules[at].requests = Some(Requests::Http([free].into()));
        }
        (_, Some(Requests::Dns(names))) => {
            let free = FqdnSelector { is_pattern: true, text: "*".to_owned(), ..names[0].clone() };
            set.rules[at].requests = Some(Requests::Dns([free].into()));
        }
        (label, requests) => panic!("{label} {requests:?}"),
    }
    set
}

proptest! {
    #[test]
    fn no_verdict_changes(policies in proptest::collection::vec(policy(), 1..4)) {
        let mut reading = Reading::default();
        read(&mut reading, "policies", text(&policies).into_bytes(), &Limits::default());
        read(&mut reading, "cluster", CLUSTER.as_bytes().to_vec(), &Limits::default());
        let mut diagnostics = std::mem::take(&mut reading.diagnostics);
        diagnostics.retain(|finding| finding.severity == Severity::Error);
        let cluster = Cluster::collect(&mut reading.objects, &mut diagnostics);
        let set = translate(std::mem::take(&mut reading.objects), &cluster, &mut diagnostics);
        prop_assert!(diagnostics.is_empty(), "{}\n{diagnostics:#?}", text(&policies));
        let flows = flows(&cluster);
        let before = sides(&set, &cluster, &flows);
        for finding in surprises(&set, &cluster, &reading.sources) {
            if finding.code != Code::Shadowed {
                continue;
            }
            let at = set.rules.iter().position(|rule| rule.span == finding.span).unwrap();
            let after = sides(&without(&set, at, &finding.label), &cluster, &flows);
            prop_assert!(before == after, "{}\n{finding:#?}", text(&policies));
        }
    }
}
