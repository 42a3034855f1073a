//! A text and what it is to become, as a unified diff.

use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;
use weir_project::visible::visible;

/// Lines around a change.
const CONTEXT: usize = 3;

/// The change of one file. Control characters of its text are written out.
pub(crate) fn diff(name: &str, before: &str, after: &str, colors: bool) -> String {
    let diff = TextDiff::from_lines(before, after);
    let name = visible(name);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        if text.is_empty() {
            let _ = writeln!(text, "{}", painted(&format!("--- {name}\n+++ {name}"), "1", colors));
        }
        let _ = writeln!(text, "{}", painted(&hunk.header().to_string(), "36", colors));
        for change in hunk.iter_changes() {
            let (mark, color) = match change.tag() {
                ChangeTag::Equal => (' ', ""),
                ChangeTag::Delete => ('-', "31"),
                ChangeTag::Insert => ('+', "32"),
            };
            let line = change.value().trim_end_matches(['\n', '\r']);
            let _ = writeln!(text, "{}", painted(&format!("{mark}{}", visible(line)), color, colors));
        }
    }
    text
}

fn painted(text: &str, color: &str, colors: bool) -> String {
    if colors && !color.is_empty() { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
}
