//! Load balancing by `policyd`, between real sockets in a lab of three nodes: what a client of a service finds, wherever it is.
//!
//! | file | asks |
//! |---|---|
//! | `table.rs`, `expectation.rs`, `suite.rs` | every combination that makes sense: who answers, whom they see, which way the answer takes |
//! | `refusals.rs` | what must not be answered, and how it is told; health checks |
//! | `zones.rs` | hints of slices: who is for which zone |
//! | `alone.rs` | a balancer without a cluster, and its health checks |
//! | `judged.rs` | policy, after translation |
//! | `paths.rs` | packets that are too big, fragments, errors |
//! | `large.rs` | datagrams in bulk, packets that the next hop alone cannot take |
//! | `ports.rs` | what source NAT does with the node's ports |
//! | `one_port.rs` | one port of a client that leads to one backend by several services |
//! | `load.rs` | what `wrk` and `iperf3` count while services churn |
//! | `strays.rs` | packets that a node hears and leaves alone |
//! | `survival.rs` | what connections live through: changes, restarts, crashes, backends that come and go |
//! | `gone.rs` | the same where a backend is gone at once |
//! | `unasked.rs` | what packets that belong to no connection leave on record, and for how long |
//! | `by_hand.rs` | packets as no socket of the lab sends them, put into a node's program |
//!
//! SCTP is spoken over raw sockets (`tests/lab/src/peer/sctp.rs`), since the kernels that we test on are built without its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a lab in which something fails has failed")]

mod alone;
mod by_hand;
mod expectation;
mod gone;
mod judged;
mod large;
mod load;
mod one_port;
mod paths;
mod ports;
mod refusals;
mod stage;
mod strays;
mod suite;
mod survival;
mod table;
mod unasked;
mod zones;
