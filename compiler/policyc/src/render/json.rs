//! Findings as a JSON array. The fields are told in `policyc check --help`, and stay as they are.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use weir_grammar::diagnostic::Diagnostic;
use weir_project::finding::severity;
use weir_project::place::{Place, Places};
use weir_project::visible::VisibleJson;

#[derive(Serialize)]
struct Finding<'a> {
    code: &'a str,
    severity: &'a str,
    message: &'a str,
    #[serde(flatten)]
    place: JsonPlace<'a>,
    label: &'a str,
    help: Option<&'a str>,
    object: Option<&'a str>,
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    #[serde(flatten)]
    place: JsonPlace<'a>,
    label: &'a str,
}

#[derive(Serialize)]
struct JsonPlace<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    end_line: u32,
    end_column: u32,
}

/// Findings and a forecast.
#[derive(Serialize)]
struct WithCost<'a, C> {
    findings: Vec<Finding<'a>>,
    cost: Option<C>,
}

/// The array, a line break after it.
pub(crate) fn render(findings: &[Diagnostic], places: &Places<'_>) -> serde_json::Result<String> {
    text(&all(findings, places))
}

/// An object of the array and what the policies cost.
pub(crate) fn render_with_cost(
    findings: &[Diagnostic],
    places: &Places<'_>,
    cost: Option<impl Serialize>,
) -> serde_json::Result<String> {
    text(&WithCost { findings: all(findings, places), cost })
}

fn all<'a>(findings: &'a [Diagnostic], places: &'a Places<'_>) -> Vec<Finding<'a>> {
    findings
        .iter()
        .map(|finding| Finding {
            code: finding.code.as_str(),
            severity: severity(finding),
            message: &finding.message,
            place: places.place(finding.span).into(),
            label: &finding.label,
            help: finding.help.as_deref(),
            object: finding.object.as_deref(),
            related: finding
                .labels
                .iter()
                .map(|label| Related { place: places.place(label.span).into(), label: &label.text })
                .collect(),
        })
        .collect()
}

/// Any value as text for people and programs, a line break after it.
pub(crate) fn text(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let formatter = VisibleJson(PrettyFormatter::new());
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    bytes.push(b'\n');
    // JSON is UTF-8: nothing is lost.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl<'a> From<Place<'a>> for JsonPlace<'a> {
    fn from(place: Place<'a>) -> Self {
        let Place { file, line, column, end_line, end_column } = place;
        JsonPlace { file, line, column, end_line, end_column }
    }
}
