//! Syntax errors in a person's words.
//!
//! The mistakes that people make in manifests have a sentence and an advice; rarer ones keep the
//! parser's own sentence.

use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use granit_parser::ErrorKind;

/// The finding for a syntax error.
pub(super) fn syntax(kind: &ErrorKind, span: Span) -> Diagnostic {
    let (message, help) = words(kind);
    let message = message.map_or_else(|| kind.to_string(), str::to_owned);
    let finding = Diagnostic::new(Code::Syntax, span, format!("not well-formed YAML: {message}"))
        .labelled("reading of this document stops here");
    match help {
        Some(help) => finding.help(help),
        None => finding,
    }
}

fn words(kind: &ErrorKind) -> (Option<&'static str>, Option<&'static str>) {
    match kind {
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            (Some("this line fits no open mapping"), Some("indent it like the keys that it belongs with"))
        }
        ErrorKind::ExpectedBlockSequenceEntry => {
            (Some("a list item must begin with `- ` at the indentation of its list"), None)
        }
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            (Some("a tab stands where only spaces may indent"), Some("indent with spaces"))
        }
        ErrorKind::MappingValueNotAllowed => (
            Some("a second `: ` on one line"),
            Some("quote the value if the colon belongs to it, or start a new line"),
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            (Some("a key without its `: `"), Some("write `key: value`, with a space after the colon"))
        }
        ErrorKind::InvalidQuotedScalarIndent => {
            (Some("a quoted value goes on at too small an indent"), Some("its closing quote may be missing"))
        }
        ErrorKind::UnclosedQuotedScalar => (Some("a quote is opened and never closed"), None),
        ErrorKind::UnexpectedEof
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnclosedFlowCollection { .. } => {
            (Some("the text ends inside a bracket that is never closed"), None)
        }
        ErrorKind::ExpectedFlowMappingSeparator => (Some("a `,` or `}` is missing"), None),
        ErrorKind::ExpectedFlowSequenceSeparator => (Some("a `,` or `]` is missing"), None),
        ErrorKind::UnknownAnchor => (Some("the alias names no anchor of this document"), None),
        ErrorKind::UndeclaredTagHandle => (Some("the tag's handle is not declared"), None),
        ErrorKind::UnknownQuotedScalarEscape => {
            (Some("no such escape in double quotes"), Some("use single quotes to take a backslash literally"))
        }
        ErrorKind::MissingLowSurrogate | ErrorKind::UnpairedLowSurrogate | ErrorKind::InvalidLowSurrogate => {
            (Some("half a surrogate pair is no character"), None)
        }
        _ => (None, None),
    }
}
