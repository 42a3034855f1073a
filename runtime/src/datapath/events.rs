//! The ring buffer of events, read by one reader.
//!
//! Records of another size than this version's are no events and are passed over: they can only come from programs of another
//! version, whose maps have another name.

use super::{Datapath, DatapathError};
use crate::enforcer::EventSource;
use aya::maps::{Map, MapData, RingBuf};
use std::io;
use weir_abi::state::EventRecord;
use zerocopy::FromBytes;

/// The reader.
struct Events {
    ring: RingBuf<MapData>,
}

impl EventSource for Events {
    fn next(&mut self) -> Option<EventRecord> {
        loop {
            let item = self.ring.next()?;
            if let Ok(event) = EventRecord::read_from_bytes(&item) {
                return Some(event);
            }
        }
    }
}

impl Datapath {
    /// The events. A second reader would take them from the first.
    pub(super) fn open_events(&self) -> Result<Box<dyn EventSource>, DatapathError> {
        let fail = |error: aya::maps::MapError| DatapathError::Map {
            map: "events",
            what: "open",
            source: io::Error::other(error),
        };
        let map = MapData::from_pin(self.versions.own.join("events")).map_err(fail)?;
        let ring = RingBuf::try_from(Map::RingBuf(map)).map_err(fail)?;
        Ok(Box::new(Events { ring }))
    }
}
