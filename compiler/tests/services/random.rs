//! Random services in the short form of the cases: few addresses, ports and states, so that they meet often.

use crate::cases::manifest;
use crate::world::CLUSTER;
use proptest::prelude::*;
use proptest::sample::select;

fn state() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", "!unready", "!ending", "!gone"])
}

fn hint() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "~zone:a", "~zone:b", "~zone:b~node:n2", "~zone:b~node:n3"])
}

/// Endpoints, in IPv4 or IPv6.
pub(crate) fn endpoints(is_v4: bool, most: usize) -> impl Strategy<Value = Vec<String>> {
    let node = select(vec!["@n1", "@n1", "@n2", "@n3", ""]);
    let endpoint = (1..20u8, node, state(), hint()).prop_map(move |(number, node, state, hint)| {
        let address = if is_v4 { format!("10.1.1.{number}") } else { format!("fd00:1::{number:x}") };
        format!("{address}{node}{state}{hint}")
    });
    prop::collection::vec(endpoint, 0..most)
}

/// A slice of one of the services.
fn slice() -> impl Strategy<Value = String> {
    let ports = select(vec![
        "[{name: a, port: 8080}]",
        "[{name: a, port: 8081}, {name: b, port: 53, protocol: UDP}]",
        "[{name: b, port: 53, protocol: UDP}]",
        "[{name: b, port: 53}]",
        "[{name: a}]",
    ]);
    let weight = select(vec!["1", "1", "0", "2", "5"]);
    (select(vec!["s0", "s1", "s2"]), ports, any::<bool>().prop_flat_map(|v4| endpoints(v4, 7)), weight)
        .prop_map(|(service, ports, endpoints, weight)| {
            format!("slice {service} {ports} {} | weight \"{weight}\"", endpoints.join(" "))
        })
}

fn service(number: usize) -> impl Strategy<Value = String> {
    let kind = select(vec!["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"]);
    let cluster_ips = select(vec![
        format!("clusterIPs: [10.96.0.{number}]"),
        format!("clusterIPs: [10.96.0.{number}, \"fd00:96::{number}\"]"),
        format!("clusterIP: \"fd00:96::{number}\""),
        "clusterIP: \"\"".to_owned(),
        "clusterIP: None".to_owned(),
    ]);
    let policies = select(vec![
        "",
        "externalTrafficPolicy: Local, ",
        "internalTrafficPolicy: Local, ",
        "publishNotReadyAddresses: true, ",
        "sessionAffinity: ClientIP, ",
        "loadBalancerSourceRanges: [192.0.2.0/24, 203.0.113.0/25], ",
        "loadBalancerSourceRanges: [\"::/0\"], ",
    ]);
    let externals = select(vec![
        "",
        "externalIPs: [198.51.100.7], ",
        "externalIPs: [172.18.0.1, 10.1.0.9], ",
        "externalIPs: [192.0.2.200, 10.1.1.3], ",
        "externalIPs: [10.96.0.1, \"2001:db8::7\"], ",
    ]);
    let ingress = select(vec![
        "[]",
        "[{ip: 198.51.100.1}]",
        "[{ip: 198.51.100.7}, {ip: \"2001:db8::1\"}]",
        "[{ip: 172.18.0.1}]",
        "[{ip: 192.0.2.200}]",
    ]);
    let annotations = select(vec![
        "{}",
        "{}",
        "{service.cilium.io/lb-algorithm: random}",
        "{service.cilium.io/forwarding-mode: dsr}",
        "{service.cilium.io/src-ranges-policy: deny}",
        "{service.cilium.io/type: \"ClusterIP,LoadBalancer\"}",
    ]);
    let ports = (select(vec![30080, 30081, 0]), select(vec!["", ", targetPort: 8080", ", targetPort: a"])).prop_map(
        |(node_port, target)| {
            format!("[{{name: a, port: 80, nodePort: {node_port}{target}}}, {{name: b, port: 53, protocol: UDP, targetPort: b}}]")
        },
    );
    let selector = select(vec!["", "selector: {app: a}, ", "selector: {app: a, tier: x}, "]);
    ((kind, selector), cluster_ips, policies, externals, ingress, annotations, ports).prop_map(
        move |((kind, selector), cluster_ips, policies, externals, ingress, annotations, ports)| {
            format!(
                "service s{number} {{type: {kind}, {selector}{policies}{externals}{cluster_ips}, ports: {ports}}} \
                 | annotations {annotations} | ingress {ingress}"
            )
        },
    )
}

