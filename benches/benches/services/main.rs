//! What services cost before a packet comes: compiled, changed, and put in force.
//!
//! `cargo bench -p weir-benches --bench services [-- PART…]` prints a table; `cargo xtask bench services` keeps it, beside what the whole
//! tool takes. What is compared has its turn in every round, in this one process.
//!
//! Not here: packets (`balancer`).

#![expect(clippy::unwrap_used, reason = "a benchmark whose parts fail has nothing to measure")]

mod changes;
mod tables;

use std::process::ExitCode;
use weir_benches::figures::tell_parts;

fn main() -> ExitCode {
    tell_parts(&[("tables", tables::measure), ("changes", changes::measure)], || Ok(()))
}
