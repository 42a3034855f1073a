//! Pods, nodes and entities in words: whole namespaces and workloads by their names, pods that have labels in common by
//! these, the rest one by one.
//!
//! A workload is what the labels of its controller say: a pod's name less its revision and its own ending. Where there is no
//! such label, pods of one namespace with the same `app` are told together.

use super::{SHOWN, listed, outside};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::diff::{Names, Peers};
use weir_grammar::tree::Pod;
use weir_project::visible::visible;

/// Labels that name an application.
const APPS: &[&str] = &["app.kubernetes.io/name", "app", "k8s-app"];
/// Items that are written of too many.
const SOME: usize = 3;
/// Items of one namespace from which on its pods are told by labels, if they can be.
const FEW: usize = 2;

/// The pods of a cluster by namespace and workload.
pub(super) struct Roster<'c> {
    cluster: &'c Cluster,
    namespaces: Vec<Namespace<'c>>,
    /// Places of the pods that are peers by themselves.
    pods: Vec<usize>,
    /// By place, the numbers of a pod's labels, sorted.
    labels: Vec<Vec<u32>>,
    /// Labels by number.
    texts: Vec<&'c (String, String)>,
}

struct Namespace<'c> {
    name: &'c str,
    /// Its pods that are peers by themselves, by workload.
    workloads: Vec<(String, Vec<usize>)>,
    pods: Vec<usize>,
}

