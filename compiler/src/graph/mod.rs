//! Who may talk to whom: the verdicts of an image, gathered by workloads and by what is outside.
//!
//! ```text
//! image, cluster ─ parties ─> vertices ─┐
//! rules' blocks and names ─ outside ────┼─ every pair, by rows of verdicts (treatment) ─> Graph
//! ```
//!
//! Invariants: a pair passes a port in the graph exactly if the egress of the one and the ingress of the other pass it; pods are one
//! vertex only if the image cannot tell them apart; the same image and cluster give the same graph; what is left out is counted.
//!
//! Not here: how it is drawn; what passes back on a connection (all of it).

mod gather;
mod outside;
mod parties;
mod ports;
mod treatment;

pub use outside::example;
pub use ports::PortSet;
pub use treatment::{Asked, Part, Treatment, What};

use crate::cluster::Cluster;
use crate::ir::{Direction, PolicySet};
use outside::{Atom, WORLD};
use parties::Subject;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use treatment::Reader;
use weir_abi::{Image, PeerClass, Table};

/// Vertices of pods, at most: more are no picture.
pub const MAX_WORKLOADS: usize = 200;
/// Vertices outside, at most, as sources and as destinations.
pub const MAX_OUTSIDE: usize = 40;
/// Verdicts that are looked up, at most: some seconds.
const MAX_LOOKUPS: usize = 1 << 29;

/// What a graph is made from.
pub struct Input<'a> {
    /// The compiled policies of the whole cluster.
    pub image: Image<'a>,
    /// The cluster that it was compiled for.
    pub cluster: &'a Cluster,
    /// Its policies, for the names of what is outside.
    pub set: &'a PolicySet,
    /// Addresses that a DNS name or pattern (`true`) leads to.
    pub addresses_of: &'a dyn Fn(&str, bool) -> Vec<IpAddr>,
}

/// Whom to draw; with neither everyone.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The workloads of these namespaces, and whom rules let them talk to.
    pub namespaces: BTreeSet<String>,
    /// This workload, by namespace and name, and whom rules let it talk to.
    pub workload: Option<(String, String)>,
}

/// What a vertex is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pods of one workload.
    Pods,
    /// Workloads of one namespace that were not asked for and are treated alike by whoever was.
    Workloads,
    /// Nodes, as other nodes and their pods see them.
    Nodes,
    /// Each pod's own node.
    OwnNode,
    /// What no object of the cluster stands for: Cilium's proxy for ingress, health checks and the like.
    Entities,
    /// Addresses outside, from where connections come.
    Sources,
    /// Addresses outside, to where connections go.
    Destinations,
}

/// Someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// What it is.
    pub kind: Kind,
    /// Of pods.
    pub namespace: Option<String>,
    /// As drawn.
    pub name: String,
    /// All that it stands for: pods, nodes, lists.
    pub members: Vec<String>,
    /// Places of its pods or nodes in the cluster.
    pub places: Vec<usize>,
    /// One of its addresses, if it is outside and has any.
    pub address: Option<IpAddr>,
    /// Whether what no rule names passes to it, and from it.
    pub open: [bool; 2],
    /// Whether it was asked for. The graph says nothing of pairs of which neither was.
    pub is_chosen: bool,
}

impl Vertex {
    /// Whether what no rule names passes in a direction.
    pub const fn is_open(&self, direction: Direction) -> bool {
        self.open[direction as usize]
    }
}

/// What may pass from one vertex to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// By place in [`Graph::vertices`].
    pub from: usize,
    /// The same.
    pub to: usize,
    /// By place in [`Graph::treatments`].
    pub treatment: usize,
}

/// Who may talk to whom.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Pods by namespace and name, then nodes, entities, what is outside.
    pub vertices: Vec<Vertex>,
    /// Pairs where something passes or a rule denies something, sorted.
    pub edges: Vec<Edge>,
    /// What edges are about.
    pub treatments: Vec<Treatment>,
    /// Vertices outside that are left out because there are too many.
    pub outside_left_out: usize,
    /// And their edges.
    pub edges_left_out: usize,
}

