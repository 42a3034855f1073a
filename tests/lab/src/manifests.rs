//! A plan as Kubernetes manifests, the way the product reads a cluster.
//!
//! Strings are written as JSON, which YAML contains, so that no name or label is taken for something else. Not here: policies.

use super::plan::{Plan, PodPlan};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Namespaces, nodes and pods, one document each.
pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::from("# A lab of weir-tests.\n");
    for (name, labels) in &plan.namespaces {
        document(&mut text, "Namespace", &json!({"name": name, "labels": labels}), &[]);
    }
    for node in &plan.nodes {
        let [v4, v6] = node.pod_ranges();
        let addresses = json!([
            {"type": "InternalIP", "address": node.v4()},
            {"type": "InternalIP", "address": node.v6()},
            {"type": "Hostname", "address": node.name},
        ]);
        let metadata = json!({"name": node.name, "labels": node.labels});
        let spec = json!({"podCIDR": v4, "podCIDRs": [v4, v6]});
        document(
            &mut text,
            "Node",
            &metadata,
            &[("spec", spec), ("status", json!({"addresses": addresses}))],
        );
    }
    for pod in &plan.pods {
        let metadata = json!({"name": pod.name, "namespace": pod.namespace, "labels": pod.labels});
        let addresses = json!([{"ip": pod.v4()}, {"ip": pod.v6()}]);
        let status = json!({"phase": "Running", "podIP": pod.v4(), "podIPs": addresses});
        document(&mut text, "Pod", &metadata, &[("spec", spec_of(pod)), ("status", status)]);
    }
    text
}

fn spec_of(pod: &PodPlan) -> Value {
    let port = |(name, protocol, number): &(String, String, u16)| json!({"name": name, "protocol": protocol, "containerPort": number});
    let ports: Vec<Value> = pod.ports.iter().map(port).collect();
    json!({"nodeName": pod.node, "containers": [{"name": "main", "ports": ports}]})
}

fn document(text: &mut String, kind: &str, metadata: &Value, rest: &[(&str, Value)]) {
    let _ = write!(text, "---\napiVersion: v1\nkind: {kind}\nmetadata: {metadata}\n");
    for (key, value) in rest {
        let _ = writeln!(text, "{key}: {value}");
    }
}
