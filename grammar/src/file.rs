//! A file: bytes to text, and text to objects by the way it is written.
//!
//! What is wrong with a file as a whole (its size, its encoding) is one finding, and nothing of it is read.

use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use crate::{Included, Limits, Reading, encoding, language, manifest};
use std::sync::Arc;

/// Reads one file, as its name says that it is written.
pub(crate) fn read(reading: &mut Reading, name: &str, bytes: Vec<u8>, limits: &Limits, included: &Included) {
    read_as(|text| language::is_used(name, text), reading, name, bytes, limits, included);
}

/// Reads one file in the policy language, whatever its name, and without what it includes.
pub(crate) fn read_policy(reading: &mut Reading, name: &str, bytes: Vec<u8>, limits: &Limits) {
    read_as(|_| true, reading, name, bytes, limits, &Included::default());
}

fn read_as(
    is_policy: impl FnOnce(&str) -> bool,
    reading: &mut Reading,
    name: &str,
    bytes: Vec<u8>,
    limits: &Limits,
    included: &Included,
) {
    let file = reading.sources.next_id();
    let size = bytes.len();
    if size > limits.file_bytes || u32::try_from(size).is_err() {
        reading.sources.add(name, "");
        reading.diagnostics.push(
            Diagnostic::new(
                Code::TooLarge,
                Span::point(file, 0),
                format!("the file has {size} bytes; the most is {}", limits.file_bytes),
            )
            .help("split the file"),
        );
        return;
    }
    let (text, finding) = encoding::text(bytes, file);
    if let Some(finding) = finding {
        reading.sources.add(name, text);
        reading.diagnostics.push(finding);
        return;
    }
    let text: Arc<str> = text.into();
    reading.sources.add(name, Arc::clone(&text));
    reading.written = reading.written.saturating_add(text.len());
    let is_policy = is_policy(&text);
    let (objects, findings) = if is_policy {
        language::pass(file, &text, reading.written, limits, included, &mut reading.sets)
    } else {
        manifest::documents(file, &text, limits)
    };
    reading.objects.extend(objects);
    let mut findings = findings.finish(file, u32::try_from(size).unwrap_or(u32::MAX));
    if is_policy {
        language::put_into_words(&text, &mut findings);
    }
    reading.diagnostics.extend(findings);
}
