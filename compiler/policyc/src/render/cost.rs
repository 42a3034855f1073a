//! What policies cost, as `check --cost` tells it: the image by part, the costliest policies, and Cilium's policy maps.
//!
//! Not here: how any of it is counted (`weir_compiler::compile::cost`, `weir_compiler::policy_map`).

use super::count;
use crate::sections::{self, grouped};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use weir_abi::Image;
use weir_compiler::compile::cost::costliest;
use weir_compiler::flow::{Origins, WrittenRules};
use weir_compiler::policy_map::{DEFAULT_SIZE, Forecast};
use weir_project::Project;
use weir_project::visible::visible;

/// Policies told.
const POLICIES: usize = 5;
/// Maps told in JSON, and to people.
const MAPS: usize = 100;
const MAPS_SHOWN: usize = 10;
/// Rules of a map shown to people.
const RULES_SHOWN: usize = 3;

/// The whole forecast; serialized it is what `check --help` tells.
#[derive(Serialize)]
pub(crate) struct Cost<'p> {
    image: ImageCost,
    policies: Vec<PolicyCost<'p>>,
    cilium: Cilium<'p>,
    #[serde(skip)]
    sections: String,
}

#[derive(Serialize)]
struct ImageCost {
    bytes: u32,
    kernel_bytes: u32,
    sections: BTreeMap<&'static str, u32>,
}

#[derive(Serialize)]
struct PolicyCost<'p> {
    kind: &'static str,
    policy: String,
    file: &'p str,
    line: u32,
    prefixes: usize,
    rules: usize,
    port_ranges: usize,
}

#[derive(Serialize)]
struct Cilium<'p> {
    map_size: u64,
    maps: Vec<MapCost<'p>>,
    /// Maps that are not told.
    more: usize,
}

#[derive(Serialize)]
struct MapCost<'p> {
    /// One of those that have such a map.
    endpoint: String,
    /// How many there are.
    endpoints: usize,
    entries: u64,
    ingress: u64,
    egress: u64,
    exact: bool,
    rules: Vec<RuleCost<'p>>,
}

#[derive(Serialize)]
struct RuleCost<'p> {
    direction: &'static str,
    kind: &'static str,
    policy: String,
    rule: String,
    file: &'p str,
    line: u32,
    entries: u64,
}

impl<'p> Cost<'p> {
    pub(crate) fn new(project: &'p Project, image: &Image<'_>, forecast: &Forecast) -> Self {
        let Project { set, sources, cluster, .. } = project;
        let header = image.header();
        let sizes = sections::sizes(image).into_iter().map(|size| (size.name, size.bytes));
        let policies = costliest(set, cluster, POLICIES).into_iter().filter_map(|(place, cost)| {
            let policy = set.policies.get(place)?;
            Some(PolicyCost {
                kind: policy.kind.as_str(),
                policy: policy.qualified_name(),
                file: sources.name(policy.span.file),
                line: sources.locate(policy.span).line,
                prefixes: cost.prefixes,
                rules: cost.rules,
                port_ranges: cost.port_ranges,
            })
        });
        let written = WrittenRules::new(set, sources);
        let rule = |&(id, entries): &(u32, u64)| {
            let rule = set.rules.get(id as usize)?;
            let policy = set.policies.get(rule.policy)?;
            Some(RuleCost {
                direction: rule.direction.as_str(),
                kind: policy.kind.as_str(),
                policy: policy.qualified_name(),
                rule: rule.path.to_string(),
                file: sources.name(rule.span.file),
                line: written.origin(id)?.line,
                entries,
            })
        };
        let maps = forecast.maps.iter().take(MAPS).map(|map| MapCost {
            endpoint: map.endpoints.first().map(|&party| cluster.name(party)).unwrap_or_default(),
            endpoints: map.endpoints.len(),
            entries: map.total(),
            ingress: map.entries[0],
            egress: map.entries[1],
            exact: map.is_exact,
            rules: map.rules.iter().filter_map(rule).collect(),
        });
        Cost {
            image: ImageCost {
                bytes: header.image_bytes,
                kernel_bytes: header.kernel_bytes,
                sections: sizes.collect(),
            },
            policies: policies.collect(),
            cilium: Cilium {
                map_size: DEFAULT_SIZE,
                maps: maps.collect(),
                more: forecast.maps.len().saturating_sub(MAPS),
            },
            sections: sections::rows(sections::sizes(image), header.image_bytes),
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let (bytes, kernel) = (self.image.bytes, self.image.kernel_bytes);
        _ = writeln!(
            text,
            "image of the whole cluster: {} bytes, of which the kernel reads {}\n{}",
            grouped(bytes.into()),
            grouped(kernel.into()),
            self.sections
        );
        text.push_str("costliest policies\n");
        for policy in &self.policies {
            let counts =
                [(policy.prefixes, "prefix"), (policy.rules, "rule"), (policy.port_ranges, "port range")];
            let told = counts.map(|(number, one)| match (number, one) {
                (1, _) => format!("1 {one}"),
                (_, "prefix") => format!("{} prefixes", grouped(widened(number))),
                _ => format!("{} {one}s", grouped(widened(number))),
            });
            let PolicyCost { kind, policy, file, line, .. } = policy;
            _ = writeln!(
                text,
                "  {kind} {}: {} ({}:{line})",
                visible(policy),
                told.join(", "),
                visible(file)
            );
        }
        let size = grouped(self.cilium.map_size);
        _ = writeln!(text, "\non Cilium, entries of policy maps ({size} fit by default)");
        let shown = self.cilium.maps.iter().take(MAPS_SHOWN);
        let width = shown.clone().map(|map| grouped(map.entries).len()).max().unwrap_or_default();
        for map in shown {
            let more = match map.endpoints.saturating_sub(1) {
                0 => String::new(),
                more => format!(" and {}", count(more, "more endpoint")),
            };
            let (ingress, egress) = (grouped(map.ingress), grouped(map.egress));
            let mark = if map.entries > self.cilium.map_size { "  does not fit" } else { "" };
            let about = if map.exact { "" } else { " at most" };
            _ = writeln!(
                text,
                "  {:>width$}{about}  {}{more}: {ingress} to it, {egress} from it{mark}",
                grouped(map.entries),
                visible(&map.endpoint)
            );
            for rule in map.rules.iter().filter(|rule| rule.entries > 1).take(RULES_SHOWN) {
                let RuleCost { kind, policy, rule, file, line, entries, .. } = rule;
                _ = writeln!(
                    text,
                    "  {:width$}    {} by {kind} {} {rule} ({}:{line})",
                    "",
                    grouped(*entries),
                    visible(policy),
                    visible(file)
                );
            }
        }
        let told = self.cilium.maps.len().min(MAPS_SHOWN);
        if let Some(more @ 1..) = (self.cilium.maps.len() + self.cilium.more).checked_sub(told) {
            _ = writeln!(text, "  and {} of no more entries", count(more, "other map"));
        }
        text
    }
}

fn widened(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
