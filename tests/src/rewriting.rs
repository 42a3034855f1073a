//! Policies written again, in either way, from what was read of them.

use weir_grammar::diagnostic::Severity;
use weir_grammar::tree::{Object, placeless};
use weir_grammar::{Limits, Reading, write};

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
    let again = objects(&way.file("again"), &text).map_err(|errors| format!("{errors}\n{text}"))?;
    let given: Vec<String> =
        given.iter().filter(|object| write::yaml(object).is_some()).map(placeless).collect();
    let again: Vec<String> = again.iter().map(placeless).collect();
    if again == given { Ok(()) } else { Err(format!("{text}\ngiven {given:#?}\nagain {again:#?}")) }
}
