//! The backends of a service's port in one family: every endpoint of its slices once, in the order of addresses.
//!
//! Not here: which of them serve (`eligible`).

use crate::cluster::Cluster;
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_abi::services::BackendState;
use weir_grammar::tree;

/// An endpoint that a port may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'c> {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// What it is fit for.
    pub state: BackendState,
    /// Its share of new flows; 0: none.
    pub weight: u32,
    /// Its node.
    pub node: Option<&'c str>,
    /// Its zone.
    pub zone: Option<&'c str>,
    /// Zones whose nodes should use it.
    pub for_zones: &'c [String],
    /// Nodes that should use it.
    pub for_nodes: &'c [String],
}

impl Candidate<'_> {
    /// Whether it takes new flows where its state is asked for.
    pub(super) fn takes(&self, state: BackendState) -> bool {
        self.state == state && self.weight > 0
    }
}

/// What an endpoint is fit for.
fn state(service: &tree::Service, endpoint: &tree::SliceEndpoint) -> BackendState {
    if service.publish_not_ready || endpoint.ready {
        BackendState::Active
    } else if endpoint.serving && endpoint.terminating {
        BackendState::Terminating
    } else {
        BackendState::Unready
    }
}

/// The candidates of a port in the IPv4 and in the IPv6 family. An endpoint that several slices name is the best of what they say.
pub(super) fn candidates<'c>(
    cluster: &'c Cluster,
    service: &tree::Service,
    port: &tree::ServicePort,
) -> [Vec<Candidate<'c>>; 2] {
    let mut found: BTreeMap<(IpAddr, u16), Candidate<'c>> = BTreeMap::new();
    let namespace = service.meta.namespace.as_deref().unwrap_or_default();
    for slice in cluster.slices_of(namespace, &service.meta.name) {
        let is_it = |own: &&tree::SlicePort| own.name == port.name && own.protocol == port.protocol;
        let numbers = slice.ports.iter().filter(is_it).filter_map(|own| own.port);
        for number in numbers {
            for endpoint in &slice.endpoints {
                // Proxies use the first address; the API allows no more than that to mean anything.
                let Some(address) = endpoint.addresses.first().map(IpAddr::to_canonical) else { continue };
                let candidate = Candidate {
                    address,
                    port: number,
                    state: state(service, endpoint),
                    weight: slice.weight.into(),
                    node: endpoint.node.as_deref(),
                    zone: endpoint.zone.as_deref(),
                    for_zones: &endpoint.for_zones,
                    for_nodes: &endpoint.for_nodes,
                };
                let is_better = |known: &Candidate<'_>| {
                    let rank = |one: &Candidate<'_>| (one.state as u8, std::cmp::Reverse(one.weight));
                    rank(&candidate) < rank(known)
                };
                let key = (address, number);
                if found.get(&key).is_none_or(is_better) {
                    found.insert(key, candidate);
                }
            }
        }
    }
    let (v4, v6) = found.into_values().partition(|candidate| candidate.address.is_ipv4());
    [v4, v6]
}
