//! `policyc fmt`: files of the policy language in the layout that all of them have.
//!
//! A file is replaced in one step, and only by a text that says the same (see `weir_grammar::format`). What
//! cannot be laid out is told, and the other files are laid out all the same.

use super::Outcome;
use crate::args::FmtArgs;
use crate::output::{Out, Terminal};
use crate::render::{count, rewrite, text};
use anyhow::{anyhow, bail};
use std::path::Path;
use weir_grammar::Limits;
use weir_grammar::format::{self, Refusal};
use weir_project::visible::visible;
use weir_project::{is_stdin, name, policy_files, read_bytes, replace};

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    AsItWas,
    Changed,
    /// It is not well-formed.
    Refused,
}

/// The command.
pub(crate) fn run(args: &FmtArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let files = policy_files(&args.paths)?;
    let (mut changed, mut refused, mut failed) = (0, 0, 0);
    for path in &files {
        match file(path, args, terminal) {
            Ok(Became::AsItWas) => {}
            Ok(Became::Changed) => changed += 1,
            Ok(Became::Refused) => refused += 1,
            Err(failure) => {
                terminal.failure(&failure);
                failed += 1;
            }
        }
    }
    let writes_nothing = args.check || args.diff;
    let all = count(files.len(), "file");
    if failed > 0 {
        bail!("{failed} of {all} could not be laid out");
    }
    let left_alone =
        if refused > 0 { format!(", {refused} not well-formed and left alone") } else { String::new() };
    if !files.iter().all(|path| is_stdin(path)) || writes_nothing {
        let changes = match (changed, writes_nothing) {
            (0, _) => "nothing to change".to_owned(),
            (changed, true) => format!("{changed} would change"),
            (changed, false) => format!("{changed} laid out anew"),
        };
        terminal.tell(&format!("{all}: {changes}{left_alone}\n"));
    }
    Ok(if refused > 0 || writes_nothing && changed > 0 { Outcome::Findings } else { Outcome::Fine })
}

fn file(path: &Path, args: &FmtArgs, terminal: &Terminal) -> anyhow::Result<Became> {
    let limits = Limits::default();
    let name = name(path);
    let bytes = read_bytes(path, limits.file_bytes)?;
    let laid_out = match format::policy(&name, bytes.clone(), &limits) {
        Ok(laid_out) => laid_out,
        Err(Refusal::Findings(reading)) => {
            text::tell_of(&reading.diagnostics, &reading.sources, terminal, false);
            return Ok(Became::Refused);
        }
        Err(refusal) => return Err(anyhow!(refusal).context(name)),
    };
    let is_changed = laid_out.as_bytes() != bytes;
    if args.diff || args.check {
        if is_changed && args.diff {
            let before = String::from_utf8_lossy(&bytes);
            Out::print(rewrite::diff(&name, &before, &laid_out, terminal.colors_stdout()))?;
        } else if is_changed {
            Out::print(format!("{}\n", visible(&name)))?;
        }
    } else if is_stdin(path) {
        Out::print(laid_out)?;
    } else if is_changed {
        replace(path, laid_out.as_bytes())?;
    }
    Ok(if is_changed { Became::Changed } else { Became::AsItWas })
}
