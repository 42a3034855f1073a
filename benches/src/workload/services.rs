//! Clusters for load balancing: many services, large ones, and such of many ports. Two in three are LoadBalancer services with ports of nodes.

use crate::tiny_cluster;
use crate::yaml::Yaml;
use std::net::Ipv4Addr;

/// How many services [`ten_thousand`] has.
pub const SERVICES: u32 = 10_000;
const NODES: u32 = 20;
/// Ports of nodes begin here.
const NODE_PORTS: u32 = 30_000;

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
    for node in 0..NODES {
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
