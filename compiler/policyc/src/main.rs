//! `policyc`: checks, compiles and explains network policy without a cluster.
//!
//! Results go to stdout, what people are told to stderr. The exit code is decided here and nowhere else:
//! 0 fine, 1 findings (something is wrong with what was read), 2 the work could not be done.
//!
//! Not here: what policies mean (weir-compiler), how they are written (weir-grammar), what is on disk
//! (weir-project).

mod args;
mod commands;
mod drawing;
mod expected;
mod explanation;
mod images;
mod locks;
mod output;
mod render;
mod sections;
mod stages;

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
    let terminal = output::Terminal::new(cli.color);
    let done = match &cli.command {
        Command::Check(args) => commands::check::run(args, &terminal),
        Command::Compile(args) => commands::compile::run(args, &terminal),
        Command::Inspect(args) => commands::inspect::run(args, &terminal),
        Command::Verdict(args) => commands::verdict::run(args, &terminal),
        Command::Diff(args) => commands::diff::run(args, &terminal),
        Command::Explain(args) => commands::explain::run(args, &terminal),
        Command::Test(args) => commands::test::run(args, &terminal),
        Command::Replay(args) => commands::replay::run(args, &terminal),
        Command::Graph(args) => commands::graph::run(args, &terminal),
        Command::Services(args) => commands::services::run(args, &terminal),
        Command::Convert(args) => commands::convert::run(args, &terminal),
        Command::Fmt(args) => commands::fmt::run(args, &terminal),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::man::run(args),
    };
    match done {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(FINDINGS),
        Err(failure) => {
            terminal.failure(&failure);
            ExitCode::from(FAILURE)
        }
    }
}
