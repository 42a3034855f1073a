//! The services of a cluster as load balancing sees them, the same from every node: their ports, who may serve those, and at which addresses they
//! are reached.
//!
//! Not here: who serves from a node (`eligible`), and two that claim one address (`claims`).

use super::behind::{Backing, Behind};
use super::candidates::{Candidate, candidates};
use super::claims;
use super::kept_ports;
use super::unfit::{Checked, NOBODY_UNFIT, Unfit};
use crate::cluster::Cluster;
use crate::ir::protocol;
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::services::{FrontendKind, ServiceImage};
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::tree;

/// Why a service is not balanced at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotBalanced<'c> {
    /// Clients ask DNS for its endpoints.
    Headless,
    /// A name for another name.
    ExternalName,
    /// The label `service.kubernetes.io/service-proxy-name` leaves it to another proxy.
    OtherProxy(&'c str),
    /// It has no address, port or nobody asks for one.
    NoFrontend,
}

/// An address and port that leads to a service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// The address; unspecified for a port of nodes.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The IP protocol.
    pub protocol: u8,
    /// What it is to people.
    pub kind: FrontendKind,
}

impl Frontend {
    /// The same in an image.
    pub(super) fn find<'a>(&self, image: &ServiceImage<'a>) -> Option<weir_abi::services::Frontend<'a>> {
        image.find(self.address, self.port, self.protocol)
    }
}

/// A port of a service in one family: who may serve it, and how it is reached.
#[derive(Clone, Debug)]
pub struct Pool<'c> {
    /// The port.
    pub port: &'c tree::ServicePort,
    /// Who may serve it, in the order of addresses.
    pub candidates: Vec<Candidate<'c>>,
    /// Where it is reached.
    pub frontends: Vec<Frontend>,
}

impl Pool<'_> {
    /// The number of its port's protocol.
    pub(super) fn protocol(&self) -> u8 {
        number(self.port.protocol).unwrap_or(0)
    }
}

/// A service with frontends.
#[derive(Clone, Debug)]
pub struct Balanced<'c> {
    /// The service.
    pub service: &'c tree::Service,
    /// Its place in [`Cluster::services`].
    pub place: usize,
    /// Its ports, each in every family in which it is reached.
    pub pools: Vec<Pool<'c>>,
}

/// All services of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Model<'c> {
    /// Those that are balanced, by namespace and name.
    pub services: Vec<Balanced<'c>>,
    /// Those that are not.
    pub left_out: Vec<(&'c tree::Service, NotBalanced<'c>)>,
    /// Two that claim one address, services that nobody is behind, and ports that cannot be led to.
    pub findings: Vec<Diagnostic>,
    /// Whether pods may be among the backends.
    pub(super) has_pods: bool,
}

impl<'c> Model<'c> {
    /// Reads the services of a cluster.
    pub fn new(cluster: &'c Cluster) -> Self {
        Model::without(cluster, &NOBODY_UNFIT)
    }

    /// The same without the backends that are unfit.
    pub fn without(cluster: &'c Cluster, unfit: &Unfit) -> Self {
        let mut model = Model::default();
        let backing = Backing::new(cluster);
        for (place, service) in cluster.services.iter().enumerate() {
            let behind = backing.of(service);
            let namespace = service.meta.namespace.as_deref().unwrap_or_default();
            match pools(service, &behind, unfit.of(namespace, &service.meta.name)) {
                Ok(pools) => {
                    backing.find(service, &behind, &mut model.findings);
                    let balanced = Balanced { service, place, pools };
                    kept_ports::find(&balanced, &mut model.findings);
                    model.services.push(balanced);
                }
                Err(why) => model.left_out.push((service, why)),
            }
        }
        model.has_pods = backing.has_pods();
        claims::settle(cluster, &mut model);
        model
    }
}

impl Balanced<'_> {
    /// `namespace/name`.
    pub fn name(&self) -> String {
        name(self.service)
    }
}

/// `namespace/name`.
pub(super) fn name(service: &tree::Service) -> String {
    format!("{}/{}", service.meta.namespace.as_deref().unwrap_or_default(), service.meta.name)
}

/// The ports of a service in every family in which they are reached, with their candidates.
pub(super) fn pools<'c>(
    service: &'c tree::Service,
    behind: &Behind<'c>,
    unfit: Option<&BTreeSet<Checked>>,
) -> Result<Vec<Pool<'c>>, NotBalanced<'c>> {
    if service.kind == tree::ServiceType::ExternalName {
        return Err(NotBalanced::ExternalName);
    }
    if let Some(proxy) = &service.other_proxy {
        return Err(NotBalanced::OtherProxy(proxy));
    }
    if service.headless {
        return Err(NotBalanced::Headless);
    }
    let mut pools = Vec::new();
    for port in &service.ports {
        let Some(protocol) = number(port.protocol) else { continue };
        let [v4, v6] = candidates(service, port, protocol, behind, unfit);
        for (candidates, is_v4) in [(v4, true), (v6, false)] {
            let frontends = frontends(service, port, protocol, is_v4, !candidates.is_empty());
            if !frontends.is_empty() {
                pools.push(Pool { port, candidates, frontends });
            }
        }
    }
    if pools.is_empty() { Err(NotBalanced::NoFrontend) } else { Ok(pools) }
}

/// The number of a protocol that services have.
const fn number(written: tree::Protocol) -> Option<u8> {
    match written {
        tree::Protocol::Tcp => Some(protocol::TCP),
        tree::Protocol::Udp => Some(protocol::UDP),
        tree::Protocol::Sctp => Some(protocol::SCTP),
        tree::Protocol::Any | tree::Protocol::Other(_) => None,
    }
}

/// Where a port is reached in one family, each address once.
fn frontends(
    service: &tree::Service,
    port: &tree::ServicePort,
    protocol: u8,
    is_v4: bool,
    has_candidates: bool,
) -> Vec<Frontend> {
    let left = service.annotations.frontends;
    let mut found: Vec<Frontend> = Vec::new();
    let mut known: FxHashSet<IpAddr> = FxHashSet::default();
    let mut add = |kind, address: IpAddr, port| {
        let address = address.to_canonical();
        if address.is_ipv4() == is_v4 && known.insert(address) {
            found.push(Frontend { address, port, protocol, kind });
        }
    };
    if left.cluster_ip {
        service.cluster_ips.iter().for_each(|&address| add(FrontendKind::ClusterIp, address, port.port));
    }
    if left.load_balancer {
        if service.kind == tree::ServiceType::LoadBalancer {
            let ips = &service.balancer_ips;
            ips.iter().for_each(|&address| add(FrontendKind::LoadBalancer, address, port.port));
        }
        service.external_ips.iter().for_each(|&address| add(FrontendKind::ExternalIp, address, port.port));
    }
    let has_family = match service.families {
        [false, false] => has_candidates,
        [v4, v6] => (is_v4 && v4) || (!is_v4 && v6),
    };
    let has_node_port = matches!(service.kind, tree::ServiceType::NodePort | tree::ServiceType::LoadBalancer);
    if let Some(node_port) = port.node_port
        && left.node_port
        && has_node_port
        && has_family
    {
        let any: IpAddr = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        add(FrontendKind::NodePort, any, node_port);
    }
    found
}
