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
mod figures;
mod firewall;
mod flows;
mod install;
mod laboratory;
mod lookups;
mod memory;

use figures::Row;
use laboratory::Laboratory;
use std::process::ExitCode;

/// A part of the run, by the name to ask for it.
type Part = (&'static str, fn(&Laboratory, &mut dyn FnMut(Row)));

const PARTS: &[Part] = &[
    ("decision", decision::measure),
    ("lookups", lookups::measure),
    ("flows", flows::measure),
    ("install", install::measure),
    ("memory", memory::measure),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        let known: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        eprintln!("there is no part `{unknown}`, only {}", known.join(", "));
        return ExitCode::from(2);
    }
    let laboratory = match Laboratory::open() {
        Ok(laboratory) => laboratory,
        Err(why) => {
            eprintln!("NOT MEASURED: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", Row::HEAD);
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure(&laboratory, &mut |row| println!("{row}"));
        }
    }
    ExitCode::SUCCESS
}
