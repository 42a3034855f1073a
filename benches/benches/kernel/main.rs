//! What the kernel spends on policy, by test runs of the product's own code on images of the product's own compiler.
//!
//! `cargo bench -p weir-benches --bench kernel [-- PART…]` prints a table; `cargo xtask bench kernel` keeps it. Needs root: without,
//! it says so and measures nothing. Everything that is compared runs in turns in this one process, pinned to one CPU, in a
//! network namespace of its own. An answer that differs from the interpreted image ends the run: wrong answers have no cost.
//!
//! Not here: traffic on wires.

#![expect(clippy::unwrap_used, reason = "a benchmark whose parts fail has nothing to measure")]

mod bench_programs;
mod decision;
mod expanded;
mod firewall;
mod flows;
mod install;
mod laboratory;
mod lookups;
mod memory;

use laboratory::Laboratory;
use std::process::ExitCode;
use weir_benches::figures::{Part, tell_parts};

const PARTS: &[Part<Laboratory>] = &[
    ("decision", decision::measure),
    ("lookups", lookups::measure),
    ("flows", flows::measure),
    ("install", install::measure),
    ("memory", memory::measure),
];

fn main() -> ExitCode {
    tell_parts(PARTS, Laboratory::open)
}
