//! Files of the policy language in the layout that all of them have.
//!
//! A layout means nothing, and it is held to that: the new text is read, and given back only if it says what
//! the old one said, with the same comments. What is not well-formed has no layout and is not touched.
//!
//! Not here: the layout itself (`language::format`), files.

use crate::diagnostic::Code;
use crate::span::FileId;
use crate::tree::placeless;
use crate::{Limits, Reading, file, language};
use std::fmt;

/// Why there is no new text.
#[derive(Debug)]
pub enum Refusal {
    /// The file is not well-formed: what was found in it.
    Findings(Reading),
    /// The new text would say something else. That is a failure of ours.
    Unfaithful,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Findings(_) => "the file is not well-formed",
            Refusal::Unfaithful => "laid out anew the file would not say the same; this is a bug",
        })
    }
}

impl std::error::Error for Refusal {}

/// Findings of a text that cannot be laid out, since it is not known what it is.
const MALFORMED: &[Code] = &[
    Code::NotUtf8,
    Code::Syntax,
    Code::TooLarge,
    Code::MoreErrors,
    Code::PolicySyntax,
    Code::UnknownWord,
    Code::Misplaced,
];

/// Lays a file's text out. `name` is for the findings; it need not end in `.policy`.
///
/// Mistakes in what is written, such as a port that there is not, do not matter here.
///
/// # Errors
/// [`Refusal::Findings`] where the file is not well-formed.
pub fn policy(name: &str, bytes: Vec<u8>, limits: &Limits) -> Result<String, Refusal> {
    let given = reading(name, bytes, limits);
    if given.diagnostics.iter().any(|finding| MALFORMED.contains(&finding.code)) {
        return Err(Refusal::Findings(given));
    }
    let text = given.sources.text(FileId(0));
    let laid_out = language::laid_out(text);
    // A layout may be longer than what it lays out.
    let limits = Limits { file_bytes: usize::MAX, ..*limits };
    let again = reading(name, laid_out.clone().into_bytes(), &limits);
    let is_faithful = says(&given) == says(&again) && language::pieces(text) == language::pieces(&laid_out);
    if is_faithful { Ok(laid_out) } else { Err(Refusal::Unfaithful) }
}

fn reading(name: &str, bytes: Vec<u8>, limits: &Limits) -> Reading {
    let mut reading = Reading::default();
    file::read_policy(&mut reading, name, bytes, limits);
    reading
}

/// What a text says, and what is wrong with it, whatever the places are.
fn says(reading: &Reading) -> (Vec<String>, Vec<(Code, &str)>) {
    let findings = reading.diagnostics.iter().map(|finding| (finding.code, finding.message.as_str()));
    (reading.objects.iter().map(placeless).collect(), findings.collect())
}
