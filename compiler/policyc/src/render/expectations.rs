//! What became of expectations: for people, as JSON, as JUnit cases, and as annotations.
//!
//! Not here: what is wrong and where (`expected`).

use super::explanation::sides;
use super::text::{render, renderer};
use super::xml::escape;
use super::{count, json};
use crate::expected::{Coverage, Results, Tested, is_told};
use crate::explanation::explain;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;
use weir_compiler::expectation::Outcome;
use weir_compiler::flow::{RuleLine, VerdictLine, WrittenRules, protocol_name};
use weir_compiler::fqdn::FqdnLock;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_project::Project;
use weir_project::place::Places;
use weir_project::visible::visible;

/// Failures that are told at length; the rest are counted.
const SHOWN: usize = 50;
/// Characters of an expectation that name it.
const NAME: usize = 160;

/// The failures: each expectation where it stands, and what decides otherwise.
pub(crate) fn text(
    results: &Results<'_>,
    project: &Project,
    lock: Option<&FqdnLock>,
    colors: bool,
) -> String {
    let places = Places::of(results.findings(), &project.sources);
    let renderer = renderer(colors);
    let mut text = String::new();
    let failures = results.results.iter().filter_map(|tested| Some((tested, tested.finding.as_ref()?)));
    for (tested, finding) in failures.clone().take(SHOWN) {
        // The rules are shown below, as `policyc explain` does.
        let finding = Diagnostic { labels: Vec::new(), object: None, ..finding.clone() };
        text.push_str(&render(&finding, &places, &renderer));
        if let Outcome::Fails(found) = &tested.outcome {
            let explanation = explain(project, lock, &found.flow);
            let wanted = tested.expectation.verdict.value;
            text.push_str(&sides(&explanation, project, colors, |story| {
                is_told(&explanation, wanted, story)
            }));
        }
    }
    if let Some(more @ 1..) = failures.count().checked_sub(SHOWN) {
        let _ = writeln!(text, "{} more; --format json tells all\n", count(more, "failure"));
    }
    text
}

/// `9 expectations hold, 2 do not (314 connections, 12 ms)`.
pub(crate) fn summary(results: &Results<'_>, took: Duration) -> String {
    let failed = results.failed();
    let held = results.results.len() - failed;
    let hold = if held == 1 { "holds" } else { "hold" };
    let mut text = format!("{} {hold}", count(held, "expectation"));
    if failed > 0 {
        let _ = write!(text, ", {failed} {} not", if failed == 1 { "does" } else { "do" });
    }
    let _ = writeln!(text, " ({} judged, {} ms)", count(results.connections, "connection"), took.as_millis());
    text
}

/// The share of each policy's rules that is exercised, and those that are not.
pub(crate) fn coverage(coverage: &[Coverage<'_>], project: &Project) -> String {
    let (all, exercised) = sums(coverage);
    let mut text =
        format!("{} of {} exercised ({} %)\n", exercised, count(all, "rule"), percent(exercised, all));
    let mut places = Places::of([], &project.sources);
    let rules = |of_policy: &Coverage<'_>| {
        of_policy.missing.iter().filter_map(|&id| project.set.rules.get(id as usize)).collect::<Vec<_>>()
    };
    coverage.iter().flat_map(rules).for_each(|rule| places.add(rule.span.file));
    for of_policy in coverage {
        let Coverage { policy, rules: all, exercised, .. } = of_policy;
        let name = policy.qualified_name();
        let kind = policy.kind.as_str();
        let share = percent(*exercised, *all);
        let _ = writeln!(text, "  {share:>3} %  {exercised} of {all}  {kind} {}", visible(&name));
        for rule in rules(of_policy) {
            let place = places.place(rule.span);
            let _ = writeln!(text, "         not: {} {}:{}", rule.path, visible(place.file), place.line);
        }
    }
    text.push('\n');
    text
}

fn sums(coverage: &[Coverage<'_>]) -> (usize, usize) {
    coverage
        .iter()
        .fold((0, 0), |(all, exercised), of_policy| (all + of_policy.rules, exercised + of_policy.exercised))
}

/// Rounded down, so that only all is 100.
fn percent(part: usize, all: usize) -> usize {
    part.saturating_mul(100).checked_div(all).unwrap_or(100)
}

/// An expectation in its own words, on one line.
fn name(tested: &Tested<'_>, places: &Places<'_>) -> String {
    let span = tested.expectation.span;
    let text = places.text(span).get(span.start as usize..span.end as usize).unwrap_or_default();
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        if words.len() > NAME {
            break;
        }
    }
    match words.char_indices().nth(NAME) {
        Some((at, _)) => format!("{}…", words.get(..at).unwrap_or_default()),
        None => words,
    }
}

