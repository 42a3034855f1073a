//! Whose policies a cluster has: pods by workload, nodes, and entities, each as the image knows it.
//!
//! Pods of one workload are one as long as the image treats them alike: same class as peers, same tables. A node is two to policy,
//! as its own pods see it and as all others do.
//!
//! Not here: who is outside ([`super::outside`]).

use super::outside::Atom;
use super::{Kind, Vertex};
use crate::cluster::{Cluster, Party};
use crate::parties::PartyIdentities;
use crate::workload::workload;
use std::collections::BTreeMap;
use weir_abi::{Endpoint, Identity, Image, PeerClass, Table};

/// Names that are written out.
const WRITTEN: usize = 2;

/// A vertex, and what the image knows it as.
pub(super) struct Subject {
    pub(super) vertex: Vertex,
    /// The name of its workload.
    pub(super) workload: Option<String>,
    /// As a peer; several for who has DNS names.
    pub(super) classes: Vec<PeerClass>,
    /// Ingress and egress.
    pub(super) tables: [Table; 2],
}

/// Entities that no object of a cluster is, and their names.
const ENTITIES: [(Identity, &str); 4] = [
    (Identity::INGRESS, "ingress"),
    (Identity::HEALTH, "health"),
    (Identity::INIT, "init"),
    (Identity::UNMANAGED, "unmanaged"),
];

/// Everyone in the cluster, in order.
pub(super) fn subjects(image: &Image<'_>, cluster: &Cluster) -> Vec<Subject> {
    let identities = PartyIdentities::new(image, cluster);
    let endpoint = |identity: Identity| image.endpoint(identity);
    let mut subjects = pods(cluster, &|place| endpoint(identities.identity(Party::Pod(place), None)));
    let seen_from =
        |place: usize, home: Option<usize>| endpoint(identities.identity(Party::Node(place), home));
    nodes(&mut subjects, cluster, &|place| Some((seen_from(place, None)?, seen_from(place, Some(place))?)));
    entities(&mut subjects, &endpoint);
    subjects
}

type Treated = (PeerClass, Table, Table);

fn pods(cluster: &Cluster, endpoint: &dyn Fn(usize) -> Option<Endpoint>) -> Vec<Subject> {
    let mut workloads: BTreeMap<(&str, &str), BTreeMap<Treated, Vec<usize>>> = BTreeMap::new();
    let pods = cluster.pods.iter().enumerate().filter(|(_, pod)| !pod.host_network && !pod.finished);
    for (place, pod) in pods {
        let Some(endpoint) = endpoint(place) else { continue };
        let namespace = pod.meta.namespace.as_deref().unwrap_or_default();
        let treated = (endpoint.class, endpoint.ingress, endpoint.egress);
        let workload = workload(pod).unwrap_or(&pod.meta.name);
        let workload = workloads.entry((namespace, workload)).or_default();
        workload.entry(treated).or_default().push(place);
    }
    let mut subjects = Vec::new();
    for ((namespace, workload), groups) in workloads {
        let is_split = groups.len() > 1;
        // In the order of the pods, whatever numbers the image gave.
        let mut groups: Vec<(Treated, Vec<usize>)> = groups.into_iter().collect();
        groups.sort_by_key(|(_, places)| places.first().copied());
        for ((class, ingress, egress), places) in groups {
            let members: Vec<String> =
                places.iter().filter_map(|&place| Some(cluster.pods.get(place)?.meta.name.clone())).collect();
            // Pods of one workload that are treated otherwise are told apart by their names.
            let name = if is_split { named(&members) } else { workload.to_owned() };
            subjects.push(Subject {
                vertex: vertex(Kind::Pods, Some(namespace), name, members, places),
                workload: Some(workload.to_owned()),
                classes: vec![class],
                tables: [ingress, egress],
            });
        }
    }
    subjects
}

