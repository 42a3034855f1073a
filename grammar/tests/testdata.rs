//! Every file of `testdata/` reads as its place and its first line say.
//!
//! `accept/`: without any finding. `warn/`: with objects and warnings. `reject/`: refused. Files of
//! the latter two begin with `# expect:` and all findings in order, as `CODE line:column`.

#![expect(clippy::disallowed_methods, reason = "a test finds and reads its own data")]
#![expect(clippy::unwrap_used, reason = "a test ends where its data cannot be read")]

use std::path::{Path, PathBuf};
use weir_grammar::diagnostic::Severity;
use weir_grammar::source::LineIndex;
use weir_grammar::{Limits, Reading, read};

fn files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    assert!(!files.is_empty());
    files
}

fn reading(path: &Path) -> Reading {
    let mut reading = Reading::default();
    read(&mut reading, &path.display().to_string(), std::fs::read(path).unwrap(), &Limits::default());
    reading
}

/// The findings as the first line of a file writes them.
fn found(reading: &Reading) -> String {
    let findings = reading.diagnostics.iter().map(|finding| {
        let at = LineIndex::new(reading.sources.text(finding.span.file)).locate(finding.span.start);
        format!("{} {}:{}", finding.code.as_str(), at.line, at.column)
    });
    findings.collect::<Vec<_>>().join(", ")
}

fn check(folder: &str, severity: Severity) {
    let mut wrong = Vec::new();
    for path in files(folder) {
        let reading = reading(&path);
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).unwrap_or("");
        let worst = reading.diagnostics.iter().map(|finding| finding.severity).max();
        if found(&reading) != expected || worst != Some(severity) {
            wrong.push(format!("{}: expected {expected}, found {}", path.display(), found(&reading)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_is_refused_in_its_place() {
    check("reject", Severity::Error);
}

#[test]
fn surprises_are_told() {
    check("warn", Severity::Warning);
}

#[test]
fn what_is_right_reads_clean() {
    for path in files("accept") {
        let reading = reading(&path);
        assert_eq!(found(&reading), "", "{}: {:#?}", path.display(), reading.diagnostics);
        assert!(!reading.objects.is_empty(), "{}", path.display());
    }
}

#[test]
fn every_finding_helps_and_every_place_is_in_the_text() {
    for path in files("reject").into_iter().chain(files("warn")) {
        let reading = reading(&path);
        for finding in &reading.diagnostics {
            let text = reading.sources.text(finding.span.file);
            let (start, end) = (finding.span.start as usize, finding.span.end as usize);
            assert!(text.get(start..end).is_some(), "{}: {finding:?}", path.display());
            assert!(!finding.message.is_empty() && !finding.message.ends_with('.'), "{finding:?}");
        }
    }
}
