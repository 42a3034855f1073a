//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (`cilium.io/v2`).

use super::{CidrSet, FqdnSelector, IcmpType, Meta, PortList, Selector};
use crate::span::{Span, Spanned};

/// Which of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// CiliumNetworkPolicy.
    Namespaced,
    /// CiliumClusterwideNetworkPolicy.
    Clusterwide,
}

/// One policy object: the union of its specs.
#[derive(Clone, Debug)]
pub struct CiliumPolicy {
    /// Which kind.
    pub scope: Scope,
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec` first, then `specs` in order.
    pub specs: Vec<Spec>,
}

/// Where in the object a spec stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpecPlace {
    /// `spec`.
    Spec,
    /// `specs[i]`.
    Specs(u32),
}

/// Whose traffic a spec is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `endpointSelector`: pods.
    Endpoints(Selector),
    /// `nodeSelector`: the nodes themselves.
    Nodes(Selector),
}

/// One rule set (`api.Rule`).
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where in the object.
    pub place: SpecPlace,
    /// Where in the text.
    pub span: Span,
    /// `description`; for people.
    pub description: Option<String>,
    /// Whose traffic.
    pub subject: Subject,
    /// Allowed ingress; `None` if absent.
    pub ingress: Option<Vec<Rule>>,
    /// Denied ingress.
    pub ingress_deny: Option<Vec<Rule>>,
    /// Allowed egress.
    pub egress: Option<Vec<Rule>>,
    /// Denied egress.
    pub egress_deny: Option<Vec<Rule>>,
    /// `enableDefaultDeny.ingress`.
    pub default_deny_ingress: Option<bool>,
    /// `enableDefaultDeny.egress`.
    pub default_deny_egress: Option<bool>,
    /// `log.value`.
    pub log: Option<Spanned<String>>,
}

/// One element of a section. Peers and ports must both match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where.
    pub span: Span,
    /// Who.
    pub peers: Peers,
    /// `toPorts`.
    pub ports: Option<Vec<PortList>>,
    /// `icmps`, its elements' fields in one list.
    pub icmps: Option<Vec<IcmpType>>,
    /// `authentication.mode`.
    pub authentication: Option<Spanned<AuthenticationMode>>,
}

/// The peers of a rule; at most one kind is given, except that services may stand beside others.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// `fromEndpoints`/`toEndpoints`.
    pub endpoints: Option<Vec<Selector>>,
    /// `fromNodes`/`toNodes`.
    pub nodes: Option<Vec<Selector>>,
    /// `fromEntities`/`toEntities`.
    pub entities: Option<Vec<Spanned<Entity>>>,
    /// `fromCIDR`/`toCIDR`.
    pub cidr: Option<CidrSet>,
    /// `fromCIDRSet`/`toCIDRSet`.
    pub cidr_set: Option<CidrSet>,
    /// `toServices`.
    pub services: Option<Vec<ServicePeer>>,
    /// `toFQDNs`.
    pub fqdns: Option<Vec<FqdnSelector>>,
}

/// Entities, as the API names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the API's own; cnp-semantics §6 tells what each selects")]
pub enum Entity {
    All,
    World,
    WorldIpv4,
    WorldIpv6,
    Cluster,
    Host,
    Init,
    Ingress,
    Unmanaged,
    RemoteNode,
    Health,
    None,
    KubeApiserver,
}

/// One entry of `toServices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicePeer {
    /// `k8sService`.
    Name {
        /// Where.
        span: Span,
        /// `serviceName`.
        name: String,
        /// `namespace`; `None`: every namespace.
        namespace: Option<String>,
    },
    /// `k8sServiceSelector`.
    Selector {
        /// Over the services' labels.
        selector: Selector,
        /// `namespace`; `None`: every namespace.
        namespace: Option<String>,
    },
}

/// `authentication.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthenticationMode {
    /// No authentication asked for.
    Disabled,
    /// Mutual authentication asked for.
    Required,
    /// Always fails; for tests.
    TestAlwaysFail,
}

impl AuthenticationMode {
    /// As the API writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            AuthenticationMode::Disabled => "disabled",
            AuthenticationMode::Required => "required",
            AuthenticationMode::TestAlwaysFail => "test-always-fail",
        }
    }
}
