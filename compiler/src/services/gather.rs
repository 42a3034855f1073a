//! The records of an image, gathered service by service. Places are within their sections until the image is written.
//!
//! Not here: who serves whom (`eligible`), and what a table holds (`choices`).

use super::choices::{Choices, Run, Served};
use super::eligible::{View, is_local, serve};
use super::model::{Balanced, Model, Pool};
use super::perfect_hash::Key;
use super::sources::ranges;
use super::tables::{Members, named};
use super::{Input, ServicesError};
use crate::cluster::Party;
use crate::image::write::ImageWriter;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use weir_abi::layout::Text;
use weir_abi::services::layout::{
    BACKEND_LOCAL, BackendRecord, CHOOSE_AT_RANDOM, EXTERNAL_LOCAL, FORWARD_DSR, FORWARD_SNAT,
    FrontendPortRecord, FrontendRecord, INTERNAL_LOCAL, MAX_TABLE_BACKENDS, NO_RECORD, SOURCES_DENIED,
    ScopeRecord, ServiceRecord, SourceRangeRecord, SourceSetRecord, choice_shift, width_shift,
};
use weir_abi::services::{BackendState, FrontendKind, Scope, address_bytes};
use weir_grammar::source::{LineColumn, LineIndex, Sources};
use weir_grammar::span::{FileId, Span};
use weir_grammar::tree::{Algorithm, Forwarding, Service};

/// Where an address as a whole leads.
const WHOLE: ScopeRecord = ScopeRecord { table: NO_RECORD, slots: 0, count: 0 };

/// The records so far.
pub(super) struct Gathered<'i> {
    input: &'i Input<'i>,
    view: View<'i>,
    pub(super) text: ImageWriter,
    pub(super) choices: Choices<'i>,
    pub(super) frontends: Vec<(Key, FrontendRecord)>,
    pub(super) backends: Vec<BackendRecord>,
    pub(super) source_sets: Vec<SourceSetRecord>,
    pub(super) source_ranges: Vec<SourceRangeRecord>,
    pub(super) ports: Vec<FrontendPortRecord>,
    pub(super) services: Vec<ServiceRecord>,
    pub(super) largest: Largest,
    /// By backend: its protocol, for numbering.
    protocols: Vec<u8>,
    nodes: BTreeMap<&'i str, u32>,
    sets: FxHashMap<SourceSet, u32>,
    /// Addresses that are services' as a whole.
    taken: BTreeSet<IpAddr>,
    lines: FxHashMap<FileId, LineIndex<'i>>,
}

/// First and last addresses of ranges, and whether they are kept out.
type SourceSet = (Vec<[[u8; 16]; 2]>, bool);

/// The service that takes most of the image.
#[derive(Debug, Default)]
pub(super) struct Largest {
    bytes: usize,
    pub(super) name: String,
    pub(super) place: usize,
}

/// A number of a record, or a place. Sizes are checked at the end, far under 4 GiB.
pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn place<T>(records: &[T]) -> u32 {
    number(size_of_val(records))
}

/// Gathers all services of a model.
pub(super) fn gather<'i>(input: &'i Input<'i>, model: &Model<'_>) -> Result<Gathered<'i>, ServicesError> {
    let endpoints = input.cluster.slices.iter().flat_map(|slice| &slice.endpoints);
    let mut names: BTreeSet<&str> = endpoints.filter_map(|endpoint| endpoint.node.as_deref()).collect();
    if model.has_pods {
        names.extend(input.cluster.pods.iter().filter_map(|pod| pod.node.as_deref()));
    }
    let mut gathered = Gathered {
        input,
        view: View::of(input.cluster, input.node),
        text: ImageWriter::default(),
        choices: Choices::new(input.previous),
        frontends: Vec::new(),
        backends: Vec::new(),
        source_sets: Vec::new(),
        source_ranges: Vec::new(),
        ports: Vec::new(),
        services: Vec::new(),
        largest: Largest::default(),
        protocols: Vec::new(),
        nodes: names.into_iter().zip(0..).collect(),
        sets: FxHashMap::default(),
        taken: BTreeSet::new(),
        lines: FxHashMap::default(),
    };
    for balanced in &model.services {
        gathered.service(balanced)?;
    }
    gathered.whole_addresses(model);
    gathered.number_backends();
    Ok(gathered)
}

