//! Graphs of who may talk to whom, drawn: one file per format, and what they say alike.
//!
//! Not here: what may pass (`weir_compiler::graph`).

pub(crate) mod dot;
pub(crate) mod matrix;

use crate::render::count;
use std::fmt::Write;
use weir_abi::{Image, RequestKind};
use weir_compiler::flow::Origins;
use weir_compiler::graph::{Asked, Edge, Graph, Kind, Part, Vertex, What};
use weir_compiler::ir::Direction;
use weir_project::visible::visible;

/// Requests that are written out.
const WRITTEN: usize = 2;
/// Rules and members that a title names.
const NAMED: usize = 8;

/// What to draw.
pub(crate) struct Drawing<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) image: &'g Image<'g>,
    /// Whether what deny rules deny is marked.
    pub(crate) denied: bool,
}

impl Drawing<'_> {
    /// What passes in one line, such as `tcp/80 GET /api/.*`.
    fn label(&self, part: &Part) -> String {
        let mut label = part.ports.to_string();
        match &part.what {
            What::Passes => {}
            What::Denied => label.insert_str(0, "denied "),
            What::Proxied(asked) if asked.is_empty() => label.push_str(" seen by the proxy"),
            What::Proxied(asked) => {
                let sides: Vec<String> = asked.iter().map(|asked| self.requests(*asked)).collect();
                _ = write!(label, " {}", sides.join(" and "));
            }
        }
        visible(&label).into_owned()
    }

    /// The request rules of one set, in short.
    fn requests(&self, asked: Asked) -> String {
        let Some(set) = self.image.request_set(asked.set) else { return String::new() };
        let kind = match set.kind {
            RequestKind::Http => "http",
            RequestKind::Dns => "dns",
            RequestKind::Tls => return "tls".to_owned(),
        };
        let rules: Vec<String> = set
            .rules()
            .map(|rule| match rule.dns() {
                Some((name, _)) => name.to_owned(),
                None => {
                    let parts = [rule.method(), rule.path(), rule.host()];
                    let told: Vec<&str> = parts.into_iter().flatten().collect();
                    let any = if told.is_empty() { "any".to_owned() } else { told.join(" ") };
                    if rule.headers().next().is_some() { format!("{any} with headers") } else { any }
                }
            })
            .collect();
        let more = rules.len().saturating_sub(WRITTEN);
        let rest = if more > 0 { format!(", +{more}") } else { String::new() };
        let written: Vec<String> = rules.into_iter().take(WRITTEN).collect();
        format!("{kind} {}{rest}", written.join(", "))
    }

    /// The edge in words: who, what passes, and which rules decide.
    fn title(&self, edge: &Edge) -> String {
        let name = |place: usize| self.graph.vertices.get(place).map(full_name).unwrap_or_default();
        let mut title = format!("{} to {}", name(edge.from), name(edge.to));
        for part in &self.graph.treatment(edge).parts {
            _ = write!(title, "\n{}", self.label(part));
            let mut rules = 0;
            for (direction, ids) in [Direction::Egress, Direction::Ingress].iter().zip(&part.rules) {
                for &id in ids {
                    rules += 1;
                    if rules <= NAMED {
                        _ = write!(title, "\n  {}", self.rule(*direction, id));
                    }
                }
            }
            if rules > NAMED {
                _ = write!(title, "\n  and {}", count(rules - NAMED, "more rule"));
            }
        }
        title
    }

    fn rule(&self, direction: Direction, id: u32) -> String {
        let direction = direction.as_str();
        let Some(origin) = self.image.origin(id) else { return format!("{direction} rule {id}") };
        let policy = if origin.namespace.is_empty() {
            origin.name.to_owned()
        } else {
            format!("{}/{}", origin.namespace, origin.name)
        };
        let told =
            format!("{direction}: {} {policy} {} {}:{}", origin.kind, origin.path, origin.file, origin.line);
        visible(&told).into_owned()
    }
}

/// A vertex by its name within the whole cluster.
fn full_name(vertex: &Vertex) -> String {
    let name = match &vertex.namespace {
        Some(namespace) => format!("{namespace}/{}", vertex.name),
        None => vertex.name.clone(),
    };
    visible(&name).into_owned()
}

/// A vertex in words: whom it stands for, and where it is open.
fn about(vertex: &Vertex) -> String {
    let mut told = full_name(vertex);
    let what = match vertex.kind {
        Kind::Pods => "pod",
        Kind::Workloads => "workload",
        Kind::Nodes | Kind::OwnNode => "node",
        Kind::Entities | Kind::Sources | Kind::Destinations => "",
    };
    if !what.is_empty() {
        _ = write!(told, "\n{}", count(vertex.members.len(), what));
    }
    for member in vertex.members.iter().take(NAMED) {
        _ = write!(told, "\n  {}", visible(member));
    }
    if let Some(more @ 1..) = vertex.members.len().checked_sub(NAMED) {
        _ = write!(told, "\n  and {more} more");
    }
    if is_inside(vertex) {
        for (direction, to) in [(Direction::Ingress, "to"), (Direction::Egress, "from")] {
            let passes = if vertex.is_open(direction) { "passes" } else { "is denied" };
            _ = write!(told, "\n{}: what no rule names {to} it {passes}", direction.as_str());
        }
    }
    told
}

/// Whether it has policies of its own.
fn is_inside(vertex: &Vertex) -> bool {
    matches!(vertex.kind, Kind::Pods | Kind::Workloads | Kind::Nodes | Kind::OwnNode)
}

/// What is not drawn, in one line.
pub(crate) fn left_out(graph: &Graph) -> String {
    format!(
        "{} outside with {} left out: use --namespace or --focus",
        count(graph.outside_left_out, "more peer"),
        count(graph.edges_left_out, "more edge")
    )
}
