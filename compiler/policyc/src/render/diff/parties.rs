//! Pods, nodes and entities in words: whole namespaces and workloads by their names, pods that have labels in common by
//! these, the rest one by one.
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
/// Items of one namespace from which on its pods are told by labels, if they can be.
const FEW: usize = 2;

/// The pods of a cluster by namespace and workload.
pub(super) struct Roster<'c> {
    cluster: &'c Cluster,
    namespaces: Vec<Namespace<'c>>,
    /// How many pods are peers by themselves.
    pods: usize,
}

struct Namespace<'c> {
    name: &'c str,
    /// Its pods that are peers by themselves, by workload.
    workloads: Vec<(String, Vec<usize>)>,
    pods: Vec<usize>,
}

/// By place in the cluster, whether a pod is meant.
struct Chosen(Vec<bool>);

impl Chosen {
    fn has(&self, pod: usize) -> bool {
        self.0.get(pod) == Some(&true)
    }

    fn all(&self, pods: &[usize]) -> bool {
        pods.iter().all(|&pod| self.has(pod))
    }
}

impl<'c> Roster<'c> {
    pub(super) fn new(cluster: &'c Cluster) -> Self {
        let mut namespaces: BTreeMap<&str, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
        let mut pods = 0;
        for (place, pod) in cluster.pods.iter().enumerate().filter(|(_, pod)| !pod.host_network) {
            let namespace = pod.meta.namespace.as_deref().unwrap_or_default();
            namespaces.entry(namespace).or_default().entry(workload(pod)).or_default().push(place);
            pods += 1;
        }
        let namespace = |(name, workloads): (&'c str, BTreeMap<String, Vec<usize>>)| Namespace {
            name,
            pods: workloads.values().flatten().copied().collect(),
            workloads: workloads.into_iter().collect(),
        };
        Roster { cluster, namespaces: namespaces.into_iter().map(namespace).collect(), pods }
    }

    /// Whose policies.
    pub(super) fn subjects(&self, subjects: &[Party]) -> String {
        let (mut pods, mut nodes) = (Vec::new(), Vec::new());
        for party in subjects {
            match *party {
                Party::Pod(place) => pods.push(place),
                Party::Node(place) => nodes.push(place),
                Party::Outside(_) => {}
            }
        }
        let mut items = self.pods(&pods);
        if nodes.len() == self.cluster.nodes.len() && nodes.len() > 1 {
            items.push("all nodes".to_owned());
        } else {
            items.extend(nodes.iter().map(|&node| self.node("node", node)));
        }
        listed(&items, SHOWN)
    }

    /// Some pods.
    pub(super) fn some(&self, pods: &[usize]) -> String {
        listed(&self.pods(pods), SHOWN)
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
        let nodes = |own_nodes: &[usize], others: &[usize]| {
            let mut items = self.nodes("host", own_nodes, &own, "host");
            items.extend(self.nodes("remote-node", others, &elsewhere, "node"));
            items
        };
        // Only whoever is meant as anyone, or as the whole cluster, takes in entities that no object is.
        let is_all = peers.entities.len() == if self.cluster.nodes.is_empty() { 6 } else { 4 };
        if !is_all {
            let mut items = self.pods(&peers.pods);
            items.extend(nodes(&peers.own_nodes, &peers.nodes));
            items.extend(peers.entities.iter().map(|&entity| entity.to_owned()));
            let inside = (!items.is_empty()).then(|| listed(&items, SHOWN));
            let outside = peers.outside.iter().map(outside::words);
            return inside.into_iter().chain(outside).collect::<Vec<_>>().join(", ");
        }
        let missing = |all: &[usize], some: &[usize]| -> Vec<usize> {
            all.iter().copied().filter(|node| !some.contains(node)).collect()
        };
        let mut but = self.items(&self.others(&self.chosen(&peers.pods)));
        but.extend(nodes(&missing(&own, &peers.own_nodes), &missing(&elsewhere, &peers.nodes)));
        let is_anyone = matches!(&peers.outside[..], [one] if one.names == Names::Any);
        let all = if is_anyone { "anyone" } else { "the whole cluster" };
        if is_anyone {
            but.extend(peers.outside.iter().filter_map(outside::rest));
        }
        let but = if but.is_empty() { all.to_owned() } else { format!("{all} but {}", listed(&but, SHOWN)) };
        let outside = peers.outside.iter().filter(|_| !is_anyone).map(outside::words);
        std::iter::once(but).chain(outside).collect::<Vec<_>>().join(", ")
    }