impl Graph {
    /// What happens on an edge.
    pub fn treatment(&self, edge: &Edge) -> &Treatment {
        const NOTHING: &Treatment = &Treatment { parts: Vec::new() };
        self.treatments.get(edge.treatment).unwrap_or(NOTHING)
    }

    /// Leaves out all other vertices, and their edges.
    fn retain(&mut self, kept: &BTreeSet<usize>) {
        let new_place: FxHashMap<usize, usize> = kept.iter().copied().zip(0..).collect();
        let renumbered = |edge: &Edge| {
            let (from, to) = (*new_place.get(&edge.from)?, *new_place.get(&edge.to)?);
            Some(Edge { from, to, ..*edge })
        };
        self.edges = self.edges.iter().filter_map(renumbered).collect();
        let mut place = 0;
        self.vertices.retain(|_| {
            place += 1;
            kept.contains(&(place - 1))
        });
    }

    /// Whether an edge only says that both ends are open: everything passes.
    pub fn is_implied(&self, edge: &Edge) -> bool {
        let is_open = |vertex: usize, direction| {
            self.vertices.get(vertex).is_some_and(|vertex| vertex.is_open(direction))
        };
        self.treatment(edge).is_everything()
            && is_open(edge.from, Direction::Egress)
            && is_open(edge.to, Direction::Ingress)
    }
}

/// Why there is no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Nobody could read it.
    #[error("{count} workloads are too many for one graph, at most {most} are drawn")]
    TooMany {
        /// How many there are.
        count: usize,
        /// The limit.
        most: usize,
        /// Namespaces and how many workloads each has, the largest first.
        namespaces: Vec<(String, usize)>,
    },
    /// The policies tell apart so much that the verdicts of all pairs are too many.
    #[error("there are more than {most} verdicts to look up")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// The cluster has no such workload.
    #[error("there is no workload {namespace}/{name}")]
    NoSuchWorkload {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Workloads of that namespace.
        others: Vec<String>,
    },
    /// No pod of the cluster is in such a namespace.
    #[error("no pod is in namespace {namespace}")]
    NoSuchNamespace {
        /// Its name.
        namespace: String,
    },
}

/// Gathers the graph.
///
/// # Errors
/// [`GraphError`].
pub fn graph(input: &Input<'_>, choice: &Choice) -> Result<Graph, GraphError> {
    let mut subjects = parties::subjects(&input.image, input.cluster);
    choose(&mut subjects, choice)?;
    let mut reader = Reader::new(input.image);
    let atoms = outside::atoms(&input.image, input.set, input.cluster, input.addresses_of);
    check_lookups(&subjects, atoms.len(), reader.width())?;
    for vertex in &mut subjects {
        vertex.vertex.open = vertex.tables.map(|table| reader.is_open(table));
    }
    add_outside(&mut subjects, &atoms, &mut reader);
    let edges = edges(&subjects, input.cluster, &mut reader);
    let mut graph = Graph {
        vertices: Vec::new(),
        edges,
        treatments: reader.into_treatments(),
        outside_left_out: 0,
        edges_left_out: 0,
    };
    graph.vertices = subjects.into_iter().map(|subject| subject.vertex).collect();
    keep(&mut graph);
    gather::gather(&mut graph);
    let pods = graph.vertices.iter().filter(|vertex| matches!(vertex.kind, Kind::Pods | Kind::Workloads));
    too_many(pods.map(|vertex| vertex.namespace.as_deref().unwrap_or_default()))?;
    Ok(graph)
}

