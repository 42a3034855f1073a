//! Clients that others wrote, and that tell by themselves what went wrong: `wrk` for requests, `iperf3` for streams.
//!
//! They say what they counted; what may be counted is the test's to say. Not here: who answers `wrk` (`http.rs`).

mod iperf;
mod wrk;

pub use iperf::{Carried, Iperf, IperfServer, Streamed};
pub use wrk::{Requests, Wrk};

/// The programs that these are.
pub const PROGRAMS: &[&str] = &["wrk", "iperf3"];
