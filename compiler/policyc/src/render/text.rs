//! Findings as a Rust compiler would tell them.

use super::window::{self, Line};
use crate::output::Terminal;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::borrow::Cow;
use std::ops::Range;
use weir_grammar::diagnostic::{Code, Diagnostic, Severity};
use weir_grammar::source::Sources;
use weir_grammar::span::{FileId, Span};
use weir_project::Project;
use weir_project::place::{Place, Places};
use weir_project::visible::{is_plain, visible};

/// Marks that are so many bytes apart, or less, may be shown together,
const NEAR_BYTES: usize = 600;
/// if all lines from the first to the last are no more than these.
const NEAR_LINES: usize = 8;

/// Tells a project's errors on stderr, and its warnings too if `warnings`.
pub(crate) fn tell(project: &Project, terminal: &Terminal, warnings: bool) {
    tell_of(&project.findings, &project.sources, terminal, warnings);
}

/// Tells findings of the files of `sources`.
pub(crate) fn tell_of(findings: &[Diagnostic], sources: &Sources, terminal: &Terminal, warnings: bool) {
    let told = findings.iter().filter(|finding| warnings || finding.severity == Severity::Error);
    let places = Places::of(told.clone(), sources);
    let renderer = renderer(terminal.colors_stderr());
    for finding in told {
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
    let primary = Mark { span: finding.span, label: &finding.label, kind: AnnotationKind::Primary };
    let mut marks = vec![primary];
    for label in &finding.labels {
        marks.push(Mark { span: label.span, label: &label.text, kind: AnnotationKind::Context });
    }
    let mut excerpts = excerpts(marks, places);
    if matches!(finding.code, Code::MoreErrors | Code::MoreWarnings) {
        // These are about the file; its last line is not to blame.
        excerpts.iter_mut().for_each(|excerpt| excerpt.text.clear());
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

/// A place to underline.
#[derive(Clone, Copy)]
struct Mark<'a> {
    span: Span,
    label: &'a str,
    kind: AnnotationKind,
}

/// Excerpts of the files for all marks, the one with the first mark first. Marks that are near are
/// shown together.
fn excerpts<'a>(marks: Vec<Mark<'a>>, places: &Places<'a>) -> Vec<Excerpt<'a>> {
    let mut groups: Vec<Vec<Mark<'a>>> = Vec::new();
    for mark in marks {
        let is_near = |group: &&mut Vec<Mark<'a>>| {
            let spans = group.iter().map(|other| other.span).chain([mark.span]);
            lines(spans, places).is_some()
        };
        match groups.iter_mut().find(is_near) {
            Some(group) => group.push(mark),
            None => groups.push(vec![mark]),
        }
    }
    groups.into_iter().map(|marks| Excerpt::new(&marks, places)).collect()
}

/// The text from the first to the last line of some spans, and where it begins, if it is short and can
/// be shown as it is.
fn lines<'a>(spans: impl Iterator<Item = Span> + Clone, places: &Places<'a>) -> Option<(&'a str, usize)> {
    let first = spans.clone().min()?;
    let start = first.start as usize;
    let end = spans.clone().map(|span| span.start as usize).max()?;
    if spans.clone().any(|span| span.file != first.file) || end - start > NEAR_BYTES {
        return None;
    }
    let text = places.text(first);
    let start = match text.get(..start)?.bytes().rev().take(NEAR_BYTES).position(|byte| byte == b'\n') {
        Some(back) => start - back,
        None if start <= NEAR_BYTES => 0,
        None => return None,
    };
    let end = match text.get(end..)?.bytes().take(NEAR_BYTES).position(|byte| byte == b'\n') {
        Some(on) => end + on,
        None if text.len() - end <= NEAR_BYTES => text.len(),
        None => return None,
    };
    let lines = text.get(start..end)?;
    let is_fit = lines.lines().count() <= NEAR_LINES
        && lines.lines().all(|line| line.len() <= window::SHORT && is_plain(line));
    is_fit.then_some((lines, start))
}

/// Lines of one file, as they are shown.
struct Excerpt<'a> {
    /// Of the first mark.
    place: Place<'a>,
    file: Cow<'a, str>,
    text: String,
    first_line: u32,
    /// What is underlined in `text`.
    marks: Vec<(Range<usize>, Cow<'a, str>, AnnotationKind)>,
}

impl<'a> Excerpt<'a> {
    fn new(marks: &[Mark<'a>], places: &Places<'a>) -> Self {
        let span = marks.first().map_or(Span::point(FileId(0), 0), |mark| mark.span);
        let place = places.place(span);
        let mut excerpt = Excerpt {
            place,
            file: visible(place.file),
            text: String::new(),
            first_line: place.line,
            marks: Vec::new(),
        };
        if let Some((text, start)) = lines(marks.iter().map(|mark| mark.span), places) {
            excerpt.text = text.to_owned();
            excerpt.first_line =
                places.place(Span::point(span.file, u32::try_from(start).unwrap_or(u32::MAX))).line;
            for mark in marks {
                let from = (mark.span.start as usize - start).min(text.len());
                let rest = text.get(from..).unwrap_or_default().lines().next().unwrap_or_default();
                let marked =
                    (mark.span.end.saturating_sub(mark.span.start) as usize).min(rest.trim_end().len());
                excerpt.marks.push((from..from + marked, visible(mark.label), mark.kind));
            }
        } else if let Some(mark) = marks.first() {
            let line = Line::around(places.text(span), span.start as usize, span.end as usize);
            excerpt.text = line.text;
            excerpt.marks.push((line.mark, visible(mark.label), mark.kind));
        }
        excerpt
    }

    fn add_to(&self, group: Group<'a>) -> Group<'a> {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        if self.text.trim().is_empty() {
            let origin = Origin::path(self.file.clone()).line(number(self.place.line));
            return group.element(origin.char_column(number(self.place.column)));
        }
        let snippet =
            Snippet::source(self.text.clone()).line_start(number(self.first_line)).path(self.file.clone());
        let annotations = self.marks.iter().map(|(range, label, kind)| {
            kind.span(range.clone()).label(Some(label.clone()).filter(|label| !label.is_empty()))
        });
        group.element(snippet.annotations(annotations))
    }

    /// The renderer counts columns in what it is shown; in a line that was cut or made safe they are others.
    fn correct(&self, rendered: String) -> String {
        let Some((mark, _, _)) = self.marks.first() else { return rendered };
        let before = self.text.get(..mark.start).unwrap_or_default();
        let shown = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        if u32::try_from(shown) == Ok(self.place.column) || self.text.trim().is_empty() {
            return rendered;
        }
        let origin = |column: usize| format!("{}:{}:{column}\n", self.file, self.place.line);
        rendered.replacen(&origin(shown), &origin(self.place.column as usize), 1)
    }
}
