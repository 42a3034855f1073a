//! Which slots cannot settle yet: those that a flow on record hashes to with another backend than the slot's present one.
//!
//! A record does not tell where its flow came from, so it counts in the tables of both scopes: that keeps a slot too long and never too short.
//!
//! Not here: the records, which are live state, and for how long a flow may say nothing.

use super::history;
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::IpAddr;
use weir_abi::services::{Choice, FlowSlot, Question, Scope, ServiceImage};

/// A flow on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowOnRecord {
    /// The client.
    pub client: IpAddr,
    /// Its port; of no account under session affinity.
    pub client_port: u16,
    /// The service's address, as the packet names it.
    pub address: IpAddr,
    /// The service's port.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// The backend that the flow is with.
    pub backend: (IpAddr, u16),
}

/// Unsettled slots of an image that flows on record keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// By table and slot.
    slots: FxHashSet<(u32, u32)>,
}

impl Kept {
    /// Those that these flows keep under an image.
    pub fn new(image: &ServiceImage<'_>, flows: impl IntoIterator<Item = FlowOnRecord>) -> Self {
        let mut slots = FxHashSet::default();
        for flow in flows {
            let FlowOnRecord { client, client_port, address, port, protocol, .. } = flow;
            let scope = Scope::External;
            let question = Question { address, port, protocol, scope, client, client_port };
            let with = (flow.backend.0.to_canonical(), flow.backend.1);
            for FlowSlot { table, slot, present, is_unsettled } in image.slots_of(&question) {
                if is_unsettled && (present.address, present.port) != with {
                    slots.insert((table, slot));
                }
            }
        }
        Kept { slots }
    }

    /// Whether a slot of a table is kept.
    pub fn keeps(&self, table: u32, slot: u32) -> bool {
        self.slots.contains(&(table, slot))
    }

    /// The slots, by table and slot, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32)> + '_ {
        self.slots.iter().copied()
    }
}

/// Whether any slot of an image settles when it is compiled again and only these are kept. Tables of services that nobody serves never do.
pub fn settles_any(image: &ServiceImage<'_>, keeps: &dyn Fn(u32, u32) -> bool) -> bool {
    let mut asked: FxHashMap<u32, bool> = FxHashMap::default();
    let scopes = [Scope::External, Scope::Internal];
    image.frontends().flat_map(|frontend| scopes.map(|scope| (frontend, scope))).any(|(frontend, scope)| {
        let Some((number, table)) = frontend.table(scope) else { return false };
        if frontend.choice(scope) != Choice::Backend || table.previous_len() == 0 {
            return false;
        }
        *asked.entry(number).or_insert_with(|| {
            let mut slots = (0..).zip(table.slots()).filter(|(_, (_, unsettled))| *unsettled);
            if history::settles_as_a_whole(&table) {
                slots.all(|(slot, _)| !keeps(number, slot))
            } else {
                slots.any(|(slot, _)| !keeps(number, slot))
            }
        })
    })
}