fn all_places<'p>(results: &Results<'_>, project: &'p Project) -> Places<'p> {
    let mut places = Places::of(results.findings(), &project.sources);
    results.results.iter().for_each(|tested| places.add(tested.expectation.span.file));
    places
}

#[derive(Serialize)]
struct Told<'a> {
    held: usize,
    failed: usize,
    connections: usize,
    expectations: Vec<ToldExpectation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<ToldCoverage<'a>>,
}

#[derive(Serialize)]
struct ToldExpectation<'a> {
    block: &'a str,
    description: Option<&'a str>,
    file: &'a str,
    line: u32,
    column: u32,
    text: String,
    expected: &'static str,
    outcome: &'static str,
    message: Option<&'a str>,
    help: Option<&'a str>,
    counterexample: Option<ToldConnection<'a>>,
}

#[derive(Serialize)]
struct ToldConnection<'a> {
    from: String,
    to: String,
    protocol: String,
    port: u16,
    fqdn: Vec<String>,
    verdict: &'static str,
    reason: &'static str,
    by: Vec<RuleLine<'a>>,
}

#[derive(Serialize)]
struct ToldCoverage<'a> {
    rules: usize,
    exercised: usize,
    policies: Vec<ToldPolicy>,
    unexercised: Vec<ToldRule<'a>>,
}

#[derive(Serialize)]
struct ToldPolicy {
    kind: &'static str,
    policy: String,
    rules: usize,
    exercised: usize,
}

#[derive(Serialize)]
struct ToldRule<'a> {
    kind: &'static str,
    policy: String,
    rule: String,
    file: &'a str,
    line: u32,
}

