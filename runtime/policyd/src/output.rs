//! Stdout and stderr.
//!
//! A reader that closes the pipe has seen enough: what follows is dropped and nothing fails. Text from inputs never reaches a
//! terminal with its control characters (see `weir_project::visible`).

use anyhow::Context;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use std::io::{self, ErrorKind, Read, Write};
use weir_project::visible::{VisibleJson, visible};

/// `error: …` on stderr.
pub(crate) fn failure(failure: &anyhow::Error) {
    let mut told = String::new();
    for cause in failure.chain().map(ToString::to_string) {
        // Most errors tell their cause themselves.
        if !told.contains(&cause) {
            told = if told.is_empty() { cause } else { format!("{told}: {cause}") };
        }
    }
    for line in told.lines() {
        // If stderr is gone there is nobody to tell.
        _ = writeln!(anstream::stderr(), "\x1b[1;91merror\x1b[0m: {}", visible(line));
    }
}

/// One line on stderr.
pub(crate) fn tell(line: &str) {
    _ = writeln!(anstream::stderr(), "{}", visible(line));
}

/// Writes to stdout; false if nobody reads any more.
pub(crate) fn print(text: &str) -> anyhow::Result<bool> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to stdout"),
    }
}

/// A value as JSON over several lines.
pub(crate) fn pretty_json(value: &impl Serialize) -> anyhow::Result<String> {
    json(value, PrettyFormatter::new())
}

/// A value as JSON on one line.
pub(crate) fn json_line(value: &impl Serialize) -> anyhow::Result<String> {
    json(value, CompactFormatter)
}

fn json(value: &impl Serialize, formatter: impl Formatter) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, VisibleJson(formatter)))?;
    bytes.push(b'\n');
    Ok(String::from_utf8(bytes)?)
}

/// All of a file, or of stdin for `-`, up to a bound.
pub(crate) fn read_bounded(path: &std::path::Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let told = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    let read = |from: &mut dyn Read, bytes: &mut Vec<u8>| from.take(most + 1).read_to_end(bytes);
    if path.as_os_str() == "-" {
        read(&mut io::stdin().lock(), &mut bytes).with_context(told)?;
    } else {
        read(&mut std::fs::File::open(path).with_context(told)?, &mut bytes).with_context(told)?;
    }
    anyhow::ensure!(bytes.len() as u64 <= most, "{} is larger than {most} bytes", path.display());
    Ok(bytes)
}
