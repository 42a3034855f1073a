//! One entry for every chore: `cargo xtask <command>`.
//!
//! Each command is a file of its name. They run from anywhere inside the repository, install what they need and can,
//! say aloud what they skip, and leave with 0 when all is well, 1 when something is wrong, 2 when the call made no sense.
//!
//! Not here: anything a shipped binary needs. Nothing depends on this package.

mod architecture;
mod bench;
mod checkout;
mod demo;
mod fuzz;
mod kernel;
mod setup;
mod steps;
mod test;

use checkout::Checkout;
use std::process::ExitCode;

/// A chore that could not be done, in words for the person who asked for it; empty if all has been said.
type Failure = String;

/// A command: its name, what it takes, what it does, and the function.
struct Chore {
    name: &'static str,
    takes: &'static str,
    does: &'static str,
    run: fn(&Checkout, &[String]) -> Result<(), Failure>,
}

const CHORES: &[Chore] = &[
    Chore { name: "test", takes: "", does: "every check and every test, as CI runs them", run: test::run },
    Chore {
        name: "demo",
        takes: "",
        does: "the main job, shown on the manifests of examples/shop",
        run: demo::run,
    },
    Chore {
        name: "fuzz",
        takes: "[--seconds N] [TARGET…]",
        does: "fuzzes the targets of tests/fuzz, 300 s each unless told otherwise",
        run: fuzz::run,
    },
    Chore {
        name: "kernel",
        takes: "[TEST BINARY…]",
        does: "boots Linux 6.1 under qemu and runs tests in it, the loader's unless told otherwise",
        run: kernel::run,
    },
    Chore {
        name: "bench",
        takes: "[PART… | --runs N]",
        does: "measures, all or kernel, services, balancer, traffic; writes benches/results/<date>-<machine>.md",
        run: bench::run,
    },
    Chore {
        name: "architecture",
        takes: "",
        does: "arrows between rooms, licences, banned crates, rules for source files",
        run: architecture::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", help());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprintln!("xtask: there is no command `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    if rest.iter().any(|argument| argument == "-h" || argument == "--help") {
        println!("cargo xtask {} {}\n\n{}", chore.name, chore.takes, chore.does);
        return ExitCode::SUCCESS;
    }
    match Checkout::find().and_then(|checkout| (chore.run)(&checkout, rest)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_empty() {
                eprintln!("xtask {name}: {failure}");
            }
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut text = String::from("cargo xtask <command>\n\n");
    for chore in CHORES {
        let call = format!("{} {}", chore.name, chore.takes);
        text.push_str(&format!("  {call:<30} {}\n", chore.does));
    }
    text
}

/// Refuses arguments a command does not take, so that a misspelt flag is never ignored.
fn takes_nothing(arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(format!("`{argument}` is not understood; this command takes no arguments")),
    }
}
