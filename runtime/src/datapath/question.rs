//! Questions as packets: what would happen to the first packet of a connection, asked of the very programs that stand at
//! pods' interfaces.
//!
//! A question travels as a real packet through `BPF_PROG_TEST_RUN`. Its mark says that it is one, so it leaves no connection, counter or
//! event. An [`Arrival`] is any packet at all, and leaves what it would leave. Not here: what the rule in an answer is called (the image
//! knows).

use super::error::DatapathError;
use std::net::IpAddr;
use weir_abi::layout::NO_RULE;
use weir_abi::state::{Hook, answer};
use weir_abi::{Action, Reason, RequestKind};

/// The first packet of a connection, at one side's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose policy is asked.
    pub hook: Hook,
    /// The pod's interface.
    pub interface: u32,
    /// Who opens it.
    pub source: IpAddr,
    /// To whom; of the same family.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Destination port; for ICMP the type.
    pub port: u16,
}

/// What the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What happens.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The rule, or for a redirect the request set.
    pub rule_or_set: Option<u32>,
    /// What a redirect is about.
    pub requests: Option<RequestKind>,
}

/// A packet as if it had come to a pod's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// Which program it meets.
    pub hook: Hook,
    /// The pod's interface.
    pub interface: u32,
    /// Its mark.
    pub mark: u32,
    /// All of it, from the Ethernet header on.
    pub frame: &'a [u8],
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Goes on to whatever stands next.
    Passed,
    /// Is dropped.
    Dropped,
    /// Comes in again at its interface, for a request proxy.
    TurnedRound,
}

/// A packet that a program is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// What becomes of it.
    pub fate: Fate,
    /// Its mark.
    pub mark: u32,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_LITE: u8 = 136;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Where a client's port would be; it matters to no verdict.
const SOURCE_PORT: u16 = 40000;
const SCTP_INIT: u8 = 1;
/// Not 255, which would make a neighbour's of an ICMPv6 packet.
const HOPS: u8 = 64;

impl Question {
    /// Ethernet, IP and transport headers, with a few bytes behind them.
    pub(super) fn packet(&self) -> Result<Vec<u8>, DatapathError> {
        let transport = self.transport();
        let length = u16::try_from(transport.len()).unwrap_or(u16::MAX);
        let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                packet.extend([0x08, 0x00, 0x45, 0]);
                packet.extend((length + 20).to_be_bytes());
                packet.extend([0, 1, 0, 0, HOPS, self.protocol, 0, 0]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                packet.extend([0x86, 0xDD, 0x60, 0, 0, 0]);
                packet.extend(length.to_be_bytes());
                packet.extend([self.protocol, HOPS]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
            }
            _ => return Err(DatapathError::Question("its addresses are of two families")),
        }
        packet.extend(transport);
        Ok(packet)
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.protocol {
            TCP | UDP | UDP_LITE | SCTP => {
                bytes.extend(SOURCE_PORT.to_be_bytes());
                bytes.extend(self.port.to_be_bytes());
                match self.protocol {
                    // A SYN: data offset 5, flags 2.
                    TCP => bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xFF, 0xFF]),
                    SCTP => bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, SCTP_INIT, 0, 0, 20]),
                    _ => bytes.extend([0, 16, 0, 0]),
                }
            }
            // Type, code, checksum, identifier, number.
            ICMP | ICMPV6 => bytes.extend([self.port.to_be_bytes()[1], 0, 0, 0, 0, 1, 0, 1]),
            _ => {}
        }
        bytes.resize(bytes.len() + 8, 0);
        bytes
    }
}

/// What programs return: `TCX_NEXT`, `TC_ACT_SHOT`, `TC_ACT_REDIRECT`.
const NEXT: i32 = -1;
const SHOT: i32 = 2;
const REDIRECT: i32 = 7;

/// Bytes of `struct __sk_buff` that a test run takes and gives.
pub(super) const CONTEXT: usize = 192;
const CONTEXT_MARK: usize = 8;
const CONTEXT_IFINDEX: usize = 40;
const CONTEXT_CB: usize = 48;

/// The context of a packet at an interface.
pub(super) fn context(interface: u32, mark: u32) -> [u8; CONTEXT] {
    let mut context = [0; CONTEXT];
    context[CONTEXT_MARK..][..4].copy_from_slice(&mark.to_ne_bytes());
    context[CONTEXT_IFINDEX..][..4].copy_from_slice(&interface.to_ne_bytes());
    context
}

fn word(context: &[u8; CONTEXT], at: usize) -> Option<u32> {
    let bytes = context.get(at..)?.get(..4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// What a program's return value and the context that came back say; `None` for a value that no program of ours returns.
pub(super) fn departure(returned: u32, context: &[u8; CONTEXT]) -> Option<Departure> {
    let fate = match returned.cast_signed() {
        NEXT => Fate::Passed,
        SHOT => Fate::Dropped,
        REDIRECT => Fate::TurnedRound,
        _ => return None,
    };
    Some(Departure { fate, mark: word(context, CONTEXT_MARK)? })
}

/// The answer in a context that came back; `None` if there is none in it.
pub(super) fn answer(context: &[u8; CONTEXT]) -> Option<Answer> {
    let word = |place: usize| word(context, CONTEXT_CB + place * 4);
    let [action, reason, requests, _] = word(answer::OUTCOME)?.to_le_bytes();
    let rule_or_set = word(answer::RULE_OR_SET)?;
    Some(Answer {
        action: Action::from_number(action)?,
        reason: Reason::from_number(reason)?,
        rule_or_set: (rule_or_set != NO_RULE).then_some(rule_or_set),
        requests: RequestKind::from_number(requests),
    })
}