fn choose(subjects: &mut [Subject], choice: &Choice) -> Result<(), GraphError> {
    let is_everyone = choice.namespaces.is_empty() && choice.workload.is_none();
    for subject in subjects.iter_mut() {
        let namespace = subject.vertex.namespace.as_deref().unwrap_or_default();
        let is_it =
            |(space, name): &(String, String)| space == namespace && subject.workload == Some(name.clone());
        subject.vertex.is_chosen = is_everyone
            || choice.namespaces.contains(namespace)
            || choice.workload.as_ref().is_some_and(is_it);
    }
    let namespace_of = |subject: &&Subject| subject.vertex.namespace.clone();
    if let Some((namespace, name)) = &choice.workload {
        let of_namespace =
            || subjects.iter().filter(|subject| subject.vertex.namespace.as_ref() == Some(namespace));
        if !of_namespace().any(|subject| subject.workload.as_ref() == Some(name)) {
            let others: BTreeSet<String> =
                of_namespace().filter_map(|subject| subject.workload.clone()).collect();
            return Err(GraphError::NoSuchWorkload {
                namespace: namespace.clone(),
                name: name.clone(),
                others: others.into_iter().collect(),
            });
        }
    }
    let known: BTreeSet<String> = subjects.iter().filter_map(|subject| namespace_of(&subject)).collect();
    if let Some(namespace) = choice.namespaces.iter().find(|namespace| !known.contains(*namespace)) {
        return Err(GraphError::NoSuchNamespace { namespace: namespace.clone() });
    }
    let chosen =
        subjects.iter().filter(|subject| subject.vertex.is_chosen && subject.vertex.kind == Kind::Pods);
    too_many(chosen.map(|subject| subject.vertex.namespace.as_deref().unwrap_or_default()))
}

fn too_many<'a>(namespaces: impl Iterator<Item = &'a str>) -> Result<(), GraphError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for namespace in namespaces {
        *counts.entry(namespace).or_default() += 1;
    }
    let (count, most) = (counts.values().sum(), MAX_WORKLOADS);
    if count <= most {
        return Ok(());
    }
    let mut namespaces: Vec<(String, usize)> =
        counts.into_iter().map(|(namespace, count)| (namespace.to_owned(), count)).collect();
    namespaces.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    Err(GraphError::TooMany { count, most, namespaces })
}

/// Bounds the rows to be read: tables of whom is chosen by everyone, and everyone's by whom is chosen.
fn check_lookups(subjects: &[Subject], atoms: usize, width: usize) -> Result<(), GraphError> {
    let distinct = |chosen: bool| {
        let those = subjects.iter().filter(|subject| subject.vertex.is_chosen || !chosen);
        let tables: BTreeSet<Table> = those.clone().flat_map(|subject| subject.tables).collect();
        let peers: BTreeSet<&[PeerClass]> = those.map(|subject| &subject.classes[..]).collect();
        (tables.len(), peers.len())
    };
    let ((chosen_tables, chosen_peers), (all_tables, all_peers)) = (distinct(true), distinct(false));
    let rows = chosen_tables
        .saturating_mul(all_peers.saturating_add(atoms))
        .saturating_add(all_tables.saturating_mul(chosen_peers));
    if rows.saturating_mul(width) > MAX_LOOKUPS {
        return Err(GraphError::TooLong { most: MAX_LOOKUPS });
    }
    Ok(())
}

