//! The meaning of a policy set, with nothing left of how it was written but the places.
//!
//! A [`Rule`] is the smallest thing that can decide: one element of a section, split by its port
//! lists. A verdict is the strongest of the rules that match (deny, then redirect, then allow),
//! so neither order nor specificity matters. Rules are numbered by the names of their policies and
//! their paths, never by files or lines; their ids go into the image.
//!
//! References to groups and services are resolved; labels are not yet.

use ipnet::IpNet;
use std::sync::Arc;
use weir_abi::RulePath;
use weir_grammar::span::Span;
use weir_grammar::tree::{CidrSet, FqdnSelector, HttpRule, Requirement, TlsContext};

/// Direction of traffic as its endpoint sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Direction {
    /// Both, in order.
    pub const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Admits.
    Allow,
    /// Refuses; stronger than any allow.
    Deny,
}

/// The kinds of policy, in the order that numbers rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// CiliumClusterwideNetworkPolicy.
    CiliumClusterwide,
    /// CiliumNetworkPolicy.
    Cilium,
    /// NetworkPolicy.
    Network,
}

impl PolicyKind {
    /// The Kubernetes kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            PolicyKind::CiliumClusterwide => "CiliumClusterwideNetworkPolicy",
            PolicyKind::Cilium => "CiliumNetworkPolicy",
            PolicyKind::Network => "NetworkPolicy",
        }
    }
}

/// A policy object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which kind.
    pub kind: PolicyKind,
    /// Its namespace; `None` if cluster-wide.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Where.
    pub span: Span,
}

impl Policy {
    /// `namespace/name`, or `name` alone if cluster-wide.
    pub fn qualified_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Whose traffic a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Pods with such labels (never those on a node's network).
    Pods(Vec<Requirement>),
    /// Nodes with such labels.
    Nodes(Vec<Requirement>),
}

/// Who is on the other side. A peer matches if any part does; with no part nobody does.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Anyone at all.
    pub anyone: bool,
    /// Pods, nodes and entities by label. Addresses outside carry `reserved:world`.
    pub selectors: Vec<Vec<Requirement>>,
    /// Addresses outside, by prefix.
    pub cidrs: Vec<CidrPart>,
    /// Addresses outside, by the DNS names that led to them.
    pub fqdns: Vec<FqdnSelector>,
}

/// A set of prefixes.
#[derive(Clone, Debug)]
pub enum CidrPart {
    /// Blocks as written in the rule.
    Written(Arc<CidrSet>),
    /// A CIDR group's prefixes, less exceptions.
    Group {
        /// Place in [`crate::cluster::Cluster::groups`].
        group: usize,
        /// Left out.
        except: Arc<[IpNet]>,
    },
    /// Single addresses: the endpoints of a service without a selector.
    Addresses(Arc<[IpNet]>),
}

/// Destination ports that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ports {
    /// Every protocol and port, ICMP included.
    Everything,
    /// Any of these; none: nothing matches.
    Any(Vec<PortMatch>),
}

/// One set of ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortMatch {
    /// By number; for ICMP the types are the numbers.
    Range {
        /// IP protocol.
        protocol: u8,
        /// First.
        first: u16,
        /// Last, inclusive.
        last: u16,
    },
    /// By the name of a container port: on ingress of the endpoint itself, on egress of the
    /// destination pod. The protocol must be the container port's.
    Named {
        /// IP protocol.
        protocol: u8,
        /// Lower case.
        name: String,
    },
}

/// What may be asked over an admitted connection.
#[derive(Clone, Debug)]
pub enum Requests {
    /// Any of these HTTP rules.
    Http(Arc<[HttpRule]>),
    /// Any of these names.
    Dns(Arc<[FqdnSelector]>),
    /// TLS is intercepted or its server name checked; requests are free.
    Tls,
}

/// The smallest thing that can decide.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its policy, by place in [`PolicySet::policies`].
    pub policy: usize,
    /// Such as `egress[0].toPorts[1]`, `specs[2].ingressDeny[0]`.
    pub path: RulePath,
    /// Where.
    pub span: Span,
    /// Whose traffic, by place in [`PolicySet::subjects`].
    pub subject: usize,
    /// Where this rule's subject is written; equal subjects share a place in the set, not a span.
    pub subject_span: Span,
    /// Which way.
    pub direction: Direction,
    /// Allow or deny.
    pub effect: Effect,
    /// Whether it isolates its subjects in its direction (default deny).
    pub isolates: bool,
    /// Who, by place in [`PolicySet::peers`].
    pub peers: usize,
    /// On which ports.
    pub ports: Ports,
    /// Which requests; `None`: the connection as such.
    pub requests: Option<Requests>,
    /// The TLS contexts that the proxy would use.
    pub tls: Vec<TlsContext>,
    /// The server names that the proxy would ask for.
    pub server_names: Vec<String>,
}

/// All policies of a run.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    /// Sorted by kind, namespace and name.
    pub policies: Vec<Policy>,
    /// Sorted by policy and path; a rule's id is its place.
    pub rules: Vec<Rule>,
    /// Distinct subjects.
    pub subjects: Vec<Subject>,
    /// Peers; rules split from one element share theirs.
    pub peers: Vec<Peers>,
}

/// IP protocol numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}
