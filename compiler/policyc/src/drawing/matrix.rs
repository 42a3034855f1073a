//! A picture of who may talk to whom: a table with a row and a column for everyone.
//!
//! A table stays readable where lines between fifty workloads would cross: each pair has its one place, a namespace is a square on
//! the diagonal, and what leaves it stands outside of the square. What passes is a letter of the key, and in words, with
//! the rules, in the cell's title.
//!
//! The picture is whole: it asks for no font, script or other file, and follows the reader's light or dark ground.
//!
//! Not here: layouts with lines (`dot`).

use super::{Drawing, about, is_inside, left_out};
use crate::render::xml::escape;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use weir_compiler::graph::{Edge, Kind, Vertex, What};
use weir_compiler::ir::Direction;

/// A cell with the gap to the next.
const CELL: usize = 19;
/// Between groups.
const GAP: usize = 8;
const MARGIN: usize = 16;
/// Names are cut behind so many letters; their titles are whole.
const NAME: usize = 30;
const KEY: usize = 64;
/// A letter's width in tenths, of names and of the key; no font is asked for, so this is a guess on the safe side.
const LETTER: usize = 68;
/// Rows of the key that are written out.
const KEYS: usize = 60;
/// Colours of groups, each readable below white letters and beside black and white.
const COLOURS: [&str; 7] = ["#4269d0", "#a05a00", "#c0392b", "#1b8069", "#7a5bc4", "#b0438a", "#3f7f1f"];
/// Of what is in no namespace.
const GREY: &str = "#5f6b7a";

const STYLE: &str = "\
svg{--ground:#fff;--text:#1f2328;--faint:#656d76;--open:#d9dee5}\
@media(prefers-color-scheme:dark){svg{--ground:#0d1117;--text:#e6edf3;--faint:#9198a1;--open:#2b333d}.h{filter:brightness(1.5)}}\
.h{font-weight:600}.g{fill:var(--ground)}text{fill:var(--text);font:12px system-ui,Helvetica,Arial,sans-serif}\
.t{font-size:15px;font-weight:600}.f{fill:var(--faint)}.e{text-anchor:end}\
.k{fill:#fff;font-size:11px;font-weight:600;text-anchor:middle}.p{stroke-dasharray:3 2;stroke-width:1.5;fill-opacity:.16}\
.q{font-size:11px;font-weight:600;text-anchor:middle}.o{fill:var(--open)}\
.r{fill:none;stroke:var(--faint);stroke-width:1.5}.d{stroke:#d1242f;stroke-width:2.2}.b{fill-opacity:.08}.s{fill:none;stroke-opacity:.7}";

/// One axis: who is on it, and where.
struct Axis {
    /// Place in the graph and offset, in order.
    lines: Vec<(usize, usize)>,
    /// By group: its name, its first offset, and the end of its last.
    groups: Vec<(String, usize, usize)>,
    length: usize,
    /// Letters of the longest name.
    longest: usize,
}

impl Axis {
    fn of(vertices: &[Vertex], without: Kind, colours: &mut BTreeMap<String, usize>) -> Self {
        let mut axis = Axis { lines: Vec::new(), groups: Vec::new(), length: 0, longest: 0 };
        for (place, vertex) in vertices.iter().enumerate().filter(|(_, vertex)| vertex.kind != without) {
            let name = group(vertex);
            if vertex.namespace.is_some() {
                let next = colours.len() % COLOURS.len();
                colours.entry(name.clone()).or_insert(next);
            }
            match axis.groups.last_mut() {
                Some((known, _, end)) if *known == name => *end = axis.length + CELL,
                last => {
                    if last.is_some() {
                        axis.length += GAP;
                    }
                    axis.groups.push((name, axis.length, axis.length + CELL));
                }
            }
            axis.lines.push((place, axis.length));
            axis.length += CELL;
            axis.longest = axis.longest.max(shown(&vertex.name, NAME).chars().count());
        }
        axis
    }

    fn offset(&self, place: usize) -> Option<usize> {
        let at = self.lines.binary_search_by_key(&place, |&(place, _)| place).ok()?;
        self.lines.get(at).map(|&(_, offset)| offset)
    }
}

/// What stands together.
fn group(vertex: &Vertex) -> String {
    match (&vertex.namespace, vertex.kind) {
        (Some(namespace), _) => namespace.clone(),
        // No namespace has a capital letter.
        (None, Kind::Sources | Kind::Destinations) => "Outside".to_owned(),
        (None, _) => "Cluster".to_owned(),
    }
}

