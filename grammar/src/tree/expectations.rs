//! Expectations: what people expect of policies, written beside them.

use super::{CidrSet, Entity, IcmpType, Meta, PortSpec, Selector};
use crate::span::{Span, Spanned};
use std::net::IpAddr;

/// A list of expectations. It changes no verdict.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// Name and labels; cluster-scoped.
    pub meta: Meta,
    /// `spec.description`; for people.
    pub description: Option<String>,
    /// `spec.expectations`.
    pub list: Vec<Expectation>,
}

/// What is expected of everybody on one side towards everybody on the other, on every port that is named.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Where.
    pub span: Span,
    /// Who connects.
    pub from: Vec<End>,
    /// To whom.
    pub to: Vec<End>,
    /// The ports. Without any and without ICMP types: every protocol and port.
    pub ports: Vec<PortSpec>,
    /// ICMP types.
    pub icmps: Vec<IcmpType>,
    /// What is asked over the connection.
    pub request: Option<ExpectedRequest>,
    /// What is to happen.
    pub verdict: Spanned<ExpectedVerdict>,
    /// The one direction whose policies count; `None`: both.
    pub direction: Option<ExpectedDirection>,
}

/// Some of those on one side.
#[derive(Clone, Debug)]
pub struct End {
    /// Where.
    pub span: Span,
    /// Who.
    pub who: EndKind,
}

/// Who is on one side.
#[derive(Clone, Debug)]
pub enum EndKind {
    /// A pod, or all pods of a workload.
    Workload {
        /// Its namespace.
        namespace: String,
        /// The pod's name, or the workload's.
        name: String,
    },
    /// Pods with such labels.
    Pods(Selector),
    /// Nodes with such labels.
    Nodes(Selector),
    /// An entity.
    Entity(Entity),
    /// Whoever has the address.
    Address(IpAddr),
    /// Addresses outside the cluster.
    Blocks(CidrSet),
    /// Addresses to which a DNS name leads, lower case.
    Fqdn(String),
}

/// What is asked over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedRequest {
    /// An HTTP request.
    Http {
        /// Method.
        method: String,
        /// Path with query.
        path: String,
        /// Host; empty if none is sent.
        host: String,
        /// Names and values; no name twice, whatever its case.
        headers: Vec<(String, String)>,
    },
    /// A DNS query for a name.
    Dns(String),
}

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExpectedVerdict {
    /// The connection passes, and with it what is asked.
    Allow,
    /// It does not.
    Deny,
}

impl ExpectedVerdict {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            ExpectedVerdict::Allow => "allow",
            ExpectedVerdict::Deny => "deny",
        }
    }
}

/// Whose policies count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExpectedDirection {
    /// Only those of who is connected to.
    Ingress,
    /// Only those of who connects.
    Egress,
}

impl ExpectedDirection {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            ExpectedDirection::Ingress => "ingress",
            ExpectedDirection::Egress => "egress",
        }
    }
}
