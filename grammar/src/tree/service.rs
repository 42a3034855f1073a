//! Services and their EndpointSlices: what load balancing looks at, as written.
//!
//! Not here: which backends are eligible where (the compiler's `services`).

use super::{Meta, Protocol};
use crate::span::Span;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Reached from inside.
    #[default]
    ClusterIp,
    /// Also by a port of every node.
    NodePort,
    /// Also by addresses that a load balancer gave it.
    LoadBalancer,
    /// A name for another name: nothing to balance.
    ExternalName,
}

impl ServiceType {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ServiceType::ClusterIp => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
            ServiceType::ExternalName => "ExternalName",
        }
    }
}

/// `externalTrafficPolicy` and `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any backend.
    #[default]
    Cluster,
    /// Only backends of the node that the packet reached.
    Local,
}

impl TrafficPolicy {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TrafficPolicy::Cluster => "Cluster",
            TrafficPolicy::Local => "Local",
        }
    }
}

/// `service.cilium.io/forwarding-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Through the balancer, both ways.
    Snat,
    /// The reply goes straight to the client.
    Dsr,
}

/// `service.cilium.io/lb-algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Any backend, as likely as any other.
    Random,
    /// The same backend for the same flow on every node, and for most flows after a change.
    Maglev,
}

/// Kinds of frontends: `service.cilium.io/type` names those that a service is left with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frontends {
    /// Cluster addresses.
    pub cluster_ip: bool,
    /// Ports of nodes.
    pub node_port: bool,
    /// Addresses of the load balancer, and external ones.
    pub load_balancer: bool,
}

impl Frontends {
    /// Whatever the service's type has.
    pub const ALL: Frontends = Frontends { cluster_ip: true, node_port: true, load_balancer: true };
}

/// Annotations that change how a service is balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceAnnotations {
    /// `service.cilium.io/forwarding-mode`.
    pub forwarding: Option<Forwarding>,
    /// `service.cilium.io/lb-algorithm`.
    pub algorithm: Option<Algorithm>,
    /// `service.cilium.io/src-ranges-policy: deny`: the source ranges are those kept out.
    pub source_ranges_deny: bool,
    /// `service.cilium.io/type`.
    pub frontends: Frontends,
}

/// How the health of a service's backends is checked: annotations `service.cilium.io/health-check-…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `probe-interval`: the time from one check of a backend to its next.
    pub interval: Duration,
    /// `probe-timeout`: what takes longer has failed.
    pub timeout: Duration,
    /// `threshold-healthy`: so many checks in a row that pass make an unfit backend fit.
    pub healthy: u16,
    /// `threshold-unhealthy`: so many in a row that fail make a fit one unfit.
    pub unhealthy: u16,
    /// `quarantine-timeout`: the time from a failed check of an unfit backend to its next, if that is longer than the interval.
    pub quarantine: Duration,
    /// What is asked; without it a connection is enough.
    pub http: Option<HttpCheck>,
}

/// What a health check asks by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// `http-path`.
    pub path: String,
    /// `http-method: HEAD`; else it is GET.
    pub is_head: bool,
    /// `http-host`; else the backend's address and port.
    pub host: Option<String>,
}

/// `targetPort`: the port of the backends, where they are pods that the selector finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number; the service's own if none is written.
    Number(u16),
    /// The name of a container's port, lower case.
    Name(String, Span),
}

/// One of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Where.
    pub span: Span,
    /// `name`; empty if the service has one port without a name.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `targetPort`.
    pub target: TargetPort,
    /// `nodePort`, if one is allocated.
    pub node_port: Option<u16>,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.selector`; `None` if absent or empty: its endpoints are EndpointSlices alone.
    pub selector: Option<Vec<(String, String)>>,
    /// Where the object stands.
    pub span: Span,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `clusterIP: None`.
    pub headless: bool,
    /// `spec.clusterIPs` (and `clusterIP`), without repeats.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether `spec.ipFamilies` names IPv4, and IPv6; if it is left out, the families of its cluster addresses.
    pub families: [bool; 2],
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip`, but for those with `ipMode: Proxy`: traffic to them is the load balancer's own.
    pub balancer_ips: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// Seconds of `sessionAffinity: ClientIP`.
    pub affinity: Option<u32>,
    /// `externalTrafficPolicy`.
    pub external_policy: TrafficPolicy,
    /// `internalTrafficPolicy`.
    pub internal_policy: TrafficPolicy,
    /// `loadBalancerSourceRanges`; empty: anyone.
    pub source_ranges: Vec<IpNet>,
    /// `healthCheckNodePort`.
    pub health_check_port: Option<u16>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `loadBalancerClass`.
    pub balancer_class: Option<String>,
    /// `allocateLoadBalancerNodePorts`.
    pub allocates_node_ports: bool,
    /// The label `service.kubernetes.io/service-proxy-name`: another proxy serves it.
    pub other_proxy: Option<String>,
    /// What annotations change.
    pub annotations: ServiceAnnotations,
    /// How its backends' health is checked.
    pub health_check: Option<HealthCheck>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug)]
pub struct SliceEndpoint {
    /// Its addresses; proxies use the first.
    pub addresses: Vec<IpAddr>,
    /// `conditions.ready`, true when left out.
    pub ready: bool,
    /// `conditions.serving`, as `ready` when left out.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
    /// `nodeName`.
    pub node: Option<String>,
    /// `zone`.
    pub zone: Option<String>,
    /// `hints.forZones[].name`.
    pub for_zones: Vec<String>,
    /// `hints.forNodes[].name`.
    pub for_nodes: Vec<String>,
}

/// One of a slice's `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// `name`, that of the service's port.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// `port`; a port without a number is none to balance to.
    pub port: Option<u16>,
}

/// An EndpointSlice.
#[derive(Clone, Debug)]
pub struct EndpointSlice {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// The service it belongs to: label `kubernetes.io/service-name`.
    pub service: Option<String>,
    /// Its endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// Its ports, the same for all endpoints.
    pub ports: Vec<SlicePort>,
    /// `service.cilium.io/weight`, from 0 to 65535; 1 when left out.
    pub weight: u16,
}
