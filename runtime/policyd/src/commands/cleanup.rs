//! `policyd cleanup`: programs of policy and balancing off the interfaces, names of maps gone, and with `--all` what is kept for a restart.

use super::Outcome;
use crate::args::CleanupArgs;
use crate::output::print;
use anyhow::{Context, bail};
use weir_runtime::control::client::Client;
use weir_runtime::datapath::remove_everything;
use weir_runtime::store::Store;

/// The command.
pub(crate) fn run(args: &CleanupArgs) -> anyhow::Result<Outcome> {
    if Client::connect(&args.socket.socket).is_ok() {
        bail!("policyd runs and would enforce again; end it first");
    }
    let was_there = remove_everything(&args.pins).context("cannot clean up")?;
    let mut told = if was_there {
        format!(
            "nothing of {} is in the kernel any more: nothing is enforced or balanced\n",
            args.pins.display()
        )
    } else {
        format!("there was nothing at {}\n", args.pins.display())
    };
    if args.all {
        Store::remove(&args.state)?;
        told += &format!("nothing is kept in {} any more\n", args.state.display());
    }
    print(&told)?;
    Ok(Outcome::Fine)
}