fn nodes(
    subjects: &mut Vec<Subject>,
    cluster: &Cluster,
    endpoints: &dyn Fn(usize) -> Option<(Endpoint, Endpoint)>,
) {
    let mut groups: BTreeMap<(PeerClass, Treated), Vec<usize>> = BTreeMap::new();
    for place in 0..cluster.nodes.len() {
        let Some((remote, own)) = endpoints(place) else { continue };
        groups.entry((remote.class, (own.class, own.ingress, own.egress))).or_default().push(place);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, places)| places.first().copied());
    let is_split = groups.len() > 1;
    for kind in [Kind::Nodes, Kind::OwnNode] {
        for ((remote, (own, ingress, egress)), places) in &groups {
            let members: Vec<String> = places
                .iter()
                .filter_map(|&place| Some(cluster.nodes.get(place)?.meta.name.clone()))
                .collect();
            let (class, word) = if kind == Kind::Nodes { (*remote, "nodes") } else { (*own, "own node") };
            let name = if is_split { format!("{word} {}", named(&members)) } else { word.to_owned() };
            subjects.push(Subject {
                vertex: vertex(kind, None, name, members, places.clone()),
                workload: None,
                classes: vec![class],
                tables: [*ingress, *egress],
            });
        }
    }
}

fn entities(subjects: &mut Vec<Subject>, endpoint: &dyn Fn(Identity) -> Option<Endpoint>) {
    let mut groups: Vec<(PeerClass, Vec<String>)> = Vec::new();
    for (identity, name) in ENTITIES {
        let Some(Endpoint { class, .. }) = endpoint(identity) else { continue };
        match groups.iter_mut().find(|(known, _)| *known == class) {
            Some((_, names)) => names.push(name.to_owned()),
            None => groups.push((class, vec![name.to_owned()])),
        }
    }
    for (class, members) in groups {
        subjects.push(Subject {
            vertex: vertex(Kind::Entities, None, members.join(", "), members, Vec::new()),
            workload: None,
            classes: vec![class],
            tables: [Table::NO_POLICY; 2],
        });
    }
}

fn vertex(
    kind: Kind,
    namespace: Option<&str>,
    name: String,
    members: Vec<String>,
    places: Vec<usize>,
) -> Vertex {
    let namespace = namespace.map(str::to_owned);
    Vertex { kind, namespace, name, members, places, address: None, open: [true; 2], is_chosen: false }
}

/// A few names, the rest counted.
fn named(members: &[String]) -> String {
    let (written, rest) = members.split_at(members.len().min(WRITTEN));
    let more = if rest.is_empty() { String::new() } else { format!(", +{}", rest.len()) };
    format!("{}{more}", written.join(", "))
}

impl Subject {
    pub(super) fn outside(kind: Kind, atom: &Atom) -> Self {
        let mut vertex = vertex(kind, None, String::new(), Vec::new(), Vec::new());
        vertex.address = atom.first;
        Subject { vertex, workload: None, classes: atom.classes.clone(), tables: [Table::NO_POLICY; 2] }
    }

    /// Whether there is any connection from here to there that policy of this cluster sees.
    pub(super) fn meets(&self, other: &Subject, is_same: bool, cluster: &Cluster) -> bool {
        let (from, to) = (&self.vertex, &other.vertex);
        let pod_node = |pods: &Vertex, nodes: &Vertex, own: bool| {
            pods.places.iter().any(|&pod| {
                let home = cluster.home(Party::Pod(pod));
                nodes.places.iter().any(|&node| (home == Some(node)) == own)
            })
        };
        match (from.kind, to.kind) {
            (_, Kind::Sources) | (Kind::Destinations, _) => false,
            (Kind::Sources | Kind::Entities, Kind::Destinations | Kind::Entities) => false,
            (Kind::OwnNode, kind) if kind != Kind::Pods => false,
            (kind, Kind::OwnNode) if kind != Kind::Pods => false,
            (Kind::Pods, Kind::Pods) | (Kind::Nodes, Kind::Nodes) => !is_same || from.places.len() > 1,
            (Kind::Pods, Kind::Nodes | Kind::OwnNode) => pod_node(from, to, to.kind == Kind::OwnNode),
            (Kind::Nodes | Kind::OwnNode, Kind::Pods) => pod_node(to, from, from.kind == Kind::OwnNode),
            _ => true,
        }
    }
}
