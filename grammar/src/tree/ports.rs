//! Ports, protocols and ICMP types.

use super::requests::{RequestRules, TlsContext};
use crate::span::{Span, Spanned};

/// A transport protocol of a port entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `ANY` or left out: TCP, UDP and SCTP, never ICMP.
    Any,
    /// TCP (6).
    Tcp,
    /// UDP (17).
    Udp,
    /// SCTP (132).
    Sctp,
    /// A protocol without ports, by IANA number (VRRP 112, IGMP 2).
    Other(u8),
}

impl Protocol {
    /// As Cilium's API writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Protocol::Any => "ANY",
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
            Protocol::Other(2) => "IGMP",
            // No manifest can name a third.
            Protocol::Other(_) => "VRRP",
        }
    }
}

/// A port as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// Every port of the protocol (`"0"`, or a NetworkPolicy port left out).
    All,
    /// First and last port, inclusive; equal for a single port. `first >= 1`.
    Range(u16, u16),
    /// A container port's name, lower case.
    Name(String),
}

/// One entry of a port list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Where.
    pub span: Span,
    /// Which ports.
    pub port: Port,
    /// Of which protocol.
    pub protocol: Protocol,
}

/// One element of `toPorts`: ports, and what may be asked of them.
#[derive(Clone, Debug)]
pub struct PortList {
    /// Where.
    pub span: Span,
    /// The ports. Empty: the element admits nothing.
    pub ports: Vec<PortSpec>,
    /// HTTP or DNS rules; `None` if there are none (an empty list is none).
    pub requests: Option<RequestRules>,
    /// `terminatingTLS`.
    pub terminating_tls: Option<TlsContext>,
    /// `originatingTLS`.
    pub originating_tls: Option<TlsContext>,
    /// `serverNames`, the TLS server names admitted; empty: any.
    pub server_names: Vec<Spanned<String>>,
}

/// Which ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IcmpFamily {
    /// ICMP (protocol 1).
    V4,
    /// ICMPv6 (protocol 58).
    V6,
}

/// One entry of `icmps[].fields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// Where.
    pub span: Span,
    /// The family; IPv4 when left out.
    pub family: IcmpFamily,
    /// The type. Codes cannot be told apart.
    pub icmp_type: u8,
}