    /// Some nodes, by one word if they are all there can be.
    fn nodes(&self, word: &str, some: &[usize], all: &[usize], each: &str) -> Vec<String> {
        if !some.is_empty() && some == all {
            vec![word.to_owned()]
        } else {
            some.iter().map(|&node| self.node(each, node)).collect()
        }
    }

    fn node(&self, what: &str, place: usize) -> String {
        format!("{what} {}", visible(&self.cluster.name(Party::Node(place))))
    }

    fn chosen(&self, pods: &[usize]) -> Chosen {
        let mut chosen = vec![false; self.cluster.pods.len()];
        for &pod in pods {
            if let Some(is_in) = chosen.get_mut(pod) {
                *is_in = true;
            }
        }
        Chosen(chosen)
    }

    fn others(&self, chosen: &Chosen) -> Chosen {
        Chosen(chosen.0.iter().map(|is_in| !is_in).collect())
    }

    fn pods(&self, pods: &[usize]) -> Vec<String> {
        if pods.len() == self.pods && self.pods > 1 {
            return vec![format!("all {} pods", self.pods)];
        }
        let chosen = self.chosen(pods);
        let items = self.items(&chosen);
        if pods.len() > self.pods / 2 && items.len() > FEW {
            let others = self.items(&self.others(&chosen));
            if others.len() < items.len() && others.len() <= SHOWN {
                return vec![format!("all pods but {}", others.join(" and "))];
            }
        }
        items
    }

    fn items(&self, chosen: &Chosen) -> Vec<String> {
        let mut items = Vec::new();
        for namespace in &self.namespaces {
            let name = visible(namespace.name);
            if namespace.workloads.len() > 1 && chosen.all(&namespace.pods) {
                items.push(format!("all {} pods of {name}", namespace.pods.len()));
                continue;
            }
            let of_it = self.workloads(namespace, chosen);
            let by_labels = if of_it.len() > FEW { self.by_labels(&namespace.pods, chosen) } else { None };
            match by_labels {
                Some(labels) => items.push(format!("{labels} in {name}")),
                None => items.extend(of_it),
            }
        }
        if items.len() > SHOWN {
            let all: Vec<usize> =
                self.namespaces.iter().flat_map(|namespace| &namespace.pods).copied().collect();
            items = self.by_labels(&all, chosen).map_or(items, |labels| vec![labels]);
        }
        items
    }

    fn workloads(&self, namespace: &Namespace<'_>, chosen: &Chosen) -> Vec<String> {
        let mut items = Vec::new();
        for (workload, pods) in &namespace.workloads {
            if pods.len() > 1 && chosen.all(pods) {
                let (name, workload) = (visible(namespace.name), visible(workload));
                items.push(format!("{name}/{workload} ({} pods)", pods.len()));
                continue;
            }
            let some = pods.iter().filter(|&&pod| chosen.has(pod));
            items.extend(some.map(|&pod| visible(&self.cluster.name(Party::Pod(pod))).into_owned()));
        }
        items
    }

