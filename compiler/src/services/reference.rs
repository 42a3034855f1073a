//! The specification: which backends may serve a packet to a service, told in the slowest and most obvious way.
//!
//! It reads the objects of the cluster alone: no model, no hashes, no tables, and nothing that the image is made by. The image must choose one of
//! these, and in the long run each of them.

use super::unfit::{NOBODY_UNFIT, Unfit};
use crate::cluster::{Cluster, Party};
use crate::ir::protocol;
use std::collections::BTreeSet;
use std::net::IpAddr;
use weir_abi::services::{Choice, Question, Scope};
use weir_grammar::tree::{
    EndpointSlice, Pod, Protocol, Service, ServicePort, ServiceType, TargetPort, TrafficPolicy,
};

/// How a packet meets a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    // In the order in which they go before each other.
    ClusterIp,
    Balancer,
    NodePort,
    ExternalIp,
}

/// Asks the objects of a cluster on behalf of a node, by place.
#[derive(Debug)]
pub struct Reference<'c> {
    cluster: &'c Cluster,
    node: Option<usize>,
    own: &'c [IpAddr],
    unfit: &'c Unfit,
}

/// A backend: its address and port.
pub type Target = (IpAddr, u16);

impl<'c> Reference<'c> {
    /// Asks on behalf of a node; without one nothing is local.
    pub fn new(cluster: &'c Cluster, node: Option<usize>) -> Self {
        Reference { cluster, node, own: &[], unfit: &NOBODY_UNFIT }
    }

    /// The same on a machine that has further addresses, after health checks of the backends.
    #[must_use]
    pub fn knowing(self, own: &'c [IpAddr], unfit: &'c Unfit) -> Self {
        Reference { own, unfit, ..self }
    }

    /// Who may serve a packet, or why nobody does.
    ///
    /// # Errors
    /// Why nobody does.
    pub fn eligible(&self, question: &Question) -> Result<BTreeSet<Target>, Choice> {
        let Some((service, port, way)) = self.met(question) else { return Err(self.missed(question)) };
        let outside = question.scope == Scope::External;
        if way == Way::ClusterIp && outside {
            return Err(Choice::NotFromOutside);
        }
        if way == Way::Balancer && outside && !self.may_come(service, question.client.to_canonical()) {
            return Err(Choice::SourceRefused);
        }
        let is_v4 = question.address.to_canonical().is_ipv4();
        let endpoints = self.endpoints(service, port, is_v4);
        let policy = match (way, outside) {
            (Way::ClusterIp, _) => service.internal_policy,
            (_, true) => service.external_policy,
            (_, false) => TrafficPolicy::Cluster,
        };
        let usable = |of: &dyn Fn(&Known<'_>) -> bool| -> Vec<&Known<'_>> {
            let ready: Vec<_> =
                endpoints.iter().filter(|one| one.ready && one.weight > 0 && of(one)).collect();
            if !ready.is_empty() {
                return ready;
            }
            let ending = |one: &&Known<'_>| one.ending && one.weight > 0 && of(one);
            endpoints.iter().filter(ending).collect()
        };
        let all = usable(&|_| true);
        if all.is_empty() {
            return Err(Choice::NoBackend);
        }
        let here = self.node.and_then(|place| self.cluster.nodes.get(place));
        let node = here.map(|node| node.meta.name.as_str());
        let chosen = if policy == TrafficPolicy::Local {
            usable(&|one| node.is_some() && one.node == node)
        } else {
            let label = |(key, _): &&(String, String)| key == "topology.kubernetes.io/zone";
            let zone =
                here.and_then(|node| node.meta.labels.iter().find(label)).map(|(_, zone)| zone.as_str());
            keep_hinted(all, node, zone)
        };
        if chosen.is_empty() {
            return Err(Choice::NoLocalBackend);
        }
        Ok(chosen.into_iter().map(|one| one.target).collect())
    }

    /// The services that are balanced at all, in the order of names.
    fn balanced(&self) -> impl Iterator<Item = &'c Service> {
        self.cluster.services.iter().filter(|service| {
            service.kind != ServiceType::ExternalName && !service.headless && service.other_proxy.is_none()
        })
    }

    fn is_of_machine(&self, address: IpAddr) -> bool {
        self.own.iter().any(|own| own.to_canonical() == address)
    }

    /// Whether an address has the ports of nodes: of this one, and for who asks from inside of any.
    fn is_of_node(&self, address: IpAddr, scope: Scope) -> bool {
        if self.is_of_machine(address) {
            return true;
        }
        let is_known = |place: usize| scope == Scope::Internal || self.node.is_none_or(|node| node == place);
        let nodes = self.cluster.nodes.iter().enumerate();
        nodes
            .filter(|(place, _)| is_known(*place))
            .any(|(_, node)| node.addresses.iter().any(|own| own.to_canonical() == address))
    }

