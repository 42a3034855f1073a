//! `policyc check`: every problem of a set of policies, in one run.

use super::Outcome;
use crate::args::{CheckArgs, CheckFormat, FailOn};
use crate::output::{Out, Terminal};
use crate::render::cost::Cost;
use crate::render::{self, count};
use crate::stages::Stages;
use anyhow::bail;
use weir_abi::Image;
use weir_compiler::compile::{CompileError, Compiled};
use weir_compiler::identity::IdentityLock;
use weir_compiler::policy_map::forecast;
use weir_grammar::diagnostic::Severity;
use weir_project::Project;

/// Conflicts of requests that are looked for; each costs one more compilation.
const CONFLICTS: usize = 8;

/// The command.
pub(crate) fn run(args: &CheckArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    if args.cost && !matches!(args.format, CheckFormat::Text | CheckFormat::Json) {
        bail!("--cost is told as text or JSON");
    }
    let mut stages = Stages::new();
    let mut project = Project::read(&args.policies, &args.cluster, &mut stages.reading())?;
    let files = project.sources.iter().count();
    stages.begin("check", 0);
    project.find_surprises();
    let mut compiled = None;
    if !args.cluster.is_empty() && !project.has_errors() {
        stages.begin("compile", 0);
        compiled = find_refusals(&mut project)?;
    }
    let mut maps = None;
    if args.cost && compiled.is_some() {
        stages.begin("forecast", 0);
        let forecast = forecast(&project.set, &project.cluster);
        project.find_overflows(&forecast);
        maps = Some(forecast);
    }
    stages.finish();
    let image = compiled.as_ref().map(|compiled| Image::open(compiled.bytes.as_bytes())).transpose()?;
    let cost = match (&image, &maps) {
        (Some(image), Some(maps)) => Some(Cost::new(&project, image, maps)),
        _ => None,
    };
    let fail_on = match args.fail_on {
        FailOn::Error => Severity::Error,
        FailOn::Warning => Severity::Warning,
    };
    tell(&project, args, fail_on, cost.as_ref(), terminal)?;
    let count_of = |severity| project.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count_of(Severity::Error), count_of(Severity::Warning));
    if let Some(worst) = project.findings.iter().max_by_key(|finding| finding.severity)
        && args.format == CheckFormat::Text
    {
        // The first of the worst is as good an example as any.
        let first =
            project.findings.iter().find(|finding| finding.severity == worst.severity).unwrap_or(worst);
        terminal.tell(&format!("what a code means: policyc explain {}\n", first.code.as_str()));
    }
    terminal.tell(&summary(errors, warnings, files, project.set.policies.len()));
    let fails = project.findings.iter().any(|finding| finding.severity >= fail_on);
    Ok(if fails { Outcome::Findings } else { Outcome::Fine })
}

fn tell(
    project: &Project,
    args: &CheckArgs,
    fail_on: Severity,
    cost: Option<&Cost<'_>>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let Project { sources, findings, .. } = project;
    let places = project.places();
    match args.format {
        CheckFormat::Text => {
            render::text::tell(project, terminal, true);
            if let Some(cost) = cost {
                Out::print(cost.text())?;
            }
        }
        CheckFormat::Json if args.cost => {
            Out::print(render::json::render_with_cost(findings, &places, cost)?)?;
        }
        CheckFormat::Json => Out::print(render::json::render(findings, &places)?)?,
        CheckFormat::Sarif => Out::print(render::sarif::render(findings, &places)?)?,
        CheckFormat::Junit => Out::print(render::junit::render(findings, sources, &places, fail_on))?,
        CheckFormat::Github => Out::print(render::github::render(findings, &places))?,
    }
    Ok(())
}

fn summary(errors: usize, warnings: usize, files: usize, policies: usize) -> String {
    let found: Vec<String> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, one)| count(number, one))
        .collect();
    let files = count(files, "file");
    if found.is_empty() {
        format!("no findings: {} in {files}\n", render::policies(policies))
    } else {
        format!("{} in {files}\n", found.join(", "))
    }
}

/// Finds why there would be no image: what only shows when all policies meet. If nothing does, the image.
fn find_refusals(project: &mut Project) -> anyhow::Result<Option<Compiled>> {
    for found in 0..CONFLICTS {
        let mut numbers = IdentityLock::default();
        let error = match project.compile(None, &mut numbers, None, &mut |_| ()) {
            Ok(compiled) => return Ok((found == 0).then_some(compiled)),
            Err(error) => error,
        };
        let conflict = match &error {
            CompileError::Conflict(conflict) => Some(*conflict),
            _ => None,
        };
        project.refuse(error, None)?;
        // With one of the two out of the way, the next conflict shows.
        let second = conflict.and_then(|conflict| project.set.rules.get_mut(conflict.second as usize));
        let Some(rule) = second else { break };
        rule.requests = None;
    }
    Ok(None)
}
