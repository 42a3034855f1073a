//! Clusters for load balancing: many services, large ones, and such of many ports. Two in three are LoadBalancer services with ports of nodes.

use super::Workload;
use crate::tiny_cluster;
use crate::yaml::Yaml;
use std::net::Ipv4Addr;

/// How many services [`ten_thousand`] has.
pub const SERVICES: u32 = 10_000;
/// Nodes with backends; there is one more without.
const NODES: u32 = 20;
/// That one, and its address.
pub const EDGE: (&str, Ipv4Addr) = ("node-20", Ipv4Addr::new(172, 16, 1, 21));
/// Addresses of load balancers in the cluster of [`ten_thousand`]: the first, how far they are apart, and how many there are so.
pub const OUTSIDE: (Ipv4Addr, u32, u32) = (Ipv4Addr::new(198, 51, 0, 2), 3, 3333);
/// Ports of nodes begin here.
const NODE_PORTS: u32 = 30_000;

/// 10,000 services.
pub const MANY: Workload = Workload {
    name: "many-services",
    what: "10,000 services × 10 backends",
    policies: String::new,
    cluster: ten_thousand,
    changed: None,
};

/// Services with many backends.
pub const LARGE: Workload = Workload {
    name: "large-services",
    what: "2,000 services × 50 backends",
    policies: String::new,
    cluster: of_fifty,
    changed: None,
};

/// Services with many ports.
pub const PORTS: Workload = Workload {
    name: "many-ports",
    what: "100 services × 500 ports, 10 backends",
    policies: String::new,
    cluster: of_many_ports,
    changed: None,
};

/// All of them.
pub const ALL: [Workload; 3] = [MANY, LARGE, PORTS];

/// 10,000 services of 10 backends.
pub fn ten_thousand() -> String {
    cluster(SERVICES, 1, 10)
}

/// 2,000 services of 50 backends.
pub fn of_fifty() -> String {
    cluster(2000, 1, 50)
}

/// 100 services of 500 ports and 10 backends.
pub fn of_many_ports() -> String {
    cluster(100, 500, 10)
}

/// The cluster address of a service.
pub fn address(service: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0A60_0001 + service)
}

fn cluster(services: u32, ports: u32, backends: u32) -> String {
    let mut yaml = Yaml::with_capacity(20_000_000);
    for node in 0..=NODES {
        tiny_cluster::node(&mut yaml, &format!("node-{node}"), &format!("172.16.1.{}", node + 1));
    }
    for number in 0..services {
        let name = format!("service-{number}");
        service(&mut yaml, &name, number, ports);
        yaml.object("discovery.k8s.io/v1", "EndpointSlice", Some("bench"), &format!("{name}-a"));
        yaml.line(format_args!("  labels: {{kubernetes.io/service-name: {name}}}"));
        yaml.line("addressType: IPv4\nports:");
        for port in 0..ports {
            yaml.line(format_args!("- {{name: p{port}, port: {}, protocol: TCP}}", 8000 + port));
        }
        yaml.line("endpoints:");
        for place in 0..backends {
            let backend = number * backends + place;
            let address = Ipv4Addr::from(0x0A80_0001 + backend);
            let node = backend % NODES;
            yaml.line(format_args!(
                "- {{addresses: [{address}], conditions: {{ready: true, serving: true, terminating: false}}, nodeName: node-{node}}}"
            ));
        }
    }
    yaml.finish()
}

fn service(yaml: &mut Yaml, name: &str, number: u32, ports: u32) {
    yaml.object("v1", "Service", Some("bench"), name);
    // No more of them than there are ports of nodes.
    let is_outside = !number.is_multiple_of(3) && (number + 1) * ports < 30_000;
    let kind = if is_outside { "LoadBalancer" } else { "ClusterIP" };
    yaml.line(format_args!("spec:\n  type: {kind}\n  clusterIP: {}\n  ports:", address(number)));
    for port in 0..ports {
        let node_port = if is_outside { NODE_PORTS + number * ports + port } else { 0 };
        yaml.line(format_args!("  - {{name: p{port}, port: {}, nodePort: {node_port}}}", 80 + port));
    }
    if is_outside {
        yaml.line(format_args!(
            "status:\n  loadBalancer:\n    ingress:\n    - ip: {}",
            Ipv4Addr::from(0xC633_0001 + number)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::ALL;

    /// Frontends, endpoints, bytes and their checksum: the same on every machine, or figures of two days are not of the same thing.
    #[test]
    fn files_are_the_same_to_the_byte() {
        let told = ALL.map(|workload| {
            let text = (workload.cluster)();
            let count = |what: &str| text.matches(what).count();
            (count("nodePort: "), count("- {addresses: "), text.len(), weir_abi::checksum(text.as_bytes()))
        });
        assert_eq!(
            told,
            [
                (10_000, 100_000, 15_762_692, 230_972_203_100_895_318),
                (2_000, 100_000, 12_070_709, 14_695_979_158_648_382_487),
                (50_000, 1_000, 4_353_052, 3_678_375_431_668_860_510),
            ]
        );
    }
}
