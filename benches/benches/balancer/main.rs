//! What balancing costs a packet, by test runs of the product's own programs, beside a table of flows and the kernel's own way.
//!
//! `cargo bench -p weir-benches --bench balancer [-- PART…]` prints a table; `cargo xtask bench balancer` keeps it. Needs root: without, it says
//! so and measures nothing. Everything that is compared runs in turns in this one process, on one CPU, in network namespaces of its own. A
//! packet that comes out otherwise than the interpreted image says ends the run: wrong packets have no cost.
//!
//! Not here: images of services before a packet comes (`services`), traffic on wires.

#![expect(clippy::unwrap_used, reason = "a benchmark whose parts fail has nothing to measure")]

mod arrivals;
mod direct;
mod flow_table;
mod install;
mod network;
mod others;
mod stack;
mod steps;
mod turns;
mod weir;

use std::process::ExitCode;
use weir_benches::alone;
use weir_benches::figures::{Part, tell_parts};

const PARTS: &[Part<()>] = &[
    ("direct", direct::measure),
    ("others", others::measure),
    ("steps", steps::measure),
    ("stack", stack::measure),
    ("install", install::measure),
];

fn main() -> ExitCode {
    tell_parts(PARTS, alone::on_one_cpu)
}
