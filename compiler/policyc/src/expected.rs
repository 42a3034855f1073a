//! What became of expectations: each with its outcome, its finding where it does not hold, and the rules that
//! none of them exercises.
//!
//! Not here: how an expectation is held against an image (`weir_compiler::expectation`), and how it is shown
//! (`render::expectations`).

use crate::explanation::{Explanation, SideStory, explain};
use crate::render::explanation::connection;
use std::collections::BTreeSet;
use weir_abi::{Action, Image, Reason};
use weir_compiler::cluster::Party;
use weir_compiler::expectation::{Counterexample, Judge, Outcome};
use weir_compiler::flow::Verdict;
use weir_compiler::fqdn::FqdnLock;
use weir_compiler::ir::Policy;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::source::Sources;
use weir_grammar::span::Span;
use weir_grammar::tree::{Expectation, Expectations, ExpectedVerdict};
use weir_project::Project;

/// Expectations and what became of them.
pub(crate) struct Results<'p> {
    pub(crate) results: Vec<Tested<'p>>,
    /// Connections that were asked about.
    pub(crate) connections: usize,
    /// Rules that decided one of them, by id.
    pub(crate) exercised: BTreeSet<u32>,
}

/// An expectation and what became of it.
pub(crate) struct Tested<'p> {
    /// Whose it is.
    pub(crate) block: &'p Expectations,
    pub(crate) expectation: &'p Expectation,
    pub(crate) outcome: Outcome,
    /// What is wrong, if it does not hold.
    pub(crate) finding: Option<Diagnostic>,
    /// Places of the rules that decide otherwise.
    pub(crate) deciding: Vec<Span>,
}

/// A policy, and its rules that nothing exercises.
pub(crate) struct Coverage<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) rules: usize,
    pub(crate) exercised: usize,
    /// By id.
    pub(crate) missing: Vec<u32>,
}

/// Holds a project's expectations against its image.
pub(crate) fn test<'p>(project: &'p Project, image: Image<'_>, lock: Option<&FqdnLock>) -> Results<'p> {
    let mut judge = Judge::new(image, &project.set, &project.cluster, lock);
    let mut results = Vec::new();
    for block in &project.expectations {
        for expectation in &block.list {
            let outcome = judge.judge(expectation);
            let (finding, deciding) = finding(project, lock, block, expectation, &outcome);
            results.push(Tested { block, expectation, outcome, finding, deciding });
        }
    }
    Results { results, connections: judge.connections(), exercised: judge.exercised() }
}

impl Results<'_> {
    /// How many do not hold.
    pub(crate) fn failed(&self) -> usize {
        self.results.iter().filter(|tested| tested.finding.is_some()).count()
    }

    /// What is wrong, in the order of the expectations.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.results.iter().filter_map(|tested| tested.finding.as_ref())
    }

    /// Every policy that has rules, and how many of them were exercised.
    pub(crate) fn coverage<'p>(&self, project: &'p Project) -> Vec<Coverage<'p>> {
        let policies = project.set.policies.iter();
        let mut coverage: Vec<Coverage<'p>> =
            policies.map(|policy| Coverage { policy, rules: 0, exercised: 0, missing: Vec::new() }).collect();
        for (id, rule) in (0u32..).zip(&project.set.rules) {
            let Some(of_policy) = coverage.get_mut(rule.policy) else { continue };
            of_policy.rules += 1;
            if self.exercised.contains(&id) {
                of_policy.exercised += 1;
            } else {
                of_policy.missing.push(id);
            }
        }
        coverage.retain(|of_policy| of_policy.rules > 0);
        coverage
    }
}

/// A finding for each rule that nothing exercises.
pub(crate) fn unexercised(coverage: &[Coverage<'_>], project: &Project) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for of_policy in coverage {
        for rule in of_policy.missing.iter().filter_map(|&id| project.set.rules.get(id as usize)) {
            let message = format!("no expectation exercises {}", rule.path);
            let mut finding = Diagnostic::new(Code::Unexercised, rule.span, message)
                .labelled("decides nothing that is expected")
                .help("write what it is for: who passes, or who is kept out, because of it");
            finding.object = Some(object(of_policy.policy));
            findings.push(finding);
        }
    }
    findings
}

