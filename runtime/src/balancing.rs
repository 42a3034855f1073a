//! Balancing: the services of each cluster that is read, in force on this node at a pace of their own.
//!
//! ```text
//! what was read ─ services ─┐                                  ┌─ store    the image, before and after it comes into force
//! interfaces, pods ─ places ┼─ part: compile, install, place ──┼─ kernel   a Balancer on a thread of its own
//! records of flows ─ ages ──┤        settle, sweep             └─ health   ports that tell how many backends are here
//! backends asked ─ probes ──┘
//! ```
//!
//! Invariants: services wait for no policy and policy for no service; a mistake or failure changes nothing of what is in force; where there is
//! nothing to balance, nothing is in a packet's way. What ends the daemon leaves balancing in place.
//!
//! Not here: what a service means (`weir_compiler::services`), the kernel ([`crate::datapath`]).

mod ages;
mod bring;
mod health;
mod in_force;
mod part;
mod places;
mod services;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;

pub use health::HealthCheck;
pub use services::Services;

use crate::balancer::Balancer;
use crate::datapath::DatapathError;
use crate::interfaces::Interfaces;
use crate::status::BalancingStatus;
use crate::store::Store;
use part::Part;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use weir_project::Project;

/// How services are balanced, but for what the kernel's side is told ([`crate::balancer::BalancerOptions`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Devices by name; none: those that have the node's address or a default route.
    pub devices: BTreeSet<String>,
    /// Whether sockets are balanced where they connect.
    pub sockets: bool,
    /// Where health-check ports listen; `None`: at every address.
    pub health_checks: Option<IpAddr>,
    /// For how long a connection may say nothing and still find its backend; flows of datagrams less.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            devices: BTreeSet::new(),
            sockets: true,
            health_checks: None,
            idle: Duration::from_secs(21_600),
        }
    }
}

/// Opens what balances. It is called once there is something to balance, away from the executor, and again if that failed.
pub type Open = Arc<dyn Fn() -> Result<Box<dyn Balancer>, DatapathError> + Send + Sync>;

/// Takes out of the kernel what an earlier run left there, if it left anything. It is called where there is nothing to balance and nothing was
/// opened, away from the executor.
pub type Clear = Arc<dyn Fn() -> Result<(), DatapathError> + Send + Sync>;

/// What a daemon needs to balance.
#[derive(Clone)]
pub struct Means {
    /// How.
    pub settings: Settings,
    /// By what.
    pub open: Open,
    /// What was left by whom.
    pub clear: Clear,
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What was read of services last.
#[derive(Clone, Debug, Default)]
struct Heard {
    /// The last ones that could be read.
    services: Option<Arc<Services>>,
    /// Why those that were read last are not.
    refused: Option<String>,
}

/// The part of the daemon that balances.
#[derive(Debug)]
pub struct Balancing {
    node: String,
    heard: watch::Sender<Heard>,
    pods: watch::Sender<Option<BTreeSet<u32>>>,
    status: watch::Receiver<BalancingStatus>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

/// A way to tell of what was read, from any thread.
#[derive(Clone, Debug)]
pub struct Ear {
    node: String,
    heard: watch::Sender<Heard>,
}

impl Ear {
    /// Hears of what was read, whatever is wrong with its policies.
    pub fn hear(&self, project: &Project) {
        let known = self.heard.borrow().services.as_ref().map(|services| Arc::clone(services.files()));
        let services = Services::of(project, &self.node, known.as_deref());
        self.heard.send_modify(|heard| match services {
            Ok(services) => *heard = Heard { services: Some(Arc::new(services)), refused: None },
            Err(refused) => heard.refused = Some(refused),
        });
    }
}

impl Balancing {
    /// Begins it for a node.
    pub fn begin(
        means: Means,
        node: &str,
        store: Arc<Store>,
        interfaces: watch::Receiver<Option<Interfaces>>,
    ) -> Balancing {
        let (heard, hearing) = watch::channel(Heard::default());
        let (pods, placed) = watch::channel(None);
        let (tell, status) = watch::channel(BalancingStatus::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let part = Part::new(means, store, tell);
        let running = tokio::spawn(part.run(hearing, interfaces, placed, stopped));
        Balancing { node: node.to_owned(), heard, pods, status, stop: Some(stop), running }
    }

    /// Who may tell it of what was read.
    pub fn ear(&self) -> Ear {
        Ear { node: self.node.clone(), heard: self.heard.clone() }
    }

    /// Says at which interfaces pods are.
    pub fn set_pods(&self, interfaces: BTreeSet<u32>) {
        self.pods.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&interfaces);
            if is_new {
                *known = Some(interfaces);
            }
            is_new
        });
    }

    /// What is in force and what is wrong.
    pub fn status(&self) -> BalancingStatus {
        self.status.borrow().clone()
    }

    /// Ends it once what it is about is done; what is in force stays.
    pub async fn end(mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            _ = stop.send(());
        }
        _ = self.running.await;
    }
}
