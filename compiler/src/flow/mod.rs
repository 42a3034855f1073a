//! Flows: connections that may or may not begin, and what is said of them.
//!
//! ```text
//! JSON line ─ read ─> Flow ─ judge (with an Engine) ─> Judgement ─ VerdictLine::new ─> JSON line
//! ```
//!
//! A flow is the first packet of a connection after service translation, with what is asked over it.
//! Its ends are resolved against the cluster when it is read, so an engine meets parties, not names.
//!
//! Not here: how an engine decides one side ([`crate::reference`], the image), replies (they pass).

mod judgement;
mod read;
mod report;

pub use judgement::{Engine, Judgement, Side, Verdict, judge};
pub use read::{MAX_LINE, endpoint, read, read_line};
pub use report::{Origin, Origins, RuleLine, VerdictLine, WrittenRules};

use crate::cluster::Party;
use crate::fqdn::FqdnLock;
use crate::ir::{Direction, protocol};
use crate::requests::{Asked, DnsRequest, HttpRequest};
use weir_grammar::span::Span;

/// The IP protocols of flows, by name.
const PROTOCOLS: [(&str, u8); 5] = [
    ("TCP", protocol::TCP),
    ("UDP", protocol::UDP),
    ("SCTP", protocol::SCTP),
    ("ICMP", protocol::ICMP),
    ("ICMPv6", protocol::ICMPV6),
];

/// An IP protocol by its name, whatever the case: TCP, UDP, SCTP, ICMP, ICMPv6.
pub fn protocol_named(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, number)| number)
}

/// The name of an IP protocol of flows; its number for another.
pub fn protocol_name(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// Whether the numbers of a protocol are ICMP types.
const fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

/// Whose policies count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Enforced {
    /// Only the destination's.
    Ingress,
    /// Only the source's.
    Egress,
    /// The source's, then the destination's.
    Both,
}

impl Enforced {
    /// The directions, in the order that packets meet them.
    pub const fn directions(self) -> &'static [Direction] {
        match self {
            Enforced::Ingress => &[Direction::Ingress],
            Enforced::Egress => &[Direction::Egress],
            Enforced::Both => &[Direction::Egress, Direction::Ingress],
        }
    }
}

/// A connection about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its name, repeated in the answer.
    pub id: String,
    /// Where it is written.
    pub span: Span,
    /// Who opens it.
    pub source: Party,
    /// To whom.
    pub destination: Party,
    /// IP protocol.
    pub protocol: u8,
    /// Destination port after service translation; for ICMP the type.
    pub port: u16,
    /// Whose policies count.
    pub enforced: Enforced,
    /// The HTTP request sent over it.
    pub http: Option<HttpRequest>,
    /// The DNS query sent over it.
    pub dns: Option<DnsRequest>,
    /// Names under which the source learnt the destination's address.
    pub fqdn: Vec<String>,
    /// The verdicts that are right, where the flow says so.
    pub expected: Vec<Verdict>,
    /// Why those are.
    pub why: Option<String>,
}

impl Flow {
    /// Whose policy is asked in a direction, and who is then the peer.
    pub const fn subject_and_peer(&self, direction: Direction) -> (Party, Party) {
        match direction {
            Direction::Ingress => (self.destination, self.source),
            Direction::Egress => (self.source, self.destination),
        }
    }

    /// What is asked over it.
    pub const fn asked(&self) -> Asked<'_> {
        Asked { http: self.http.as_ref(), dns: self.dns.as_ref() }
    }

    /// The names of the destination's address: the flow's own and the lock file's.
    pub fn names<'f>(&'f self, lock: Option<&'f FqdnLock>) -> impl Iterator<Item = &'f str> {
        let locked = match (self.destination, lock) {
            (Party::Outside(address), Some(lock)) => lock.names(address),
            _ => &[],
        };
        self.fqdn.iter().chain(locked).map(String::as_str)
    }
}
