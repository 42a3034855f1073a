//! 10,000 pods on 40 nodes, and 1,000 policies of the three kinds over their labels.
//!
//! A pod has `app`, `tier`, `env` and `version`, as charts write them. Six policies in ten are CNPs, three are
//! NetworkPolicies, one is clusterwide.

use super::Workload;
use crate::random::Random;
use crate::tiny_cluster;
use crate::yaml::Yaml;

/// How many nodes.
pub const NODES: u32 = 40;
/// How many pods each of them runs.
pub const PODS_PER_NODE: u32 = 250;
/// How many policies.
pub const POLICIES: u32 = 1000;

const NAMESPACES: u32 = 50;
const APPS: u32 = 200;
const TIERS: &[&str] = &["front", "back", "data", "batch"];
const ENVS: &[&str] = &["prod", "stage", "dev"];
const VERSIONS: &[&str] = &["v1", "v2", "v3", "v4", "v5"];
const PORTS: &[u32] = &[80, 443, 5432, 6379, 8080, 8443, 9090, 9100];
const SEED: u64 = 0x5eed_0005;

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "many-pods",
    what: "10,000 pods, 1,000 policies",
    policies: yaml,
    cluster,
    changed: Some(changed),
};

/// The node whose image is asked for: every node runs as many pods.
pub const NODE: &str = "node-0";

/// `cluster.yaml`.
pub fn cluster() -> String {
    let mut random = Random::new(SEED);
    let mut yaml = Yaml::with_capacity(8_000_000);
    for number in 0..NAMESPACES {
        tiny_cluster::namespace(&mut yaml, &namespace(number), random.one_of(ENVS));
    }
    for node in 0..NODES {
        tiny_cluster::node(&mut yaml, &format!("node-{node}"), &format!("172.16.1.{}", node + 1));
    }
    for number in 0..NODES * PODS_PER_NODE {
        let (node, place) = (number % NODES, number / NODES);
        let app = random.below(APPS);
        let labels = [
            ("app", format!("app-{app}")),
            ("tier", tier(app).to_owned()),
            ("env", random.one_of(ENVS).to_owned()),
            ("version", random.one_of(VERSIONS).to_owned()),
        ];
        let name = format!("app-{app}-{number}");
        let address = format!("10.{}.{}.{}", 1 + node, place / 200, 10 + place % 200);
        let namespace = namespace(random.below(NAMESPACES));
        tiny_cluster::pod(&mut yaml, &namespace, &name, &labels, &format!("node-{node}"), &address);
    }
    yaml.finish()
}

/// `policies.yaml`.
pub fn yaml() -> String {
    let mut random = Random::new(SEED + 1);
    let mut yaml = Yaml::with_capacity(1_000_000);
    for number in 0..POLICIES {
        match number % 10 {
            0..6 => cilium(&mut yaml, number, &mut random),
            6..9 => kubernetes(&mut yaml, number, &mut random),
            _ => clusterwide(&mut yaml, number, &mut random),
        }
    }
    yaml.finish()
}

/// `changed.yaml`: one policy in fifty is for UDP in place of TCP, and the last is left out.
pub fn changed() -> String {
    let yaml = yaml();
    let policies = yaml.split("---\n").take(POLICIES as usize - 1).enumerate();
    let changed = policies.map(|(place, policy)| match place % 50 {
        0 => policy.replacen("protocol: TCP", "protocol: UDP", 1),
        _ => policy.to_owned(),
    });
    changed.collect::<Vec<_>>().join("---\n")
}

fn namespace(number: u32) -> String {
    format!("team-{number}")
}

/// An app is of one tier, wherever it runs.
fn tier(app: u32) -> &'static str {
    TIERS[(app % 4) as usize]
}