/// The finding where nothing is expected at all.
pub(crate) fn nothing(sources: &mut Sources) -> Diagnostic {
    let first = sources.iter().next().map(|(file, _)| file);
    let file = first.unwrap_or_else(|| sources.add("<nothing>", ""));
    Diagnostic::new(Code::NoExpectations, Span::point(file, 0), "nothing is expected of these policies").help(
        "write expectations into a .policy file beside them, expect { shop/web -> shop/db tcp/5432 allow }, or into an object of apiVersion weir.dev/v1 and kind Expectations",
    )
}

fn object(policy: &Policy) -> String {
    format!("{} {}", policy.kind.as_str(), policy.qualified_name())
}

fn finding(
    project: &Project,
    lock: Option<&FqdnLock>,
    block: &Expectations,
    expectation: &Expectation,
    outcome: &Outcome,
) -> (Option<Diagnostic>, Vec<Span>) {
    let (mut finding, deciding) = match outcome {
        Outcome::Holds => return (None, Vec::new()),
        Outcome::Nobody(nobody) => {
            let mut finding = Diagnostic::new(Code::ExpectationOfNobody, nobody.span, nobody.message.clone())
                .labelled("about nobody, so that it says nothing");
            finding.help.clone_from(&nobody.help);
            (finding, Vec::new())
        }
        Outcome::TooMany => {
            let message = "too many connections are meant that the policies tell apart";
            let finding = Diagnostic::new(Code::ExpectationFails, expectation.span, message)
                .labelled("given up")
                .help("name fewer at a time: one workload, one port");
            (finding, Vec::new())
        }
        Outcome::Fails(found) => failing(project, lock, expectation, found),
    };
    finding.object = block.description.clone();
    (Some(finding), deciding)
}

fn failing(
    project: &Project,
    lock: Option<&FqdnLock>,
    expectation: &Expectation,
    found: &Counterexample,
) -> (Diagnostic, Vec<Span>) {
    let wanted = expectation.verdict.value;
    let verdict = match found.judgement.verdict {
        Verdict::Allow => "is allowed",
        Verdict::Deny => "is denied",
        Verdict::RedirectAllow => "is handed to the proxy, which lets it pass",
        Verdict::RedirectDeny => "is handed to the proxy, which refuses it",
    };
    let message = format!("expected {}, but {} {verdict}", wanted.as_str(), connection(&found.flow, project));
    let mut finding = Diagnostic::new(Code::ExpectationFails, expectation.span, message)
        .labelled(format!("expected {}", wanted.as_str()));
    let mut deciding = Vec::new();
    let explanation = explain(project, lock, &found.flow);
    for story in explanation.sides.iter().filter(|story| is_told(&explanation, wanted, story)) {
        if let Some(rule) = story.rule {
            let of = project.set.policies.get(rule.policy).map(object).unwrap_or_default();
            finding = finding
                .also(rule.span, format!("{} of {of} decides {}", rule.path, story.direction.as_str()));
            deciding.push(rule.span);
        }
        if story.side.reason == Reason::DefaultDeny {
            for policy in story.isolated_by.iter().take(1) {
                let subject = project.cluster.name(story.subject);
                let text = format!("{} isolates {subject}, and no rule admits this", object(policy));
                finding = finding.also(policy.span, text);
                deciding.push(policy.span);
            }
        }
    }
    (finding, deciding)
}

/// Whether a side has a part in a verdict that was not wanted: who refuses, or all that let pass. An address outside
/// the cluster has no policy to look at.
pub(crate) fn is_told(explanation: &Explanation<'_>, wanted: ExpectedVerdict, story: &SideStory<'_>) -> bool {
    let refuses = match explanation.judgement.verdict {
        Verdict::RedirectDeny => story.side.action == Action::Redirect && story.side.passes != Some(true),
        _ => story.side.action == Action::Deny,
    };
    let is_outside = matches!(story.subject, Party::Outside(_)) && explanation.sides.len() > 1;
    refuses || wanted == ExpectedVerdict::Deny && !is_outside
}
