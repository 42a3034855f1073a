//! A million IPv4 CIDRs of which no two overlap: what an aggregating tool has the most work with.
//!
//! The mix of lengths is that of the list iprange was measured with.

use super::Workload;
use crate::prefixes::{self, Prefix};
use crate::tiny_cluster;
use crate::yaml::Yaml;

/// How many CIDRs.
pub const CIDRS: usize = 1_000_000;

const SEED: u64 = 0x5eed_0003;

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "disjoint",
    what: "1,000,000 CIDRs that do not overlap",
    policies: yaml,
    cluster: tiny_cluster::yaml,
    changed: None,
};

/// The prefixes, in random order.
pub fn prefixes() -> Vec<Prefix> {
    prefixes::disjoint(SEED, CIDRS)
}

/// `policies.yaml`.
pub fn yaml() -> String {
    let mut yaml = Yaml::with_capacity(CIDRS * 26);
    yaml.object("cilium.io/v2", "CiliumNetworkPolicy", Some(tiny_cluster::NAMESPACE), "disjoint-list");
    yaml.line("spec:\n  endpointSelector:\n    matchLabels:\n      app: crawler\n  egressDeny:\n  - toCIDR:");
    for prefix in prefixes() {
        yaml.line(format_args!("    - \"{prefix}\""));
    }
    yaml.finish()
}

/// One prefix a line, as tools other than ours read them.
pub fn lines() -> String {
    let mut lines = Yaml::with_capacity(CIDRS * 18);
    for prefix in prefixes() {
        lines.line(prefix);
    }
    lines.finish()
}
