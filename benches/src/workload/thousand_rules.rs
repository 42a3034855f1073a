//! A thousand egress rules of one CIDR and one TCP port: Cilium's own benchmark of CIDR policies.
//!
//! Nested prefixes and repeated ports are the point: where peers expand, these rules become 44,596 map entries.
//! The numbers follow `BenchmarkRegenerateCIDRPolicyRules`, so that the figures can stand side by side.

use super::Workload;
use crate::tiny_cluster;
use crate::yaml::Yaml;

/// How many rules.
pub const RULES: u32 = 1000;

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "thousand-rules",
    what: "1,000 egress CIDR+port rules",
    policies: yaml,
    cluster: tiny_cluster::yaml,
    changed: None,
};

/// The CIDR and the port of rule `number`, counted from 1.
pub fn rule(number: u32) -> (String, u32) {
    let length = [8, 16, 24, 28, 32][(number % 5) as usize];
    let first = [10, 192, 244][(number % 3) as usize];
    let (second, third) = (number % 17, number % 121);
    let cidr = match length {
        8 => format!("{first}.0.0.0/8"),
        16 => format!("{first}.{second}.0.0/16"),
        24 => format!("{first}.{second}.{third}.0/24"),
        28 => format!("{first}.{second}.{third}.{}/28", (number % 16) << 4),
        _ => format!("{first}.{second}.{third}.{}/32", number % 255),
    };
    (cidr, 80 + number % 97)
}

/// `policies.yaml`.
pub fn yaml() -> String {
    let mut yaml = Yaml::default();
    yaml.object("cilium.io/v2", "CiliumNetworkPolicy", Some(tiny_cluster::NAMESPACE), "thousand-rules");
    yaml.line("spec:\n  endpointSelector:\n    matchLabels:\n      app: crawler\n  egress:");
    for number in 1..=RULES {
        let (cidr, port) = rule(number);
        yaml.line(format_args!("  - toCIDR:\n    - \"{cidr}\"\n    toPorts:\n    - ports:"));
        yaml.line(format_args!("      - port: \"{port}\"\n        protocol: TCP"));
    }
    yaml.finish()
}

#[cfg(test)]
mod tests {
    use super::{WORKLOAD, rule};
    use crate::compiled::parsed;
    use weir_compiler::cluster::Cluster;
    use weir_compiler::policy_map::forecast;
    use weir_compiler::translate::translate;

    /// Cilium's benchmark asserts how many entries its engine makes of these rules.
    #[test]
    fn rules_are_as_many_map_entries_as_cilium_counts() {
        let mut reading = parsed((WORKLOAD.policies)(), (WORKLOAD.cluster)());
        let mut findings = reading.diagnostics;
        let cluster = Cluster::collect(&mut reading.objects, &mut findings);
        let set = translate(reading.objects, &cluster, &mut findings);
        let maps = forecast(&set, &cluster).maps;
        let [largest, ..] = &maps[..] else { panic!("no map") };
        assert_eq!((largest.total(), largest.entries, largest.is_exact), (44_596, [1, 44_595], true));
    }

    #[test]
    fn rules_are_cilium_s() {
        assert_eq!(rule(1), ("192.1.0.0/16".to_owned(), 81));
        assert_eq!(rule(5), ("244.0.0.0/8".to_owned(), 85));
        assert_eq!(rule(123), ("10.4.2.176/28".to_owned(), 106));
        assert_eq!(rule(999), ("10.13.31.234/32".to_owned(), 109));
    }
}
