//! The backends of a service's port in one family: every endpoint once, in the order of addresses.
//!
//! Not here: where endpoints come from (`behind`), and which of them serve (`eligible`).

use super::behind::{Behind, addresses, target};
use super::unfit::Checked;
use std::collections::{BTreeMap, BTreeSet};
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

/// What an endpoint is fit for, by its conditions.
fn state(service: &tree::Service, ready: bool, serving: bool, ending: bool) -> BackendState {
    if service.publish_not_ready || ready {
        BackendState::Active
    } else if serving && ending {
        BackendState::Terminating
    } else {
        BackendState::Unready
    }
}

/// The candidates so far, each address and port once.
#[derive(Default)]
struct Candidates<'c>(BTreeMap<(IpAddr, u16), Candidate<'c>>);

impl<'c> Candidates<'c> {
    /// Adds an endpoint. One that is there twice is the best of what is said of it.
    fn add(&mut self, candidate: Candidate<'c>) {
        let is_better = |known: &Candidate<'_>| {
            let rank = |one: &Candidate<'_>| (one.state as u8, std::cmp::Reverse(one.weight));
            rank(&candidate) < rank(known)
        };
        let key = (candidate.address, candidate.port);
        if self.0.get(&key).is_none_or(is_better) {
            self.0.insert(key, candidate);
        }
    }

    fn of_slice(
        &mut self,
        service: &tree::Service,
        port: &tree::ServicePort,
        slice: &'c tree::EndpointSlice,
    ) {
        let is_it = |own: &&tree::SlicePort| own.name == port.name && own.protocol == port.protocol;
        let numbers = slice.ports.iter().filter(is_it).filter_map(|own| own.port);
        for number in numbers {
            for endpoint in &slice.endpoints {
                // Proxies use the first address; the API allows no more than that to mean anything.
                let Some(address) = endpoint.addresses.first().map(IpAddr::to_canonical) else { continue };
                self.add(Candidate {
                    address,
                    port: number,
                    state: state(service, endpoint.ready, endpoint.serving, endpoint.terminating),
                    weight: slice.weight.into(),
                    node: endpoint.node.as_deref(),
                    zone: endpoint.zone.as_deref(),
                    for_zones: &endpoint.for_zones,
                    for_nodes: &endpoint.for_nodes,
                });
            }
        }
    }

    fn of_pod(&mut self, service: &tree::Service, port: &tree::ServicePort, pod: &'c tree::Pod) {
        let Some(number) = target(pod, port) else { return };
        for address in addresses(pod, service) {
            self.add(Candidate {
                address,
                port: number,
                state: state(service, pod.ready && !pod.ending, pod.ready, pod.ending),
                weight: 1,
                node: pod.node.as_deref(),
                // Of use with hints, which only a slice has.
                zone: None,
                for_zones: &[],
                for_nodes: &[],
            });
        }
    }
}

/// The candidates of a port in the IPv4 and in the IPv6 family. `protocol` is the port's; `unfit` are backends that failed their health checks.
pub(super) fn candidates<'c>(
    service: &tree::Service,
    port: &tree::ServicePort,
    protocol: u8,
    behind: &Behind<'c>,
    unfit: Option<&BTreeSet<Checked>>,
) -> [Vec<Candidate<'c>>; 2] {
    let mut found = Candidates::default();
    match behind {
        Behind::Slices(slices) => slices.iter().for_each(|slice| found.of_slice(service, port, slice)),
        Behind::Pods(pods) => pods.iter().for_each(|pod| found.of_pod(service, port, pod)),
    }
    let (v4, v6): (Vec<_>, Vec<_>) = found.0.into_values().partition(|candidate| candidate.address.is_ipv4());
    let mut families = [v4, v6];
    if let Some(unfit) = unfit {
        let is_unfit = |one: &Candidate<'_>| unfit.contains(&(one.address, one.port, protocol));
        families.iter_mut().for_each(|family| leave_out(family, is_unfit));
    }
    families
}

/// Makes those that are unfit unready, unless nobody would be left.
fn leave_out(candidates: &mut [Candidate<'_>], is_unfit: impl Fn(&Candidate<'_>) -> bool) {
    let serves =
        |one: &Candidate<'_>| one.takes(BackendState::Active) || one.takes(BackendState::Terminating);
    if candidates.iter().any(|one| serves(one) && !is_unfit(one)) {
        let unfit = candidates.iter_mut().filter(|one| is_unfit(one));
        unfit.for_each(|one| one.state = BackendState::Unready);
    }
}