    /// The service and port that a packet meets: the way that goes first, and of several the first service.
    fn met(&self, question: &Question) -> Option<(&'c Service, &'c ServicePort, Way)> {
        let address = question.address.to_canonical();
        let mut met: Vec<(Way, usize, &Service, &ServicePort)> = Vec::new();
        for (order, service) in self.balanced().enumerate() {
            for port in &service.ports {
                let of_protocol = match port.protocol {
                    Protocol::Tcp => question.protocol == protocol::TCP,
                    Protocol::Udp => question.protocol == protocol::UDP,
                    Protocol::Sctp => question.protocol == protocol::SCTP,
                    _ => false,
                };
                if of_protocol {
                    let ways = self.ways(service, port, address, question);
                    met.extend(ways.into_iter().map(|way| (way, order, service, port)));
                }
            }
        }
        // A port of the node is met where nothing has exactly this address.
        let exact = met.iter().any(|(way, ..)| *way != Way::NodePort);
        met.retain(|(way, ..)| !exact || *way != Way::NodePort);
        met.sort_by_key(|&(way, order, ..)| (way, order));
        met.first().map(|&(way, _, service, port)| (service, port, way))
    }

    fn ways(&self, service: &Service, port: &ServicePort, address: IpAddr, question: &Question) -> Vec<Way> {
        let left = service.annotations.frontends;
        let is_among = |list: &[IpAddr]| list.iter().any(|own| own.to_canonical() == address);
        let mut ways = Vec::new();
        if port.port == question.port {
            if left.cluster_ip && is_among(&service.cluster_ips) {
                ways.push(Way::ClusterIp);
            }
            let is_balancer = service.kind == ServiceType::LoadBalancer;
            if left.load_balancer && is_balancer && is_among(&service.balancer_ips) {
                ways.push(Way::Balancer);
            }
            // Nobody takes a pod's traffic, or that of another service inside, by naming its address.
            let of_another = self.balanced().any(|other| {
                !std::ptr::eq(other, service)
                    && other.annotations.frontends.cluster_ip
                    && !other.ports.is_empty()
                    && other.cluster_ips.iter().any(|own| own.to_canonical() == address)
            });
            let of_pod = matches!(self.cluster.party(address), Party::Pod(_));
            // Nor one of their ports of nodes.
            let nodes = self.cluster.nodes.iter().flat_map(|node| &node.addresses);
            let is_nodes = nodes.map(IpAddr::to_canonical).any(|own| own == address);
            let of_anothers_port =
                self.balanced().filter(|other| !std::ptr::eq(*other, service)).any(|other| {
                    let mut ports = other.ports.iter();
                    ports.any(|one| {
                        one.node_port == Some(question.port)
                            && one.protocol == port.protocol
                            && self.has_node_port(other, one, address.is_ipv4())
                    })
                });
            let of_another = of_another || is_nodes && of_anothers_port;
            if left.load_balancer && is_among(&service.external_ips) && !of_another && !of_pod {
                ways.push(Way::ExternalIp);
            }
        }
        if port.node_port == Some(question.port)
            && self.is_of_node(address, question.scope)
            && self.has_node_port(service, port, address.is_ipv4())
        {
            ways.push(Way::NodePort);
        }
        ways
    }

