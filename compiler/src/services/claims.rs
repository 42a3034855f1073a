//! Who has an address and port that two services claim.
//!
//! A cluster address goes before an address from a load balancer, a port of nodes, and an external address, which anybody may write into a service of
//! theirs: so nobody takes another's traffic by naming its address. Among equals the first by name has it. Not here: the kernel's tables.

use super::model::{Frontend, Model, name};
use crate::cluster::{Cluster, Party};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::services::FrontendKind;
use weir_grammar::diagnostic::{Code, Diagnostic};

/// Who goes first.
const fn rank(kind: FrontendKind) -> u8 {
    match kind {
        FrontendKind::ClusterIp => 0,
        FrontendKind::LoadBalancer => 1,
        FrontendKind::NodePort => 2,
        _ => 3,
    }
}

/// Leaves every address and port with one owner, and reports the others.
pub(super) fn settle(cluster: &Cluster, model: &mut Model<'_>) {
    type Key = (IpAddr, u16, u8);
    let key = |frontend: &Frontend| (frontend.address, frontend.port, frontend.protocol);
    let mut owners: FxHashMap<Key, (u8, usize)> = FxHashMap::default();
    let mut cluster_ips: FxHashMap<IpAddr, usize> = FxHashMap::default();
    for (place, balanced) in model.services.iter().enumerate() {
        for frontend in balanced.pools.iter().flat_map(|pool| &pool.frontends) {
            let claim = (rank(frontend.kind), place);
            let owner = owners.entry(key(frontend)).or_insert(claim);
            *owner = claim.min(*owner);
            if frontend.kind == FrontendKind::ClusterIp {
                cluster_ips.entry(frontend.address).or_insert(place);
            }
        }
    }
    let of_nodes: FxHashSet<IpAddr> =
        cluster.nodes.iter().flat_map(|node| &node.addresses).map(IpAddr::to_canonical).collect();
    let names: Vec<String> = model.services.iter().map(|balanced| name(balanced.service)).collect();
    for (place, balanced) in model.services.iter_mut().enumerate() {
        // Two ports of a service with one number differ in protocol, or the first has it.
        let mut own: FxHashSet<Key> = FxHashSet::default();
        let meta = &balanced.service.meta;
        let mut lost: Vec<Diagnostic> = Vec::new();
        let mut lose = |frontend: &Frontend, whose: &str| {
            let message = format!("{} of {} is {whose}", told(frontend), names[place]);
            lost.push(Diagnostic::new(Code::FrontendClash, meta.span, message).labelled("not reached there"));
        };
        for pool in &mut balanced.pools {
            pool.frontends.retain(|frontend| {
                let owner = owners.get(&key(frontend)).map_or(place, |&(_, owner)| owner);
                let is_foreign = frontend.kind == FrontendKind::ExternalIp;
                let taken = cluster_ips.get(&frontend.address).filter(|&&other| is_foreign && other != place);
                // Ports of nodes stand under no address, and are at all of theirs.
                let at_nodes = (any(frontend.address), frontend.port, frontend.protocol);
                let at_nodes = owners.get(&at_nodes).map(|&(_, other)| other);
                let at_nodes = at_nodes
                    .filter(|&other| is_foreign && other != place && of_nodes.contains(&frontend.address));
                if owner != place {
                    lose(frontend, &format!("that of {} already", names[owner]));
                } else if let Some(&other) = taken {
                    lose(frontend, &format!("a cluster address of {}", names[other]));
                } else if let Some(other) = at_nodes {
                    lose(frontend, &format!("a port of nodes of {}", names[other]));
                } else if let Party::Pod(pod) = cluster.party(frontend.address)
                    && is_foreign
                {
                    lose(frontend, &format!("the address of pod {}", cluster.name(Party::Pod(pod))));
                } else if !own.insert(key(frontend)) {
                    lose(frontend, "that of another of its ports already");
                } else {
                    return true;
                }
                false
            });
        }
        balanced.pools.retain(|pool| !pool.frontends.is_empty());
        model.findings.append(&mut lost);
    }
    model.services.retain(|balanced| !balanced.pools.is_empty());
}

/// The address under which ports of nodes stand, in the family of another.
const fn any(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn told(frontend: &Frontend) -> String {
    if frontend.address.is_unspecified() {
        format!("port {} of nodes", frontend.port)
    } else {
        format!("{} port {}", frontend.address, frontend.port)
    }
}
