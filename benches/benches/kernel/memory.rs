//! What the kernel holds for a hundred pods under one set of rules, as it tells of each map itself.

use crate::expanded;
use crate::laboratory::Laboratory;
use aya::maps::lpm_trie::LpmTrie;
use std::fs;
use weir_abi::Identity;
use weir_abi::state::{SLOT_COUNTERS, SLOTS};
use weir_benches::compiled::{image_of, parsed};
use weir_benches::figures::Row;
use weir_benches::maps::maps_held;
use weir_benches::tiny_cluster;
use weir_benches::workload::dealt::Dealt;
use weir_benches::yaml::Yaml;

const PODS: u32 = 100;
const ENTRIES: u32 = 16_384;
const PREFIXES: usize = 16_384;

/// Bytes of both.
pub(crate) fn measure(laboratory: &Laboratory, tell: &mut dyn FnMut(Row)) {
    let dealt = Dealt::new(PREFIXES, ENTRIES);
    let (compiled, _) = image_of(parsed(dealt.policies(), cluster()), None);
    let image = weir_abi::Image::open(compiled.bytes.as_bytes()).unwrap();
    let under_policy = image
        .identities()
        .filter(|entry| entry.identity.0 >= Identity::FIRST_POD)
        .filter(|entry| image.endpoint(entry.identity).is_some_and(|endpoint| endpoint.egress.0 != 0))
        .count();
    assert_eq!(under_policy, PODS as usize, "each pod has an identity of its own, and the policy");
    let before = maps_held();
    let mut bed = laboratory.bed().unwrap();
    let installed = bed.datapath.install_image(compiled.bytes.as_bytes(), &[]).unwrap();
    bed.datapath.let_go_of_old_image().unwrap();
    let held = maps_held();
    // Of the datapath's maps those of one value of the class's size: one, once swaps have come to rest.
    let ours: u64 = held
        .iter()
        .filter(|(id, map)| !before.contains_key(id) && map.value_size >= installed.class as u64)
        .map(|(_, map)| map.bytes)
        .sum();
    // What counts rules is there once, for a pod as for a hundred.
    let counters: u64 = held
        .iter()
        .filter(|(id, map)| !before.contains_key(id) && map.entries == u64::from(SLOTS * SLOT_COUNTERS))
        .map(|(_, map)| map.bytes)
        .sum();
    drop(bed);
    let before = maps_held();
    let free = unreclaimable_slab();
    let keys = expanded::policy_keys(&dealt);
    let mut tries = Vec::new();
    for _ in 0..PODS {
        let mut programs = laboratory.tries(1);
        let mut policy: LpmTrie<_, [u8; 8], [u8; 12]> =
            LpmTrie::try_from(programs.take_map("policy").unwrap()).unwrap();
        for key in &keys {
            policy.insert(key, [0; 12], 0).unwrap();
        }
        tries.push(policy);
    }
    let slab = unreclaimable_slab().saturating_sub(free);
    let theirs: u64 =
        maps_held().iter().filter(|(id, _)| !before.contains_key(id)).map(|(_, map)| map.bytes).sum();
    drop(tries);
    let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
    tell(Row {
        workload: format!("{PODS} pods under one policy of 16,384 entries"),
        figure: "memlock of maps; a trie's leaves out inner nodes and what its allocator rounds up"
            .to_owned(),
        compared: format!("{PODS} private LPM tries: {}", megabytes(theirs)),
        measured: format!(
            "image of {} in a value of {}, **1/{:.0}**",
            megabytes(installed.bytes as u64),
            megabytes(ours),
            theirs as f64 / ours as f64
        ),
        goal: "≤ 1/50".into(),
    });
    tell(Row {
        workload: "the same".to_owned(),
        figure: "SUnreclaim, grown while the tries were filled".to_owned(),
        compared: megabytes(slab),
        measured: format!("**1/{:.0}**", slab as f64 / ours as f64),
        goal: "".into(),
    });
    tell(Row {
        workload: "the same".to_owned(),
        figure: "with the counters that every rule of any image has, on each CPU".to_owned(),
        compared: format!("{}; tries count nothing", megabytes(slab)),
        measured: format!("{} more, 1/{:.0}", megabytes(counters), slab as f64 / (ours + counters) as f64),
        goal: "".into(),
    });
}

fn unreclaimable_slab() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("SUnreclaim:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Pods of as many identities, all selected by the policy.
fn cluster() -> String {
    let mut yaml = Yaml::default();
    tiny_cluster::namespace(&mut yaml, tiny_cluster::NAMESPACE, "prod");
    tiny_cluster::node(&mut yaml, "node-1", "172.16.0.1");
    for number in 0..PODS {
        let labels = [("app", "crawler".to_owned()), ("part", format!("part-{number}"))];
        let address = format!("10.1.1.{}", 10 + number);
        tiny_cluster::pod(
            &mut yaml,
            tiny_cluster::NAMESPACE,
            &format!("crawler-{number}"),
            &labels,
            "node-1",
            &address,
        );
    }
    yaml.finish()
}
