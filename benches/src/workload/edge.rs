//! What stands at the edge of a cluster: a node without backends, and services that it sends on in one way each, all to the same backends.
//!
//! For packets, not for compiling: it is small.

use crate::tiny_cluster;
use crate::yaml::Yaml;
use std::net::Ipv4Addr;
use std::ops::Range;

/// The node that balances, and its address.
pub const NODE: (&str, Ipv4Addr) = ("edge", Ipv4Addr::new(172, 16, 1, 21));
/// Of Direct Server Return, on TCP and UDP 80.
pub const DIRECT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Of source NAT, on the same.
pub const MASKED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// An address that is no service's.
pub const NO_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 51, 200, 1);
/// The first backend; the others follow.
pub const FIRST_BACKEND: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 1);
/// The backends' port.
pub const BACKEND_PORT: u16 = 8080;

/// The cluster with the backends of these places.
pub fn cluster(backends: Range<u32>) -> String {
    let mut yaml = Yaml::default();
    for (name, address) in [(NODE.0, NODE.1), ("node-1", Ipv4Addr::new(172, 16, 1, 1))] {
        tiny_cluster::node(&mut yaml, name, &address.to_string());
    }
    for (number, (name, mode, address)) in
        (0u8..).zip([("direct", "dsr", DIRECT), ("masked", "snat", MASKED)])
    {
        yaml.object("v1", "Service", Some("bench"), name);
        yaml.line(format_args!("  annotations: {{service.cilium.io/forwarding-mode: {mode}}}"));
        yaml.line(format_args!("spec:\n  type: LoadBalancer\n  clusterIP: 10.96.0.{}\n  ports:", number + 1));
        for protocol in ["TCP", "UDP"] {
            yaml.line(format_args!("  - {{name: p{protocol}, port: 80, protocol: {protocol}}}"));
        }
        yaml.line(format_args!("status:\n  loadBalancer:\n    ingress:\n    - ip: {address}"));
        yaml.object("discovery.k8s.io/v1", "EndpointSlice", Some("bench"), &format!("{name}-a"));
        yaml.line(format_args!("  labels: {{kubernetes.io/service-name: {name}}}"));
        yaml.line("addressType: IPv4\nports:");
        for protocol in ["TCP", "UDP"] {
            yaml.line(format_args!("- {{name: p{protocol}, port: {BACKEND_PORT}, protocol: {protocol}}}"));
        }
        yaml.line("endpoints:");
        for place in backends.clone() {
            let address = Ipv4Addr::from_bits(FIRST_BACKEND.to_bits() + place);
            yaml.line(format_args!(
                "- {{addresses: [{address}], conditions: {{ready: true}}, nodeName: node-1}}"
            ));
        }
    }
    yaml.finish()
}
