//! Connections whose time is up, or whose pod is gone, are taken out of the kernel.
//!
//! Programs let nothing pass by a record whose time is up, so a late sweep costs room and nothing else. A sweep looks at so many
//! records and goes on from there the next time; how many connections there are is known after each round.

use super::table::{Record, Table};
use super::{Datapath, DatapathError};
use crate::enforcer::ConntrackReport;
use nix::time::{ClockId, clock_gettime};
use weir_abi::state::{ConntrackRecord, TICK_SHIFT};

/// Where the sweeps of both families stand.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    v4: Sweep,
    v6: Sweep,
}

#[derive(Debug, Default)]
struct Sweep {
    cursor: Vec<u8>,
    /// Connections seen in this round.
    seen: usize,
    /// Connections that the last whole round saw.
    last_round: Option<usize>,
}

impl Sweep {
    /// Looks at so many records; how many were removed.
    fn go_on<K: Record>(
        &mut self,
        table: &Table<K, ConntrackRecord>,
        tick: u32,
        most: usize,
    ) -> Result<usize, DatapathError> {
        let (mut looked_at, mut removed) = (0, 0);
        while looked_at < most {
            let entries = table.batch(&mut self.cursor)?;
            looked_at += entries.len().max(1);
            for (key, records) in entries {
                if records.first().is_some_and(|record| is_over(record, tick)) {
                    // A packet may have opened it anew since it was read.
                    if table.get(&key)?.is_some_and(|record| is_over(&record, tick)) {
                        removed += usize::from(table.remove(&key)?);
                    }
                } else {
                    self.seen += 1;
                }
            }
            if self.cursor.is_empty() {
                self.last_round = Some(std::mem::take(&mut self.seen));
                break;
            }
        }
        Ok(removed)
    }

    /// Connections, as far as is known.
    fn entries(&self) -> usize {
        self.last_round.unwrap_or(self.seen)
    }
}

/// Whether a record's time was up at a tick; ticks wrap.
const fn is_over(record: &ConntrackRecord, tick: u32) -> bool {
    record.expires.wrapping_sub(tick).cast_signed() < 0
}

impl Datapath {
    /// Removes connections whose time is up, of at most so many looked at in each family.
    pub(super) fn sweep_connections(&mut self, most: usize) -> Result<ConntrackReport, DatapathError> {
        let tick = now()?;
        let (tables, sweeps) = (&self.tables, &mut self.sweeps);
        let removed = sweeps.v4.go_on(&tables.conntrack_v4, tick, most)?
            + sweeps.v6.go_on(&tables.conntrack_v6, tick, most)?;
        Ok(ConntrackReport {
            entries_v4: sweeps.v4.entries(),
            entries_v6: sweeps.v6.entries(),
            capacity_v4: tables.conntrack_v4.capacity() as usize,
            capacity_v6: tables.conntrack_v6.capacity() as usize,
            removed,
        })
    }

    /// Removes the connections of an interface.
    pub(super) fn forget_connections_of(&self, interface: u32) -> Result<(), DatapathError> {
        forget(&self.tables.conntrack_v4, interface)?;
        forget(&self.tables.conntrack_v6, interface)
    }
}

fn forget<K: Record>(table: &Table<K, ConntrackRecord>, interface: u32) -> Result<(), DatapathError> {
    let mut gone = Vec::new();
    table.each(|(key, records)| {
        if records.first().is_some_and(|record: &ConntrackRecord| record.interface == interface) {
            gone.push(key);
        }
    })?;
    gone.iter().try_for_each(|key| table.remove(key).map(drop))
}

/// The present tick, by the clock that the programs read (`bpf_ktime_get_coarse_ns`).
fn now() -> Result<u32, DatapathError> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_err(|error| DatapathError::Map {
        map: "conntrack_v4",
        what: "read the clock for it",
        source: error.into(),
    })?;
    let nanoseconds = time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned();
    // The programs keep the lower 32 bits as well.
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap")]
    Ok((nanoseconds >> TICK_SHIFT) as u32)
}

#[cfg(test)]
mod tests {
    use super::{ConntrackRecord, is_over};

    #[test]
    fn time_wraps() {
        let record = |expires| ConntrackRecord { expires, ..ConntrackRecord::default() };
        assert!(is_over(&record(9), 10));
        assert!(!is_over(&record(10), 10));
        assert!(!is_over(&record(3), u32::MAX - 3));
        assert!(is_over(&record(u32::MAX - 3), 3));
    }
}
