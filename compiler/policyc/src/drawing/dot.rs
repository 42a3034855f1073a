//! A graph for Graphviz: namespaces are boxes, workloads are in them.
//!
//! Between two workloads that are open everything passes and no edge is drawn; that, and where something of it is denied, is what
//! edges are for. Equal edges of all of a box are one edge of the box, which stands for each in it but the one at the other end.
//!
//! The text is the same for the same graph. Outside text is in quotes, with quotes and backslashes escaped.
//!
//! Not here: where things stand (Graphviz).

use super::{Drawing, about, left_out};
use crate::render::count;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use weir_compiler::graph::{Edge, Kind, Vertex, What};
use weir_compiler::ir::Direction;
use weir_project::visible::visible;

/// Edges that are drawn.
const MOST: usize = 1000;
/// Titles that an edge of a box has.
const TITLES: usize = 6;

/// An end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// All of a namespace, by its place among them.
    Box(usize),
    /// One, by its place among the vertices.
    One(usize),
}

/// How edges that may be drawn as one look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    label: String,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Style {
    Plain,
    Proxied,
    Denied,
}

/// Pairs with the same look, and the edges that they come from.
type Bundles<'g> = BTreeMap<(Look, End, End), Vec<&'g Edge>>;

/// The namespaces of a graph, and who is in each.
struct Boxes<'g> {
    names: Vec<&'g str>,
    members: Vec<BTreeSet<usize>>,
}

/// The whole text.
pub(crate) fn dot(drawing: &Drawing<'_>) -> String {
    let boxes = Boxes::of(&drawing.graph.vertices);
    let edges = boxes.bundle(edges(drawing));
    let mut dot = String::from(
        "digraph policy {\n  rankdir=LR; compound=true; newrank=true; bgcolor=transparent;\n  \
         fontname=\"Helvetica,Arial,sans-serif\"; fontsize=11; labelloc=b;\n  \
         node [shape=box, style=\"rounded,filled\", fillcolor=white, color=\"#4b5563\", fontname=\"Helvetica,Arial,sans-serif\", fontsize=11];\n  \
         edge [color=\"#4b5563\", fontname=\"Helvetica,Arial,sans-serif\", fontsize=9];\n",
    );
    let drawn = edges.len().min(MOST);
    _ = writeln!(dot, "  label={};", quoted(&legend(drawing, edges.len() - drawn)));
    let anchored: BTreeSet<usize> = edges
        .keys()
        .take(MOST)
        .flat_map(|(_, from, to)| [*from, *to])
        .filter_map(|end| if let End::Box(place) = end { Some(place) } else { None })
        .collect();
    for (place, (name, members)) in boxes.names.iter().zip(&boxes.members).enumerate() {
        _ = writeln!(dot, "  subgraph cluster_{place} {{");
        _ = writeln!(
            dot,
            "    label={}; style=\"rounded,filled\"; fillcolor=\"#f3f4f6\"; color=\"#9ca3af\";",
            quoted(&visible(name))
        );
        if anchored.contains(&place) {
            _ = writeln!(dot, "    b{place} [shape=point, style=invis, width=0.01, label=\"\"];");
        }
        for &member in members {
            write_vertex(&mut dot, drawing, member, "    ");
        }
        dot.push_str("  }\n");
    }
    let in_boxes: BTreeSet<usize> = boxes.members.iter().flatten().copied().collect();
    let ends: BTreeSet<End> = edges.keys().take(MOST).flat_map(|(_, from, to)| [*from, *to]).collect();
    let is_drawn = |place: &usize| !in_boxes.contains(place) && ends.contains(&End::One(*place));
    for place in (0..drawing.graph.vertices.len()).filter(is_drawn) {
        write_vertex(&mut dot, drawing, place, "  ");
    }
    for ((look, from, to), merged) in edges.iter().take(MOST) {
        write_edge(&mut dot, drawing, look, (*from, *to), merged);
    }
    dot.push_str("}\n");
    dot
}

/// Every pair that is drawn.
fn edges<'g>(drawing: &Drawing<'g>) -> Bundles<'g> {
    let mut bundles = Bundles::new();
    for edge in drawing.graph.edges.iter().filter(|edge| !drawing.graph.is_implied(edge)) {
        let treatment = drawing.graph.treatment(edge);
        let (denied, passing): (Vec<_>, Vec<_>) =
            treatment.parts.iter().partition(|part| part.what == What::Denied);
        let is_open = |place: usize, direction| {
            drawing.graph.vertices.get(place).is_some_and(|vertex| vertex.is_open(direction))
        };
        // Where nothing passes though both are open, only an edge can say so.
        let is_exception = passing.is_empty()
            && is_open(edge.from, Direction::Egress)
            && is_open(edge.to, Direction::Ingress);
        let denied = denied.into_iter().filter(|_| drawing.denied || is_exception);
        let denied: Vec<String> = denied.map(|part| drawing.label(part)).collect();
        let is_proxied = passing.iter().any(|part| matches!(part.what, What::Proxied(_)));
        let passing: Vec<String> = passing.into_iter().map(|part| drawing.label(part)).collect();
        let styled =
            [(passing, if is_proxied { Style::Proxied } else { Style::Plain }), (denied, Style::Denied)];
        for (labels, style) in styled.into_iter().filter(|(labels, _)| !labels.is_empty()) {
            let look = Look { label: labels.join("\n"), style };
            bundles.entry((look, End::One(edge.from), End::One(edge.to))).or_default().push(edge);
        }
    }
    bundles
}

