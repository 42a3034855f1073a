//! `policyc services`: what each frontend of each service does on each node.

use super::Outcome;
use crate::args::{Format, ServicesArgs};
use crate::output::{Out, Terminal};
use crate::render::{json, services as text_of, text};
use crate::stages::Stages;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_abi::services::{BackendState, Choice, FrontendKind, Scope};
use weir_compiler::cluster::Cluster;
use weir_compiler::ir::protocol;
use weir_compiler::services::{Balanced, Frontend, Model, NotBalanced, Pool, View, serve};
use weir_grammar::source::{LineIndex, Sources};
use weir_grammar::span::FileId;
use weir_grammar::tree::{Algorithm, Forwarding, HealthCheck, Service, TrafficPolicy};
use weir_project::{Project, refuse_stdin_twice};

/// The command.
pub(crate) fn run(args: &ServicesArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    refuse_stdin_twice(&args.cluster)?;
    let mut stages = Stages::new();
    let mut project = Project::read(&[], &args.cluster, &mut stages.reading())?;
    stages.finish();
    if project.has_errors() {
        text::tell(&project, terminal, true);
        return Ok(Outcome::Findings);
    }
    let node = project.node(args.node.as_deref())?;
    let mut model = Model::new(&project.cluster);
    let findings = std::mem::take(&mut model.findings);
    let told = Told::new(&project.cluster, &project.sources, model, node);
    match args.format {
        Format::Text => Out::print(text_of::text(&told))?,
        Format::Json => Out::print(json::text(&told)?)?,
    }
    project.add(findings);
    text::tell(&project, terminal, true);
    Ok(Outcome::Fine)
}

/// What `-o json` prints.
#[derive(Serialize)]
pub(crate) struct Told<'c> {
    /// The nodes that are told of.
    pub(crate) nodes: Vec<ToldNode<'c>>,
    pub(crate) services: Vec<ToldService<'c>>,
}

#[derive(Serialize)]
pub(crate) struct ToldNode<'c> {
    pub(crate) name: &'c str,
    pub(crate) addresses: &'c [IpAddr],
}

#[derive(Serialize)]
pub(crate) struct ToldService<'c> {
    pub(crate) namespace: &'c str,
    pub(crate) name: &'c str,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) file: &'c str,
    pub(crate) line: u32,
    /// Why it is not balanced; such services have no ports here.
    pub(crate) left_out: Option<String>,
    pub(crate) external_traffic_policy: &'static str,
    pub(crate) internal_traffic_policy: &'static str,
    pub(crate) algorithm: &'static str,
    /// `dsr` or `snat`; null: as the node is set.
    pub(crate) forwarding: Option<&'static str>,
    pub(crate) affinity_seconds: Option<u32>,
    pub(crate) source_ranges: Vec<String>,
    pub(crate) source_ranges_deny: bool,
    pub(crate) health_check_port: Option<u16>,
    /// How the health of its backends is checked; null: not at all.
    pub(crate) health_check: Option<ToldCheck<'c>>,
    pub(crate) load_balancer_class: Option<&'c str>,
    pub(crate) ports: Vec<ToldPort<'c>>,
}

/// A health check; times are in milliseconds.
#[derive(Serialize)]
pub(crate) struct ToldCheck<'c> {
    pub(crate) interval_ms: u128,
    pub(crate) timeout_ms: u128,
    /// Checks in a row that make a backend fit again,
    pub(crate) healthy: u16,
    /// and that make it unfit.
    pub(crate) unhealthy: u16,
    pub(crate) quarantine_ms: u128,
    /// `GET` or `HEAD` and the path; null: a connection is enough.
    pub(crate) request: Option<[&'c str; 2]>,
    /// Null: the backend's address and port.
    pub(crate) host: Option<&'c str>,
}

#[derive(Serialize)]
pub(crate) struct ToldPort<'c> {
    pub(crate) name: &'c str,
    pub(crate) port: u16,
    pub(crate) protocol: &'static str,
    /// `IPv4` or `IPv6`.
    pub(crate) family: &'static str,
    pub(crate) backends: Vec<ToldBackend<'c>>,
    pub(crate) frontends: Vec<ToldFrontend>,
}

#[derive(Serialize)]
pub(crate) struct ToldBackend<'c> {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) state: &'static str,
    pub(crate) weight: u32,
    pub(crate) node: Option<&'c str>,
    pub(crate) zone: Option<&'c str>,
}

#[derive(Serialize)]
pub(crate) struct ToldFrontend {
    /// Null for a port of nodes.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Nodes on which it does the same are together.
    pub(crate) served: Vec<Served>,
}

/// What a frontend does on some nodes.
#[derive(Serialize)]
pub(crate) struct Served {
    /// Places in `nodes`; empty if the cluster has none.
    pub(crate) nodes: Vec<usize>,
    pub(crate) external: By,
    pub(crate) internal: By,
}

/// Who serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// Places in the port's `backends`.
    Backends(Vec<usize>),
    /// Why nobody does.
    None(&'static str),
}

