//! Reads manifests and says what was found and how long it took.
//!
//! `cargo run --release -p weir-grammar --example read_file -- FILE…`
//! With `--generate N` as the first arguments it reads a made-up policy of N CIDRs instead.

#![expect(clippy::disallowed_methods, reason = "a program reads arguments, files and the clock")]

use std::time::Instant;
use weir_grammar::diagnostic::Severity;
use weir_grammar::source::LineIndex;
use weir_grammar::{Limits, Reading, read};

#[path = "../testdata/million.rs"]
mod million;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let files: Vec<(String, Vec<u8>)> = match arguments.as_slice() {
        [flag, count] if flag == "--generate" => {
            vec![("generated".to_owned(), million::policy(count.parse().unwrap_or(1_000_000)).into_bytes())]
        }
        paths => paths
            .iter()
            .filter_map(|path| match std::fs::read(path) {
                Ok(bytes) => Some((path.clone(), bytes)),
                Err(error) => {
                    eprintln!("{path}: {error}");
                    None
                }
            })
            .collect(),
    };
    let size: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut reading = Reading::default();
    let start = Instant::now();
    for (name, bytes) in files {
        read(&mut reading, &name, bytes, &Limits::default());
    }
    let elapsed = start.elapsed();
    for finding in &reading.diagnostics {
        let text = reading.sources.text(finding.span.file);
        let at = LineIndex::new(text).locate(finding.span.start);
        println!(
            "{}:{}:{}: {} {}{}{}",
            reading.sources.name(finding.span.file),
            at.line,
            at.column,
            finding.code.as_str(),
            finding.message,
            finding.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default(),
            finding.object.as_deref().map(|object| format!(" [{object}]")).unwrap_or_default(),
        );
    }
    let errors = reading.diagnostics.iter().filter(|finding| finding.severity == Severity::Error).count();
    eprintln!(
        "{} objects, {} diagnostics, {:.1} ms, {:.1} MB/s, peak memory {} kB",
        reading.objects.len(),
        reading.diagnostics.len(),
        elapsed.as_secs_f64() * 1e3,
        size as f64 / 1e6 / elapsed.as_secs_f64(),
        peak_memory().unwrap_or_else(|| "?".to_owned()),
    );
    std::process::ExitCode::from(u8::from(errors > 0))
}

fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next().map(str::to_owned)
}
