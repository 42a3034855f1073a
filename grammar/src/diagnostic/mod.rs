//! What is wrong, where, and what to write instead.
//!
//! A diagnostic is a user's mistake (or a surprise worth a warning), never a failure of ours.
//! It is plain data: rendering for terminals, JSON, SARIF, JUnit and GitHub lives in the binary.
//! Codes are stable; [`codes`] is their only table.

pub mod codes;

use crate::span::Span;
pub use codes::Code;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Legal, but probably not what was meant.
    Warning,
    /// The policy is refused.
    Error,
}

/// A secondary place that explains the primary one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What to see there, lower case, no full stop.
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// Error or warning; the code's own severity unless raised.
    pub severity: Severity,
    /// One sentence that names the thing, lower case, no full stop.
    pub message: String,
    /// The offending text.
    pub span: Span,
    /// What to see at [`Diagnostic::span`]; may be empty.
    pub label: String,
    /// Further places.
    pub labels: Vec<Label>,
    /// What to write instead, or why it matters.
    pub help: Option<String>,
    /// The object it is in, as `Kind namespace/name`, when known.
    pub object: Option<String>,
}

impl Diagnostic {
    /// A finding of `code` at `span`.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: code.severity(),
            message: message.into(),
            span,
            label: String::new(),
            labels: Vec::new(),
            help: None,
            object: None,
        }
    }

    /// Says what to see at the offending text.
    #[must_use]
    pub fn labelled(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }

    /// Adds a further place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}
