//! Who is to be checked, and how: the backends of services that ask for it, as a value.
//!
//! Not here: when (`rounds`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use weir_compiler::cluster::Cluster;
use weir_compiler::services::probed;
pub(super) use weir_grammar::tree::HealthCheck;
use weir_project::visible::visible;

/// Backends that are checked at most; of more the first by service and address.
pub const MOST_BACKENDS: usize = 1 << 16;

/// A backend of a service, which is asked by TCP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The service's namespace,
    pub namespace: String,
    /// and its name.
    pub service: String,
    /// The backend's address,
    pub address: IpAddr,
    /// and its port.
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { namespace, service, address, port } = self;
        let backend = SocketAddr::new(*address, *port);
        write!(f, "backend {backend} of {}/{}", visible(namespace), visible(service))
    }
}

/// Whom to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub(super) targets: BTreeMap<Arc<Target>, Arc<HealthCheck>>,
    /// Backends that there is no room for.
    pub left_out: usize,
}

impl Plan {
    /// What the services of a cluster ask for.
    pub fn of(cluster: &Cluster) -> Self {
        let mut plan = Plan::default();
        for one in probed(cluster) {
            let check = Arc::new(one.check.clone());
            for (address, port) in one.backends {
                if plan.targets.len() == MOST_BACKENDS {
                    plan.left_out += 1;
                    continue;
                }
                let namespace = one.service.meta.namespace.clone().unwrap_or_default();
                let target = Target { namespace, service: one.service.meta.name.clone(), address, port };
                plan.targets.insert(Arc::new(target), Arc::clone(&check));
            }
        }
        plan
    }

    /// How many are checked.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}
