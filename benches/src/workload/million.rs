//! One CNP with a million CIDRs, half in `toCIDR`, half in `toCIDRSet`, one in a hundred of the latter with an exception.
//!
//! This is the block list a security team feeds: 26 MB of YAML, one class, one row.

use super::Workload;
use crate::prefixes::{self, Prefix};
use crate::random::Random;
use crate::tiny_cluster;
use crate::yaml::Yaml;

/// How many CIDRs, exceptions not counted.
pub const CIDRS: usize = 1_000_000;

const SEED: u64 = 0x5eed_0001;

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "million",
    what: "one CNP with 1,000,000 CIDRs",
    policies: yaml,
    cluster: tiny_cluster::yaml,
    changed: Some(changed),
};

/// The prefixes, in the order of the file.
pub fn prefixes() -> Vec<Prefix> {
    prefixes::mixed(SEED, CIDRS)
}

/// How many prefixes are others in `changed.yaml`.
pub const CHANGED: usize = 100;

/// `policies.yaml`.
pub fn yaml() -> String {
    of(&prefixes())
}

/// `changed.yaml`.
pub fn changed() -> String {
    let mut prefixes = prefixes();
    let others = prefixes::mixed(SEED + 2, CHANGED);
    for (place, other) in others.into_iter().enumerate() {
        prefixes[place * (CIDRS / CHANGED)] = other;
    }
    of(&prefixes)
}

fn of(prefixes: &[Prefix]) -> String {
    let (plain, with_exceptions) = prefixes.split_at(CIDRS / 2);
    let mut random = Random::new(SEED + 1);
    let mut yaml = Yaml::with_capacity(CIDRS * 30);
    yaml.object("cilium.io/v2", "CiliumNetworkPolicy", Some(tiny_cluster::NAMESPACE), "block-list");
    yaml.line("spec:\n  endpointSelector:\n    matchLabels:\n      app: crawler\n  egress:");
    yaml.line("  - toCIDR:");
    for prefix in plain {
        yaml.line(format_args!("    - \"{prefix}\""));
    }
    yaml.line("  - toCIDRSet:");
    for prefix in with_exceptions {
        cidr_set_element(&mut yaml, *prefix, &mut random);
    }
    yaml.finish()
}

/// An element of a `toCIDRSet`, with an exception once in a hundred times.
pub(super) fn cidr_set_element(yaml: &mut Yaml, prefix: Prefix, random: &mut Random) {
    yaml.line(format_args!("    - cidr: \"{prefix}\""));
    if random.below(100) == 0
        && let Some(part) = prefix.part(random)
    {
        yaml.line("      except:");
        yaml.line(format_args!("      - \"{part}\""));
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANGED, CIDRS, changed, yaml};

    #[test]
    fn it_is_the_file_that_is_spoken_of() {
        let text = yaml();
        let megabytes = text.len() as f64 / 1e6;
        assert!((24.0..29.0).contains(&megabytes), "{megabytes} MB");
        let exceptions = text.lines().filter(|line| line.starts_with("      - ")).count();
        assert!((3_500..5_500).contains(&exceptions), "{exceptions}");
        assert_eq!(text.lines().filter(|line| line.starts_with("    - ")).count(), CIDRS);
        let changed = changed();
        let differ = text.lines().zip(changed.lines()).filter(|(one, other)| one != other).count();
        assert!((CHANGED..=CHANGED * 2).contains(&differ), "{differ}");
    }
}