    /// The fewest labels that the chosen of some pods have and no others of them do.
    fn by_labels(&self, among: &[usize], chosen: &Chosen) -> Option<String> {
        let labels = |pod: usize| self.cluster.pods.get(pod).map_or(&[][..], |pod| &pod.meta.labels[..]);
        let mut some = among.iter().copied().filter(|&pod| chosen.has(pod));
        let mut common: Vec<&(String, String)> = labels(some.next()?).iter().collect();
        let mut count = 1;
        for pod in some {
            common.retain(|&label| labels(pod).contains(label));
            count += 1;
            if common.is_empty() {
                return None;
            }
        }
        let is_enough = |common: &[&(String, String)]| {
            let with = |pod: &&usize| common.iter().all(|&label| labels(**pod).contains(label));
            among.iter().filter(with).count() == count
        };
        if !is_enough(&common) {
            return None;
        }
        let mut at = 0;
        while common.len() > 1 && at < common.len() {
            let mut fewer = common.clone();
            fewer.remove(at);
            if is_enough(&fewer) {
                common = fewer;
            } else {
                at += 1;
            }
        }
        let labels: Vec<String> =
            common.iter().map(|(key, value)| format!("{}={}", visible(key), visible(value))).collect();
        Some(format!("{} ({count} pods)", labels.join(", ")))
    }
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
        let deployment = stem(name).and_then(|stem| stem.strip_suffix(&ending).map(str::to_owned));
        return deployment.unwrap_or_else(|| name.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let pod = |namespace: &str, name: &str, labels: &str| {
            format!(
                "---\n{{apiVersion: v1, kind: Pod, metadata: {{namespace: {namespace}, name: {name}, labels: {{{labels}}}}}}}\n"
            )
        };
        let text = [
            pod("a", "web-5d4-x1", "pod-template-hash: 5d4, tier: front"),
            pod("a", "web-5d4-x2", "pod-template-hash: 5d4, tier: front"),
            pod("a", "db-0", "controller-revision-hash: db-77, tier: back"),
            pod("a", "db-1", "controller-revision-hash: db-77, tier: back"),
            pod("a", "run-1", "job-name: run, tier: back"),
            pod("b", "lone", "tier: back"),
            pod("b", "x1", "app: x, tier: front"),
            pod("b", "x2", "app: x, tier: back"),
            pod("c", "only", ""),
        ]
        .concat();
        let mut reading = weir_grammar::Reading::default();
        weir_grammar::read(&mut reading, "cluster.yaml", text.into_bytes(), &weir_grammar::Limits::default());
        Cluster::collect(&mut reading.objects, &mut reading.diagnostics)
    }

    fn told(names: &[&str]) -> String {
        let cluster = cluster();
        let place = |name: &&str| cluster.pods.iter().position(|pod| pod.meta.name == *name).unwrap();
        let mut places: Vec<usize> = names.iter().map(place).collect();
        places.sort_unstable();
        Roster::new(&cluster).some(&places)
    }

    #[test]
    fn pods_are_told_by_workload_namespace_and_labels() {
        assert_eq!(told(&["web-5d4-x1", "web-5d4-x2"]), "a/web (2 pods)");
        assert_eq!(told(&["web-5d4-x1", "db-0", "db-1"]), "a/db (2 pods), a/web-5d4-x1");
        assert_eq!(told(&["x1", "x2", "only"]), "b/app=x (2 pods), c/only");
        assert_eq!(told(&["lone", "x1", "x2"]), "all 3 pods of b");
        assert_eq!(told(&["db-0", "db-1", "run-1"]), "a/db (2 pods), a/run-1");
        let most = ["web-5d4-x1", "web-5d4-x2", "db-0", "run-1", "lone", "x1", "x2", "only"];
        assert_eq!(told(&most), "all pods but a/db-1");
    }

    #[test]
    fn labels_are_as_few_as_will_do() {
        let cluster = cluster();
        let roster = Roster::new(&cluster);
        let all: Vec<usize> = (0..cluster.pods.len()).collect();
        let with = |value: &str| {
            let is_so = |place: &&usize| cluster.pods[**place].meta.labels.iter().any(|(_, of)| of == value);
            let places: Vec<usize> = all.iter().filter(is_so).copied().collect();
            roster.by_labels(&all, &roster.chosen(&places))
        };
        assert_eq!(with("back").as_deref(), Some("tier=back (5 pods)"));
        assert_eq!(with("5d4").as_deref(), Some("pod-template-hash=5d4 (2 pods)"));
        assert_eq!(roster.by_labels(&all, &roster.chosen(&[0, 1, 2])), None);
    }
}
