//! Services asked for from inside: real sockets, in a cgroup and network namespaces of the test's own, and an image that was compiled for
//! them. No daemon. Needs root, namespaces and cgroup2; elsewhere it is skipped aloud, and with CI=true that is a failure.
//!
//! Not here: who asks from outside, the lab's whole table of cases.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a kernel that refuses what is asked here has failed")]

mod connected;
mod datagrams;
mod ground;
mod links;
mod nobody;
mod node_ports;
mod server;
mod veth;
