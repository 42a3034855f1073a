//! `policyc man [DIR]`.

use super::Outcome;
use crate::args::{Cli, ManArgs};
use crate::output::Out;
use anyhow::Context;
use clap::CommandFactory;

/// The command.
pub(crate) fn run(args: &ManArgs) -> anyhow::Result<Outcome> {
    let command = Cli::command();
    match &args.folder {
        Some(folder) => {
            let failed = || format!("cannot write to {}", folder.display());
            std::fs::create_dir_all(folder).with_context(failed)?;
            clap_mangen::generate_to(command, folder).with_context(failed)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            Out::print(page)?;
        }
    }
    Ok(Outcome::Fine)
}
