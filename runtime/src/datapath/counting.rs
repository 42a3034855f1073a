//! What the programs counted, summed over CPUs, and how full the maps are.
//!
//! Rules are counted by slot, so what is told is of the image in force alone.

use super::slots::Slots;
use super::table::{Record, Table};
use super::{Datapath, DatapathError, Tables};
use crate::enforcer::{Counted, Counters, MapSize, Sizes};
use weir_abi::Reason;
use weir_abi::layout::{Header, RequestSetRecord, RuleRecord, Section};
use weir_abi::state::{
    COUNTED_RULES, COUNTED_SETS, Counter, CounterRecord, Hook, REASON_COUNTERS, SLOT_COUNTERS,
};

/// How many counters an image uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    rules: u32,
    request_sets: u32,
}

impl Extent {
    /// Of an image, by its header.
    pub(super) fn of(header: &Header) -> Self {
        let records = |section: Section, size: usize| {
            let bytes = header.sections.get(section as usize).map_or(0, |extent| extent.len as usize);
            u32::try_from(bytes / size).unwrap_or(u32::MAX)
        };
        Extent {
            rules: records(Section::Rules, size_of::<RuleRecord>()).min(COUNTED_RULES),
            request_sets: records(Section::RequestSets, size_of::<RequestSetRecord>()).min(COUNTED_SETS),
        }
    }
}

impl Datapath {
    /// Zeroes the rule counters of a slot that no packet uses.
    pub(super) fn clear_rule_counters(&self, slot: usize) -> Result<(), DatapathError> {
        let all = Extent { rules: COUNTED_RULES, request_sets: COUNTED_SETS };
        let extent = self.counted.get(slot).copied().flatten().unwrap_or(all);
        let first = u32::try_from(slot).unwrap_or(0) * SLOT_COUNTERS;
        let table = &self.tables.rule_counters;
        for (begin, count) in [(first, extent.rules), (first + COUNTED_RULES, extent.request_sets)] {
            // Of an array, the cursor is the key before the next.
            let mut cursor = begin.checked_sub(1).map_or(Vec::new(), |before| before.to_ne_bytes().to_vec());
            let mut next = begin;
            while next < begin + count {
                for (key, values) in table.batch(&mut cursor)? {
                    if key < begin + count && values.iter().any(|value| value.packets > 0) {
                        table.clear(&key)?;
                    }
                    next = key + 1;
                }
                if cursor.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What was counted under the image in force; what is zero is left out.
    ///
    /// # Errors
    /// The maps.
    pub(super) fn read_counters(&self) -> Result<Counters, DatapathError> {
        let slot = u32::try_from(1 - Slots::idle(&self.settings)).unwrap_or(0);
        let mut counters = Counters { image: self.image_in_force(), ..Counters::default() };
        for (key, count) in sums(&self.tables.rule_counters)? {
            let number = key % SLOT_COUNTERS;
            if key / SLOT_COUNTERS == slot {
                let counted = match number.checked_sub(COUNTED_RULES) {
                    Some(set) => Counted::RequestSet(set),
                    None => Counted::Rule(number),
                };
                counters.rules.push((counted, count));
            }
        }
        for (key, count) in sums(&self.tables.reason_counters)? {
            let hook = u8::try_from(key / REASON_COUNTERS).ok().and_then(Hook::from_number);
            let reason = u8::try_from(key % REASON_COUNTERS).ok().and_then(Reason::from_number);
            if let (Some(hook), Some(reason)) = (hook, reason) {
                counters.reasons.push((hook, reason, count));
            }
        }
        for (key, count) in sums(&self.tables.named_counters)? {
            if let Some(counter) = u8::try_from(key).ok().and_then(Counter::from_number) {
                counters.named.push((counter, count.packets));
            }
        }
        Ok(counters)
    }

    /// How full the maps are that hold what is known of the cluster and of datagrams on their way.
    ///
    /// # Errors
    /// The maps.
    pub(super) fn read_sizes(&self) -> Result<Sizes, DatapathError> {
        let tables = &self.tables;
        let maps = vec![
            size(&tables.addresses_v4)?,
            size(&tables.addresses_v6)?,
            size(&tables.interfaces)?,
            size(&tables.learned)?,
            size(&tables.fragments)?,
        ];
        Ok(Sizes { image_class: self.slots.class(), maps })
    }
}

fn size<K: Record, V: Record>(table: &Table<K, V>) -> Result<MapSize, DatapathError> {
    let mut entries = 0;
    table.each(|_| entries += 1)?;
    Ok(MapSize { map: table.name().to_owned(), entries, capacity: table.capacity() as usize })
}

/// One of the named counters, over all CPUs.
pub(super) fn count(tables: &Tables, counter: Counter) -> Result<u64, DatapathError> {
    let found = sums(&tables.named_counters)?.into_iter().find(|(key, _)| *key == u32::from(counter as u8));
    Ok(found.map_or(0, |(_, sum)| sum.packets))
}

/// Counters that are not zero, each the sum over CPUs.
fn sums(table: &Table<u32, CounterRecord>) -> Result<Vec<(u32, CounterRecord)>, DatapathError> {
    let mut found = Vec::new();
    table.each(|(key, values): (u32, Vec<CounterRecord>)| {
        let sum = values.iter().fold(CounterRecord::default(), |sum, value| CounterRecord {
            packets: sum.packets.wrapping_add(value.packets),
            bytes: sum.bytes.wrapping_add(value.bytes),
        });
        if sum.packets > 0 {
            found.push((key, sum));
        }
    })?;
    Ok(found)
}
