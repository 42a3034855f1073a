//! What was written, typed and with places, before anything is resolved.
//!
//! A tree keeps the three states that Kubernetes tells apart: a field that is absent (`None`), one
//! that is explicitly empty (`Some(vec![])`), and one with values. Nothing here knows a cluster.
//! Values are already checked for shape (a port is a port, an exception lies within its block);
//! what needs other objects (groups, services, pods) is checked by the compiler.

mod cidr;
mod cilium;
mod cluster;
mod expectations;
mod network_policy;
mod placeless;
mod ports;
mod requests;
mod selector;
mod service;

pub use cidr::{CidrBlock, CidrGroup, CidrSet, GroupBlock, GroupSource, PlacedCidr};
pub use cilium::{
    AuthenticationMode, CiliumPolicy, Entity, Peers, Rule, Scope, ServicePeer, Spec, SpecPlace, Subject,
};
pub use cluster::{ContainerPort, Namespace, Node, Pod, Secret};
pub use expectations::{
    End, EndKind, Expectation, Expectations, ExpectedDirection, ExpectedRequest, ExpectedVerdict,
};
pub use network_policy::{NetworkPeer, NetworkPolicy, NetworkRule};
pub use placeless::placeless;
pub use ports::{IcmpFamily, IcmpType, Port, PortList, PortSpec, Protocol};
pub use requests::{FqdnSelector, HeaderMatch, HttpRule, Mismatch, RequestRules, SecretName, TlsContext};
pub use selector::{LabelKey, LabelSource, Operator, Requirement, Selector};
pub use service::{
    Algorithm, EndpointSlice, Forwarding, Frontends, HealthCheck, HttpCheck, Service, ServiceAnnotations,
    ServicePort, ServiceType, SliceEndpoint, SlicePort, TargetPort, TrafficPolicy,
};

use crate::span::Span;

/// The part of `metadata` that means something to policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.namespace`; `None` for cluster-scoped objects. A namespaced object without one is
    /// in `default`, as with kubectl.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`, sorted by key.
    pub labels: Vec<(String, String)>,
    /// Where the name is written; the place that stands for the whole object.
    pub span: Span,
}

/// One Kubernetes object of a kind that Weir reads.
#[derive(Clone, Debug)]
pub enum Object {
    /// CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy.
    Cilium(CiliumPolicy),
    /// NetworkPolicy.
    Network(NetworkPolicy),
    /// CiliumCIDRGroup.
    CidrGroup(CidrGroup),
    /// Expectations; they change no verdict.
    Expectations(Expectations),
    /// Namespace.
    Namespace(Namespace),
    /// Pod.
    Pod(Pod),
    /// Node.
    Node(Node),
    /// Service.
    Service(Service),
    /// EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// Secret: only its name.
    Secret(Secret),
}
