//! Who serves a frontend, seen from one node: kube-proxy's rules.
//!
//! Of the active ones those that hints keep for this node or zone, or all; where none is active, those that end and still serve. A traffic
//! policy of `Local` asks the same of this node's alone. Not here: how one is chosen among them (`maglev`).

use super::candidates::Candidate;
use super::model::{Frontend, Pool};
use crate::cluster::Cluster;
use weir_abi::services::{BackendState, Choice, FrontendKind, Scope};
use weir_grammar::tree;

const ZONE: &str = "topology.kubernetes.io/zone";

/// The node from which services are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View<'c> {
    /// Its name; without one nothing is local.
    pub node: Option<&'c str>,
    /// Its zone.
    pub zone: Option<&'c str>,
}

impl<'c> View<'c> {
    /// That of a node by its place in the cluster.
    pub fn of(cluster: &'c Cluster, node: Option<usize>) -> Self {
        let Some(node) = node.and_then(|place| cluster.nodes.get(place)) else { return View::default() };
        let zone = node.meta.labels.iter().find(|(key, _)| key == ZONE).map(|(_, zone)| zone.as_str());
        View { node: Some(&node.meta.name), zone }
    }

    /// Whether a candidate is on the node.
    pub fn is_local(&self, candidate: &Candidate<'_>) -> bool {
        self.node.is_some() && candidate.node == self.node
    }
}

/// Whether a frontend's scope is served by this node's backends alone.
pub(super) fn is_local(service: &tree::Service, kind: FrontendKind, scope: Scope) -> bool {
    let policy = match (kind, scope) {
        (FrontendKind::ClusterIp, Scope::Internal) => service.internal_policy,
        (FrontendKind::ClusterIp, Scope::External) => tree::TrafficPolicy::Cluster,
        // From inside to an address for the outside: as if it had gone out and come back, under neither policy.
        (_, Scope::Internal) => tree::TrafficPolicy::Cluster,
        (_, Scope::External) => service.external_policy,
    };
    policy == tree::TrafficPolicy::Local
}

/// The places of the candidates that serve a frontend's scope, or why nobody does.
///
/// # Errors
/// Never [`Choice::Backend`].
pub fn serve(
    service: &tree::Service,
    pool: &Pool<'_>,
    frontend: &Frontend,
    scope: Scope,
    view: View<'_>,
) -> Result<Vec<usize>, Choice> {
    if frontend.kind == FrontendKind::ClusterIp && scope == Scope::External {
        return Err(Choice::NotFromOutside);
    }
    let taking = |state, only: &dyn Fn(&Candidate<'_>) -> bool| -> Vec<usize> {
        let takes = |candidate: &Candidate<'_>| candidate.takes(state) && only(candidate);
        pool.candidates.iter().enumerate().filter(|(_, one)| takes(one)).map(|(place, _)| place).collect()
    };
    let first_of = |only: &dyn Fn(&Candidate<'_>) -> bool| {
        let active = taking(BackendState::Active, only);
        if active.is_empty() { taking(BackendState::Terminating, only) } else { active }
    };
    let anywhere = first_of(&|_| true);
    if anywhere.is_empty() {
        return Err(Choice::NoBackend);
    }
    if is_local(service, frontend.kind, scope) {
        let local = first_of(&|one| view.is_local(one));
        return if local.is_empty() { Err(Choice::NoLocalBackend) } else { Ok(local) };
    }
    Ok(hinted(&pool.candidates, anywhere, view))
}

/// Those that hints keep for the node, else for its zone; all of them, if one has no hint or none is for here.
fn hinted(candidates: &[Candidate<'_>], all: Vec<usize>, view: View<'_>) -> Vec<usize> {
    let among = |hints: &dyn Fn(&Candidate<'_>) -> Option<bool>| -> Option<Vec<usize>> {
        let mut here = Vec::new();
        for &place in &all {
            if hints(candidates.get(place)?)? {
                here.push(place);
            }
        }
        (!here.is_empty()).then_some(here)
    };
    // Hints are for endpoints that are ready.
    let is_ready = all.first().and_then(|&place| candidates.get(place)).map(|one| one.state);
    if is_ready != Some(BackendState::Active) {
        return all;
    }
    let of = |names: &[String], here: Option<&str>| {
        (!names.is_empty()).then(|| here.is_some_and(|here| names.iter().any(|name| name == here)))
    };
    among(&|one| of(one.for_nodes, view.node))
        .or_else(|| among(&|one| of(one.for_zones, view.zone)))
        .unwrap_or(all)
}