impl<'c> Told<'c> {
    fn new(cluster: &'c Cluster, sources: &'c Sources, model: Model<'c>, node: Option<usize>) -> Self {
        let places: Vec<usize> = match node {
            Some(node) => vec![node],
            None => (0..cluster.nodes.len()).collect(),
        };
        let nodes = places.iter().filter_map(|&place| cluster.nodes.get(place));
        let nodes =
            nodes.map(|node| ToldNode { name: &node.meta.name, addresses: &node.addresses }).collect();
        let mut views: Vec<View<'c>> = places.iter().map(|&place| View::of(cluster, Some(place))).collect();
        if views.is_empty() {
            views.push(View::default());
        }
        let mut lines: BTreeMap<FileId, LineIndex<'c>> = BTreeMap::new();
        let mut told = |service: &'c Service| service_of(service, sources, &mut lines);
        let mut services: Vec<ToldService<'c>> = Vec::new();
        for Balanced { service, pools, .. } in model.services {
            let ports = pools.into_iter().map(|pool| port_of(service, pool, &views)).collect();
            services.push(ToldService { ports, ..told(service) });
        }
        for (service, why) in model.left_out {
            services.push(ToldService { left_out: Some(left_out(&why)), ..told(service) });
        }
        services.sort_by_key(|service| (service.namespace, service.name));
        Told { nodes, services }
    }
}

fn service_of<'c>(
    service: &'c Service,
    sources: &'c Sources,
    lines: &mut BTreeMap<FileId, LineIndex<'c>>,
) -> ToldService<'c> {
    let span = service.meta.span;
    let line = lines.entry(span.file).or_insert_with(|| LineIndex::new(sources.text(span.file)));
    let annotations = &service.annotations;
    ToldService {
        namespace: service.meta.namespace.as_deref().unwrap_or_default(),
        name: &service.meta.name,
        kind: service.kind.as_str(),
        file: sources.name(span.file),
        line: line.locate(span.start).line,
        left_out: None,
        external_traffic_policy: service.external_policy.as_str(),
        internal_traffic_policy: service.internal_policy.as_str(),
        algorithm: match annotations.algorithm {
            Some(Algorithm::Random) => "random",
            Some(Algorithm::Maglev) | None => "maglev",
        },
        forwarding: annotations.forwarding.map(|forwarding| match forwarding {
            Forwarding::Dsr => "dsr",
            Forwarding::Snat => "snat",
        }),
        affinity_seconds: service.affinity,
        source_ranges: service.source_ranges.iter().map(ToString::to_string).collect(),
        source_ranges_deny: annotations.source_ranges_deny,
        // Elsewhere nobody asks which nodes have a backend, and none answers.
        health_check_port: service
            .health_check_port
            .filter(|_| service.external_policy == TrafficPolicy::Local),
        health_check: service.health_check.as_ref().map(check_of),
        load_balancer_class: service.balancer_class.as_deref(),
        ports: Vec::new(),
    }
}

fn check_of(check: &HealthCheck) -> ToldCheck<'_> {
    let http = check.http.as_ref();
    ToldCheck {
        interval_ms: check.interval.as_millis(),
        timeout_ms: check.timeout.as_millis(),
        healthy: check.healthy,
        unhealthy: check.unhealthy,
        quarantine_ms: check.quarantine.as_millis(),
        request: http.map(|http| [if http.is_head { "HEAD" } else { "GET" }, &http.path]),
        host: http.and_then(|http| http.host.as_deref()),
    }
}

fn port_of<'c>(service: &'c Service, pool: Pool<'c>, views: &[View<'_>]) -> ToldPort<'c> {
    let frontends =
        pool.frontends.iter().map(|frontend| frontend_of(service, &pool, frontend, views)).collect();
    let number = pool.frontends.first().map_or(0, |frontend| frontend.protocol);
    ToldPort {
        name: &pool.port.name,
        port: pool.port.port,
        protocol: match number {
            protocol::UDP => "UDP",
            protocol::SCTP => "SCTP",
            _ => "TCP",
        },
        family: match pool.frontends.first() {
            Some(Frontend { address: IpAddr::V6(_), .. }) => "IPv6",
            _ => "IPv4",
        },
        frontends,
        backends: pool
            .candidates
            .iter()
            .map(|one| ToldBackend {
                address: one.address,
                port: one.port,
                state: if one.weight == 0 && one.state == BackendState::Active {
                    "maintenance"
                } else {
                    one.state.as_str()
                },
                weight: one.weight,
                node: one.node,
                zone: one.zone,
            })
            .collect(),
    }
}

fn frontend_of(service: &Service, pool: &Pool<'_>, frontend: &Frontend, views: &[View<'_>]) -> ToldFrontend {
    let by = |scope, view| match serve(service, pool, frontend, scope, view) {
        Ok(places) => By::Backends(places),
        Err(choice) => By::None(choice.as_str()),
    };
    let mut served: Vec<Served> = Vec::new();
    for (place, &view) in views.iter().enumerate() {
        let (external, internal) = (by(Scope::External, view), by(Scope::Internal, view));
        let nodes: Vec<usize> = view.node.map(|_| place).into_iter().collect();
        let same = served.iter_mut().find(|one| one.external == external && one.internal == internal);
        match same {
            Some(known) => known.nodes.extend(nodes),
            None => served.push(Served { nodes, external, internal }),
        }
    }
    ToldFrontend {
        address: (frontend.kind != FrontendKind::NodePort).then_some(frontend.address),
        port: frontend.port,
        kind: frontend.kind.as_str(),
        served,
    }
}

fn left_out(why: &NotBalanced<'_>) -> String {
    match why {
        NotBalanced::Headless => "headless".to_owned(),
        NotBalanced::ExternalName => "a name for another name".to_owned(),
        NotBalanced::OtherProxy(proxy) => format!("left to the proxy {proxy}"),
        NotBalanced::NoFrontend => "no address and port".to_owned(),
    }
}

/// Why nobody serves, for people; `None` for what goes without saying.
pub(crate) fn reason(told: &str) -> Option<String> {
    (told != Choice::NotFromOutside.as_str()).then(|| told.replace('-', " "))
}
