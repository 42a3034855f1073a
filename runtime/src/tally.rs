//! Packets by rule, across images: a rule keeps its count when another image, in which it has another number, comes into force.
//!
//! The kernel counts by number, from zero for each image. A harvest adds what was counted since the last one to the rule's
//! name. Rules that neither the last nor the present image has are forgotten, so there is no more here than two images have.

use crate::enforcer::{Counted, Counters};
use crate::legend::{Legend, RuleName};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use weir_abi::state::CounterRecord;

/// What a rule has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// Which.
    #[serde(flatten)]
    pub rule: RuleName,
    /// Packets that it decided.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts by name.
#[derive(Debug, Default)]
pub struct Tally {
    counts: HashMap<Key, Count>,
    /// The image of the last harvest, and what the kernel had counted under it.
    seen: (u64, HashMap<Counted, CounterRecord>),
    /// Counts images.
    age: u64,
}

/// What a rule is called wherever it is written: kind, policy, path.
type Key = (String, String, String);

#[derive(Debug)]
struct Count {
    rule: RuleName,
    packets: u64,
    bytes: u64,
    /// The last image that had it.
    age: u64,
}

impl Tally {
    /// Adds what was counted since the last harvest. Counters of an image that the legend is not of are left out.
    pub fn harvest(&mut self, legend: &Legend, counters: &Counters) {
        if counters.image != Some(legend.checksum) {
            return;
        }
        if self.seen.0 != legend.checksum {
            self.seen = (legend.checksum, HashMap::new());
            self.turn(legend);
        }
        for &(counted, now) in &counters.rules {
            let before = self.seen.1.insert(counted, now).unwrap_or_default();
            // A counter that went back began again: the same image was put in force once more.
            let since = |now: u64, before: u64| if now >= before { now - before } else { now };
            let name = match counted {
                Counted::Rule(rule) => legend.rule(rule),
                Counted::RequestSet(set) => legend.rule_of_set(set),
            };
            if let Some(rule) = name {
                let new = Count { rule: rule.clone(), packets: 0, bytes: 0, age: self.age };
                let count = self.counts.entry(key(&rule)).or_insert(new);
                count.packets += since(now.packets, before.packets);
                count.bytes += since(now.bytes, before.bytes);
                count.age = self.age;
            }
        }
    }

    /// Another image: its rules are as young as it is, and those that two images did not have are forgotten.
    fn turn(&mut self, legend: &Legend) {
        self.age += 1;
        for rule in legend.rules() {
            if let Some(count) = self.counts.get_mut(&key(&rule)) {
                count.age = self.age;
                count.rule = rule;
            }
        }
        self.counts.retain(|_, count| count.age + 1 >= self.age);
    }

    /// All counts, sorted by rule.
    pub fn counts(&self) -> Vec<RuleCount> {
        let mut counts: Vec<RuleCount> = self
            .counts
            .values()
            .map(|count| RuleCount { rule: count.rule.clone(), packets: count.packets, bytes: count.bytes })
            .collect();
        counts.sort_unstable_by(|a, b| a.rule.cmp(&b.rule));
        counts
    }
}

fn key(rule: &RuleName) -> Key {
    (rule.kind.clone(), rule.policy.clone(), rule.rule.clone())
}

#[cfg(test)]
mod tests;