    /// Whether a service's port is a port of nodes in a family, if it names one.
    fn has_node_port(&self, service: &'c Service, port: &ServicePort, is_v4: bool) -> bool {
        let has_family = match service.families {
            [false, false] => !self.endpoints(service, port, is_v4).is_empty(),
            [v4, v6] => {
                if is_v4 {
                    v4
                } else {
                    v6
                }
            }
        };
        matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer)
            && service.annotations.frontends.node_port
            && has_family
    }

    /// Of a packet from outside to an address of services, at a port that none has.
    fn missed(&self, question: &Question) -> Choice {
        let address = question.address.to_canonical();
        let is_free =
            matches!(self.cluster.party(address), Party::Outside(_)) && !self.is_of_machine(address);
        let is_one = self.balanced().any(|service| {
            let left = service.annotations.frontends;
            let is_balancer = left.load_balancer && service.kind == ServiceType::LoadBalancer;
            let mut own: Vec<&IpAddr> = Vec::new();
            if left.cluster_ip {
                own.extend(&service.cluster_ips);
            }
            if is_balancer {
                own.extend(&service.balancer_ips);
            }
            !service.ports.is_empty() && own.iter().any(|own| own.to_canonical() == address)
        });
        if is_one && is_free && question.scope == Scope::External && question.protocol != 0 {
            Choice::UnknownPort
        } else {
            Choice::NoService
        }
    }

    fn may_come(&self, service: &Service, client: IpAddr) -> bool {
        let ranges = &service.source_ranges;
        let is_in = ranges.iter().any(|range| range.contains(&client));
        ranges.is_empty() || is_in != service.annotations.source_ranges_deny
    }

    /// Every endpoint of a port once; of several that have one address the fittest. Those that failed their health checks are unfit, unless that
    /// leaves nobody.
    fn endpoints(&self, service: &Service, port: &ServicePort, is_v4: bool) -> Vec<Known<'c>> {
        let mut all = self.told(service, port);
        all.retain(|one| one.target.0.is_ipv4() == is_v4);
        all.sort_by_key(|one| (one.target, !one.ready, !one.ending, std::cmp::Reverse(one.weight)));
        all.dedup_by_key(|one| one.target);
        let protocol = match port.protocol {
            Protocol::Tcp => protocol::TCP,
            Protocol::Udp => protocol::UDP,
            _ => protocol::SCTP,
        };
        let namespace = service.meta.namespace.as_deref().unwrap_or_default();
        let passes = |one: &Known<'_>| {
            let (address, number) = one.target;
            !self.unfit.contains(namespace, &service.meta.name, (address, number, protocol))
        };
        if all.iter().any(|one| (one.ready || one.ending) && one.weight > 0 && passes(one)) {
            all.retain(passes);
        }
        all
    }

    /// What the slices of a service tell; if there are none, what its pods do.
    fn told(&self, service: &Service, port: &ServicePort) -> Vec<Known<'c>> {
        let mut all: Vec<Known<'c>> = Vec::new();
        let of_service = |slice: &&'c EndpointSlice| {
            slice.service.as_ref() == Some(&service.meta.name)
                && slice.meta.namespace == service.meta.namespace
        };
        let slices: Vec<&EndpointSlice> = self.cluster.slices.iter().filter(of_service).collect();
        if slices.is_empty() {
            return self.told_by_pods(service, port);
        }
        for slice in slices {
            for own in slice.ports.iter().filter(|own| own.name == port.name && own.protocol == port.protocol)
            {
                for endpoint in &slice.endpoints {
                    let (Some(address), Some(number)) = (endpoint.addresses.first(), own.port) else {
                        continue;
                    };
                    let ready = endpoint.ready || service.publish_not_ready;
                    all.push(Known {
                        target: (address.to_canonical(), number),
                        ready,
                        ending: !ready && endpoint.serving && endpoint.terminating,
                        weight: slice.weight,
                        node: endpoint.node.as_deref(),
                        for_zones: &endpoint.for_zones,
                        for_nodes: &endpoint.for_nodes,
                    });
                }
            }
        }
        all
    }

    /// The pods that have every label of the selector, in the service's namespace, each at its first address of each family of the service's.
    fn told_by_pods(&self, service: &Service, port: &ServicePort) -> Vec<Known<'c>> {
        let Some(selector) = &service.selector else { return Vec::new() };
        let is_selected = |pod: &&'c Pod| {
            pod.meta.namespace == service.meta.namespace
                && !pod.finished
                && selector.iter().all(|wanted| pod.meta.labels.iter().any(|label| label == wanted))
        };
        let mut all = Vec::new();
        for pod in self.cluster.pods.iter().filter(is_selected) {
            let number = match &port.target {
                TargetPort::Number(number) => *number,
                TargetPort::Name(name, _) => {
                    let mut own = pod.ports.iter();
                    let is_it = |own: &&weir_grammar::tree::ContainerPort| {
                        own.protocol == port.protocol && own.name.as_deref() == Some(name)
                    };
                    match own.find(is_it) {
                        Some(own) => own.port,
                        None => continue,
                    }
                }
            };
            for (is_v4, wanted) in [(true, service.families[0]), (false, service.families[1])] {
                let is_wanted = wanted || service.families == [false, false];
                let mut addresses = pod.addresses.iter().map(IpAddr::to_canonical);
                let Some(address) = addresses.find(|address| is_wanted && address.is_ipv4() == is_v4) else {
                    continue;
                };
                let ready = service.publish_not_ready || pod.ready && !pod.ending;
                all.push(Known {
                    target: (address, number),
                    ready,
                    ending: !ready && pod.ready && pod.ending,
                    weight: 1,
                    node: pod.node.as_deref(),
                    for_zones: &[],
                    for_nodes: &[],
                });
            }
        }
        all
    }
}

/// An endpoint.
struct Known<'c> {
    target: Target,
    ready: bool,
    ending: bool,
    weight: u16,
    node: Option<&'c str>,
    for_zones: &'c [String],
    for_nodes: &'c [String],
}

/// If every one has a hint for nodes and one is for this node: those; else the same of zones; else all.
fn keep_hinted<'k, 'c>(
    all: Vec<&'k Known<'c>>,
    node: Option<&str>,
    zone: Option<&str>,
) -> Vec<&'k Known<'c>> {
    if !all.iter().all(|one| one.ready) {
        return all;
    }
    let names = |names: &[String], name: Option<&str>| names.iter().any(|one| Some(one.as_str()) == name);
    if all.iter().all(|one| !one.for_nodes.is_empty()) && all.iter().any(|one| names(one.for_nodes, node)) {
        return all.into_iter().filter(|one| names(one.for_nodes, node)).collect();
    }
    if all.iter().all(|one| !one.for_zones.is_empty()) && all.iter().any(|one| names(one.for_zones, zone)) {
        return all.into_iter().filter(|one| names(one.for_zones, zone)).collect();
    }
    all
}
