//! What packets leave behind in the kernel: reasons, counters, connections, events. Time is made to pass by writing it into the records.
//!
//! Not here: what is right.

use super::Kernel;
use aya::Pod;
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use std::collections::BTreeMap;
use std::path::Path;
use weir_abi::Reason;
use weir_abi::state::{
    ConntrackKeyV4, ConntrackKeyV6, ConntrackRecord, Counter, EventRecord, FragmentKey, FragmentRecord, Hook,
    REASON_COUNTERS,
};
use weir_runtime::datapath::{connection_folder, version_folder};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const V4_KEY: usize = size_of::<ConntrackKeyV4>();
const V6_KEY: usize = size_of::<ConntrackKeyV6>();
const RECORD: usize = size_of::<ConntrackRecord>();
const FRAGMENT_KEY: usize = size_of::<FragmentKey>();
const FRAGMENT: usize = size_of::<FragmentRecord>();

/// The maps that programs write.
pub struct Traces {
    reasons: PerCpuArray<MapData, [u64; 2]>,
    counters: PerCpuArray<MapData, [u64; 2]>,
    v4: HashMap<MapData, [u8; V4_KEY], [u8; RECORD]>,
    v6: HashMap<MapData, [u8; V6_KEY], [u8; RECORD]>,
    fragments: HashMap<MapData, [u8; FRAGMENT_KEY], [u8; FRAGMENT]>,
    events: RingBuf<MapData>,
}

type Failure = Box<dyn std::error::Error>;

impl Kernel {
    /// The maps that its programs write.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn traces(&self) -> Result<Traces, Failure> {
        let folder = version_folder(&self.pin_root);
        let connections = connection_folder(&self.pin_root);
        let from =
            |folder: &Path, name: &str| MapData::from_pin(folder.join(name)).and_then(Map::from_map_data);
        let open = |name: &str| from(&folder, name);
        Ok(Traces {
            reasons: open("reason_counters")?.try_into()?,
            counters: open("named_counters")?.try_into()?,
            v4: from(&connections, "conntrack_v4")?.try_into()?,
            v6: from(&connections, "conntrack_v6")?.try_into()?,
            fragments: open("fragments")?.try_into()?,
            events: open("events")?.try_into()?,
        })
    }
}

impl Traces {
    /// How many packets met each reason at a hook.
    ///
    /// # Errors
    /// The map.
    pub fn reasons(&self, hook: Hook) -> Result<BTreeMap<&'static str, u64>, Failure> {
        let mut met = BTreeMap::new();
        for &reason in Reason::ALL {
            let key = hook as u32 * REASON_COUNTERS + reason as u32;
            met.insert(reason.as_str(), sum(&self.reasons, key)?);
        }
        Ok(met)
    }

    /// How many were counted under a name.
    ///
    /// # Errors
    /// The map.
    pub fn counter(&self, counter: Counter) -> Result<u64, Failure> {
        sum(&self.counters, counter as u32)
    }

    /// The connections on record, IPv4 first.
    ///
    /// # Errors
    /// The maps.
    pub fn connections(&self) -> Result<Vec<ConntrackRecord>, Failure> {
        let values =
            |value: [u8; RECORD]| Ok(ConntrackRecord::read_from_bytes(&value).map_err(|_| "its size")?);
        let v4 = self.v4.iter().map(|entry| values(entry?.1));
        v4.chain(self.v6.iter().map(|entry| values(entry?.1))).collect()
    }

    /// The events since the last call.
    ///
    /// # Errors
    /// One that is none.
    pub fn events(&mut self) -> Result<Vec<EventRecord>, Failure> {
        let mut events = Vec::new();
        while let Some(bytes) = self.events.next() {
            events.push(EventRecord::read_from_bytes(&bytes).map_err(|_| "its size")?);
        }
        Ok(events)
    }

    /// Lets every connection and datagram in pieces run out.
    ///
    /// # Errors
    /// The maps.
    pub fn let_all_run_out(&mut self) -> Result<(), Failure> {
        self.change_connections(|record| record.expires = 0)?;
        edit(&mut self.fragments, |record: &mut FragmentRecord| record.expires = 0)
    }

    /// Changes every connection's record.
    ///
    /// # Errors
    /// The maps.
    pub fn change_connections(&mut self, change: impl Fn(&mut ConntrackRecord)) -> Result<(), Failure> {
        edit(&mut self.v4, &change)?;
        edit(&mut self.v6, &change)
    }

    /// Forgets every connection and datagram in pieces.
    ///
    /// # Errors
    /// The maps.
    pub fn forget_all(&mut self) -> Result<(), Failure> {
        forget(&mut self.v4)?;
        forget(&mut self.v6)?;
        forget(&mut self.fragments)
    }
}

fn sum(map: &PerCpuArray<MapData, [u64; 2]>, key: u32) -> Result<u64, Failure> {
    Ok(map.get(&key, 0)?.iter().map(|[packets, _]| packets).sum())
}

fn edit<K: Pod, R: FromBytes + IntoBytes + Immutable, const N: usize>(
    map: &mut HashMap<MapData, K, [u8; N]>,
    change: impl Fn(&mut R),
) -> Result<(), Failure> {
    let entries: Vec<(K, [u8; N])> = map.iter().collect::<Result<_, _>>()?;
    for (key, mut value) in entries {
        let mut record = R::read_from_bytes(&value).map_err(|_| "its size")?;
        change(&mut record);
        value.copy_from_slice(record.as_bytes());
        map.insert(key, value, 0)?;
    }
    Ok(())
}

fn forget<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>) -> Result<(), Failure> {
    let keys: Vec<K> = map.keys().collect::<Result<_, _>>()?;
    keys.iter().try_for_each(|key| Ok(map.remove(key)?))
}