/// As one JSON object.
pub(crate) fn json(
    results: &Results<'_>,
    coverage: Option<&[Coverage<'_>]>,
    project: &Project,
) -> serde_json::Result<String> {
    let places = all_places(results, project);
    let origins = WrittenRules::new(&project.set, &project.sources);
    let expectations = results.results.iter().map(|tested| {
        let place = places.place(tested.expectation.span);
        let (outcome, counterexample) = match &tested.outcome {
            Outcome::Holds => ("holds", None),
            Outcome::Nobody(_) => ("nobody", None),
            Outcome::TooMany => ("too-many", None),
            Outcome::Fails(found) => {
                let line = VerdictLine::new(&found.flow, &found.judgement, &origins);
                let connection = ToldConnection {
                    from: project.cluster.name(found.flow.source),
                    to: project.cluster.name(found.flow.destination),
                    protocol: protocol_name(found.flow.protocol),
                    port: found.flow.port,
                    fqdn: found.flow.fqdn.clone(),
                    verdict: line.verdict,
                    reason: line.reason,
                    by: line.by,
                };
                ("fails", Some(connection))
            }
        };
        let finding = tested.finding.as_ref();
        ToldExpectation {
            block: &tested.block.meta.name,
            description: tested.block.description.as_deref(),
            file: place.file,
            line: place.line,
            column: place.column,
            text: name(tested, &places),
            expected: tested.expectation.verdict.value.as_str(),
            outcome,
            message: finding.map(|finding| finding.message.as_str()),
            help: finding.and_then(|finding| finding.help.as_deref()),
            counterexample,
        }
    });
    let coverage = coverage.map(|coverage| {
        let (rules, exercised) = sums(coverage);
        let missing = coverage.iter().flat_map(|of_policy| {
            let rules = of_policy.missing.iter().filter_map(|&id| project.set.rules.get(id as usize));
            rules.map(|rule| {
                let place = places.place(rule.span);
                ToldRule {
                    kind: of_policy.policy.kind.as_str(),
                    policy: of_policy.policy.qualified_name(),
                    rule: rule.path.to_string(),
                    file: place.file,
                    line: place.line,
                }
            })
        });
        ToldCoverage {
            rules,
            exercised,
            policies: coverage
                .iter()
                .map(|of_policy| ToldPolicy {
                    kind: of_policy.policy.kind.as_str(),
                    policy: of_policy.policy.qualified_name(),
                    rules: of_policy.rules,
                    exercised: of_policy.exercised,
                })
                .collect(),
            unexercised: missing.collect(),
        }
    });
    let failed = results.failed();
    json::text(&Told {
        held: results.results.len() - failed,
        failed,
        connections: results.connections,
        expectations: expectations.collect(),
        coverage,
    })
}

/// A suite for each block of expectations, a case for each of them; and one for rules that nothing exercises, if
/// that is a failure.
pub(crate) fn junit(
    results: &Results<'_>,
    project: &Project,
    uncovered: &[Diagnostic],
    fails_uncovered: bool,
) -> String {
    let mut places = all_places(results, project);
    uncovered.iter().for_each(|finding| places.add(finding.span.file));
    let mut suites = String::new();
    let uncovered = if fails_uncovered { uncovered } else { &[] };
    for block in &project.expectations {
        let of_block: Vec<&Tested<'_>> =
            results.results.iter().filter(|tested| std::ptr::eq(tested.block, block)).collect();
        let failed = of_block.iter().filter(|tested| tested.finding.is_some()).count();
        let title = block.description.as_ref().unwrap_or(&block.meta.name);
        suite(&mut suites, title, of_block.len(), failed);
        let file = places.place(block.meta.span).file;
        for tested in of_block {
            let place = places.place(tested.expectation.span);
            let finding = tested.finding.as_ref();
            case(&mut suites, &name(tested, &places), file, place.line, finding, &places);
        }
        suites.push_str("  </testsuite>\n");
    }
    if !uncovered.is_empty() {
        suite(&mut suites, "rules that no expectation exercises", uncovered.len(), uncovered.len());
        for finding in uncovered {
            let place = places.place(finding.span);
            let title = format!("{} {}", finding.object.as_deref().unwrap_or_default(), finding.message);
            case(&mut suites, &title, place.file, place.line, Some(finding), &places);
        }
        suites.push_str("  </testsuite>\n");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"policyc test\" tests=\"{}\" failures=\"{}\" errors=\"0\">\n{suites}</testsuites>\n",
        results.results.len() + uncovered.len(),
        results.failed() + uncovered.len()
    )
}

fn suite(text: &mut String, title: &str, tests: usize, failures: usize) {
    let title = escape(title);
    let _ =
        writeln!(text, r#"  <testsuite name="{title}" tests="{tests}" failures="{failures}" errors="0">"#);
}

fn case(
    text: &mut String,
    title: &str,
    file: &str,
    line: u32,
    finding: Option<&Diagnostic>,
    places: &Places<'_>,
) {
    let (title, file) = (escape(title), escape(file));
    let _ = write!(text, r#"    <testcase name="{title}" classname="{file}" file="{file}" line="{line}""#);
    let Some(finding) = finding else {
        text.push_str("/>\n");
        return;
    };
    let mut body = finding.message.clone();
    for label in &finding.labels {
        let place = places.place(label.span);
        let _ = write!(body, "; {}:{}: {}", place.file, place.line, label.text);
    }
    if let Some(help) = &finding.help {
        let _ = write!(body, " ({help})");
    }
    let _ = writeln!(
        text,
        ">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>",
        finding.code.as_str(),
        escape(&finding.message),
        escape(&body)
    );
}

/// An annotation at each expectation that does not hold, and one at each rule that decides otherwise: a pull
/// request shows the one that it changed.
pub(crate) fn annotations(results: &Results<'_>, project: &Project) -> Vec<Diagnostic> {
    let places = all_places(results, project);
    let mut annotations = Vec::new();
    for tested in &results.results {
        let Some(finding) = &tested.finding else { continue };
        let mut at_expectation = finding.clone();
        let decided: Vec<String> = finding
            .labels
            .iter()
            .map(|label| {
                let place = places.place(label.span);
                format!("{} ({}:{})", label.text, place.file, place.line)
            })
            .collect();
        at_expectation.label = decided.join("\n");
        annotations.push(at_expectation);
        let place = places.place(tested.expectation.span);
        for (at, label) in tested.deciding.iter().zip(&finding.labels) {
            let mut at_rule = Diagnostic::new(Code::ExpectationFails, *at, finding.message.clone());
            at_rule.label = format!(
                "{}\nexpected in {}:{}: {}",
                label.text,
                place.file,
                place.line,
                name(tested, &places)
            );
            annotations.push(at_rule);
        }
    }
    annotations
}