/// Pods that are told together.
enum Item {
    /// All of a namespace, by its place.
    Namespace(usize),
    /// All of a workload, by the places of namespace and workload.
    Workload(usize, usize),
    /// One.
    Pod(usize),
    /// All with some labels, and how many: in a namespace, or anywhere.
    Labels(Option<usize>, Vec<u32>, usize),
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
        let mut pods = Vec::new();
        for (place, pod) in cluster.pods.iter().enumerate().filter(|(_, pod)| !pod.host_network) {
            let namespace = pod.meta.namespace.as_deref().unwrap_or_default();
            namespaces.entry(namespace).or_default().entry(workload(pod)).or_default().push(place);
            pods.push(place);
        }
        let namespace = |(name, workloads): (&'c str, BTreeMap<String, Vec<usize>>)| Namespace {
            name,
            pods: workloads.values().flatten().copied().collect(),
            workloads: workloads.into_iter().collect(),
        };
        let namespaces = namespaces.into_iter().map(namespace).collect();
        let mut texts: Vec<&(String, String)> =
            cluster.pods.iter().flat_map(|pod| &pod.meta.labels).collect();
        texts.sort_unstable();
        texts.dedup();
        let numbers: HashMap<&(String, String), u32> = texts.iter().copied().zip(0..).collect();
        let of = |pod: &Pod| {
            let mut labels: Vec<u32> =
                pod.meta.labels.iter().filter_map(|label| numbers.get(label).copied()).collect();
            labels.sort_unstable();
            labels
        };
        let labels = cluster.pods.iter().map(of).collect();
        Roster { cluster, namespaces, pods, labels, texts }
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
        let mut items: Vec<String> = self.pods(&pods).into_iter().collect();
        if nodes.len() == self.cluster.nodes.len() && nodes.len() > 1 {
            items.push("all nodes".to_owned());
        } else {
            items.extend(nodes.iter().map(|&node| self.node("node", node)));
        }
        listed(&items, SHOWN)
    }

    /// Some pods.
    pub(super) fn some(&self, pods: &[usize]) -> String {
        self.pods(pods).unwrap_or_default()
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
            let mut items: Vec<String> = self.pods(&peers.pods).into_iter().collect();
            items.extend(nodes(&peers.own_nodes, &peers.nodes));
            items.extend(peers.entities.iter().map(|&entity| entity.to_owned()));
            let inside = (!items.is_empty()).then(|| listed(&items, SHOWN));
            let outside = peers.outside.iter().map(outside::words);
            return inside.into_iter().chain(outside).collect::<Vec<_>>().join(", ");
        }
        let missing = |all: &[usize], some: &[usize]| -> Vec<usize> {
            all.iter().copied().filter(|node| !some.contains(node)).collect()
        };
        let mut but: Vec<String> = self.words(&self.others(&self.chosen(&peers.pods))).into_iter().collect();
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

    fn pods(&self, pods: &[usize]) -> Option<String> {
        if pods.len() == self.pods.len() && pods.len() > 1 {
            return Some(format!("all {} pods", pods.len()));
        }
        let chosen = self.chosen(pods);
        if pods.len() > self.pods.len() / 2 {
            let (items, others) = (self.items(&chosen), self.items(&self.others(&chosen)));
            if items.len() > FEW && others.len() < items.len() {
                return self.text_of(&others).map(|others| format!("all pods but {others}"));
            }
        }
        self.words(&chosen)
    }

    fn words(&self, chosen: &Chosen) -> Option<String> {
        self.text_of(&self.items(chosen))
    }

    /// The items; of too many the first ones, with the number of all pods.
    fn text_of(&self, items: &[Item]) -> Option<String> {
        let texts = |items: &[Item]| items.iter().map(|item| self.text(item)).collect::<Vec<_>>().join(", ");
        match items {
            [] => None,
            few if few.len() <= SHOWN + 1 => Some(texts(few)),
            many => {
                let count: usize = many.iter().map(|item| self.count(item)).sum();
                Some(format!("{count} pods ({}, …)", texts(&many[..SOME])))
            }
        }
    }

    fn count(&self, item: &Item) -> usize {
        let namespace = |at: usize| self.namespaces.get(at);
        match *item {
            Item::Namespace(at) => namespace(at).map_or(0, |namespace| namespace.pods.len()),
            Item::Workload(at, workload) => namespace(at)
                .and_then(|namespace| namespace.workloads.get(workload))
                .map_or(0, |(_, pods)| pods.len()),
            Item::Pod(_) => 1,
            Item::Labels(.., count) => count,
        }
    }

    fn text(&self, item: &Item) -> String {
        let name = |at: usize| self.namespaces.get(at).map_or("", |namespace| namespace.name);
        let count = self.count(item);
        match item {
            Item::Namespace(at) => format!("all {count} pods of {}", visible(name(*at))),
            Item::Workload(at, workload) => {
                let workloads = self.namespaces.get(*at).map(|namespace| &namespace.workloads);
                let workload = workloads.and_then(|all| all.get(*workload)).map_or("", |(text, _)| text);
                format!("{}/{} ({count} pods)", visible(name(*at)), visible(workload))
            }
            Item::Pod(pod) => visible(&self.cluster.name(Party::Pod(*pod))).into_owned(),
            Item::Labels(at, labels, _) => {
                let texts = labels.iter().filter_map(|&label| self.texts.get(label as usize));
                let texts: Vec<String> =
                    texts.map(|(key, value)| format!("{}={}", visible(key), visible(value))).collect();
                let within = at.map_or_else(String::new, |at| format!(" in {}", visible(name(at))));
                format!("{} ({count} pods){within}", texts.join(", "))
            }
        }
    }

    fn items(&self, chosen: &Chosen) -> Vec<Item> {
        let mut items = Vec::new();
        for (at, namespace) in self.namespaces.iter().enumerate() {
            if namespace.workloads.len() > 1 && chosen.all(&namespace.pods) {
                items.push(Item::Namespace(at));
                continue;
            }
            let mut of_it = Vec::new();
            for (place, (_, pods)) in namespace.workloads.iter().enumerate() {
                if pods.len() > 1 && chosen.all(pods) {
                    of_it.push(Item::Workload(at, place));
                } else {
                    of_it.extend(pods.iter().filter(|&&pod| chosen.has(pod)).map(|&pod| Item::Pod(pod)));
                }
            }
            let by_labels = if of_it.len() > FEW { self.by_labels(&namespace.pods, chosen) } else { None };
            match by_labels {
                Some((labels, count)) => items.push(Item::Labels(Some(at), labels, count)),
                None => items.extend(of_it),
            }
        }
        if items.len() > SHOWN
            && let Some((labels, count)) = self.by_labels(&self.pods, chosen)
        {
            return vec![Item::Labels(None, labels, count)];
        }
        items
    }

    /// The fewest labels that the chosen of some pods have and no others of them do, and how many have them.
    fn by_labels(&self, among: &[usize], chosen: &Chosen) -> Option<(Vec<u32>, usize)> {
        let labels = |pod: usize| self.labels.get(pod).map_or(&[][..], Vec::as_slice);
        let has = |pod: usize, label: &u32| labels(pod).binary_search(label).is_ok();
        let mut some = among.iter().copied().filter(|&pod| chosen.has(pod));
        let mut common: Vec<u32> = labels(some.next()?).to_vec();
        let mut count = 1;
        for pod in some {
            common.retain(|label| has(pod, label));
            count += 1;
            if common.is_empty() {
                return None;
            }
        }
        let is_enough = |common: &[u32]| {
            let with = |pod: &&usize| common.iter().all(|label| has(**pod, label));
            among.iter().filter(with).count() == count
        };
        if common.is_empty() || !is_enough(&common) {
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
        Some((common, count))
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
            let (labels, count) = roster.by_labels(&all, &roster.chosen(&places)).unwrap();
            roster.text(&Item::Labels(None, labels, count))
        };
        assert_eq!(with("back"), "tier=back (5 pods)");
        assert_eq!(with("5d4"), "pod-template-hash=5d4 (2 pods)");
        assert_eq!(roster.by_labels(&all, &roster.chosen(&[0, 1, 2])), None);
    }
}