/// How a cell looks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    label: String,
    is_proxied: bool,
}

struct Picture<'d> {
    drawing: &'d Drawing<'d>,
    rows: Axis,
    columns: Axis,
    colours: BTreeMap<String, usize>,
    left: usize,
    top: usize,
    svg: String,
}

/// The whole picture.
pub(crate) fn svg(drawing: &Drawing<'_>) -> String {
    let mut colours = BTreeMap::new();
    let vertices = &drawing.graph.vertices;
    let rows = Axis::of(vertices, Kind::Destinations, &mut colours);
    let columns = Axis::of(vertices, Kind::Sources, &mut colours);
    let group_letters = rows.groups.iter().map(|(name, ..)| shown(name, NAME).chars().count()).max();
    let left = MARGIN + width(group_letters.unwrap_or_default()) + width(rows.longest) + 34;
    // Names of columns stand up by sixty degrees.
    let top = 64 + width(columns.longest) * 87 / 100 + 12;
    let mut picture = Picture { drawing, rows, columns, colours, left, top, svg: String::new() };
    picture.grid();
    picture.names();
    let keys = picture.cells();
    picture.finish(&keys)
}

impl Picture<'_> {
    fn colour(&self, group: &str) -> &'static str {
        self.colours.get(group).and_then(|&number| COLOURS.get(number).copied()).unwrap_or(GREY)
    }

    /// A band of each group, but for pairs of which the graph says nothing.
    fn grid(&mut self) {
        let is_chosen =
            |place: usize| self.drawing.graph.vertices.get(place).is_none_or(|vertex| vertex.is_chosen);
        let bands: Vec<(&'static str, BTreeSet<(usize, usize)>)> = self
            .columns
            .groups
            .iter()
            .map(|(name, first, end)| {
                let within = self.columns.lines.iter().filter(|(_, offset)| (*first..*end).contains(offset));
                let told = within.flat_map(|&(to, column)| {
                    let rows =
                        self.rows.lines.iter().filter(move |(from, _)| is_chosen(*from) || is_chosen(to));
                    rows.map(move |&(_, row)| (row, column))
                });
                (self.colour(name), told.collect())
            })
            .collect();
        for (colour, cells) in bands {
            self.fill(&format!("class=\"b\" fill=\"{colour}\""), &cells);
        }
    }

    fn squares(&mut self) {
        for (name, first, end) in &self.columns.groups {
            let Some((_, row, row_end)) = self.rows.groups.iter().find(|(known, ..)| known == name) else {
                continue;
            };
            if name == "Outside" {
                continue;
            }
            let colour = self.colour(name);
            _ = writeln!(
                self.svg,
                "<rect class=\"s\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" stroke=\"{colour}\"/>",
                self.left + first,
                self.top + row,
                end - first,
                row_end - row
            );
        }
    }

    fn names(&mut self) {
        let (left, top) = (self.left, self.top);
        for (name, first, _) in &self.rows.groups {
            let (x, y) = (MARGIN, top + first + 13);
            _ = writeln!(
                self.svg,
                "<text class=\"h\" x=\"{x}\" y=\"{y}\" style=\"fill:{}\">{}</text>",
                self.colour(name),
                escape(&shown(name, NAME))
            );
        }
        for (axis, direction) in [(&self.rows, Direction::Egress), (&self.columns, Direction::Ingress)] {
            for &(place, offset) in &axis.lines {
                let Some(vertex) = self.drawing.graph.vertices.get(place) else { continue };
                let (name, title) = (escape(&shown(&vertex.name, NAME)), lines(&about(vertex)));
                let is_marked = vertex.is_open(direction) && is_inside(vertex);
                let (text, x, y) = if direction == Direction::Egress {
                    let (x, y) = (left - 20, top + offset + 13);
                    (format!("<text class=\"e\" x=\"{x}\" y=\"{y}\">"), left - 10, top + offset + 9)
                } else {
                    let (x, y) = (left + offset + 14, top - 18);
                    (
                        format!("<text transform=\"translate({x} {y}) rotate(-60)\">"),
                        left + offset + 9,
                        top - 9,
                    )
                };
                _ = write!(self.svg, "<g><title>{title}</title>{text}{name}</text>");
                if is_marked {
                    _ = write!(self.svg, "<circle class=\"r\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>");
                }
                self.svg.push_str("</g>\n");
            }
        }
    }

    /// All cells; returns the key: entries, each with its letters and how many cells have it.
    fn cells(&mut self) -> Vec<(Entry, String, usize)> {
        let drawing = self.drawing;
        let (shaded, told): (Vec<&Edge>, Vec<&Edge>) =
            drawing.graph.edges.iter().partition(|edge| drawing.graph.is_implied(edge));
        self.shade(&shaded);
        self.squares();
        let entries: Vec<(&Edge, Option<Entry>)> =
            told.iter().map(|edge| (*edge, entry(drawing, edge))).collect();
        let mut counts: BTreeMap<&Entry, usize> = BTreeMap::new();
        for entry in entries.iter().filter_map(|(_, entry)| entry.as_ref()) {
            *counts.entry(entry).or_default() += 1;
        }
        let mut keys: Vec<(&Entry, usize)> = counts.into_iter().collect();
        keys.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let keys: Vec<(Entry, String, usize)> =
            (0..).zip(keys).map(|(place, (entry, count))| (entry.clone(), letters(place), count)).collect();
        let letters: BTreeMap<&Entry, &str> =
            keys.iter().map(|(entry, letters, _)| (entry, letters.as_str())).collect();
        for (edge, entry) in &entries {
            let text = entry.as_ref().and_then(|entry| letters.get(entry).copied());
            self.cell(edge, entry.as_ref(), text);
        }
        keys
    }

    /// Where both ends are open, as few shapes as do.
    fn shade(&mut self, edges: &[&Edge]) {
        let pairs: BTreeSet<(usize, usize)> = edges
            .iter()
            .filter_map(|edge| Some((self.rows.offset(edge.from)?, self.columns.offset(edge.to)?)))
            .collect();
        self.fill("class=\"o\"", &pairs);
    }

    /// Cells of one kind, those side by side as one.
    fn fill(&mut self, look: &str, pairs: &BTreeSet<(usize, usize)>) {
        let mut run: Option<(usize, usize, usize)> = None;
        for &(row, column) in pairs.iter().chain([&(usize::MAX, usize::MAX)]) {
            match &mut run {
                Some((known, _, end)) if *known == row && *end == column => *end += CELL,
                _ => {
                    if let Some((row, first, end)) = run {
                        let (x, y) = (self.left + first, self.top + row);
                        _ = writeln!(
                            self.svg,
                            "<rect {look} x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\"/>",
                            end - first,
                            CELL - 1
                        );
                    }
                    run = (row != usize::MAX).then_some((row, column, column.saturating_add(CELL)));
                }
            }
        }
    }

    fn cell(&mut self, edge: &Edge, entry: Option<&Entry>, letters: Option<&str>) {
        let drawing = self.drawing;
        let (Some(row), Some(column)) = (self.rows.offset(edge.from), self.columns.offset(edge.to)) else {
            return;
        };
        let is_denied = drawing.denied
            && drawing.graph.treatment(edge).parts.iter().any(|part| part.what == What::Denied);
        if entry.is_none() && !is_denied {
            return;
        }
        let (x, y) = (self.left + column, self.top + row);
        _ = write!(self.svg, "<g><title>{}</title>", lines(&drawing.title(edge)));
        if let (Some(entry), Some(letters)) = (entry, letters) {
            let colour =
                drawing.graph.vertices.get(edge.from).map_or("", |vertex| self.colour(&group(vertex)));
            self.swatch(x, y, colour, entry.is_proxied, letters);
        }
        if is_denied {
            let path = if entry.is_some() {
                // A corner: something else of the pair passes.
                format!("M{} {}L{} {}", x + 10, y + 2, x + 17, y + 9)
            } else {
                format!("M{} {}l9 9m0 -9l-9 9", x + 5, y + 5)
            };
            _ = write!(self.svg, "<path class=\"d\" d=\"{path}\"/>");
        }
        self.svg.push_str("</g>\n");
    }

    fn swatch(&mut self, x: usize, y: usize, colour: &str, is_proxied: bool, letters: &str) {
        let (class, text) = if is_proxied { (" class=\"p\"", "q") } else { ("", "k") };
        let stroke = if is_proxied { format!(" stroke=\"{colour}\"") } else { String::new() };
        _ = write!(
            self.svg,
            "<rect{class} x=\"{}\" y=\"{}\" width=\"17\" height=\"17\" rx=\"3\" fill=\"{colour}\"{stroke}/>\
             <text class=\"{text}\" x=\"{}.5\" y=\"{}\">{letters}</text>",
            x + 1,
            y + 1,
            x + 9,
            y + 13
        );
    }

    /// The key beside the table, and everything around.
    fn finish(mut self, keys: &[(Entry, String, usize)]) -> String {
        let x = self.left + self.columns.length + 36;
        let mut y = self.top;
        let mut widest = 0;
        let row = |picture: &mut Self, y: &mut usize, text: &str| {
            _ = writeln!(picture.svg, "<text x=\"{}\" y=\"{}\">{}</text>", x + 28, *y + 13, escape(text));
            *y += CELL + 3;
            width(text.chars().count())
        };
        for (entry, letters, count) in keys.iter().take(KEYS) {
            _ = write!(self.svg, "<g><title>{}</title>", escape(&entry.label));
            self.swatch(x, y, GREY, entry.is_proxied, letters);
            let text = format!("{} ({count})", shown(&entry.label, KEY));
            widest = widest.max(row(&mut self, &mut y, &text));
            self.svg.push_str("</g>\n");
        }
        if let Some(more @ 1..) = keys.len().checked_sub(KEYS) {
            let text = format!("{more} more: see the titles of their cells");
            widest = widest.max(row(&mut self, &mut y, &text));
        }
        y += 6;
        let dashed = keys.iter().any(|(entry, ..)| entry.is_proxied);
        if dashed {
            self.swatch(x, y, GREY, true, "");
            widest = widest.max(row(&mut self, &mut y, "through the request proxy"));
        }
        _ = write!(self.svg, "<circle class=\"r\" cx=\"{}\" cy=\"{}\" r=\"3.5\"/>", x + 9, y + 9);
        widest = widest.max(row(&mut self, &mut y, "open: what no rule names passes"));
        _ = write!(
            self.svg,
            "<rect class=\"o\" x=\"{}\" y=\"{}\" width=\"17\" height=\"17\"/>",
            x + 1,
            y + 1
        );
        widest = widest.max(row(&mut self, &mut y, "both are open: everything passes"));
        if self.drawing.denied {
            _ = write!(self.svg, "<path class=\"d\" d=\"M{} {}l9 9m0 -9l-9 9\"/>", x + 5, y + 5);
            widest = widest.max(row(&mut self, &mut y, "a rule denies it, in whole or in part"));
        }
        if self.drawing.graph.outside_left_out > 0 {
            let text = left_out(self.drawing.graph);
            widest = widest.max(row(&mut self, &mut y, &text));
        }
        let width = x + 28 + widest + MARGIN;
        let height = (self.top + self.rows.length).max(y) + MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
             <title>Who may talk to whom</title>\n<style>{STYLE}</style>\n\
             <rect class=\"g\" width=\"{width}\" height=\"{height}\"/>\n\
             <text class=\"t\" x=\"{MARGIN}\" y=\"30\">Who may talk to whom</text>\n\
             <text class=\"f\" x=\"{MARGIN}\" y=\"48\">from the row to the column</text>\n{}</svg>\n",
            self.svg
        )
    }
}