/// Adds what is outside, once as sources and once as destinations: atoms that everyone chosen treats alike are one.
fn add_outside(subjects: &mut Vec<Subject>, atoms: &[Atom], reader: &mut Reader<'_>) {
    for (kind, direction) in [(Kind::Sources, Direction::Ingress), (Kind::Destinations, Direction::Egress)] {
        let chosen = subjects.iter().filter(|subject| subject.vertex.is_chosen);
        let tables: BTreeSet<Table> = chosen.map(|subject| subject.tables[direction as usize]).collect();
        let mut places: FxHashMap<Vec<u32>, usize> = FxHashMap::default();
        let first = subjects.len();
        for atom in atoms {
            // Connections come from addresses, whatever their names are.
            if kind == Kind::Sources && atom.first.is_none() {
                continue;
            }
            let signature: Vec<u32> = tables.iter().map(|&table| reader.row(table, &atom.classes)).collect();
            let next = subjects.len();
            let place = *places.entry(signature).or_insert(next);
            if place == next {
                subjects.push(Subject::outside(kind, atom));
            }
            if let Some(subject) = subjects.get_mut(place)
                && !subject.vertex.members.contains(&atom.name)
            {
                subject.vertex.members.push(atom.name.clone());
            }
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for subject in subjects.iter_mut().skip(first) {
            let members = &subject.vertex.members;
            let world = WORLD.map(|name| members.iter().any(|member| member == name));
            subject.vertex.name = match (world, &members[..]) {
                ([true, true], _) => "world".to_owned(),
                ([true, false], _) => WORLD[0].to_owned(),
                ([false, true], _) => WORLD[1].to_owned(),
                (_, members) => match members {
                    [one] => one.clone(),
                    [one, two] => format!("{one}, {two}"),
                    [one, rest @ ..] => format!("{one}, +{} more", rest.len()),
                    [] => String::new(),
                },
            };
            // Of a list that another cuts in two, the parts would have one name.
            let seen = names.entry(subject.vertex.name.clone()).or_default();
            if *seen > 0
                && let Some(address) = subject.vertex.address
            {
                subject.vertex.name.push_str(&format!(" from {address}"));
            }
            *seen += 1;
        }
    }
}

fn edges(subjects: &[Subject], cluster: &Cluster, reader: &mut Reader<'_>) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (from, source) in subjects.iter().enumerate() {
        for (to, destination) in subjects.iter().enumerate() {
            if !(source.vertex.is_chosen || destination.vertex.is_chosen)
                || !source.meets(destination, from == to, cluster)
            {
                continue;
            }
            let egress = reader.row(source.tables[Direction::Egress as usize], &destination.classes);
            let ingress = reader.row(destination.tables[Direction::Ingress as usize], &source.classes);
            let treatment = reader.treatment(egress, ingress);
            if reader.known(treatment).is_some_and(|treatment| !treatment.parts.is_empty()) {
                edges.push(Edge { from, to, treatment });
            }
        }
    }
    edges
}

/// Leaves out who was not chosen and whom no rule names, and too many outside.
fn keep(graph: &mut Graph) {
    let mut by_rule = vec![0usize; graph.vertices.len()];
    for edge in &graph.edges {
        if graph.treatment(edge).is_by_rule() && !graph.is_implied(edge) {
            for end in [edge.from, edge.to] {
                if let Some(count) = by_rule.get_mut(end) {
                    *count += 1;
                }
            }
        }
    }
    let is_wanted = |place: usize, vertex: &Vertex| {
        let count = by_rule.get(place).copied().unwrap_or_default();
        match vertex.kind {
            Kind::Pods | Kind::Workloads | Kind::Nodes => vertex.is_chosen || count > 0,
            Kind::OwnNode | Kind::Entities => count > 0,
            // That no rule decides is an answer too: atoms are apart because it is another than the world's.
            Kind::Sources | Kind::Destinations => true,
        }
    };
    let mut kept: BTreeSet<usize> = (0..)
        .zip(&graph.vertices)
        .filter(|(place, vertex)| is_wanted(*place, vertex))
        .map(|(place, _)| place)
        .collect();
    for kind in [Kind::Sources, Kind::Destinations] {
        let mut outside: Vec<usize> = kept
            .iter()
            .copied()
            .filter(|&place| graph.vertices.get(place).is_some_and(|vertex| vertex.kind == kind))
            .collect();
        // The world stays, then those with most edges.
        outside.sort_by_key(|&place| {
            let is_world = graph
                .vertices
                .get(place)
                .is_some_and(|vertex| vertex.members.iter().any(|member| WORLD.contains(&member.as_str())));
            (std::cmp::Reverse((is_world, by_rule.get(place).copied())), place)
        });
        for place in outside.into_iter().skip(MAX_OUTSIDE) {
            kept.remove(&place);
            graph.outside_left_out += 1;
            graph.edges_left_out += by_rule.get(place).copied().unwrap_or_default();
        }
    }
    graph.retain(&kept);
}
