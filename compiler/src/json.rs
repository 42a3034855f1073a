//! Places of errors in JSON text.
//!
//! Not here: YAML and policies (the grammar reads them), and what the text means.

use weir_grammar::span::{FileId, Span};

/// The place of an error in `text`, which begins at byte `start` of its file.
pub(crate) fn place(file: FileId, start: usize, text: &str, error: &serde_json::Error) -> Span {
    let line = error.line().saturating_sub(1);
    let newlines = line_starts(text).take(line).last();
    // Columns count bytes from 1 and point at the last byte read.
    let mut at = newlines.unwrap_or(0).saturating_add(error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let end = text[at..].chars().next().map_or(at, |character| at + character.len_utf8());
    let offset = |at: usize| u32::try_from(start.saturating_add(at)).unwrap_or(u32::MAX);
    Span { file, start: offset(at), end: offset(end) }
}

/// The starts of all lines but the first.
fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1)
}

/// What the error says, without the place.
pub(crate) fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if error.line() > 0 => text[..end].to_owned(),
        _ => text,
    }
}
