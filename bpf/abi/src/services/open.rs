//! From bytes to a checked [`ServiceImage`]: as for the policy image, every offset and number is checked once.

use super::image::{Scope, ServiceImage};
use super::layout::{
    BACKEND_LOCAL, BYTE_SLOTS, BackendRecord, BackendState, Choice, FRONTEND_FLAGS, FrontendKind,
    FrontendRecord, HALF_SLOTS, MAX_SERVICE_BYTES, MAX_SLOTS, NO_RECORD, SERVICE_KERNEL_SECTIONS,
    SERVICE_MAGIC, SOURCES_DENIED, ScopeRecord, ServiceHeader, ServiceSection, SlotTableRecord,
    SourceRangeRecord, WORD_SLOTS, choice_shift, width_shift,
};
use super::{SERVICE_VERSION, displaced, key_hash, reduce};
use crate::open::{ImageError, check_extents, check_prologue, holds, records_of};
use zerocopy::FromBytes;

/// Names the first record that fails.
fn all<T>(
    section: ServiceSection,
    records: &[T],
    mut fits: impl FnMut(&T) -> bool,
) -> Result<(), ImageError> {
    match records.iter().position(|record| !fits(record)) {
        Some(index) => Err(ImageError::ServiceRecord { section, index }),
        None => Ok(()),
    }
}

