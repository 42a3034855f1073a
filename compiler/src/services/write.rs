//! Gathered records as bytes: slots laid out, frontends in the places where their hashes lead, places made those of the image.
//!
//! Not here: what the records say (`gather`).

use super::gather::{Gathered, number};
use super::perfect_hash::{self, Key};
use super::tables::Encoded;
use super::{Contents, ServicesError};
use crate::compile::NODE_FACT;
use crate::image::write::{ImageBytes, lay_out};
use weir_abi::layout::FactRecord;
use weir_abi::services::SERVICE_VERSION;
use weir_abi::services::layout::{
    FrontendRecord, NO_RECORD, SERVICE_KERNEL_SECTIONS, SERVICE_MAGIC, SERVICE_SECTIONS, ServiceHeader,
    ServiceSection, SlotTableRecord,
};
use zerocopy::{FromZeros, IntoBytes};

/// Lays out an image of at most so many bytes.
pub(super) fn write(
    mut gathered: Gathered<'_>,
    most: usize,
) -> Result<(ImageBytes, Contents), ServicesError> {
    let tables = gathered.choices.tables.all();
    let counted = tables.iter().map(|table| bytes_of(table)).sum::<usize>()
        + size_of_val(&gathered.backends[..])
        + gathered.frontends.len() * size_of::<FrontendRecord>();
    // Counted before anything is laid out.
    check(counted, most, &gathered)?;
    let keys: Vec<Key> = gathered.frontends.iter().map(|(key, _)| *key).collect();
    let places = perfect_hash::set_apart(&keys).ok_or(ServicesError::Hash)?;
    let mut slots = Vec::with_capacity(counted);
    let mut tables: Vec<SlotTableRecord> = tables.iter().map(|table| append(&mut slots, table)).collect();
    let contents = contents(&gathered, &tables);
    let mut frontends = vec![FrontendRecord::default(); places.positions as usize];
    for ((_, record), &place) in gathered.frontends.iter().zip(&places.of) {
        if let Some(free) = frontends.get_mut(place as usize) {
            *free = *record;
        }
    }
    let nodes = gathered.node_names();
    let mut facts = Vec::new();
    if let Some(node) = gathered.node() {
        facts.push(FactRecord { key: gathered.text.text(NODE_FACT), value: gathered.text.text(node) });
    }
    let strings = std::mem::take(&mut gathered.text).into_strings();

    let mut header = ServiceHeader::new_zeroed();
    let header_bytes = size_of::<ServiceHeader>();
    let Gathered { backends, source_sets, source_ranges, ports, services, .. } = &mut gathered;
    let lens: [usize; SERVICE_SECTIONS] = [
        size_of_val(&places.displacements[..]),
        size_of_val(&frontends[..]),
        size_of_val(&tables[..]),
        slots.len(),
        size_of_val(&backends[..]),
        size_of_val(&source_sets[..]),
        size_of_val(&source_ranges[..]),
        size_of_val(&ports[..]),
        size_of_val(&services[..]),
        size_of_val(&nodes[..]),
        size_of_val(&facts[..]),
        strings.len(),
    ];
    let [kernel, total] = lay_out(header_bytes, &lens, &mut header.sections, SERVICE_KERNEL_SECTIONS);
    header.magic = SERVICE_MAGIC;
    header.version = SERVICE_VERSION;
    header.header_bytes = number(header_bytes);
    header.image_bytes = number(total);
    header.kernel_bytes = number(kernel);
    header.seed = places.seed;
    header.groups = number(places.displacements.len());
    header.positions = places.positions;

    // Places within sections become places within the image.
    let start = |section: ServiceSection| header.sections[section as usize].offset;
    for table in &mut tables {
        table.slots += start(ServiceSection::Slots);
        if table.previous != NO_RECORD {
            table.previous += start(ServiceSection::Slots);
        }
    }
    // An address as a whole has no port, and so no backends.
    for frontend in frontends.iter_mut().filter(|frontend| frontend.port > 0) {
        frontend.backends += start(ServiceSection::Backends);
        for scope in [&mut frontend.external, &mut frontend.internal] {
            if scope.count > 0
                && let Some(table) = tables.get(scope.table as usize)
            {
                (scope.slots, scope.count) = (table.slots, table.count);
            }
        }
    }
    ports.iter_mut().for_each(|port| port.backends += start(ServiceSection::Backends));
    source_sets.iter_mut().for_each(|set| set.ranges += start(ServiceSection::SourceRanges));

    let sections: [&[u8]; SERVICE_SECTIONS] = [
        places.displacements.as_bytes(),
        frontends.as_bytes(),
        tables.as_bytes(),
        &slots,
        backends.as_bytes(),
        source_sets.as_bytes(),
        source_ranges.as_bytes(),
        ports.as_bytes(),
        services.as_bytes(),
        nodes.as_bytes(),
        facts.as_bytes(),
        strings.as_bytes(),
    ];
    let mut bytes = ImageBytes::filled(total, &header.sections, &sections);
    bytes.seal(header.as_bytes());
    check(total, most, &gathered)?;
    Ok((bytes, contents))
}

fn check(bytes: usize, most: usize, gathered: &Gathered<'_>) -> Result<(), ServicesError> {
    if bytes <= most {
        return Ok(());
    }
    let largest = &gathered.largest;
    Err(ServicesError::TooLarge { bytes, most, service: largest.name.clone(), place: largest.place })
}

fn contents(gathered: &Gathered<'_>, tables: &[SlotTableRecord]) -> Contents {
    let distinct = gathered.backends.iter().map(|backend| backend.number as usize + 1).max();
    Contents {
        services: gathered.services.len(),
        frontends: gathered.frontends.iter().filter(|(_, frontend)| frontend.port > 0).count(),
        backends: distinct.unwrap_or(0),
        tables: tables.len(),
        slots: tables.iter().map(|table| table.count as usize).sum(),
        unsettled: gathered.choices.tables.unsettled_slots(),
    }
}

/// Bytes of a table's slots, at most.
fn bytes_of(table: &Encoded<'_>) -> usize {
    let padding = 2 * size_of::<u32>();
    table.slots.len() + table.previous.as_ref().map_or(0, |(_, previous)| previous.len()) + padding
}

/// Adds a table's slots, and tells where they are.
fn append(slots: &mut Vec<u8>, table: &Encoded<'_>) -> SlotTableRecord {
    let mut add = |bytes: &[u8]| {
        slots.resize(slots.len().next_multiple_of(size_of::<u32>()), 0);
        let at = number(slots.len());
        slots.extend_from_slice(bytes);
        at
    };
    let at = add(&table.slots);
    let (previous, previous_count) = match &table.previous {
        Some((count, bytes)) => (add(bytes), *count),
        None => (NO_RECORD, 0),
    };
    SlotTableRecord {
        slots: at,
        count: table.count,
        width: table.width,
        backends: table.backends,
        previous,
        previous_count,
    }
}
