//! What balancing's programs left for the daemon: flows on record, translations whose time is up, counters.

use crate::balancer::{BalanceReport, FlowOnRecord};
use crate::datapath::connections::now;
use crate::datapath::error::DatapathError;
use crate::datapath::pins::Versions;
use crate::datapath::table::{Record, Table};
use std::net::{IpAddr, Ipv6Addr};
use weir_abi::services::live::{
    BALANCE_COUNTERS, BalanceCounter, FlowKey, FlowRecord, TranslationKey, TranslationRecord,
};
use weir_abi::state::CounterRecord;

/// The maps.
#[derive(Debug)]
pub(super) struct Tables {
    translations: Table<TranslationKey, TranslationRecord>,
    flows: Table<FlowKey, FlowRecord>,
    counters: Table<u32, CounterRecord>,
    sweep_translations: Round,
    sweep_flows: Round,
}

/// Where a sweep stands, which looks at some entries at a time.
#[derive(Debug, Default)]
struct Round {
    cursor: Vec<u8>,
    /// Entries that this round saw, and those that the last one counted.
    seen: usize,
    last: Option<usize>,
}

impl Tables {
    pub(super) fn open(versions: &Versions) -> Result<Self, DatapathError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| DatapathError::Map {
            map: "balance_counters",
            what: "count CPUs",
            source,
        })?;
        Ok(Tables {
            translations: Table::open(&versions.connections, "translations")?,
            flows: Table::open(&versions.connections, "flows")?,
            counters: Table::open_with(&versions.own, "balance_counters", cpus)?,
            sweep_translations: Round::default(),
            sweep_flows: Round::default(),
        })
    }

    pub(super) fn flows(&self) -> Result<Vec<FlowOnRecord>, DatapathError> {
        let now = now()?;
        let mut found = Vec::new();
        self.flows.each(|(key, records)| {
            let record = records.first().filter(|record| !is_over(record.expires, now));
            found.extend(record.map(|record| FlowOnRecord {
                client: address(key.client),
                client_port: key.client_port,
                address: address(key.address),
                port: key.port,
                protocol: key.protocol,
                backend: (address(record.address), record.port),
            }));
        })?;
        Ok(found)
    }

    pub(super) fn sweep(&mut self, most: usize) -> Result<BalanceReport, DatapathError> {
        let now = now()?;
        let removed =
            self.sweep_translations.go_on(&self.translations, most, |record| is_over(record.expires, now))?
                + self.sweep_flows.go_on(&self.flows, most, |record| is_over(record.expires, now))?;
        Ok(BalanceReport {
            translations: self.sweep_translations.entries(),
            translation_capacity: self.translations.capacity() as usize,
            flows: self.sweep_flows.entries(),
            removed,
        })
    }

    pub(super) fn counters(&self) -> Result<Vec<(BalanceCounter, u64)>, DatapathError> {
        let mut found = Vec::new();
        self.counters.each(|(key, records)| {
            let packets: u64 = records.iter().map(|record: &CounterRecord| record.packets).sum();
            let counter = u8::try_from(key).ok().filter(|_| key < BALANCE_COUNTERS);
            let counter = counter.and_then(BalanceCounter::from_number);
            found.extend(counter.filter(|_| packets > 0).map(|counter| (counter, packets)));
        })?;
        Ok(found)
    }
}

impl Round {
    /// Looks at some more entries, and removes those that are over; how many.
    fn go_on<K: Record, V: Record>(
        &mut self,
        table: &Table<K, V>,
        most: usize,
        is_over: impl Fn(&V) -> bool,
    ) -> Result<usize, DatapathError> {
        let (mut looked, mut removed) = (0, 0);
        while looked < most {
            let batch = table.batch(&mut self.cursor)?;
            looked += batch.len().max(1);
            for (key, values) in &batch {
                if values.first().is_some_and(&is_over) && table.remove_if(key, &is_over)? {
                    removed += 1;
                } else {
                    self.seen += 1;
                }
            }
            if self.cursor.is_empty() {
                self.last = Some(std::mem::take(&mut self.seen));
                break;
            }
        }
        Ok(removed)
    }

    /// Entries, as far as is known.
    fn entries(&self) -> usize {
        self.last.unwrap_or(self.seen)
    }
}

/// Whether a time is past; ticks wrap.
const fn is_over(expires: u32, now: u32) -> bool {
    expires.wrapping_sub(now).cast_signed() < 0
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}
