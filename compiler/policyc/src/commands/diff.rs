//! `policyc diff`: what changes from one policy set to another.

use super::Outcome;
use crate::args::{DiffArgs, Format};
use crate::locks;
use crate::output::{Out, Terminal};
use crate::render::{count, diff, text};
use crate::stages::Stages;
use weir_compiler::flow::WrittenRules;
use weir_project::Comparison;

/// The command.
pub(crate) fn run(args: &DiffArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mut stages = Stages::new();
    let mut comparison = Comparison::read([&args.from, &args.to], &args.cluster, &mut stages.reading())?;
    let (fqdn, mut identities) = locks::read(&args.locks, &mut comparison.project)?;
    if comparison.project.has_errors() {
        stages.finish();
        text::tell(&comparison.project, terminal, false);
        return Ok(Outcome::Findings);
    }
    stages.begin("compare", 0);
    let differences = comparison.differences(&mut identities.lock, fqdn.as_ref());
    stages.finish();
    let differences = match differences {
        Ok(differences) => differences,
        Err(error) => {
            comparison.project.refuse(error, identities.file())?;
            text::tell(&comparison.project, terminal, false);
            return Ok(Outcome::Findings);
        }
    };
    let rules = WrittenRules::new(&comparison.project.set, &comparison.project.sources);
    Out::print(match args.format {
        Format::Text => diff::text(&comparison, &differences, &rules, terminal),
        Format::Json => diff::json::render(&comparison, &differences, &rules)?,
    })?;
    if comparison.left_out > 0 {
        let left_out = count(comparison.left_out, "object");
        terminal.tell(&format!("{left_out} of --from and --to left out: no policy and no CIDR group\n"));
    }
    Ok(if differences.is_empty() || args.exit_zero { Outcome::Fine } else { Outcome::Findings })
}
