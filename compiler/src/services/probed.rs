//! Which backends have their health checked, and how: those of services that ask for it, at the ports that lead there by TCP.
//!
//! A backend that is not ready is not asked, as it gets no flow whatever it says. Not here: the checks (the daemon's `probes`), and what comes of them
//! (`unfit`).

use super::behind::Backing;
use super::model::pools;
use crate::cluster::Cluster;
use crate::ir::protocol;
use std::collections::BTreeSet;
use std::net::IpAddr;
use weir_abi::services::BackendState;
use weir_grammar::tree::{HealthCheck, Service};

/// A service whose backends are checked.
#[derive(Clone, Debug)]
pub struct Probed<'c> {
    /// The service.
    pub service: &'c Service,
    /// How.
    pub check: &'c HealthCheck,
    /// Its backends, by address and port.
    pub backends: BTreeSet<(IpAddr, u16)>,
}

/// The services of a cluster whose backends are checked, by namespace and name.
pub fn probed(cluster: &Cluster) -> Vec<Probed<'_>> {
    let backing = Backing::new(cluster);
    let mut all = Vec::new();
    for service in &cluster.services {
        let Some(check) = &service.health_check else { continue };
        let Ok(pools) = pools(service, &backing.of(service), None) else { continue };
        let backends =
            pools.iter().filter(|pool| pool.protocol() == protocol::TCP).flat_map(|pool| &pool.candidates);
        let backends = backends.filter(|one| one.state != BackendState::Unready);
        let backends: BTreeSet<(IpAddr, u16)> = backends.map(|one| (one.address, one.port)).collect();
        if !backends.is_empty() {
            all.push(Probed { service, check, backends });
        }
    }
    all
}
