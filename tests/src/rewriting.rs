//! Policies written again, in either way, from what was read of them.

use weir_grammar::diagnostic::Severity;
use weir_grammar::tree::{Object, placeless};
use weir_grammar::{Limits, Reading, format, write};

/// A way to write: its name, and its files' ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Manifests.
    Yaml,
    /// The policy language.
    Policy,
}

impl Way {
    /// Both.
    pub const ALL: [Way; 2] = [Way::Yaml, Way::Policy];

    /// The name of a file that is written so.
    pub fn file(self, stem: &str) -> String {
        match self {
            Way::Yaml => format!("{stem}.yaml"),
            Way::Policy => format!("{stem}.policy"),
        }
    }

    /// The policies among the objects; those of the cluster are left out.
    pub fn written(self, objects: &[Object]) -> String {
        match self {
            Way::Yaml => objects.iter().filter_map(write::yaml).collect::<Vec<_>>().join("---\n"),
            Way::Policy => objects.iter().filter_map(write::policy).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// What a text holds. Errors are told with their place.
///
/// # Errors
/// The errors found, one a line.
pub fn objects(name: &str, text: &str) -> Result<Vec<Object>, String> {
    let mut reading = Reading::default();
    weir_grammar::read(&mut reading, name, text.as_bytes().to_vec(), &Limits::default());
    let errors = reading.diagnostics.iter().filter(|finding| finding.severity == Severity::Error);
    let errors: Vec<String> = errors
        .map(|finding| {
            let at = reading.sources.locate(finding.span);
            format!("{name}:{}:{}: {}", at.line, at.column, finding.message)
        })
        .collect();
    if errors.is_empty() { Ok(reading.objects) } else { Err(errors.join("\n")) }
}

/// What is lost or changed where policies are written in some way and read again; nothing, ever.
///
/// # Errors
/// The text as written, and what is wrong with it.
pub fn keeps(way: Way, given: &[Object]) -> Result<(), String> {
    let text = way.written(given);
    if way == Way::Policy && laid_out(&text)? != text {
        return Err(format!("another layout than that of all files:\n{text}"));
    }
    let again = objects(&way.file("again"), &text).map_err(|errors| format!("{errors}\n{text}"))?;
    let given: Vec<String> =
        given.iter().filter(|object| write::yaml(object).is_some()).map(placeless).collect();
    let again: Vec<String> = again.iter().map(placeless).collect();
    if again == given { Ok(()) } else { Err(format!("{text}\ngiven {given:#?}\nagain {again:#?}")) }
}

/// A text of the policy language laid out; that it says the same, with the same comments, is checked there.
///
/// # Errors
/// Why it has no layout, and the text.
pub fn laid_out(text: &str) -> Result<String, String> {
    let laid_out = format::policy("given.policy", text.as_bytes().to_vec(), &Limits::default());
    laid_out.map_err(|refusal| format!("{refusal}\n{text}"))
}

/// The text with comments, empty lines and other blanks: each edit is made if the text can be read with it,
/// at a place between two tokens.
pub fn strewn(text: &str, edits: &[(usize, Strewn)]) -> String {
    let mut text = text.to_owned();
    for (number, &(place, what)) in edits.iter().enumerate() {
        let places: Vec<usize> = text
            .char_indices()
            .filter(|(_, c)| " \n,;{}()=".contains(*c))
            .flat_map(|(at, c)| [at, at + c.len_utf8()])
            .collect();
        let Some(&at) = places.get(place % places.len().max(1)) else { continue };
        let mut edited = text.clone();
        edited.insert_str(at, &what.text(number));
        if objects("strewn.policy", &edited).is_ok() {
            text = edited;
        }
    }
    text
}

/// What means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strewn {
    /// A comment at the end of what is before it.
    Remark,
    /// A comment on a line of its own.
    Line,
    /// Empty lines.
    Blank,
    /// The end of a line.
    End,
    /// The end of a statement.
    Semicolon,
    /// Blanks within a line.
    Spaces,
}

impl Strewn {
    /// All of them.
    pub const ALL: [Strewn; 6] =
        [Strewn::Remark, Strewn::Line, Strewn::Blank, Strewn::End, Strewn::Semicolon, Strewn::Spaces];

    fn text(self, number: usize) -> String {
        match self {
            Strewn::Remark => format!(" # remark {number}.\n"),
            Strewn::Line => format!("\n# line {number}.\n"),
            Strewn::Blank => "\n\n\n".to_owned(),
            Strewn::End => "\n".to_owned(),
            Strewn::Semicolon => " ; ".to_owned(),
            Strewn::Spaces => " \t ".to_owned(),
        }
    }
}
