//! An opened service image: its parts, typed.

use super::layout::{
    BACKEND_LOCAL, BackendRecord, BackendState, CHOOSE_AT_RANDOM, Choice, EXTERNAL_LOCAL, FORWARD_DSR,
    FORWARD_SNAT, FrontendKind, FrontendPortRecord, FrontendRecord, INTERNAL_LOCAL, NO_RECORD, ScopeRecord,
    ServiceHeader, ServiceRecord, ServiceSection, SlotTableRecord, SourceRangeRecord, SourceSetRecord,
    choice_shift,
};
use super::reduce;
use crate::layout::{FactRecord, Text};
use core::net::{IpAddr, Ipv6Addr};

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Outside the cluster.
    External,
    /// A pod or node of it.
    Internal,
}

/// An opened image: every section in place, every number checked.
#[derive(Clone, Copy, Debug)]
pub struct ServiceImage<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) header: &'a ServiceHeader,
    pub(super) displacements: &'a [u32],
    pub(super) frontends: &'a [FrontendRecord],
    pub(super) tables: &'a [SlotTableRecord],
    pub(super) backends: &'a [BackendRecord],
    pub(super) source_sets: &'a [SourceSetRecord],
    pub(super) source_ranges: &'a [SourceRangeRecord],
    pub(super) ports: &'a [FrontendPortRecord],
    pub(super) services: &'a [ServiceRecord],
    pub(super) nodes: &'a [Text],
    pub(super) facts: &'a [FactRecord],
    pub(super) strings: &'a str,
}

impl<'a> ServiceImage<'a> {
    /// The bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Sizes.
    pub const fn header(&self) -> &'a ServiceHeader {
        self.header
    }

    /// Every frontend, in the order of their places.
    pub fn frontends(&self) -> impl Iterator<Item = Frontend<'a>> {
        let image = *self;
        self.frontends.iter().filter_map(move |record| image.frontend(record))
    }

    pub(super) fn frontend(&self, record: &'a FrontendRecord) -> Option<Frontend<'a>> {
        Some(Frontend { image: *self, kind: FrontendKind::from_number(record.kind)?, record })
    }

    /// A table by its number.
    pub fn table(&self, number: u32) -> Option<SlotTable<'a>> {
        let record = self.tables.get(number as usize)?;
        Some(SlotTable { bytes: self.bytes, record })
    }

    /// How many tables there are.
    pub const fn table_count(&self) -> usize {
        self.tables.len()
    }

    pub(super) fn start(&self, section: ServiceSection) -> u32 {
        self.header.sections.get(section as usize).map_or(0, |extent| extent.offset)
    }

    /// A run of backends by its place.
    pub(super) fn backend_at(&self, place: u32, number: u32) -> Option<Backend> {
        let from = place.checked_sub(self.start(ServiceSection::Backends))? as usize;
        let index = (from / size_of::<BackendRecord>()).checked_add(number as usize)?;
        Backend::from_record(self.backends.get(index)?)
    }
}

/// An address, port and protocol of services, or an address as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Frontend<'a> {
    pub(super) image: ServiceImage<'a>,
    /// What it is.
    pub kind: FrontendKind,
    pub(super) record: &'a FrontendRecord,
}

impl<'a> Frontend<'a> {
    /// Its address; unspecified for a port of nodes.
    pub fn address(&self) -> IpAddr {
        Ipv6Addr::from(self.record.address).to_canonical()
    }

    /// Its port; 0 for an address as a whole.
    pub const fn port(&self) -> u16 {
        self.record.port
    }

    /// Its IP protocol; 0 for an address as a whole.
    pub const fn protocol(&self) -> u8 {
        self.record.protocol
    }

    /// Seconds of session affinity.
    pub fn affinity(&self) -> Option<u32> {
        (self.record.affinity > 0).then_some(self.record.affinity)
    }

    /// Whether the service asks for Direct Server Return (`true`) or source NAT (`false`).
    pub const fn asks_for_dsr(&self) -> Option<bool> {
        match (self.record.flags & FORWARD_DSR != 0, self.record.flags & FORWARD_SNAT != 0) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// Whether its backends are chosen at random.
    pub const fn is_random(&self) -> bool {
        self.record.flags & CHOOSE_AT_RANDOM != 0
    }

    /// Whether only backends of this node serve a scope.
    pub const fn is_local(&self, scope: Scope) -> bool {
        let flag = match scope {
            Scope::External => EXTERNAL_LOCAL,
            Scope::Internal => INTERNAL_LOCAL,
        };
        self.record.flags & flag != 0
    }

    /// The number of its port, and of its service.
    pub(super) const fn number(&self) -> u32 {
        self.record.number
    }

    /// What comes of new flows of a scope.
    pub fn choice(&self, scope: Scope) -> Choice {
        let number = (self.record.flags >> choice_shift(scope)) as u8 & 0xF;
        Choice::from_number(number).unwrap_or(Choice::NoBackend)
    }

    pub(super) const fn scope(&self, scope: Scope) -> &'a ScopeRecord {
        match scope {
            Scope::External => &self.record.external,
            Scope::Internal => &self.record.internal,
        }
    }

    /// The table of a scope and its number.
    pub fn table(&self, scope: Scope) -> Option<(u32, SlotTable<'a>)> {
        let scope = self.scope(scope);
        if scope.count == 0 { None } else { Some((scope.table, self.image.table(scope.table)?)) }
    }

