//! Pods, nodes and entities in words: whole namespaces and workloads by their names, the rest one by one.
//!
//! A workload is what the labels of its controller say: a pod's name less its revision and its own ending. Where there is no
//! such label, pods of one namespace with the same `app` are told together.

use super::{SHOWN, listed, outside};
use std::collections::{BTreeMap, BTreeSet};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::diff::{Names, Peers};
use weir_grammar::tree::Pod;
use weir_project::visible::visible;

/// Labels that name an application.
const APPS: &[&str] = &["app.kubernetes.io/name", "app", "k8s-app"];

/// The pods of a cluster by namespace and workload.
pub(super) struct Roster<'c> {
    cluster: &'c Cluster,
    /// Places of pods that are peers by themselves, by namespace and workload.
    namespaces: BTreeMap<&'c str, BTreeMap<String, Vec<usize>>>,
    pods: usize,
}

impl<'c> Roster<'c> {
    pub(super) fn new(cluster: &'c Cluster) -> Self {
        let mut namespaces: BTreeMap<&str, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
        let mut pods = 0;
        for (place, pod) in cluster.pods.iter().enumerate().filter(|(_, pod)| !pod.host_network) {
            let workloads = namespaces.entry(namespace(pod)).or_default();
            workloads.entry(workload(pod)).or_default().push(place);
            pods += 1;
        }
        Roster { cluster, namespaces, pods }
    }

    /// Whose policies.
    pub(super) fn subjects(&self, subjects: &[Party]) -> String {
        let pods = subjects.iter().filter_map(|party| match party {
            Party::Pod(place) => Some(*place),
            Party::Node(_) | Party::Outside(_) => None,
        });
        let nodes: Vec<usize> = subjects
            .iter()
            .filter_map(|party| match party {
                Party::Node(place) => Some(*place),
                Party::Pod(_) | Party::Outside(_) => None,
            })
            .collect();
        let mut items = self.pods(&pods.collect());
        if nodes.len() == self.cluster.nodes.len() && nodes.len() > 1 {
            items.push("all nodes".to_owned());
        } else {
            items.extend(nodes.iter().map(|&node| self.node("node", node)));
        }
        listed(&items, SHOWN)
    }

    /// Some pods.
    pub(super) fn some(&self, pods: &[usize]) -> String {
        listed(&self.pods(&pods.iter().copied().collect()), SHOWN)
    }

    /// Who is on the other side of some subjects.
    pub(super) fn peers(&self, peers: &Peers, subjects: &[Party]) -> String {
        if peers.everyone {
            return "anyone".to_owned();
        }
        let homes: BTreeSet<Option<usize>> = subjects.iter().map(|&party| self.cluster.home(party)).collect();
        let nodes = || 0..self.cluster.nodes.len();
        let elsewhere: Vec<usize> =
            nodes().filter(|&node| homes.len() > 1 || !homes.contains(&Some(node))).collect();
        let own: Vec<usize> = nodes().filter(|&node| homes.contains(&Some(node))).collect();
        let words_of_nodes = |own_nodes: &[usize], others: &[usize]| {
            let mut items = Vec::new();
            if !own_nodes.is_empty() && own_nodes == own {
                items.push("host".to_owned());
            } else {
                items.extend(own_nodes.iter().map(|&node| self.node("host", node)));
            }
            if !others.is_empty() && others == elsewhere {
                items.push("remote-node".to_owned());
            } else {
                items.extend(others.iter().map(|&node| self.node("node", node)));
            }
            items
        };
        let pods: BTreeSet<usize> = peers.pods.iter().copied().collect();
        // Only whoever is meant as anyone, or as the whole cluster, takes in entities that no object is.
        let is_all = peers.entities.len() == if self.cluster.nodes.is_empty() { 6 } else { 4 };
        if !is_all {
            let mut items = self.pods(&pods);
            items.extend(words_of_nodes(&peers.own_nodes, &peers.nodes));
            items.extend(peers.entities.iter().map(|&entity| entity.to_owned()));
            let inside = (!items.is_empty()).then(|| listed(&items, SHOWN));
            let outside = peers.outside.iter().map(outside::words);
            return inside.into_iter().chain(outside).collect::<Vec<_>>().join(", ");
        }
        let missing = |all: &[usize], some: &[usize]| -> Vec<usize> {
            all.iter().copied().filter(|node| !some.contains(node)).collect()
        };
        let mut but = self.items(|place| !pods.contains(&place));
        but.extend(words_of_nodes(&missing(&own, &peers.own_nodes), &missing(&elsewhere, &peers.nodes)));
        let (all, rest) = match &peers.outside[..] {
            [one] if one.names == Names::Any => ("anyone", outside::rest(one)),
            _ => ("the whole cluster", None),
        };
        but.extend(rest);
        let outside = peers.outside.iter().filter(|_| all != "anyone").map(outside::words);
        let but = if but.is_empty() { all.to_owned() } else { format!("{all} but {}", listed(&but, SHOWN)) };
        std::iter::once(but).chain(outside).collect::<Vec<_>>().join(", ")
    }

    fn node(&self, what: &str, place: usize) -> String {
        format!("{what} {}", visible(&self.cluster.name(Party::Node(place))))
    }

    fn pods(&self, pods: &BTreeSet<usize>) -> Vec<String> {
        if pods.len() == self.pods && self.pods > 1 {
            return vec![format!("all {} pods", self.pods)];
        }
        let items = self.items(|place| pods.contains(&place));
        if pods.len() > self.pods / 2 && items.len() > 2 {
            let others = self.items(|place| !pods.contains(&place));
            if others.len() < items.len() && others.len() <= SHOWN {
                return vec![format!("all pods but {}", others.join(" and "))];
            }
        }
        items
    }

    fn items(&self, is_in: impl Fn(usize) -> bool) -> Vec<String> {
        let mut items = Vec::new();
        for (namespace, workloads) in &self.namespaces {
            let places = || workloads.values().flatten();
            if places().count() > 1 && workloads.len() > 1 && places().all(|&place| is_in(place)) {
                items.push(format!("all {} pods of {}", places().count(), visible(namespace)));
                continue;
            }
            for (workload, places) in workloads {
                if places.len() > 1 && places.iter().all(|&place| is_in(place)) {
                    let name = visible(workload);
                    items.push(format!("{}/{name} ({} pods)", visible(namespace), places.len()));
                    continue;
                }
                let some = places.iter().filter(|&&place| is_in(place));
                items.extend(some.map(|&place| visible(&self.cluster.name(Party::Pod(place))).into_owned()));
            }
        }
        items
    }
}

fn namespace(pod: &Pod) -> &str {
    pod.meta.namespace.as_deref().unwrap_or_default()
}

fn workload(pod: &Pod) -> String {
    let label = |key: &str| {
        let labels = &pod.meta.labels;
        labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    };
    let name = pod.meta.name.as_str();
    let stem = |name: &str| name.rsplit_once('-').map(|(stem, _)| stem.to_owned());
    if let Some(hash) = label("pod-template-hash") {
        let ending = format!("-{hash}");
        return stem(name)
            .and_then(|stem| stem.strip_suffix(&ending).map(str::to_owned))
            .unwrap_or_else(|| name.to_owned());
    }
    if label("controller-revision-hash").is_some() {
        return stem(name).unwrap_or_else(|| name.to_owned());
    }
    if let Some(job) = label("batch.kubernetes.io/job-name").or_else(|| label("job-name")) {
        return job.to_owned();
    }
    let app = APPS.iter().find_map(|&key| Some(format!("{key}={}", label(key)?)));
    app.unwrap_or_else(|| name.to_owned())
}
