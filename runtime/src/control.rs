//! The daemon's socket: one JSON object a line, asked and answered in order.
//!
//! ```text
//! {"op": "status"}                                             {"status": {…}}
//! {"op": "register", "pod": "shop/web", "interface": "veth1"}  {"registered": {"enforced": true}}
//! {"op": "unregister", "pod": "shop/web"}                      {"unregistered": {"known": true}}
//! {"op": "counters"}                                           {"counters": [{…}]}
//! {"op": "ask", "flows": ["{…}"]}                              {"answers": [{"line": "…"}]}
//! {"op": "monitor", "drops": true}                             {"event": {…}} and {"lost": 3}, until the client goes
//! ```
//!
//! What goes wrong is `{"error": "…"}`, and the connection stays. Lines are bounded, and so are clients. Only root may
//! open the socket.

pub mod client;
pub mod line;
pub mod server;

use crate::observer::Filter;
use crate::status::Status;
use crate::tally::RuleCount;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Bytes of a line that a client sends, at most.
pub const MAX_REQUEST: usize = 4 << 20;
/// Bytes of a line that the daemon sends, at most.
pub const MAX_RESPONSE: usize = 64 << 20;
/// Flows in one request, at most.
pub const MAX_FLOWS: usize = 1024;

/// What a client asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What is in force.
    Status,
    /// Events as they come.
    Monitor {
        /// Drops alone.
        #[serde(default)]
        drops: bool,
        /// Events about this pod or node alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        party: Option<String>,
        /// So many of the newest events first.
        #[serde(default)]
        last: usize,
    },
    /// A pod has an interface.
    Register {
        /// `namespace/pod`.
        pod: String,
        /// The host's side of its veth.
        interface: String,
    },
    /// A pod is gone.
    Unregister {
        /// `namespace/pod`.
        pod: String,
    },
    /// Packets by rule.
    Counters,
    /// What would happen to flows, asked of the programs in the kernel.
    Ask {
        /// Flows, each as a line that `policyc verdict --flows` reads.
        flows: Vec<String>,
    },
}

/// What the daemon says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It could not be done.
    Error(String),
    /// Of [`Request::Status`].
    Status(Box<Status>),
    /// Of [`Request::Register`].
    Registered {
        /// Whether the pod's policy is enforced there now.
        enforced: bool,
        /// Why not, if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Of [`Request::Unregister`].
    Unregistered {
        /// Whether there was a registration.
        known: bool,
    },
    /// Of [`Request::Counters`].
    Counters(Vec<RuleCount>),
    /// Of [`Request::Ask`]: a line for each flow, in order.
    Answers(Vec<Answered>),
    /// An event, as [`crate::event::Event`] is written.
    Event(Box<RawValue>),
    /// So many events found no room in the client's queue.
    Lost(u64),
}

/// The answer to one flow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answered {
    /// A line as `policyc verdict` prints it.
    Line(String),
    /// What is wrong with the flow.
    Finding(String),
}

impl Request {
    /// The events that a client wants, if it wants events.
    pub fn filter(&self) -> Option<Filter> {
        match self {
            Request::Monitor { drops, party, last } => {
                Some(Filter { drops: *drops, party: party.clone(), last: *last })
            }
            _ => None,
        }
    }
}
