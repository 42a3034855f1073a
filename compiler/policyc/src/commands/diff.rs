//! `policyc diff`: what changes from one policy set to another.

use super::Outcome;
use crate::args::{DiffArgs, DiffFormat, FailOnChange};
use crate::locks;
use crate::output::{Out, Terminal};
use crate::render::{count, diff, text};
use crate::stages::Stages;
use weir_compiler::diff::Difference;
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
        DiffFormat::Text => diff::text(&comparison, &differences, &rules, terminal),
        DiffFormat::Json => diff::json::render(&comparison, &differences, &rules)?,
        DiffFormat::Github => diff::github::render(&comparison, &differences, &rules, !args.exit_zero),
    })?;
    if comparison.left_out > 0 {
        let left_out = count(comparison.left_out, "object");
        terminal.tell(&format!("{left_out} of --from and --to left out: no policy and no CIDR group\n"));
    }
    let fails = match args.fail_on {
        _ if args.exit_zero => false,
        FailOnChange::Any => !differences.is_empty(),
        FailOnChange::Opened => differences.iter().any(Difference::opens),
    };
    Ok(if fails { Outcome::Findings } else { Outcome::Fine })
}