/// How a cell looks; `None` where nothing passes.
fn entry(drawing: &Drawing<'_>, edge: &Edge) -> Option<Entry> {
    let treatment = drawing.graph.treatment(edge);
    let passing = || treatment.parts.iter().filter(|part| part.what != What::Denied);
    treatment.passes().then(|| Entry {
        label: passing().map(|part| drawing.label(part)).collect::<Vec<_>>().join("; "),
        is_proxied: passing().any(|part| matches!(part.what, What::Proxied(_))),
    })
}

/// `a` to `z`, `aa` and on.
fn letters(mut place: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + u8::try_from(place % 26).unwrap_or_default()));
        match (place / 26).checked_sub(1) {
            Some(next) => place = next,
            None => break,
        }
    }
    letters.iter().rev().collect()
}

/// Text of so many letters at most.
fn shown(text: &str, most: usize) -> String {
    let text = weir_project::visible::visible(text);
    if text.chars().count() <= most {
        return text.into_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Lines of a title.
fn lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

const fn width(letters: usize) -> usize {
    letters * LETTER / 10
}

#[cfg(test)]
mod tests {
    use super::letters;

    #[test]
    fn letters_go_on_behind_z() {
        let told: Vec<String> = [0, 25, 26, 51, 52, 701, 702].map(letters).to_vec();
        assert_eq!(told, ["a", "z", "aa", "az", "ba", "zz", "aaa"]);
    }
}