impl<'i> Gathered<'i> {
    /// The node that the image is for.
    pub(super) const fn node(&self) -> Option<&'i str> {
        self.view.node
    }

    /// The names of nodes, by number.
    pub(super) fn node_names(&mut self) -> Vec<Text> {
        self.nodes.keys().map(|name| self.text.text(name)).collect()
    }

    fn service(&mut self, balanced: &Balanced<'_>) -> Result<(), ServicesError> {
        let service = balanced.service;
        let sources = self.input.sources;
        let LineColumn { line, column } = locate(&mut self.lines, sources, service.meta.span);
        let record = ServiceRecord {
            namespace: self.text.text(service.meta.namespace.as_deref().unwrap_or_default()),
            name: self.text.text(&service.meta.name),
            file: self.text.text(sources.name(service.meta.span.file)),
            line,
            column,
            health_check_port: service.health_check_port.map_or(0, u32::from),
        };
        let set = self.source_set(service);
        let mut bytes = 0;
        for pool in &balanced.pools {
            let count = pool.candidates.len();
            if count > MAX_TABLE_BACKENDS as usize {
                return Err(ServicesError::TooManyBackends {
                    service: balanced.name(),
                    place: balanced.place,
                    count,
                    most: MAX_TABLE_BACKENDS as usize,
                });
            }
            bytes += count * size_of::<BackendRecord>() + pool.frontends.len() * size_of::<FrontendRecord>();
            self.pool(service, pool, set);
        }
        if bytes > self.largest.bytes {
            self.largest = Largest { bytes, name: balanced.name(), place: balanced.place };
        }
        self.services.push(record);
        Ok(())
    }

    /// The set of a service's source ranges, each set once.
    fn source_set(&mut self, service: &Service) -> u32 {
        if service.source_ranges.is_empty() {
            return NO_RECORD;
        }
        let own = ranges(&service.source_ranges);
        let deny = service.annotations.source_ranges_deny;
        let key = (own.iter().map(|range| [range.first, range.last]).collect(), deny);
        let next = number(self.source_sets.len());
        *self.sets.entry(key).or_insert_with(|| {
            self.source_sets.push(SourceSetRecord {
                ranges: place(&self.source_ranges),
                count: number(own.len()),
                deny: if deny { SOURCES_DENIED } else { 0 },
            });
            self.source_ranges.extend(own);
            next
        })
    }

    /// A port in one family: its run of backends, and its frontends with their tables.
    fn pool(&mut self, service: &Service, pool: &Pool<'_>, sources: u32) {
        let mut run: Run = pool.candidates.iter().map(|one| (one.address, one.port)).collect();
        let at = place(&self.backends);
        let own = number(self.ports.len());
        let names = named(pool.candidates.iter().map(|one| (one.address, one.port, one.weight)));
        let random = service.annotations.algorithm == Some(Algorithm::Random);
        for frontend in &pool.frontends {
            let mut flags = flags(service, frontend.kind);
            // Slots get their places once all tables are known.
            let [external, internal] = [Scope::External, Scope::Internal].map(|scope| {
                let served = serve(service, pool, frontend, scope, self.view).map(|places| Members {
                    members: places.iter().filter_map(|&place| names.get(place).copied()).collect(),
                    places: places.into_iter().map(number).collect(),
                    listed: number(pool.candidates.len()),
                    random,
                });
                let Served { choice, table } = self.choices.table(service, frontend, scope, served, &mut run);
                let width = table.map_or(0, |table| self.choices.tables.width(table));
                flags |= width << width_shift(scope) | (choice as u32) << choice_shift(scope);
                match table {
                    Some(table) => ScopeRecord { table, slots: 0, count: 1 },
                    None => ScopeRecord { table: NO_RECORD, slots: 0, count: 0 },
                }
            });
            let address = address_bytes(frontend.address);
            let record = FrontendRecord {
                address,
                port: frontend.port,
                protocol: frontend.protocol,
                kind: frontend.kind as u8,
                flags,
                number: own,
                affinity: service.affinity.unwrap_or(0),
                backends: at,
                sources: if frontend.kind == FrontendKind::LoadBalancer { sources } else { NO_RECORD },
                external,
                internal,
            };
            self.frontends.push(((address, frontend.port, frontend.protocol), record));
            if matches!(frontend.kind, FrontendKind::ClusterIp | FrontendKind::LoadBalancer) {
                self.taken.insert(frontend.address);
            }
        }
        let protocol = pool.frontends.first().map_or(0, |frontend| frontend.protocol);
        let records = run.iter().enumerate().map(|(place, &(address, port))| {
            let known = pool.candidates.get(place);
            let node = known.and_then(|one| self.nodes.get(one.node?));
            BackendRecord {
                address: address_bytes(address),
                port,
                state: known.map_or(BackendState::Leaving, |one| one.state) as u8,
                flags: if known.is_some_and(|one| self.view.is_local(one)) { BACKEND_LOCAL } else { 0 },
                weight: known.map_or(0, |one| one.weight),
                number: 0,
                node: node.copied().unwrap_or(NO_RECORD),
            }
        });
        self.backends.extend(records);
        self.protocols.resize(self.backends.len(), protocol);
        let name = self.text.text(&pool.port.name);
        let service = number(self.services.len());
        self.ports.push(FrontendPortRecord { service, backends: at, backend_count: number(run.len()), name });
    }

    /// Addresses as a whole: those of services, whose other ports lead nowhere, and those of nodes, at whose ports services are; of other nodes
    /// too, whose balancers are believed what they send here, which may be meant for their ports.
    fn whole_addresses(&mut self, model: &Model<'_>) {
        let cluster = self.input.cluster;
        let pools = model.services.iter().flat_map(|balanced| &balanced.pools);
        let has_node_ports =
            pools.flat_map(|pool| &pool.frontends).any(|frontend| frontend.kind == FrontendKind::NodePort);
        let pools = model.services.iter().flat_map(|balanced| &balanced.pools);
        let has_outer =
            pools.flat_map(|pool| &pool.frontends).any(|frontend| frontend.kind != FrontendKind::ClusterIp);
        let own = self.input.node;
        let mut nodes: BTreeMap<IpAddr, FrontendKind> = BTreeMap::new();
        for (place, node) in cluster.nodes.iter().enumerate() {
            let is_own = own.is_none_or(|own| own == place);
            if !(if is_own { has_node_ports } else { has_outer }) {
                continue;
            }
            let addresses = node.addresses.iter().map(IpAddr::to_canonical);
            for address in addresses.filter(|address| !address.is_unspecified()) {
                let kind = if is_own { FrontendKind::NodeAddress } else { FrontendKind::PeerAddress };
                // One that two nodes claim is the node's own.
                nodes.entry(address).and_modify(|known| *known = kind.min(*known)).or_insert(kind);
            }
        }
        let of_box: BTreeSet<IpAddr> = self.input.own.iter().map(IpAddr::to_canonical).collect();
        if has_node_ports {
            let given = of_box.iter().filter(|address| !address.is_unspecified());
            nodes.extend(given.map(|&address| (address, FrontendKind::NodeAddress)));
        }
        // An address that a pod or node has is never a service's as a whole.
        let is_free = |address: &&IpAddr| {
            !of_box.contains(*address) && matches!(cluster.party(**address), Party::Outside(_))
        };
        let services = self.taken.iter().filter(is_free).map(|&address| (address, FrontendKind::Address));
        let nodes = nodes.iter().map(|(&address, &kind)| (address, kind));
        self.frontends.extend(services.chain(nodes).map(|(address, kind)| {
            let address = address_bytes(address);
            let record = FrontendRecord {
                address,
                kind: kind as u8,
                number: NO_RECORD,
                sources: NO_RECORD,
                external: WHOLE,
                internal: WHOLE,
                ..FrontendRecord::default()
            };
            ((address, 0, 0), record)
        }));
    }

    /// Gives every backend its number: the same for the same address, port and protocol.
    fn number_backends(&mut self) {
        let key = |backend: &BackendRecord, protocol: u8| (backend.address, backend.port, protocol);
        let keys = self.backends.iter().zip(&self.protocols);
        let mut all: Vec<([u8; 16], u16, u8)> =
            keys.map(|(backend, &protocol)| key(backend, protocol)).collect();
        all.sort_unstable();
        all.dedup();
        for (backend, &protocol) in self.backends.iter_mut().zip(&self.protocols) {
            backend.number = number(all.partition_point(|other| *other < key(backend, protocol)));
        }
    }
}

/// Line and column, with the line starts of each file found once.
fn locate<'s>(lines: &mut FxHashMap<FileId, LineIndex<'s>>, sources: &'s Sources, span: Span) -> LineColumn {
    lines.entry(span.file).or_insert_with(|| LineIndex::new(sources.text(span.file))).locate(span.start)
}

fn flags(service: &Service, kind: FrontendKind) -> u32 {
    let mut flags = match service.annotations.forwarding {
        Some(Forwarding::Dsr) => FORWARD_DSR,
        Some(Forwarding::Snat) => FORWARD_SNAT,
        None => 0,
    };
    if service.annotations.algorithm == Some(Algorithm::Random) {
        flags |= CHOOSE_AT_RANDOM;
    }
    for (scope, flag) in [(Scope::External, EXTERNAL_LOCAL), (Scope::Internal, INTERNAL_LOCAL)] {
        if is_local(service, kind, scope) {
            flags |= flag;
        }
    }
    flags
}
