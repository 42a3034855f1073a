//! Packets beyond the first of a connection, and packets that nobody should send, through the very programs: connections, errors about
//! them, pieces, neighbours, and what cannot be read.
//!
//! Needs root; elsewhere each test is skipped aloud, and with CI=true that is a failure. Not here: verdicts about first packets (the
//! corpus, on every engine), packets on wires (the lab).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test in which the kernel does not answer has failed"
)]

mod connections;
mod errors;
mod fragments;
mod malformed;
mod neighbours;
mod wire;
