//! Findings as SARIF 2.1.0, for code scanning.

use super::json;
use serde::Serialize;
use std::collections::BTreeSet;
use weir_grammar::diagnostic::{Code, Diagnostic, Severity};
use weir_project::place::{Place, Places};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'a str,
    version: &'a str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    column_kind: &'a str,
    results: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: &'a str,
    semantic_version: &'a str,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: &'a str,
    short_description: Text<'a>,
    full_description: Text<'a>,
    help: Help<'a>,
    default_configuration: Configuration<'a>,
}

#[derive(Serialize)]
struct Configuration<'a> {
    level: &'a str,
}

/// The code's page.
#[derive(Serialize)]
struct Help<'a> {
    text: &'a str,
    markdown: &'a str,
}

#[derive(Serialize)]
struct Text<'a> {
    text: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'a str,
    message: Text<'a>,
    locations: [Location<'a>; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Location<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<LogicalLocation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation<'a> {
    fully_qualified_name: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
    end_line: u32,
    end_column: u32,
}

/// The log, a line break after it.
pub(crate) fn render(findings: &[Diagnostic], places: &Places<'_>) -> serde_json::Result<String> {
    let used: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let codes: Vec<Code> = Code::ALL.iter().copied().filter(|code| used.contains(code)).collect();
    let results = findings.iter().map(|finding| result(finding, &codes, places)).collect();
    let driver = Driver {
        name: "policyc",
        semantic_version: env!("CARGO_PKG_VERSION"),
        rules: codes.iter().copied().map(rule).collect(),
    };
    json::text(&Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run { tool: Tool { driver }, column_kind: "unicodeCodePoints", results }],
    })
}

fn rule(code: Code) -> Rule<'static> {
    Rule {
        id: code.as_str(),
        short_description: Text { text: code.title().into() },
        full_description: Text { text: code.description().replace('\n', " ").into() },
        help: Help { text: code.page(), markdown: code.page() },
        default_configuration: Configuration { level: level(code.severity()) },
    }
}

fn result<'a>(finding: &'a Diagnostic, codes: &[Code], places: &Places<'a>) -> Finding<'a> {
    let mut text = finding.message.clone();
    for more in [Some(&finding.label), finding.help.as_ref()].into_iter().flatten() {
        if !more.is_empty() {
            text.push_str("; ");
            text.push_str(more);
        }
    }
    let object = finding.object.as_deref();
    let logical = object.map(|name| LogicalLocation { fully_qualified_name: name, kind: "object" });
    let related = finding.labels.iter().enumerate().map(|(index, label)| Location {
        id: Some(index),
        physical_location: places.place(label.span).into(),
        logical_locations: Vec::new(),
        message: Some(Text { text: label.text.as_str().into() }),
    });
    Finding {
        rule_id: finding.code.as_str(),
        rule_index: codes.iter().position(|code| *code == finding.code).unwrap_or_default(),
        level: level(finding.severity),
        message: Text { text: text.into() },
        locations: [Location {
            id: None,
            physical_location: places.place(finding.span).into(),
            logical_locations: logical.into_iter().collect(),
            message: None,
        }],
        related_locations: related.collect(),
    }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

impl From<Place<'_>> for PhysicalLocation {
    fn from(place: Place<'_>) -> Self {
        let Place { file, line, column, end_line, end_column } = place;
        PhysicalLocation {
            artifact_location: ArtifactLocation { uri: uri(file) },
            region: Region { start_line: line, start_column: column, end_line, end_column },
        }
    }
}

/// A path as a URI reference: relative as it is, absolute with its scheme.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into());
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("./a b/c:d%.yaml"), "a%20b/c%3Ad%25.yaml");
        assert_eq!(uri("/etc/größe.yaml"), "file:///etc/gr%C3%B6%C3%9Fe.yaml");
    }
}