impl<'a> ServiceImage<'a> {
    /// Checks `bytes` and reads them in place. They must begin at a multiple of 8 in memory.
    ///
    /// # Errors
    /// [`ImageError`] names the first thing that is wrong; nothing of a bad image is usable.
    pub fn open(bytes: &'a [u8]) -> Result<ServiceImage<'a>, ImageError> {
        let needed = size_of::<ServiceHeader>();
        check_prologue(bytes, SERVICE_MAGIC, SERVICE_VERSION, needed, MAX_SERVICE_BYTES)?;
        let (header, _) = ServiceHeader::ref_from_prefix(bytes)
            .map_err(|_| ImageError::Header { field: "header_bytes" })?;
        let sections = &header.sections;
        let sizes = [header.kernel_bytes, header.image_bytes];
        check_extents(sections, SERVICE_KERNEL_SECTIONS, needed, sizes)?;
        let _: &[u8] = records_of(bytes, sections, ServiceSection::Slots as usize)?;
        let strings: &[u8] = records_of(bytes, sections, ServiceSection::Strings as usize)?;
        let image = ServiceImage {
            bytes,
            header,
            displacements: records_of(bytes, sections, ServiceSection::Displacements as usize)?,
            frontends: records_of(bytes, sections, ServiceSection::Frontends as usize)?,
            tables: records_of(bytes, sections, ServiceSection::Tables as usize)?,
            backends: records_of(bytes, sections, ServiceSection::Backends as usize)?,
            source_sets: records_of(bytes, sections, ServiceSection::SourceSets as usize)?,
            source_ranges: records_of(bytes, sections, ServiceSection::SourceRanges as usize)?,
            ports: records_of(bytes, sections, ServiceSection::Ports as usize)?,
            services: records_of(bytes, sections, ServiceSection::Services as usize)?,
            nodes: records_of(bytes, sections, ServiceSection::Nodes as usize)?,
            facts: records_of(bytes, sections, ServiceSection::Facts as usize)?,
            strings: core::str::from_utf8(strings)
                .map_err(|_| ImageError::Extent { section: ServiceSection::Strings as usize })?,
        };
        image.check()?;
        Ok(image)
    }

    fn check(&self) -> Result<(), ImageError> {
        let header = self.header;
        if !header.groups.is_power_of_two() || self.displacements.len() != header.groups as usize {
            return Err(ImageError::Header { field: "groups" });
        }
        if header.positions == 0 || self.frontends.len() != header.positions as usize {
            return Err(ImageError::Header { field: "positions" });
        }
        all(ServiceSection::Tables, self.tables, |table| self.is_sound_table(table).unwrap_or(false))?;
        self.check_slots()?;
        all(ServiceSection::Backends, self.backends, |backend| {
            BackendState::from_number(backend.state).is_some()
                && backend.flags & !BACKEND_LOCAL == 0
                && backend.port > 0
                && (backend.node == NO_RECORD || (backend.node as usize) < self.nodes.len())
        })?;
        all(ServiceSection::SourceSets, self.source_sets, |set| {
            set.deny <= SOURCES_DENIED
                && self
                    .run_at::<SourceRangeRecord>(ServiceSection::SourceRanges, set.ranges, set.count as usize)
                    .and_then(|from| self.source_ranges.get(from..from + set.count as usize))
                    .is_some_and(|ranges| ranges.is_sorted_by(|a, b| a.last < b.first))
        })?;
        all(ServiceSection::SourceRanges, self.source_ranges, |range| range.first <= range.last)?;
        all(ServiceSection::Ports, self.ports, |port| {
            (port.service as usize) < self.services.len()
                && holds(self.strings, port.name)
                && self
                    .run_at::<BackendRecord>(
                        ServiceSection::Backends,
                        port.backends,
                        port.backend_count as usize,
                    )
                    .is_some()
        })?;
        let mut position = 0;
        all(ServiceSection::Frontends, self.frontends, |frontend| {
            position += 1;
            self.is_sound_frontend(frontend, position - 1)
        })?;
        let text = |text| holds(self.strings, text);
        all(ServiceSection::Services, self.services, |service| {
            [service.namespace, service.name, service.file].into_iter().all(text)
                && service.health_check_port <= 65535
        })?;
        all(ServiceSection::Nodes, self.nodes, |&name| text(name))?;
        all(ServiceSection::Facts, self.facts, |fact| text(fact.key) && text(fact.value))
    }

    /// The number of the first entry of a run of `len` entries that begins at a place, if the run lies in the section.
    fn run_at<T>(&self, section: ServiceSection, place: u32, len: usize) -> Option<usize> {
        let extent = self.header.sections.get(section as usize)?;
        let from = place.checked_sub(extent.offset)? as usize;
        let end = len.checked_mul(size_of::<T>())?.checked_add(from)?;
        (from.is_multiple_of(size_of::<T>()) && end <= extent.len as usize).then_some(from / size_of::<T>())
    }

    /// Whether a table's slots are there; `None` if they lie outside. What is in them comes after.
    fn is_sound_table(&self, table: &SlotTableRecord) -> Option<bool> {
        let width = table.width as usize;
        let lies = |place: u32, count: u32| {
            let len = (count as usize).checked_mul(width)?;
            self.run_at::<u8>(ServiceSection::Slots, place, len)?;
            Some((1..=MAX_SLOTS).contains(&count) && place.is_multiple_of(table.width))
        };
        if !matches!(table.width, BYTE_SLOTS | HALF_SLOTS | WORD_SLOTS) {
            return Some(false);
        }
        let most = 1u64 << (8 * table.width - 1);
        let has_room = table.backends > 0 && u64::from(table.backends) <= most;
        let previous = table.previous == NO_RECORD || lies(table.previous, table.previous_count)?;
        Some(has_room && previous && lies(table.slots, table.count)?)
    }

    /// Every slot names a backend of its table. Tables do not overlap, so that this takes as long as the image is large.
    fn check_slots(&self) -> Result<(), ImageError> {
        let mut free = self.start(ServiceSection::Slots) as usize;
        let mut claim = |place: u32, count: u32, width: u32| {
            let is_behind = place as usize >= free;
            free = (place as usize).saturating_add((count as usize).saturating_mul(width as usize));
            is_behind
        };
        for (index, record) in self.tables.iter().enumerate() {
            let error = ImageError::ServiceRecord { section: ServiceSection::Tables, index };
            let number = u32::try_from(index).map_err(|_| error)?;
            let table = self.table(number).ok_or(error)?;
            let is_apart = claim(record.slots, record.count, record.width)
                && (record.previous == NO_RECORD
                    || claim(record.previous, record.previous_count, record.width));
            let mut is_unsettled = false;
            let slots = table.slots().all(|(backend, unsettled)| {
                is_unsettled |= unsettled;
                backend < record.backends
            });
            let previous = (0..table.previous_len())
                .all(|slot| table.previous_slot(slot).is_some_and(|backend| backend < record.backends));
            if !is_apart || !slots || !previous || is_unsettled != (record.previous != NO_RECORD) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether a frontend is where its hash leads, and leads to what is there.
    fn is_sound_frontend(&self, frontend: &FrontendRecord, position: usize) -> bool {
        let Some(kind) = FrontendKind::from_number(frontend.kind) else {
            return *frontend == FrontendRecord::default();
        };
        let hash = key_hash(self.header.seed, frontend.address, frontend.port, frontend.protocol);
        let group = hash as u32 & self.header.groups.wrapping_sub(1);
        let Some(&displacement) = self.displacements.get(group as usize) else { return false };
        if reduce(displaced(hash, displacement), self.header.positions) as usize != position {
            return false;
        }
        let is_address =
            matches!(kind, FrontendKind::Address | FrontendKind::NodeAddress | FrontendKind::PeerAddress);
        if is_address != (frontend.port == 0) || is_address != (frontend.protocol == 0) {
            return false;
        }
        if is_address {
            return [&frontend.external, &frontend.internal]
                .into_iter()
                .all(|scope| *scope == ScopeRecord { table: NO_RECORD, slots: 0, count: 0 })
                && (frontend.number, frontend.sources) == (NO_RECORD, NO_RECORD)
                && (frontend.flags, frontend.affinity, frontend.backends) == (0, 0, 0);
        }
        let Some(port) = self.ports.get(frontend.number as usize) else { return false };
        let scope = |scope: Scope, record: &ScopeRecord| {
            let width = (frontend.flags >> width_shift(scope)) & 0xFF;
            let choice = (frontend.flags >> choice_shift(scope)) & 0xF;
            let choice = u8::try_from(choice).ok().and_then(Choice::from_number);
            if record.count == 0 {
                return (record.slots, record.table, width) == (0, NO_RECORD, 0)
                    && choice.is_some_and(|choice| choice != Choice::Backend);
            }
            choice.is_some()
                && self.tables.get(record.table as usize).is_some_and(|table| {
                    (table.slots, table.count, table.width) == (record.slots, record.count, width)
                        && table.backends <= port.backend_count
                })
        };
        frontend.backends == port.backends
            && frontend.flags & 0xFF & !FRONTEND_FLAGS == 0
            && (frontend.sources == NO_RECORD || (frontend.sources as usize) < self.source_sets.len())
            && scope(Scope::External, &frontend.external)
            && scope(Scope::Internal, &frontend.internal)
    }
}
