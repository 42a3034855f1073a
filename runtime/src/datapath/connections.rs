//! Connections whose time is up, or whose pod is gone, are taken out of the kernel.
//!
//! Programs let nothing pass by a record whose time is up, so a late sweep costs room and nothing else. A sweep looks at so many
//! records and goes on from there the next time; how many connections there are is known after each round.
//!
//! The maps give up what was used least recently when they are full, and say nothing of it. So books are kept: what the programs added,
//! less what they and we removed, less what is there, went for want of room. While a round lasts connections come and go, so the books
//! count only where a map is so full that it gives up any.

use super::counting::count;
use super::mapping::Mapping;
use super::table::{Record, Table};
use super::{Datapath, DatapathError, Tables};
use crate::enforcer::ConntrackReport;
use nix::time::{ClockId, clock_gettime};
use std::mem::offset_of;
use weir_abi::state::{ConntrackRecord, Counter, Settings, TICK_SHIFT};

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
    /// Entries that we removed.
    removed: u64,
    /// Entries that were in no book when the map last had room.
    missing: Option<i64>,
    /// The most that were missing since.
    peak: u64,
    /// What went before that.
    evicted: u64,
}

/// A map gives up entries before the last place is taken, in hundredths of its places.
const NEARLY_FULL: usize = 80;

impl Sweep {
    /// Closes the books of a round. `added` is what the programs added less what they removed.
    fn close(&mut self, added: i64, capacity: usize) {
        let Some(there) = self.last_round else { return };
        let missing = added.wrapping_sub_unsigned(self.removed).wrapping_sub_unsigned(there as u64);
        let before = *self.missing.get_or_insert(missing);
        if there * 100 >= capacity * NEARLY_FULL {
            self.peak = self.peak.max(u64::try_from(missing.wrapping_sub(before)).unwrap_or(0));
        } else {
            self.missing = Some(missing);
            self.evicted += std::mem::take(&mut self.peak);
        }
    }

    /// Looks at so many records; how many were removed.
    fn go_on<K: Record>(
        &mut self,
        table: &Table<K, ConntrackRecord>,
        added: impl FnOnce() -> Result<i64, DatapathError>,
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
                self.removed += removed as u64;
                self.close(added()?, table.capacity() as usize);
                return Ok(removed);
            }
        }
        self.removed += removed as u64;
        Ok(removed)
    }

    /// Entries that went for want of room, as far as is known.
    const fn evicted(&self) -> u64 {
        self.evicted + self.peak
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
        let v4 = || books(tables, Counter::ConntrackV4Added, Counter::ConntrackV4Removed);
        let v6 = || books(tables, Counter::ConntrackV6Added, Counter::ConntrackV6Removed);
        let removed = sweeps.v4.go_on(&tables.conntrack_v4, v4, tick, most)?
            + sweeps.v6.go_on(&tables.conntrack_v6, v6, tick, most)?;
        Ok(ConntrackReport {
            entries_v4: sweeps.v4.entries(),
            entries_v6: sweeps.v6.entries(),
            capacity_v4: tables.conntrack_v4.capacity() as usize,
            capacity_v6: tables.conntrack_v6.capacity() as usize,
            removed,
            evicted: sweeps.v4.evicted() + sweeps.v6.evicted(),
        })
    }

    /// Removes the connections of an interface.
    pub(super) fn forget_connections_of(&mut self, interface: u32) -> Result<(), DatapathError> {
        self.sweeps.v4.removed += forget(&self.tables.conntrack_v4, interface)?;
        self.sweeps.v6.removed += forget(&self.tables.conntrack_v6, interface)?;
        Ok(())
    }
}

/// What the programs added less what they removed.
fn books(tables: &Tables, added: Counter, removed: Counter) -> Result<i64, DatapathError> {
    let [added, removed] = [count(tables, added)?, count(tables, removed)?];
    Ok(added.wrapping_sub(removed).cast_signed())
}

/// Removes an interface's connections; how many there were.
fn forget<K: Record>(table: &Table<K, ConntrackRecord>, interface: u32) -> Result<u64, DatapathError> {
    let mut gone = Vec::new();
    table.each(|(key, records)| {
        if records.first().is_some_and(|record: &ConntrackRecord| record.interface == interface) {
            gone.push(key);
        }
    })?;
    gone.iter().try_fold(0, |count, key| Ok(count + u64::from(table.remove(key)?)))
}

/// Connections may be older than their epoch's count, which is a version's own: it begins where no earlier one has come to.
pub(super) fn begin_epoch(settings: &Mapping) -> Result<(), DatapathError> {
    const EPOCH: usize = offset_of!(Settings, epoch);
    if settings.load(EPOCH) == 0 {
        settings.store(EPOCH, nanoseconds()?);
    }
    Ok(())
}

/// The present tick, by the clock that the programs read (`bpf_ktime_get_coarse_ns`).
pub(super) fn now() -> Result<u32, DatapathError> {
    // The programs keep the lower 32 bits as well.
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap")]
    Ok((nanoseconds()? >> TICK_SHIFT) as u32)
}

/// Since the machine started.
fn nanoseconds() -> Result<u64, DatapathError> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_err(|error| DatapathError::Map {
        map: "conntrack_v4",
        what: "read the clock for it",
        source: error.into(),
    })?;
    Ok(time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::{ConntrackRecord, Sweep, is_over};

    #[test]
    fn what_is_neither_there_nor_ended_was_given_up() {
        let mut sweep = Sweep::default();
        let mut round = |added, removed, there| {
            (sweep.removed, sweep.last_round) = (removed, Some(there));
            sweep.close(added, 100);
            sweep.evicted()
        };
        // What went before is not told, nor what comes and goes in a map that has room.
        assert_eq!(round(500, 0, 70), 0);
        assert_eq!(round(520, 0, 79), 0);
        assert_eq!(round(560, 30, 80), 9);
        // What comes while a round lasts is no loss of the next.
        assert_eq!(round(560, 35, 80), 9);
        assert_eq!(round(565, 35, 80), 9);
        assert_eq!(round(1_560, 35, 90), 994);
        assert_eq!(round(1_560, 105, 20), 994);
        assert_eq!(round(1_560, 105, 20), 994);
    }

    #[test]
    fn time_wraps() {
        let record = |expires| ConntrackRecord { expires, ..ConntrackRecord::default() };
        assert!(is_over(&record(9), 10));
        assert!(!is_over(&record(10), 10));
        assert!(!is_over(&record(3), u32::MAX - 3));
        assert!(is_over(&record(u32::MAX - 3), 3));
    }
}
