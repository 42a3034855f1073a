//! Workloads that were not asked for, made few.
//!
//! Who is drawn only because a rule lets it talk to someone that was asked for may be everyone in the cluster. Where there are many such,
//! those of one namespace that are treated alike by all who were asked for are one vertex.
//!
//! Not here: who was asked for; those are never made one.

use super::{Graph, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// So many are drawn one by one.
const FEW: usize = 30;

pub(super) fn gather(graph: &mut Graph) {
    let is_other = |place: usize| {
        graph.vertices.get(place).is_some_and(|vertex| vertex.kind == Kind::Pods && !vertex.is_chosen)
    };
    let others: Vec<usize> = (0..graph.vertices.len()).filter(|&place| is_other(place)).collect();
    if others.len() <= FEW {
        return;
    }
    // Edges are sorted, so equal ones come in one order.
    let mut edges_of: BTreeMap<usize, Vec<(bool, usize, usize)>> = BTreeMap::new();
    for edge in &graph.edges {
        if is_other(edge.from) {
            edges_of.entry(edge.from).or_default().push((true, edge.to, edge.treatment));
        }
        if is_other(edge.to) {
            edges_of.entry(edge.to).or_default().push((false, edge.from, edge.treatment));
        }
    }
    let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &place in &others {
        let Some(vertex) = graph.vertices.get(place) else { continue };
        let edges = edges_of.remove(&place).unwrap_or_default();
        alike.entry((vertex.namespace.clone(), vertex.open, edges)).or_default().push(place);
    }
    let mut kept: BTreeSet<usize> = (0..graph.vertices.len()).collect();
    for places in alike.values().filter(|places| places.len() > 1) {
        let [first, rest @ ..] = &places[..] else { continue };
        let all = || places.iter().filter_map(|&place| graph.vertices.get(place));
        let members: Vec<String> = all().map(|vertex| vertex.name.clone()).collect();
        let pods: Vec<usize> = all().flat_map(|vertex| vertex.places.clone()).collect();
        if let Some(vertex) = graph.vertices.get_mut(*first) {
            vertex.name = format!("{} workloads", members.len());
            (vertex.members, vertex.places, vertex.kind) = (members, pods, Kind::Workloads);
        }
        for place in rest {
            kept.remove(place);
        }
    }
    graph.retain(&kept);
}
