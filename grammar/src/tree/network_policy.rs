//! NetworkPolicy (`networking.k8s.io/v1`).

use super::{Meta, PlacedCidr, PortSpec, Selector};
use crate::span::Span;

/// One NetworkPolicy.
#[derive(Clone, Debug)]
pub struct NetworkPolicy {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.podSelector`.
    pub pods: Selector,
    /// Whether ingress is isolated: named in `policyTypes`, or `policyTypes` left out.
    pub isolates_ingress: bool,
    /// Whether egress is isolated: named in `policyTypes`, or left out with egress rules present.
    pub isolates_egress: bool,
    /// `spec.ingress`.
    pub ingress: Vec<NetworkRule>,
    /// `spec.egress`.
    pub egress: Vec<NetworkRule>,
}

/// One ingress or egress rule.
#[derive(Clone, Debug)]
pub struct NetworkRule {
    /// Where.
    pub span: Span,
    /// `from`/`to`. Empty: every peer, inside and outside.
    pub peers: Vec<NetworkPeer>,
    /// `ports`. Empty: every port and protocol.
    pub ports: Vec<PortSpec>,
}

/// One peer.
#[derive(Clone, Debug)]
pub enum NetworkPeer {
    /// `ipBlock`.
    Block {
        /// The prefix.
        cidr: PlacedCidr,
        /// Its exceptions.
        except: Vec<PlacedCidr>,
    },
    /// `podSelector`, `namespaceSelector`, or both.
    Pods {
        /// Over namespaces; `None`: the policy's own.
        namespaces: Option<Selector>,
        /// Over pods; `None`: all.
        pods: Option<Selector>,
    },
}
