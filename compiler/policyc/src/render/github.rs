//! Findings as GitHub workflow commands, which become annotations of a pull request.

use std::fmt::Write;
use weir_grammar::diagnostic::Diagnostic;
use weir_project::finding::severity;
use weir_project::place::Places;
use weir_project::visible::visible;

/// One command a line.
pub(crate) fn render(findings: &[Diagnostic], places: &Places<'_>) -> String {
    let mut lines = String::new();
    for finding in findings {
        let place = places.place(finding.span);
        let mut message = finding.message.clone();
        for more in [&finding.label, finding.help.as_ref().unwrap_or(&String::new())] {
            if !more.is_empty() {
                let _ = write!(message, "\n{more}");
            }
        }
        let _ = write!(lines, "::{} file={},line={}", severity(finding), property(place.file), place.line);
        // Columns are shown only where the annotation stays within a line.
        if place.end_line == place.line {
            let end = place.end_column.saturating_sub(1).max(place.column);
            let _ = write!(lines, ",col={},endColumn={end}", place.column);
        }
        let title = format!("{}: {}", finding.code.as_str(), finding.code.title());
        let last_line = if place.end_column == 1 { place.end_line - 1 } else { place.end_line };
        let _ = writeln!(
            lines,
            ",endLine={},title={}::{}",
            last_line.max(place.line),
            property(&title),
            data(&message)
        );
    }
    lines
}

/// The text of a command.
pub(super) fn data(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| visible(line).replace('%', "%25")).collect();
    lines.join("%0A")
}

/// A property's value, which also ends at colons and commas.
pub(super) fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_begin_another_command() {
        assert_eq!(data("50% of\n::error::x\r"), "50%25 of%0A::error::x\\u{d}");
        assert_eq!(property("a:b,c%"), "a%3Ab%2Cc%25");
    }
}
