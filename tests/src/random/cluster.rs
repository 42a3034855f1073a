//! Clusters: two nodes, six pods in two namespaces, services, a group, a secret.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Addresses outside, some of them in the prefixes that policies name.
pub(super) const OUTSIDE: &[&str] =
    &["198.51.100.7", "198.51.100.8", "198.51.200.1", "203.0.113.1", "2001:db8::7", "2001:db9::1"];

/// Names that addresses outside may have.
pub(super) const NAMES: &[&str] = &["a.test", "b.a.test", "pay.test", "other.example"];

/// The objects of a cluster.
pub(super) fn objects() -> impl Strategy<Value = Vec<Value>> {
    let pods = (0..6usize).map(pod).collect::<Vec<_>>();
    (pods, zone(), zone(), any::<bool>(), slice_addresses()).prop_map(
        |(pods, zone_0, zone_1, has_secret, addresses)| {
            let mut objects = pods;
            objects.push(namespace("a", "red"));
            objects.push(namespace("b", "blue"));
            objects.push(node(0, zone_0));
            objects.push(node(1, zone_1));
            objects.push(service("picked", json!({"selector": {"app": "x"}, "ports": [{"port": 80}]})));
            objects.push(service("listed", json!({"ports": [{"port": 80}]})));
            objects.push(slice("a", "listed", &addresses));
            objects.push(slice("default", "kubernetes", &["172.18.0.1", "203.0.113.1"]));
            objects.push(json!({"apiVersion": "cilium.io/v2", "kind": "CiliumCIDRGroup",
                "metadata": {"name": "partners", "labels": {"kind": "partner"}},
                "spec": {"externalCIDRs": ["198.51.100.0/28", "2001:db8::/64"]}}));
            if has_secret {
                objects.push(json!({"apiVersion": "v1", "kind": "Secret",
                    "metadata": {"name": "key", "namespace": "a"}}));
            }
            objects
        },
    )
}

/// The text of a lock file.
pub(super) fn names() -> impl Strategy<Value = Value> {
    let addresses = prop::collection::vec(select(OUTSIDE), 0..3);
    prop::collection::btree_map(select(NAMES), addresses, 0..3)
        .prop_map(|names| json!({"version": 1, "names": names}))
}

fn zone() -> impl Strategy<Value = &'static str> {
    select(vec!["one", "two"])
}

fn slice_addresses() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(select(vec!["198.51.100.7", "203.0.113.1", "10.1.0.1"]), 0..3)
}

/// Pods 0 to 2 are in `a`, the others in `b`; the last may be on the network of its node.
fn pod(place: usize) -> impl Strategy<Value = Value> {
    let app = prop::option::weighted(0.9, select(vec!["x", "x", "y", "z"]));
    let tier = prop::option::of(select(vec!["p", "q"]));
    let node = prop::option::weighted(0.9, select(vec!["n0", "n1"]));
    let port = select(vec![
        json!([]),
        json!([{"name": "web", "containerPort": 80}]),
        json!([{"name": "web", "containerPort": 81}, {"name": "look", "containerPort": 53, "protocol": "UDP"}]),
    ]);
    (app, tier, node, port, any::<bool>()).prop_map(move |(app, tier, node, ports, on_host)| {
        let labels: Map<String, Value> = [("app", app), ("tier", tier)]
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key.to_owned(), json!(value))))
            .collect();
        let host_network = place == 5 && on_host;
        let node = if host_network { Some("n1") } else { node };
        let address = if host_network { "172.18.0.1".to_owned() } else { format!("10.1.0.{place}") };
        let mut spec = json!({"hostNetwork": host_network, "containers": [{"name": "main", "ports": ports}]});
        if let Some(node) = node {
            spec["nodeName"] = json!(node);
        }
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p{place}"), "namespace": if place < 3 { "a" } else { "b" }, "labels": labels},
            "spec": spec, "status": {"podIPs": [{"ip": address}]}})
    })
}

fn namespace(name: &str, team: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}})
}

fn node(place: usize, zone: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("n{place}"), "labels": {"zone": zone}},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("172.18.0.{place}")}]}})
}

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "a", "labels": {"name": name}}, "spec": spec})
}

fn slice(namespace: &str, service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints})
}
