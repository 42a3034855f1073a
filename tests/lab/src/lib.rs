//! The lab: network namespaces that play Kubernetes nodes, pods and the world outside, for tests of a datapath in a real kernel.
//!
//! ```text
//!   pod eth0 ── veth ─┐                                  ┌─ veth ── eth0 pod
//!                     node n1 eth0 ── wire ── eth0 node n2
//!   pod eth0 ── veth ─┘                 │                └─ veth ── eth0 pod
//!                             eth0 outside: 203.0.113.0/24, 2001:db8::/64
//! ```
//!
//! What may stand besides: another host outside, addresses of services that lead to a node, a wire that works as hardware does
//! ([`Plan`]). Each node has a control group of its own, in which it and its pods run. What passes on the wire can be watched ([`wires`]),
//! services are written beside the cluster ([`services`]), and peers tell who they are and whom they see ([`Peer::who`]), by SCTP too, which
//! they speak over raw sockets.
//!
//! A pod has one address of each family, known to its node by a host route, and reaches everything through a gateway of
//! link-local scope, as with Calico. Nodes route to each other's pods over the wire, a bridge in a namespace of its own.
//!
//! Invariants: nothing in a lab has a name outside of it, so labs do not clash, and nothing outlives the process that made
//! one, however it dies (`namespace.rs`). Every wait ends.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! use weir_lab::{Peer, Plan, PodPlan};
//! let lab = Plan::new()
//!     .node("n1")
//!     .node("n2")
//!     .pod(PodPlan::new("shop/web", "n1").label("app", "web"))
//!     .pod(PodPlan::new("shop/db", "n2").label("app", "db"))
//!     .build()?;
//! let (web, db) = (Peer::start(lab.pod("shop/web"))?, Peer::start(lab.pod("shop/db"))?);
//! let at = db.listen_tcp((lab.pod("shop/db").v4(), 5432).into())?;
//! assert!(web.tcp(at)?.is_made());
//! # Ok(())
//! # }
//! ```
//!
//! Not here: any datapath, pods on their node's network, sockets of SCTP (the kernels that we test on are built without them).

pub mod binary;
mod cgroup;
pub mod daemon;
mod hardware;
pub mod http;
pub mod load;
mod manifests;
mod namespace;
pub mod peer;
mod place;
mod plan;
mod requirements;
pub mod services;
pub mod wires;
mod wiring;

pub use daemon::{Monitor, Policyd};
pub use peer::flow::{Counts, Flow, Kind};
pub use peer::{Call, Connection, Contact, Identity, Peer, Running, Transport};
pub use place::{HostInterface, Place};
pub use plan::{NodePlan, Plan, PodPlan};
pub use requirements::{available, available_with, missing};
pub use services::{EndpointPlan, ServicePlan};

use cgroup::Groups;
use hardware::Hardware;
use namespace::Namespace;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A running lab. Dropping it ends every process inside and removes the namespaces.
#[derive(Debug)]
pub struct Lab {
    plan: Plan,
    wire: Place,
    outside: Place,
    elsewhere: Option<Place>,
    nodes: Vec<Place>,
    pods: Vec<Place>,
    hardware: Option<Hardware>,
    /// Last, so that they go when nobody is in them any more.
    _groups: Option<Groups>,
}

impl Lab {
    /// Makes the namespaces and joins them.
    fn build(plan: Plan) -> io::Result<Lab> {
        plan.check()?;
        // All are started before the first is waited for: a namespace takes the kernel some milliseconds.
        let start = |node: bool| Namespace::start(node);
        let (wire, outside) = (start(false)?, start(false)?);
        let elsewhere = if plan.has_elsewhere { Some(start(false)?) } else { None };
        let nodes = plan.nodes.iter().map(|_| start(true)).collect::<io::Result<Vec<_>>>()?;
        let pods = plan.pods.iter().map(|_| start(false)).collect::<io::Result<Vec<_>>>()?;

        let groups = Groups::make()?;
        let group = |node: &NodePlan| groups.as_ref().map(|groups| groups.group(&node.name)).transpose();
        let node =
            |(space, node): (Namespace, &NodePlan)| Ok(Place::of_node(node, space).in_group(group(node)?));
        let nodes = nodes.into_iter().zip(&plan.nodes).map(node).collect::<io::Result<Vec<_>>>()?;
        let pods = pods.into_iter().zip(&plan.pods).map(|(space, pod)| {
            let node = nodes.iter().find(|node| node.name() == pod.node);
            Place::of_pod(pod, space).in_group(node.and_then(Place::group).cloned())
        });
        let pods = pods.collect();
        let mut lab = Lab {
            wire: Place::new("the wire", Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, wire),
            outside: Place::new("outside", plan::OUTSIDE_V4, plan::OUTSIDE_V6, outside),
            elsewhere: elsewhere
                .map(|space| Place::new("elsewhere", plan::ELSEWHERE_V4, plan::ELSEWHERE_V6, space)),
            nodes,
            pods,
            hardware: None,
            plan,
            _groups: groups,
        };
        for place in lab.places_mut() {
            place.await_ready()?;
        }
        lab.join()?;
        if lab.plan.is_hardware {
            lab.hardware = Some(Hardware::of(&lab)?);
        }
        Ok(lab)
    }

    fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        let outside = [&mut self.wire, &mut self.outside].into_iter().chain(&mut self.elsewhere);
        outside.chain(&mut self.nodes).chain(&mut self.pods)
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        [&self.wire, &self.outside].into_iter().chain(&self.elsewhere).chain(&self.nodes).chain(&self.pods)
    }

    /// The node of that name.
    ///
    /// # Panics
    /// The plan has no such node.
    pub fn node(&self, name: &str) -> &Place {
        let at = self.plan.nodes.iter().position(|node| node.name == name);
        known(at.and_then(|at| self.nodes.get(at)), "node", name)
    }

    /// The pod of that name, written `namespace/name`.
    ///
    /// # Panics
    /// The lab has no such pod now.
    pub fn pod(&self, name: &str) -> &Place {
        known(self.pod_at(name).and_then(|at| self.pods.get(at)), "pod", name)
    }

    fn pod_at(&self, name: &str) -> Option<usize> {
        self.plan.pods.iter().position(|pod| pod.full_name() == name)
    }

    /// The world outside of the cluster. Every address of 203.0.113.0/24 and 2001:db8::/64 is its own.
    pub fn outside(&self) -> &Place {
        &self.outside
    }

    /// The other host outside. Every address of 198.18.0.0/24 and 2001:db8:e::/64 is its own.
    ///
    /// # Panics
    /// The plan has none.
    pub fn elsewhere(&self) -> &Place {
        known(self.elsewhere.as_ref(), "host outside but", "outside")
    }

    /// The end of a pod's veth pair that lies in its node.
    ///
    /// # Errors
    /// The kernel does not know it (any more).
    ///
    /// # Panics
    /// The lab has no such pod now.
    pub fn host_interface(&self, pod: &str) -> io::Result<HostInterface> {
        let plan = known(self.pod_at(pod).and_then(|at| self.plan.pods.get(at)), "pod", pod);
        self.node(&plan.node).interface(&plan.host_interface())
    }

    /// Starts one more pod; its node must be of the lab.
    ///
    /// # Errors
    /// The plan of the pod does not fit into the lab, or the kernel refuses.
    pub fn start_pod(&mut self, pod: PodPlan) -> io::Result<&Place> {
        self.plan.pods.push(pod);
        self.plan.settle();
        let started = self.plan.check().and_then(|()| self.start_last_pod());
        if started.is_err() {
            self.plan.pods.pop();
        }
        self.pods.push(started?);
        Ok(known(self.pods.last(), "pod", "just started"))
    }

    fn start_last_pod(&self) -> io::Result<Place> {
        let plan = known(self.plan.pods.last(), "pod", "to start");
        let group = self.node(&plan.node).group().cloned();
        let mut place = Place::of_pod(plan, Namespace::start(false)?).in_group(group);
        place.await_ready()?;
        self.join_pods(&[(plan, &place)])?;
        Ok(place)
    }

    /// Ends a pod: its veth pair, its processes and its namespace.
    ///
    /// # Errors
    /// The veth pair cannot be removed.
    ///
    /// # Panics
    /// The lab has no such pod now.
    pub fn stop_pod(&mut self, pod: &str) -> io::Result<()> {
        let at = *known(self.pod_at(pod).as_ref(), "pod", pod);
        let plan = self.plan.pods.remove(at);
        drop(self.pods.remove(at));
        self.part(&plan)
    }

    /// The lab as Kubernetes manifests: namespaces, nodes and pods.
    pub fn cluster_yaml(&self) -> String {
        manifests::render(&self.plan)
    }

    /// Services as manifests, with their endpoints, which are pods of the lab.
    ///
    /// # Panics
    /// The lab has no such pod now.
    pub fn services_yaml(&self, services: &[ServicePlan]) -> String {
        services::render(services, |pod| {
            known(self.plan.pods.iter().find(|plan| plan.full_name() == pod), "pod", pod)
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // One look at the processes serves all namespaces; each is ended by its own drop afterwards.
        namespace::end_processes(&self.places().map(Place::namespace).collect::<Vec<_>>());
    }
}

/// What a test asks for by name. A wrong name is a mistake in the test, and ends it.
#[expect(clippy::panic, reason = "a test that names what its lab lacks has failed")]
fn known<'a, T>(found: Option<&'a T>, kind: &str, name: &str) -> &'a T {
    let Some(found) = found else { panic!("the lab has no {kind} `{name}`") };
    found
}
