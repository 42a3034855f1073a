//! Pods, nodes and entities in words: whole namespaces and workloads by their names, the rest one by one.
//!
//! A workload is what the labels of its controller say: a pod's name less its revision and its own ending. Where there is no
//! such label, pods of one namespace with the same `app` are told together.

use super::{SHOWN, listed, outside};
use std::collections::{BTreeMap, BTreeSet};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::diff::Peers;
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

    /// Who is on the other side of some subjects.
    pub(super) fn peers(&self, peers: &Peers, subjects: &[Party]) -> String {
        if peers.everyone {
            return "anyone".to_owned();
        }
        let homes: BTreeSet<Option<usize>> = subjects.iter().map(|&party| self.cluster.home(party)).collect();
        let nodes = self.cluster.nodes.len();
        let elsewhere = (0..nodes).filter(|&node| homes.len() > 1 || !homes.contains(&Some(node))).count();
        let own = (0..nodes).filter(|&node| homes.contains(&Some(node))).count();
        let has_nodes = peers.nodes.len() == elsewhere && peers.own_nodes.len() == own;
        let entities = if nodes == 0 { 6 } else { 4 };
        let mut items = Vec::new();
        if peers.pods.len() == self.pods && has_nodes && peers.entities.len() == entities {
            items.push("the whole cluster".to_owned());
        } else {
            items = self.pods(&peers.pods.iter().copied().collect());
            match peers.own_nodes.len() {
                0 => {}
                count if count == own => items.push("host".to_owned()),
                _ => items.extend(peers.own_nodes.iter().map(|&node| self.node("host", node))),
            }
            match peers.nodes.len() {
                0 => {}
                count if count == elsewhere => items.push("remote-node".to_owned()),
                _ => items.extend(peers.nodes.iter().map(|&node| self.node("node", node))),
            }
            items.extend(peers.entities.iter().map(|&entity| entity.to_owned()));
        }
        let outside: Vec<String> = peers.outside.iter().map(outside::words).collect();
        let inside = (!items.is_empty()).then(|| listed(&items, SHOWN));
        inside.into_iter().chain(outside).collect::<Vec<_>>().join(", ")
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
