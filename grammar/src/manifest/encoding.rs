//! Bytes to text.

use crate::diagnostic::{Code, Diagnostic};
use crate::span::{FileId, Span};

/// The text of a file, or what is shown of it and what is wrong.
pub(crate) fn text(bytes: Vec<u8>, file: FileId) -> Result<String, (String, Diagnostic)> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        let finding = Diagnostic::new(Code::NotUtf8, Span::point(file, 0), "the file is UTF-16, not UTF-8")
            .labelled("a UTF-16 byte order mark")
            .help("save the file as UTF-8");
        return Err((String::new(), finding));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or(0);
        let line = memchr::memchr_iter(b'\n', error.as_bytes().get(..at).unwrap_or(&[])).count() + 1;
        // Up to the first fault the shown text is the file's own, so the place is right in it.
        let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let start = u32::try_from(at).unwrap_or(u32::MAX);
        let finding = Diagnostic::new(
            Code::NotUtf8,
            Span { file, start, end: start + 3 },
            format!("byte {at} (line {line}) is 0x{byte:02X}, which is not UTF-8 here"),
        )
        .labelled("not UTF-8")
        .help("save the file as UTF-8");
        (shown, finding)
    })?;
    match memchr::memchr(0, text.as_bytes()) {
        None => Ok(text),
        Some(at) => {
            let start = u32::try_from(at).unwrap_or(u32::MAX);
            let finding = Diagnostic::new(
                Code::Syntax,
                Span { file, start, end: start + 1 },
                format!("byte {at} is NUL, which no YAML text holds"),
            )
            .labelled("a NUL byte")
            .help("this looks like a binary file");
            Err((text, finding))
        }
    }
}
