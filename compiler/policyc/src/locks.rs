//! The lock files that a command is given.

use crate::args::LockArgs;
use weir_compiler::fqdn::FqdnLock;
use weir_project::{IdentityFile, Project};

/// Reads them; what is wrong with them joins the findings of the project.
pub(crate) fn read(
    args: &LockArgs,
    project: &mut Project,
) -> anyhow::Result<(Option<FqdnLock>, IdentityFile)> {
    let fqdn = project.fqdn_lock(args.fqdn.as_deref())?;
    if let Some(path) = &args.identities {
        // What is said where nobody can tell whether the file is there has always been the system's words
        // alone; the library would name the file.
        path.try_exists()?;
    }
    let identities = project.identity_file(args.identities.as_deref())?;
    Ok((fqdn, identities))
}
