//! `policyc inspect` of a service image.

use super::inspect::Bytes;
use crate::sections::{self, grouped};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use weir_abi::services::{ServiceEntry, ServiceImage};
use weir_compiler::compile::NODE_FACT;
use weir_project::visible::visible;

/// What `-o json` prints.
#[derive(Serialize)]
pub(super) struct Found<'i> {
    file: String,
    kind: &'static str,
    version: u32,
    checksum: String,
    node: Option<&'i str>,
    services: Vec<FoundService<'i>>,
    /// By type.
    frontends: BTreeMap<&'static str, usize>,
    backends: Backends,
    tables: Tables,
    bytes: Bytes,
}

#[derive(Serialize)]
struct FoundService<'i> {
    namespace: &'i str,
    name: &'i str,
    file: &'i str,
    line: u32,
    health_check_port: Option<u16>,
    frontends: usize,
}

#[derive(Serialize)]
struct Backends {
    /// Addresses and ports.
    distinct: usize,
    /// By state, each once.
    states: BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
struct Tables {
    tables: usize,
    slots: u64,
    /// Slots in which flows may be on record with another backend.
    unsettled: usize,
}

impl<'i> Found<'i> {
    pub(super) fn new(file: String, image: &ServiceImage<'i>) -> Self {
        let header = image.header();
        let mut frontends: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut of_service: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut states: BTreeMap<&'static str, BTreeSet<u32>> = BTreeMap::new();
        for frontend in image.frontends() {
            *frontends.entry(frontend.kind.as_str()).or_default() += 1;
            if let Some(port) = frontend.of() {
                *of_service.entry((port.service.namespace, port.service.name)).or_default() += 1;
            }
            for backend in frontend.backends() {
                states.entry(backend.state.as_str()).or_default().insert(backend.number);
            }
        }
        let count = u32::try_from(image.table_count()).unwrap_or(u32::MAX);
        let mut tables = Tables { tables: image.table_count(), slots: 0, unsettled: 0 };
        for table in (0..count).filter_map(|number| image.table(number)) {
            tables.slots += u64::from(table.len());
            if table.previous_len() > 0 {
                let unsettled = |&slot: &u32| table.slot(slot).is_some_and(|(_, unsettled)| unsettled);
                tables.unsettled += (0..table.len()).filter(unsettled).count();
            }
        }
        let distinct: BTreeSet<u32> = states.values().flatten().copied().collect();
        Found {
            file,
            kind: "services",
            version: header.version,
            checksum: format!("{:016x}", header.checksum),
            node: image.facts().find(|(key, _)| *key == NODE_FACT).map(|(_, node)| node),
            services: image
                .services()
                .map(|ServiceEntry { namespace, name, file, line, health_check_port, .. }| FoundService {
                    frontends: of_service.get(&(namespace, name)).copied().unwrap_or(0),
                    namespace,
                    name,
                    file,
                    line,
                    health_check_port,
                })
                .collect(),
            frontends,
            backends: Backends {
                distinct: distinct.len(),
                states: states.into_iter().map(|(state, numbers)| (state, numbers.len())).collect(),
            },
            tables,
            bytes: Bytes::new(header.image_bytes, header.kernel_bytes, sections::of_services(image)),
        }
    }

    pub(super) fn text(&self, image: &ServiceImage<'_>) -> String {
        let number = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
        let mut text = String::new();
        let mut row = |what: &str, told: String| _ = writeln!(text, "{what:<12} {told}");
        let node = self.node.map_or("no node in particular".into(), |node| format!("node {}", visible(node)));
        row("services", format!("{} for {node}", visible(&self.file)));
        row("layout", format!("version {}; sound, checksum {}", self.version, self.checksum));
        let listed = |counts: &BTreeMap<&'static str, usize>| {
            let told: Vec<String> =
                counts.iter().map(|(what, count)| format!("{} {what}", number(*count))).collect();
            told.join(", ")
        };
        row("frontends", listed(&self.frontends));
        row("backends", format!("{}: {}", number(self.backends.distinct), listed(&self.backends.states)));
        let Tables { tables, slots, unsettled } = self.tables;
        row(
            "tables",
            format!("{} with {} slots, {} unsettled", number(tables), grouped(slots), number(unsettled)),
        );
        let bytes = |bytes: u32| grouped(u64::from(bytes));
        row(
            "bytes",
            format!("{}, of which the kernel reads {}", bytes(self.bytes.image), bytes(self.bytes.kernel)),
        );
        let rows = sections::rows(sections::of_services(image), self.bytes.image);
        _ = writeln!(text, "\nparts, the largest first:\n{rows}");
        for service in &self.services {
            let name = format!("{}/{}", service.namespace, service.name);
            let frontends = crate::render::count(service.frontends, "frontend");
            _ = writeln!(text, "{}: {frontends}, {}:{}", visible(&name), visible(service.file), service.line);
        }
        text
    }
}
