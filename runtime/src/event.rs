//! An event as told to people and programs: a packet's fate, with names.
//!
//! The same facts are a JSON object or a line of text. An identity or rule that no legend knows any more stays a number; an event
//! is never withheld for lack of a name.
//!
//! Not here: where records come from and who listens ([`crate::observer`]).

mod naming;
mod text;

pub use naming::Naming;

use crate::legend::RuleName;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// A packet's fate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in UTC.
    pub time: String,
    /// On which node.
    pub node: String,
    /// `connection`, `drop` or `packet`.
    pub kind: String,
    /// What happened.
    pub verdict: Fate,
    /// Why.
    pub reason: String,
    /// Whose policy was asked: `egress`, the source's; `ingress`, the destination's.
    pub direction: String,
    /// Whether the packet goes back on a connection that the other side opened.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_reply: bool,
    /// IP protocol.
    pub protocol: String,
    /// TCP flags of the packet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp_flags: Vec<String>,
    /// ICMP type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u16>,
    /// Who sent it.
    pub source: End,
    /// To whom.
    pub destination: End,
    /// The rule that decided; for default deny the first that isolates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RuleName>,
    /// The pod's interface.
    pub interface: InterfaceName,
    /// Bytes of the packet.
    pub bytes: u32,
    /// Drops before this one that were counted and not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
    /// The image that judged, by its checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// What happened to a packet; the words are Hubble's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Fate {
    /// It passed.
    Forwarded,
    /// It went to a proxy.
    Redirected,
    /// It was dropped.
    Dropped,
}

impl Fate {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fate::Forwarded => "FORWARDED",
            Fate::Redirected => "REDIRECTED",
            Fate::Dropped => "DROPPED",
        }
    }
}

/// One end of a packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `namespace/pod`, or a node's name; none outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address.
    pub ip: IpAddr,
    /// The port, where there are ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The identity; none outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<u32>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "labels")]
    pub labels: Option<Arc<[String]>>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceName {
    /// Its index.
    pub index: u32,
    /// Its name, if it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Labels as a list; they are shared by all events of an identity.
mod labels {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(labels: &Option<Arc<[String]>>, to: S) -> Result<S::Ok, S::Error> {
        labels.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<[String]>>, D::Error> {
        Ok(Option::<Vec<String>>::deserialize(from)?.map(Arc::from))
    }
}

#[cfg(test)]
mod tests;
