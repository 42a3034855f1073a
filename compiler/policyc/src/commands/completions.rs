//! `policyc completions SHELL`.

use super::Outcome;
use crate::args::{Cli, CompletionsArgs};
use crate::output::Out;
use clap::CommandFactory;
use std::io::Write;

/// The command.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Outcome> {
    // Into memory first: the generator takes a failing writer for a bug.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "policyc", &mut script);
    let mut out = Out::new();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Outcome::Fine)
}
