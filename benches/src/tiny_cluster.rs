//! The cluster of the workloads that are about CIDRs: one namespace, two nodes, three pods.

use crate::yaml::Yaml;

/// The namespace every policy of those workloads lives in.
pub const NAMESPACE: &str = "bench";

/// `cluster.yaml`.
pub fn yaml() -> String {
    let mut yaml = Yaml::default();
    namespace(&mut yaml, NAMESPACE, "prod");
    for number in 1..=2_u32 {
        node(&mut yaml, &format!("node-{number}"), &format!("172.16.0.{number}"));
    }
    for (number, name) in ["crawler", "api", "db"].into_iter().enumerate() {
        let labels = [("app", name.to_owned())];
        let address = format!("10.1.0.{}", number + 10);
        pod(&mut yaml, NAMESPACE, name, &labels, "node-1", &address);
    }
    yaml.finish()
}

/// Adds a Namespace with the label every namespace has, and one more.
pub fn namespace(yaml: &mut Yaml, name: &str, env: &str) {
    yaml.object("v1", "Namespace", None, name);
    yaml.line("  labels:");
    yaml.line(format_args!("    kubernetes.io/metadata.name: {name}"));
    yaml.line(format_args!("    env: {env}"));
}

/// Adds a Node.
pub fn node(yaml: &mut Yaml, name: &str, address: &str) {
    yaml.object("v1", "Node", None, name);
    yaml.line("  labels:");
    yaml.line(format_args!("    kubernetes.io/hostname: {name}"));
    yaml.line("status:\n  addresses:\n  - type: InternalIP");
    yaml.line(format_args!("    address: {address}"));
}

/// Adds a running Pod with one named port.
pub fn pod(
    yaml: &mut Yaml,
    namespace: &str,
    name: &str,
    labels: &[(&str, String)],
    node: &str,
    address: &str,
) {
    yaml.object("v1", "Pod", Some(namespace), name);
    yaml.line("  labels:");
    for (key, value) in labels {
        yaml.line(format_args!("    {key}: {value}"));
    }
    yaml.line("spec:");
    yaml.line(format_args!("  nodeName: {node}"));
    yaml.line("  containers:\n  - name: main\n    image: idle:1\n    ports:\n    - name: http");
    yaml.line("      containerPort: 8080\n      protocol: TCP");
    yaml.line("status:\n  phase: Running");
    yaml.line(format_args!("  podIP: {address}"));
    yaml.line(format_args!("  podIPs:\n  - ip: {address}"));
}