impl<'g> Boxes<'g> {
    fn of(vertices: &'g [Vertex]) -> Self {
        let mut by_name: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (place, vertex) in vertices.iter().enumerate() {
            if let Some(namespace) = &vertex.namespace {
                by_name.entry(namespace).or_default().insert(place);
            }
        }
        let (names, members) = by_name.into_iter().unzip();
        Boxes { names, members }
    }

    /// Makes one edge of equal edges from all of a box, then of equal edges to all of a box.
    fn bundle<'e>(&self, pairs: Bundles<'e>) -> Bundles<'e> {
        let from_boxes = self.merged(pairs, |from, to| (to, from), |of_box, to| (of_box, to));
        self.merged(from_boxes, |from, to| (from, to), |of_box, from| (from, of_box))
    }

    /// `split` tells which end stays and which may be one of a box; `join` puts them together again.
    fn merged<'e>(
        &self,
        pairs: Bundles<'e>,
        split: impl Fn(End, End) -> (End, End),
        join: impl Fn(End, End) -> (End, End),
    ) -> Bundles<'e> {
        let mut by_fixed: BTreeMap<(Look, End), BTreeMap<End, Vec<&'e Edge>>> = BTreeMap::new();
        let mut merged = Bundles::new();
        for ((look, from, to), edges) in pairs {
            if from == to {
                merged.insert((look, from, to), edges);
                continue;
            }
            let (fixed, other) = split(from, to);
            by_fixed.entry((look, fixed)).or_default().insert(other, edges);
        }
        for ((look, fixed), mut others) in by_fixed {
            for (place, members) in self.members.iter().enumerate() {
                let but_itself: Vec<End> =
                    members.iter().map(|&member| End::One(member)).filter(|&end| end != fixed).collect();
                if but_itself.len() > 1 && but_itself.iter().all(|end| others.contains_key(end)) {
                    let all = but_itself.iter().filter_map(|end| others.remove(end)).flatten().collect();
                    others.insert(End::Box(place), all);
                }
            }
            for (other, edges) in others {
                let (from, to) = join(other, fixed);
                merged.insert((look.clone(), from, to), edges);
            }
        }
        merged
    }
}

fn write_vertex(dot: &mut String, drawing: &Drawing<'_>, place: usize, indent: &str) {
    let Some(vertex) = drawing.graph.vertices.get(place) else { return };
    let open = match vertex.open {
        _ if matches!(vertex.kind, Kind::Entities | Kind::Sources | Kind::Destinations) => "",
        [true, true] => "\nopen",
        [true, false] => "\nopen to it",
        [false, true] => "\nopen from it",
        [false, false] => "",
    };
    let look = match (vertex.kind, vertex.open) {
        (Kind::Pods | Kind::Workloads, [false, false]) => "",
        (Kind::Pods | Kind::Workloads, _) => ", style=\"rounded,filled,dashed\"",
        _ => ", shape=ellipse, style=filled, fillcolor=\"#eef2ff\"",
    };
    let label = format!("{}{open}", visible(&vertex.name));
    _ = writeln!(
        dot,
        "{indent}v{place} [label={}, tooltip={}{look}];",
        quoted(&label),
        quoted(&about(vertex))
    );
}

fn write_edge(
    dot: &mut String,
    drawing: &Drawing<'_>,
    look: &Look,
    (from, to): (End, End),
    merged: &[&Edge],
) {
    let name = |end| match end {
        End::Box(place) => format!("b{place}"),
        End::One(place) => format!("v{place}"),
    };
    let mut titles: Vec<String> = merged.iter().take(TITLES).map(|edge| drawing.title(edge)).collect();
    if let Some(more @ 1..) = merged.len().checked_sub(TITLES) {
        titles.push(format!("and {}", count(more, "more pair")));
    }
    let title = quoted(&titles.join("\n"));
    let label = quoted(&look.label);
    _ = write!(dot, "  {} -> {} [label={label}, tooltip={title}, labeltooltip={title}", name(from), name(to));
    match look.style {
        Style::Plain => {}
        Style::Proxied => dot.push_str(", style=dashed"),
        Style::Denied => dot.push_str(", color=\"#c0392b\", fontcolor=\"#c0392b\", arrowhead=tee"),
    }
    if let End::Box(place) = from {
        _ = write!(dot, ", ltail=cluster_{place}, penwidth=2");
    }
    if let End::Box(place) = to {
        _ = write!(dot, ", lhead=cluster_{place}, penwidth=2");
    }
    dot.push_str("];\n");
}

fn legend(drawing: &Drawing<'_>, edges_left_out: usize) -> String {
    let mut lines = vec![
        "Open: what no rule names passes, to it or from it. Between two that are open, as all outside is, everything passes; no edge is drawn."
            .to_owned(),
        "An edge of a box is of each workload in it but the other end. Dashed edges go through the request proxy."
            .to_owned(),
    ];
    if edges_left_out > 0 {
        lines.push(format!("{} left out: use --namespace or --focus", count(edges_left_out, "more edge")));
    }
    if drawing.graph.outside_left_out > 0 {
        lines.push(left_out(drawing.graph));
    }
    lines.join("\n")
}

/// A string of the language. Line breaks are meant; all else of outside text is already visible.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
