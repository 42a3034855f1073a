//! The million CIDRs of [`super::million`] dealt at random to 64 egress rules with a port each.
//!
//! Nested prefixes of different rules make 1.67 million IPv4 ranges of 39,000 distinct memberships: the case that breaks a
//! table whose rows are dear.

use super::{Workload, million};
use crate::prefixes::Prefix;
use crate::random::Random;
use crate::tiny_cluster;
use crate::yaml::Yaml;

/// How many rules.
pub const RULES: usize = 64;

const SEED: u64 = 0x5eed_0002;

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "overlapping",
    what: "the same CIDRs over 64 rules with a port each",
    policies: yaml,
    cluster: tiny_cluster::yaml,
    changed: None,
};

/// The prefixes of each rule.
pub fn rules() -> Vec<Vec<Prefix>> {
    let mut random = Random::new(SEED);
    let mut rules = vec![Vec::new(); RULES];
    for prefix in million::prefixes() {
        rules[random.below(RULES as u32) as usize].push(prefix);
    }
    rules
}

/// The port of a rule.
pub fn port(rule: usize) -> usize {
    8000 + rule
}

/// `policies.yaml`. Even rules use `toCIDR`, odd ones `toCIDRSet`.
pub fn yaml() -> String {
    let mut random = Random::new(SEED + 1);
    let mut yaml = Yaml::with_capacity(million::CIDRS * 30);
    yaml.object("cilium.io/v2", "CiliumNetworkPolicy", Some(tiny_cluster::NAMESPACE), "many-lists");
    yaml.line("spec:\n  endpointSelector:\n    matchLabels:\n      app: crawler\n  egress:");
    for (rule, prefixes) in rules().into_iter().enumerate() {
        if rule % 2 == 0 {
            yaml.line("  - toCIDR:");
            for prefix in prefixes {
                yaml.line(format_args!("    - \"{prefix}\""));
            }
        } else {
            yaml.line("  - toCIDRSet:");
            for prefix in prefixes {
                million::cidr_set_element(&mut yaml, prefix, &mut random);
            }
        }
        yaml.line("    toPorts:\n    - ports:");
        yaml.line(format_args!("      - port: \"{}\"\n        protocol: TCP", port(rule)));
    }
    yaml.finish()
}

#[cfg(test)]
mod tests {
    use super::{RULES, rules};

    #[test]
    fn every_rule_has_its_share() {
        let rules = rules();
        assert_eq!(rules.len(), RULES);
        assert!(rules.iter().all(|rule| (14_000..18_000).contains(&rule.len())));
    }
}
