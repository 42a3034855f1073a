//! Bytes to text.

use crate::diagnostic::{Code, Diagnostic};
use crate::span::{FileId, Span};

/// The text of a file. With a finding it is only what can be shown, not to be read.
pub(crate) fn text(bytes: Vec<u8>, file: FileId) -> (String, Option<Diagnostic>) {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        let finding = Diagnostic::new(Code::NotUtf8, Span::point(file, 0), "the file is UTF-16, not UTF-8")
            .labelled("a UTF-16 byte order mark")
            .help("save the file as UTF-8");
        return (String::new(), Some(finding));
    }
    match String::from_utf8(bytes) {
        Err(error) => {
            let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
            let finding = not_utf8(bytes, at, file);
            // Up to the first fault the shown text is the file's own, so the place is right in it.
            (String::from_utf8_lossy(bytes).into_owned(), Some(finding))
        }
        Ok(text) => {
            let finding = memchr::memchr(0, text.as_bytes()).map(|at| nul(at, file));
            (text, finding)
        }
    }
}

fn not_utf8(bytes: &[u8], at: usize, file: FileId) -> Diagnostic {
    let byte = bytes.get(at).copied().unwrap_or(0);
    let line = memchr::memchr_iter(b'\n', bytes.get(..at).unwrap_or(&[])).count() + 1;
    let start = u32::try_from(at).unwrap_or(u32::MAX);
    // The replacement character that is shown in its place has three bytes.
    Diagnostic::new(
        Code::NotUtf8,
        Span { file, start, end: start.saturating_add(3) },
        format!("byte {at} (line {line}) is 0x{byte:02X}, which is not UTF-8 here"),
    )
    .labelled("not UTF-8")
    .help("save the file as UTF-8")
}

/// YAML forbids the character, its parser would take it for the end of the text, and no policy needs it.
fn nul(at: usize, file: FileId) -> Diagnostic {
    let start = u32::try_from(at).unwrap_or(u32::MAX);
    Diagnostic::new(
        Code::Syntax,
        Span { file, start, end: start.saturating_add(1) },
        format!("byte {at} is NUL, which no text holds"),
    )
    .labelled("a NUL byte")
    .help("this looks like a binary file")
}
