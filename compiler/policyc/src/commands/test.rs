//! `policyc test`: what is expected of policies, held against them.

use super::Outcome;
use crate::args::{TestArgs, TestFormat};
use crate::expected::{self, Coverage, Results};
use crate::locks;
use crate::output::{Out, Terminal};
use crate::render::{self, expectations, text};
use crate::stages::Stages;
use std::time::Instant;
use weir_abi::Image;
use weir_compiler::fqdn::FqdnLock;
use weir_grammar::diagnostic::{Diagnostic, Severity};
use weir_project::place::Places;
use weir_project::{Project, refuse_stdin_twice};

/// The command.
pub(crate) fn run(args: &TestArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    refuse_stdin_twice(args.paths.iter().chain(&args.cluster))?;
    let mut stages = Stages::new();
    // Without a cluster of its own, the paths hold it as well.
    let (policies, cluster) =
        if args.cluster.is_empty() { (&args.cluster, &args.paths) } else { (&args.paths, &args.cluster) };
    let mut project = Project::read(policies, cluster, &mut stages.reading())?;
    let (fqdn, mut identities) = locks::read(&args.locks, &mut project)?;
    if project.has_errors() {
        stages.finish();
        return refused(&project, args.format, terminal);
    }
    if project.expectations.iter().all(|block| block.list.is_empty()) {
        stages.finish();
        if args.allow_none {
            terminal.tell("nothing is expected of these policies\n");
            return Ok(Outcome::Fine);
        }
        let finding = expected::nothing(&mut project.sources);
        project.findings = vec![finding];
        return refused(&project, args.format, terminal);
    }
    let compiled = project.image(None, &mut identities, fqdn.as_ref(), &mut stages.compiling())?;
    let Some(compiled) = compiled else {
        stages.finish();
        return refused(&project, args.format, terminal);
    };
    stages.begin("test", 0);
    let image = Image::open(compiled.bytes.as_bytes())?;
    let results = expected::test(&project, image, fqdn.as_ref());
    stages.finish();
    let coverage = if args.coverage || args.fail_uncovered { Some(results.coverage(&project)) } else { None };
    let mut uncovered =
        coverage.as_ref().map(|coverage| expected::unexercised(coverage, &project)).unwrap_or_default();
    if args.fail_uncovered {
        uncovered.iter_mut().for_each(|finding| finding.severity = Severity::Error);
    }
    let told = Told { project: &project, results: &results, coverage, uncovered, began };
    told.tell(args, fqdn.as_ref(), terminal)?;
    let fails = results.failed() > 0 || args.fail_uncovered && !told.uncovered.is_empty();
    Ok(if fails { Outcome::Findings } else { Outcome::Fine })
}

/// Tells why nothing was tested.
fn refused(project: &Project, format: TestFormat, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let errors: Vec<Diagnostic> =
        project.findings.iter().filter(|finding| finding.severity == Severity::Error).cloned().collect();
    let places = project.places();
    match format {
        TestFormat::Text | TestFormat::Json => {}
        TestFormat::Junit => {
            Out::print(render::junit::render(&errors, &project.sources, &places, Severity::Error))?;
        }
        TestFormat::Github => Out::print(render::github::render(&errors, &places))?,
    }
    text::tell(project, terminal, false);
    Ok(Outcome::Findings)
}

struct Told<'p> {
    project: &'p Project,
    results: &'p Results<'p>,
    coverage: Option<Vec<Coverage<'p>>>,
    /// A finding for each rule that nothing exercises.
    uncovered: Vec<Diagnostic>,
    began: Instant,
}

impl Told<'_> {
    fn tell(&self, args: &TestArgs, lock: Option<&FqdnLock>, terminal: &Terminal) -> anyhow::Result<()> {
        let Told { project, results, coverage, .. } = self;
        let coverage = coverage.as_deref();
        match args.format {
            TestFormat::Text => {
                let mut text = expectations::text(results, project, lock, terminal.colors_stdout());
                if let Some(coverage) = coverage {
                    text.push_str(&expectations::coverage(coverage, project));
                }
                text.push_str(&expectations::summary(results, self.began.elapsed()));
                Out::print(text)?;
            }
            TestFormat::Json => Out::print(expectations::json(results, coverage, project)?)?,
            TestFormat::Junit => {
                Out::print(expectations::junit(results, project, &self.uncovered, args.fail_uncovered))?;
            }
            TestFormat::Github => {
                let findings: Vec<Diagnostic> = expectations::annotations(results, project)
                    .into_iter()
                    .chain(self.uncovered.clone())
                    .collect();
                let places = Places::of(&findings, &project.sources);
                Out::print(render::github::render(&findings, &places))?;
            }
        }
        if args.format != TestFormat::Text {
            terminal.tell(&expectations::summary(results, self.began.elapsed()));
        }
        Ok(())
    }
}
