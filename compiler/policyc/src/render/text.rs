//! Findings as a Rust compiler would tell them.

use super::place::{Place, Places};
use super::visible::visible;
use super::window::Line;
use crate::output::Terminal;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::borrow::Cow;
use weir_grammar::diagnostic::{Diagnostic, Severity};
use weir_grammar::source::Sources;
use weir_grammar::span::Span;

/// Tells findings on stderr.
pub(crate) fn tell<'d>(
    findings: impl Iterator<Item = &'d Diagnostic> + Clone,
    sources: &Sources,
    terminal: &Terminal,
) {
    let places = Places::of(findings.clone(), sources);
    let renderer = renderer(terminal.colors_stderr());
    for finding in findings {
        terminal.tell(&render(finding, &places, &renderer));
    }
}

/// With or without colour.
pub(crate) fn renderer(colors: bool) -> Renderer {
    if colors { Renderer::styled() } else { Renderer::plain() }
}

/// One finding, an empty line after it.
pub(crate) fn render(finding: &Diagnostic, places: &Places<'_>, renderer: &Renderer) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut excerpts = vec![Excerpt::new(finding.span, &finding.label, places, AnnotationKind::Primary)];
    for label in &finding.labels {
        excerpts.push(Excerpt::new(label.span, &label.text, places, AnnotationKind::Context));
    }
    let title = level.primary_title(visible(&finding.message)).id(finding.code.as_str());
    let mut group = excerpts.iter().fold(Group::with_title(title), |group, excerpt| excerpt.add_to(group));
    if let Some(object) = &finding.object {
        group = group.element(Level::NOTE.message(format!("in {}", visible(object))));
    }
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(visible(help)));
    }
    let rendered = renderer.render(&[group]) + "\n\n";
    excerpts.iter().fold(rendered, |rendered, excerpt| excerpt.correct(rendered))
}

/// A place, and its line as it is shown.
struct Excerpt<'a> {
    place: Place<'a>,
    file: Cow<'a, str>,
    line: Line,
    label: Cow<'a, str>,
    kind: AnnotationKind,
}

impl<'a> Excerpt<'a> {
    fn new(span: Span, label: &'a str, places: &Places<'a>, kind: AnnotationKind) -> Self {
        let place = places.place(span);
        let line = Line::around(places.text(span), span.start as usize, span.end as usize);
        Excerpt { place, file: visible(place.file), line, label: visible(label), kind }
    }

    fn add_to(&self, group: Group<'a>) -> Group<'a> {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (line, column) = (number(self.place.line), number(self.place.column));
        if self.line.text.trim().is_empty() {
            return group.element(Origin::path(self.file.clone()).line(line).char_column(column));
        }
        let label = Some(self.label.clone()).filter(|label| !label.is_empty());
        let annotation = self.kind.span(self.line.mark.clone()).label(label);
        let snippet = Snippet::source(self.line.text.clone()).line_start(line).path(self.file.clone());
        group.element(snippet.annotation(annotation))
    }

    /// The renderer counts columns in what it is shown; in a line that was cut or made safe they are others.
    fn correct(&self, rendered: String) -> String {
        let before = self.line.text.get(..self.line.mark.start).unwrap_or_default();
        let shown = before.chars().count() + 1;
        if u32::try_from(shown) == Ok(self.place.column) || self.line.text.trim().is_empty() {
            return rendered;
        }
        let origin = |column: usize| format!("{}:{}:{column}\n", self.file, self.place.line);
        rendered.replacen(&origin(shown), &origin(self.place.column as usize), 1)
    }
}
