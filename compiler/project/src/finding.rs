//! A finding as one line, for logs.
//!
//! Not here: findings as a compiler tells them, above the text they are about. That is for terminals,
//! and `policyc`'s.

use crate::place::Places;
use crate::visible::visible;
use std::fmt::Write;
use weir_grammar::diagnostic::{Code, Diagnostic, Severity};
use weir_grammar::span::{FileId, Span};

/// A severity as printed.
pub const fn severity(finding: &Diagnostic) -> &'static str {
    match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `file:line:column: error[E204]: message (help)`. Always one line, with nothing in it that would
/// steer a terminal.
pub fn line(finding: &Diagnostic, places: &Places<'_>) -> String {
    let place = places.place(finding.span);
    let mut line = format!(
        "{}:{}:{}: {}[{}]: {}",
        visible(place.file),
        place.line,
        place.column,
        severity(finding),
        finding.code.as_str(),
        visible(&finding.message)
    );
    if let Some(help) = &finding.help {
        _ = write!(line, " ({})", visible(help));
    }
    line
}

/// The finding at the end of a file that counts those which are not told; `one` names one of them.
pub(crate) fn left_out(code: Code, file: FileId, text: &str, count: usize, one: &str) -> Diagnostic {
    let end = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let plural = if count == 1 { "" } else { "s" };
    Diagnostic::new(code, Span::point(file, end), format!("{count} {one}{plural} in this file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_grammar::source::Sources;

    #[test]
    fn one_line_whatever_is_in_it() {
        let mut sources = Sources::new();
        let file = sources.add("a\u{1b}[31m\n.yaml", "a: 1\nb: größe x\n");
        let finding = Diagnostic::new(Code::Syntax, Span { file, start: 16, end: 17 }, "no\r\n`x`\u{202e}");
        let places = Places::of([&finding], &sources);
        let code = Code::Syntax.as_str();
        let told =
            format!("a\\u{{1b}}[31m\\u{{a}}.yaml:2:10: error[{code}]: no\\u{{d}}\\u{{a}}`x`\\u{{202e}}");
        assert_eq!(line(&finding, &places), told);
        assert_eq!(line(&finding.help("write\ty"), &places), format!("{told} (write y)"));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let one = left_out(Code::MoreErrors, FileId(0), "abc", 1, "more bad line");
        assert_eq!((one.message.as_str(), one.span.start), ("1 more bad line in this file", 3));
        let two = left_out(Code::MoreErrors, FileId(0), "abc", 2, "more bad line");
        assert_eq!(two.message, "2 more bad lines in this file");
    }
}
