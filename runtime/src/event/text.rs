//! An event as a line of text.
//!
//! ```text
//! TIME SOURCE -> DESTINATION PROTOCOL [FLAGS] VERDICT DIRECTION REASON [KIND POLICY RULE FILE:LINE]
//! ```
//!
//! By default nothing is denied, unless a rule isolates the pod: the first that does is told, as the one that it is isolated by.

use super::{End, Event};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use weir_abi::Reason;

/// Letters of a time of which the rest is beyond milliseconds.
const MILLISECONDS: usize = "2026-11-25T13:38:32.123".len();

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let time = self.time.get(..MILLISECONDS).unwrap_or(&self.time);
        let arrow = if self.is_reply { "<-" } else { "->" };
        let (first, second) =
            if self.is_reply { (&self.destination, &self.source) } else { (&self.source, &self.destination) };
        write!(f, "{time}Z {first} {arrow} {second} {}", self.protocol)?;
        if let Some(icmp_type) = self.icmp_type {
            write!(f, " type {icmp_type}")?;
        }
        if !self.tcp_flags.is_empty() {
            write!(f, " {}", self.tcp_flags.join(","))?;
        }
        write!(f, " {} {} {}", self.verdict.as_str(), self.direction, self.reason)?;
        if let Some(by) = &self.by {
            if self.reason == Reason::DefaultDeny.as_str() {
                f.write_str(", isolated by")?;
            }
            write!(f, " {} {} {} {}:{}", by.kind, by.policy, by.rule, by.file, by.line)?;
        }
        match self.left_out {
            0 => Ok(()),
            1 => write!(f, " (1 drop before it not told)"),
            more => write!(f, " ({more} drops before it not told)"),
        }
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.name, self.ip, self.port) {
            (Some(name), _, Some(port)) => write!(f, "{name}:{port}"),
            (Some(name), _, None) => write!(f, "{name}"),
            (None, IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
            (None, ip, Some(port)) => write!(f, "{ip}:{port}"),
            (None, ip, None) => write!(f, "{ip}"),
        }?;
        // An address of a node that the cluster does not list has no name, but says that it is a node's.
        let labels = self.labels.as_deref().unwrap_or_default();
        let entity = labels.iter().find_map(|label| label.strip_prefix("reserved:"));
        match (&self.name, entity, self.identity) {
            (Some(_), _, _) => Ok(()),
            (None, Some(entity), _) => write!(f, " ({})", entity.trim_end_matches('=')),
            (None, None, Some(identity)) => write!(f, " (ID:{identity})"),
            (None, None, None) => write!(f, " (world)"),
        }
    }
}
