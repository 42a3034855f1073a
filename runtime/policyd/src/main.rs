//! `policyd`: enforces the policies of a source on this node, and tells what it does.
//!
//! Results go to stdout, what people are told to stderr. The exit code is decided here and nowhere else: 0 fine, 1 something is
//! wrong with what was read or is in force, 2 the work could not be done.
//!
//! Not here: enforcement itself (weir-runtime); this is its command line.

mod args;
mod commands;
mod config;
mod output;

use args::{Cli, Command};
use clap::Parser;
use commands::Outcome;
use std::process::ExitCode;

const FINDINGS: u8 = 1;
const FAILURE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version are told on stdout and are no failure.
            let code = if told.use_stderr() { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS };
            // Nobody is left to tell if this fails.
            _ = told.print();
            return code;
        }
    };
    let done = match &cli.command {
        Command::Run(args) => commands::run::run(args),
        Command::Status(args) => commands::status::run(args),
        Command::Monitor(args) => commands::monitor::run(args),
        Command::Verdict(args) => commands::verdict::run(args),
        Command::Cleanup(args) => commands::cleanup::run(args),
    };
    match done {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(FINDINGS),
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(FAILURE)
        }
    }
}