fn cilium(yaml: &mut Yaml, number: u32, random: &mut Random) {
    let namespace = namespace(random.below(NAMESPACES));
    yaml.object("cilium.io/v2", "CiliumNetworkPolicy", Some(&namespace), &format!("cnp-{number}"));
    yaml.line("spec:\n  endpointSelector:\n    matchLabels:");
    yaml.line(format_args!("      app: app-{}", random.below(APPS)));
    yaml.line("  ingress:\n  - fromEndpoints:\n    - matchLabels:");
    yaml.line(format_args!("        tier: {}", random.one_of(TIERS)));
    yaml.line(format_args!("        env: {}", random.one_of(ENVS)));
    yaml.line("    - matchLabels:");
    yaml.line(format_args!(
        "        k8s:io.kubernetes.pod.namespace: {}",
        self::namespace(random.below(NAMESPACES))
    ));
    cilium_port(yaml, random.one_of(PORTS));
    if number.is_multiple_of(3) {
        yaml.line("  egress:\n  - toEndpoints:\n    - matchExpressions:\n      - key: version\n        operator: In");
        yaml.line(format_args!("        values: [{}, {}]", random.one_of(VERSIONS), random.one_of(VERSIONS)));
        cilium_port(yaml, random.one_of(PORTS));
        yaml.line("  - toCIDRSet:");
        yaml.line(format_args!("    - cidr: 203.{}.0.0/16", random.below(256)));
    }
    if number.is_multiple_of(20) {
        yaml.line("  ingressDeny:\n  - fromEndpoints:\n    - matchLabels:\n        env: dev");
    }
}

fn cilium_port(yaml: &mut Yaml, port: u32) {
    yaml.line("    toPorts:\n    - ports:");
    yaml.line(format_args!("      - port: \"{port}\"\n        protocol: TCP"));
}

fn kubernetes(yaml: &mut Yaml, number: u32, random: &mut Random) {
    let namespace = namespace(random.below(NAMESPACES));
    yaml.object("networking.k8s.io/v1", "NetworkPolicy", Some(&namespace), &format!("np-{number}"));
    yaml.line("spec:\n  podSelector:\n    matchLabels:");
    yaml.line(format_args!("      tier: {}", random.one_of(TIERS)));
    yaml.line(
        "  policyTypes:\n  - Ingress\n  ingress:\n  - from:\n    - namespaceSelector:\n        matchLabels:",
    );
    yaml.line(format_args!("          env: {}", random.one_of(ENVS)));
    yaml.line("      podSelector:\n        matchLabels:");
    yaml.line(format_args!("          app: app-{}", random.below(APPS)));
    yaml.line(format_args!("    - ipBlock:\n        cidr: 198.{}.0.0/16", random.below(256)));
    yaml.line(format_args!("    ports:\n    - protocol: TCP\n      port: {}", random.one_of(PORTS)));
}

fn clusterwide(yaml: &mut Yaml, number: u32, random: &mut Random) {
    yaml.object("cilium.io/v2", "CiliumClusterwideNetworkPolicy", None, &format!("ccnp-{number}"));
    yaml.line("spec:\n  endpointSelector:\n    matchLabels:");
    yaml.line(format_args!("      app: app-{}", random.below(APPS)));
    yaml.line("  egress:\n  - toEndpoints:\n    - matchLabels:");
    yaml.line(format_args!("        tier: {}", random.one_of(TIERS)));
    yaml.line("  - toEntities:\n    - world");
    cilium_port(yaml, 443);
}

#[cfg(test)]
mod tests {
    use super::{changed, cluster, yaml};
    use std::collections::HashSet;

    #[test]
    fn numbers_are_as_said() {
        let cluster = cluster();
        assert_eq!(cluster.matches("\nkind: Pod\n").count(), 10_000);
        assert_eq!(cluster.matches("nodeName: node-0\n").count(), 250);
        let addresses: HashSet<&str> =
            cluster.lines().filter_map(|line| line.strip_prefix("  podIP: ")).collect();
        assert_eq!(addresses.len(), 10_000);
        let policies = yaml();
        assert_eq!(policies.matches("kind: CiliumNetworkPolicy\n").count(), 600);
        assert_eq!(policies.matches("kind: NetworkPolicy\n").count(), 300);
        assert_eq!(policies.matches("kind: CiliumClusterwideNetworkPolicy\n").count(), 100);
        let changed = changed();
        assert_eq!(changed.matches("\nkind: ").count(), 999);
        assert_eq!(changed.matches("protocol: UDP").count(), 20);
    }
}
