//! Findings as JUnit XML: a suite per file, a case per finding, and a passing case for a file without any.

use super::xml::escape;
use std::fmt::Write;
use weir_grammar::diagnostic::{Diagnostic, Severity};
use weir_grammar::source::Sources;
use weir_project::finding::severity;
use weir_project::place::Places;

/// The report. Findings of `fail_on` and above are failures, others are told beside a passing case.
pub(crate) fn render(
    findings: &[Diagnostic],
    sources: &Sources,
    places: &Places<'_>,
    fail_on: Severity,
) -> String {
    let fails = |finding: &&Diagnostic| finding.severity >= fail_on;
    let failures = findings.iter().filter(fails).count();
    let mut suites = String::new();
    let mut tests = 0;
    for (file, source) in sources.iter() {
        let of_file: Vec<&Diagnostic> = findings.iter().filter(|finding| finding.span.file == file).collect();
        let failed = of_file.iter().copied().filter(|finding| fails(finding)).count();
        let cases = of_file.len().max(1);
        tests += cases;
        let name = escape(&source.name);
        let _ =
            writeln!(suites, r#"  <testsuite name="{name}" tests="{cases}" failures="{failed}" errors="0">"#);
        if of_file.is_empty() {
            let _ = writeln!(suites, r#"    <testcase name="{name}" classname="policyc.check"/>"#);
        }
        for finding in of_file {
            let place = places.place(finding.span);
            let title = escape(&format!("{} {}:{}", finding.code.as_str(), place.line, place.column));
            let message = escape(&finding.message);
            let mut body = format!("{}:{}:{}: {}", place.file, place.line, place.column, finding.message);
            if let Some(help) = &finding.help {
                let _ = write!(body, " ({help})");
            }
            let body = escape(&body);
            let kind = finding.code.as_str();
            let _ = writeln!(
                suites,
                r#"    <testcase name="{title}" classname="{name}" file="{name}" line="{}">"#,
                place.line
            );
            let _ = if fails(&finding) {
                writeln!(suites, r#"      <failure type="{kind}" message="{message}">{body}</failure>"#)
            } else {
                writeln!(suites, "      <system-out>{} {kind}: {body}</system-out>", severity(finding))
            };
            let _ = writeln!(suites, "    </testcase>");
        }
        let _ = writeln!(suites, "  </testsuite>");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"policyc check\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">\n{suites}</testsuites>\n"
    )
}