    /// Its backends, as tables number them.
    pub fn backends(&self) -> impl Iterator<Item = Backend> {
        let (image, place) = (self.image, self.record.backends);
        let count = image.ports.get(self.record.number as usize).map_or(0, |port| port.backend_count);
        (0..count).filter_map(move |number| image.backend_at(place, number))
    }

    /// Whether it tells clients from outside apart by their address.
    pub const fn has_sources(&self) -> bool {
        self.record.sources != NO_RECORD
    }

    pub(super) fn refuses(&self, client: [u8; 16]) -> bool {
        if !self.has_sources() {
            return false;
        }
        let find = || {
            let image = &self.image;
            let set = image.source_sets.get(self.record.sources as usize)?;
            let from = set.ranges.checked_sub(image.start(ServiceSection::SourceRanges))? as usize;
            let from = from / size_of::<SourceRangeRecord>();
            let ranges = image.source_ranges.get(from..from.checked_add(set.count as usize)?)?;
            let last = ranges.partition_point(|range| range.first <= client).checked_sub(1);
            let is_in = last.and_then(|last| ranges.get(last)).is_some_and(|range| client <= range.last);
            Some(is_in == (set.deny != 0))
        };
        // Never for a checked image.
        find().unwrap_or(true)
    }
}

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// What it is fit for.
    pub state: BackendState,
    /// Whether it is on the image's node.
    pub is_local: bool,
    /// Its share of new flows.
    pub weight: u32,
    /// The same for the same address, port and protocol throughout the image.
    pub number: u32,
    /// Number of its node's name.
    pub node: Option<u32>,
}

impl Backend {
    fn from_record(record: &BackendRecord) -> Option<Self> {
        Some(Backend {
            address: Ipv6Addr::from(record.address).to_canonical(),
            port: record.port,
            state: BackendState::from_number(record.state)?,
            is_local: record.flags & BACKEND_LOCAL != 0,
            weight: record.weight,
            number: record.number,
            node: (record.node != NO_RECORD).then_some(record.node),
        })
    }
}

/// Which backend serves which flows: slots, and what was settled before the last changes.
///
/// Where a slot is settled, every flow of it goes to its backend, and nobody need look for a record. Where it is not, a flow may be on record
/// with another backend; one that is on no record and was there before is the previous backend's.
#[derive(Clone, Copy, Debug)]
pub struct SlotTable<'a> {
    bytes: &'a [u8],
    record: &'a SlotTableRecord,
}

impl<'a> SlotTable<'a> {
    /// Slots.
    pub const fn len(&self) -> u32 {
        self.record.count
    }

    /// Whether it has none. Never for a checked image.
    pub const fn is_empty(&self) -> bool {
        self.record.count == 0
    }

    /// Backends that it numbers, with those that have no slots.
    pub const fn backends(&self) -> u32 {
        self.record.backends
    }

    /// Bytes of a slot.
    pub const fn width(&self) -> u32 {
        self.record.width
    }

    /// All slots in order, as [`SlotTable::slot`] tells them.
    pub fn slots(&self) -> impl Iterator<Item = (u32, bool)> {
        let top = 1 << (8 * self.record.width - 1);
        // The width is that of a checked table, so it is not 0.
        self.bytes().chunks_exact(self.record.width as usize).map(move |bytes| {
            let read = word(bytes).unwrap_or_default();
            (read & !top, read & top != 0)
        })
    }

    /// The slots as they lie in the image.
    pub fn bytes(&self) -> &'a [u8] {
        let start = self.record.slots as usize;
        let len = (self.record.count as usize).saturating_mul(self.record.width as usize);
        self.bytes.get(start..start.saturating_add(len)).unwrap_or_default()
    }

    /// Slots of what was settled before; 0 if all slots are settled.
    pub const fn previous_len(&self) -> u32 {
        if self.record.previous == NO_RECORD { 0 } else { self.record.previous_count }
    }

    /// The slot of a flow, by its hash.
    pub const fn slot_of(&self, hash: u64) -> u32 {
        reduce(hash, self.record.count)
    }

    /// A slot: its backend's number, and whether flows may be on record with another.
    pub fn slot(&self, slot: u32) -> Option<(u32, bool)> {
        if slot >= self.record.count {
            return None;
        }
        let read = self.read(self.record.slots, slot)?;
        let top = 1 << (8 * self.record.width - 1);
        Some((read & !top, read & top != 0))
    }

    /// The backend's number that a slot had when it was last settled, by the previous table's own slot.
    pub fn previous_slot(&self, slot: u32) -> Option<u32> {
        if slot >= self.previous_len() { None } else { self.read(self.record.previous, slot) }
    }

    /// The backend's number that a flow had when its slot was last settled.
    pub fn previous(&self, hash: u64) -> Option<u32> {
        let count = self.previous_len();
        if count == 0 { None } else { self.previous_slot(reduce(hash, count)) }
    }

    fn read(&self, place: u32, slot: u32) -> Option<u32> {
        let width = self.record.width as usize;
        let start = (slot as usize).checked_mul(width)?.checked_add(place as usize)?;
        word(self.bytes.get(start..start.checked_add(width)?)?)
    }
}

/// A slot of one, two or four bytes.
fn word(bytes: &[u8]) -> Option<u32> {
    match *bytes {
        [a] => Some(u32::from(a)),
        [a, b] => Some(u32::from(u16::from_le_bytes([a, b]))),
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}
