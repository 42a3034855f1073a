//! The services of a source, apart from its policies, and the image they make.
//!
//! They stand for themselves: a mistake in a policy holds nothing up. A mistake that may hide a service holds them back, for a service that is
//! left out would be taken away under its clients.
//!
//! Not here: when they are compiled ([`super::part`]).

use crate::probes::{Found, Plan};
use crate::snapshot::{Findings, chain};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_abi::services::ServiceImage;
use weir_compiler::cluster::Cluster;
use weir_compiler::services::{self, Input, KEEP_ALL, Previous};
use weir_grammar::diagnostic::{Code, Diagnostic, Severity};
use weir_grammar::source::Sources;
use weir_grammar::span::FileId;
use weir_grammar::tree::Node;
use weir_project::place::Places;
use weir_project::visible::visible;
use weir_project::{Project, finding, refused_services};

/// Kinds that services are made of.
const KINDS: &[&str] = &["Service", "EndpointSlice", "Node", "Pod"];
/// Mistakes of policies that are not told as an object's.
const OF_POLICIES: &[Code] = &[Code::L7Conflict, Code::UnknownGroup, Code::LockFile];

/// The services of a source.
#[derive(Clone, Debug)]
pub struct Services {
    cluster: Arc<Cluster>,
    /// The node that they are for; `None`: the cluster has no nodes.
    place: Option<usize>,
    /// Whose health is to be checked,
    plan: Arc<Plan>,
    /// and what came of it.
    found: Arc<Found>,
    /// The machine's addresses, if it is no node.
    own: Vec<IpAddr>,
    /// The files; the text of those alone that hold a service.
    sources: Sources,
    files: Arc<BTreeSet<String>>,
}

/// What was compiled.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    /// The image.
    pub(super) image: Arc<[u8]>,
    /// Its checksum.
    pub(super) checksum: u64,
    /// Whether there is anything to balance.
    pub(super) is_empty: bool,
    /// What is legal and probably not meant.
    pub(super) warnings: Findings,
    /// How long it took.
    pub(super) took: Duration,
}

impl Services {
    /// Takes the services from what was read, for a node; `known` are the files that they came from the last time.
    ///
    /// # Errors
    /// The first mistake that may hide some of them, or that nodes are named and this one is not among them, as a line.
    pub fn of(project: &Project, node: &str, known: Option<&BTreeSet<String>>) -> Result<Services, String> {
        let sources = &project.sources;
        if let Some(hiding) = project.findings.iter().find(|found| may_hide(found, sources, known)) {
            return Err(finding::line(hiding, &Places::of([hiding], sources)));
        }
        let cluster = &project.cluster;
        let place = cluster.node_named(node);
        if place.is_none() && !cluster.is_without_nodes() {
            return Err(format!("the cluster has no node {}", visible(node)));
        }
        let of_services: BTreeSet<FileId> =
            cluster.services.iter().map(|service| service.meta.span.file).collect();
        let of_all = cluster.slices.iter().map(|slice| slice.meta.span.file);
        let of_all = of_all.chain(cluster.nodes.iter().map(|node| node.meta.span.file));
        let of_all = of_all.chain(cluster.pods.iter().map(|pod| pod.meta.span.file));
        let all: BTreeSet<FileId> = of_all.chain(of_services.iter().copied()).collect();
        let files = all.into_iter().map(|file| sources.name(file).to_owned()).collect();
        let mut kept = Sources::new();
        for (file, source) in sources.iter() {
            let text = if of_services.contains(&file) { Arc::clone(&source.text) } else { Arc::from("") };
            kept.add(source.name.clone(), text);
        }
        Ok(Services {
            cluster: Arc::clone(cluster),
            place,
            plan: Arc::new(Plan::of(cluster)),
            found: Arc::default(),
            own: Vec::new(),
            sources: kept,
            files: Arc::new(files),
        })
    }

    /// The same as this machine sees them: by its addresses, and by the health of their backends.
    pub(super) fn seen(&self, own: &BTreeSet<IpAddr>, found: Arc<Found>) -> Services {
        let own = if self.is_alone() { own.iter().copied().collect() } else { Vec::new() };
        Services { own, found, ..self.clone() }
    }

    /// Whose health is to be checked.
    pub(super) const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The node that they are for.
    pub(super) fn node(&self) -> Option<&Node> {
        self.cluster.nodes.get(self.place?)
    }

    /// Whether the machine is no node of a cluster.
    pub(super) const fn is_alone(&self) -> bool {
        self.place.is_none()
    }

    /// The files they come from.
    pub fn files(&self) -> &Arc<BTreeSet<String>> {
        &self.files
    }

    /// Compiles them, after the image in force.
    ///
    /// # Errors
    /// Why there is no image, as a line.
    pub(super) fn compile(
        &self,
        previous: Option<ServiceImage<'_>>,
        keeps: Option<&dyn Fn(u32, u32) -> bool>,
    ) -> Result<Compiled, String> {
        let began = Instant::now();
        let cluster = self.cluster.as_ref();
        let previous = previous.map(|image| Previous { image, keeps: keeps.unwrap_or(KEEP_ALL) });
        let (own, unfit) = (self.own.as_slice(), &self.found.unfit);
        let input = Input { cluster, sources: &self.sources, node: self.place, own, unfit, previous };
        let compiled = match services::compile(&input) {
            Ok(compiled) => compiled,
            Err(error) => {
                let refused = refused_services(cluster, error).map_err(|error| chain(&error))?;
                return Err(finding::line(&refused, &Places::of([&refused], &self.sources)));
            }
        };
        let image: Arc<[u8]> = Arc::from(compiled.bytes.as_bytes());
        let opened = ServiceImage::open(&image)
            .map_err(|error| format!("the service image that was compiled is refused: {error}"))?;
        let checksum = opened.header().checksum;
        let is_empty = opened.frontends().next().is_none();
        let places = Places::of(&compiled.findings, &self.sources);
        let warnings = Findings::new(compiled.findings.iter().map(|found| finding::line(found, &places)));
        Ok(Compiled { image, checksum, is_empty, warnings, took: began.elapsed() })
    }
}

/// Whether a mistake may be the reason why a service, or who serves it, is not among the objects that were read.
fn may_hide(found: &Diagnostic, sources: &Sources, known: Option<&BTreeSet<String>>) -> bool {
    if found.severity != Severity::Error || OF_POLICIES.contains(&found.code) {
        return false;
    }
    if let Some(object) = &found.object {
        let kind = object.split(' ').next().unwrap_or_default();
        return KINDS.contains(&kind);
    }
    let file = sources.name(found.span.file);
    if file.ends_with(".policy") {
        return false;
    }
    // What cannot be read at all may be anything, but a file that held none of it takes nothing away; unless it is one that was given another
    // name.
    known.is_none_or(|known| {
        known.contains(file) || !known.iter().all(|known| sources.iter().any(|(_, one)| one.name == *known))
    })
}
