//! `policyc completions SHELL`.

use super::Outcome;
use crate::args::{Cli, CompletionsArgs};
use crate::output::Out;
use clap::CommandFactory;

/// The command.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Outcome> {
    // Into memory first: the generator takes a failing writer for a bug.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "policyc", &mut script);
    Out::print(script)?;
    Ok(Outcome::Fine)
}
