//! Load balancing by `policyd`, between real sockets in a lab of three nodes: what a client of a service finds, wherever it is.
//!
//! | file | asks |
//! |---|---|
//! | `table.rs`, `expectation.rs`, `suite.rs` | every combination that makes sense: who answers, whom they see, which way the answer takes |
//! | `refusals.rs` | what must not be answered, and how it is told; health checks |
//! | `judged.rs` | policy, after translation |
//! | `forged.rs` | wrapped packets of whoever can write any address |
//! | `overheard.rs` | frames that are for another host |
//! | `paths.rs` | packets that are too big, fragments, errors |
//! | `ports.rs` | what source NAT does with the node's ports |
//! | `survival.rs` | what connections live through: changes, restarts, crashes, backends that come and go |
//! | `gone.rs` | the same where a backend is gone at once |
//!
//! SCTP is not here: the kernels that we test on are built without its sockets; packets of it are tested by test runs of the programs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a lab in which something fails has failed")]

mod expectation;
mod forged;
mod gone;
mod judged;
mod overheard;
mod paths;
mod ports;
mod refusals;
mod stage;
mod suite;
mod survival;
mod table;