/// A pod that services may select. An address is one pod's alone.
fn pod(number: u8) -> impl Strategy<Value = String> {
    let labels = select(vec!["{app: a}", "{app: a, tier: x}", "{app: b}"]);
    let addresses = select(vec![
        format!("10.1.1.{number}"),
        format!("10.1.1.{number},fd00:1::{number:x}"),
        format!("fd00:1::{number:x}"),
    ]);
    let node = select(vec!["@n1", "@n2", "@n3", ""]);
    let state = select(vec!["", "!ready", "!ready", "!unready", "!ending", "!gone", "!finished"]);
    let ports = select(vec![
        "[{name: a, containerPort: 8081}]",
        "[{name: a, containerPort: 8080}, {name: b, containerPort: 53, protocol: UDP}]",
        "[{name: b, containerPort: 53}]",
    ]);
    (labels, addresses, node, state, ports).prop_map(move |(labels, addresses, node, state, ports)| {
        format!("pod p{number} {labels} {addresses}{node}{state} | ports {ports}")
    })
}

/// What no manifest tells.
pub(crate) fn facts() -> impl Strategy<Value = Vec<String>> {
    let backend = (1..20u8, select(vec!["8080/tcp", "8080/tcp", "8081/tcp", "53/udp"]), any::<bool>());
    let backend = backend.prop_map(|(number, port, is_v4)| {
        if is_v4 { format!("10.1.1.{number}:{port}") } else { format!("[fd00:1::{number:x}]:{port}") }
    });
    let unfit = (select(vec!["s0", "s1", "s2"]), prop::collection::vec(backend, 1..12))
        .prop_map(|(service, backends)| format!("unfit {service} {}", backends.join(" ")));
    (
        prop::collection::vec(unfit, 0..4),
        select(vec!["own 192.0.2.200 fd00:9::9", "own 192.0.2.200", "own 198.51.100.1"]),
        any::<bool>(),
    )
        .prop_map(|(mut facts, own, has_own)| {
            facts.extend(has_own.then(|| own.to_owned()));
            facts
        })
}

/// Objects of a cluster, one manifest each.
pub(crate) fn objects() -> impl Strategy<Value = Vec<String>> {
    let pods: Vec<_> = (1..7).map(pod).collect();
    (service(0), service(1), service(2), prop::collection::vec(slice(), 0..7), pods, 0..7usize).prop_map(
        |(a, b, c, slices, mut pods, count)| {
            pods.truncate(count);
            let lines = [a, b, c].into_iter().chain(slices).chain(pods);
            lines.enumerate().map(|(number, line)| manifest(&line, number)).collect()
        },
    )
}

/// A question that may meet one of them.
pub(crate) fn question() -> impl Strategy<Value = String> {
    let scope = select(vec!["in", "out"]);
    let client = select(vec!["192.0.2.9", "203.0.113.200", "10.1.0.9", "2001:db8::99"]);
    let address = select(vec![
        "10.96.0.0",
        "10.96.0.1",
        "10.96.0.2",
        "[fd00:96::1]",
        "[fd00:96::2]",
        "198.51.100.1",
        "198.51.100.7",
        "[2001:db8::1]",
        "[2001:db8::7]",
        "172.18.0.1",
        "172.18.0.2",
        "[fd00:9::1]",
        "10.1.0.9",
        "10.1.1.3",
        "192.0.2.200",
        "[fd00:9::9]",
    ]);
    let port = select(vec!["80/tcp", "80/tcp", "53/udp", "30080/tcp", "30081/tcp", "81/tcp", "80/sctp"]);
    (scope, client, address, port)
        .prop_map(|(scope, client, address, port)| format!("{scope} {client} > {address}:{port}"))
}

/// The text of a cluster.
pub(crate) fn text(objects: &[String]) -> String {
    objects.iter().fold(CLUSTER.to_owned(), |text, object| format!("{text}---\n{object}\n"))
}
