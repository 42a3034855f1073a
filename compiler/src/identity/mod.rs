//! Label sets to identities: who has the same labels has the same number.
//!
//! Pods are one identity if no selector can tell them apart: same labels, same named ports. Labels
//! that differ from pod to pod by design (a revision hash, an ordinal) count only where some selector
//! names them, so that a thousand replicas stay one identity. Cilium leaves such labels out always;
//! Kubernetes' own semantics must not.
//!
//! Entries are ordered (entities, pods by label text, nodes by name), so every later step may go by
//! place and still give the same bytes.

mod lock;

pub use lock::{IdentityLock, LockError};

use crate::cluster::{Cluster, Party};
use crate::labels::Labels;
use rustc_hash::FxHashSet;
use weir_abi::Identity;
use weir_grammar::tree::{ContainerPort, Node, Pod, Protocol};

/// Labels whose values are made up per pod or per rollout.
pub(crate) const PER_POD: &[&str] = &[
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "controller-uid",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// What an identity stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An entity that no object of the cluster is.
    Entity,
    /// Pods.
    Pods,
    /// A node seen from elsewhere, by place in the cluster.
    RemoteNode(usize),
    /// A node seen from itself, by place in the cluster.
    OwnNode(usize),
}

/// One identity.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its number.
    pub identity: Identity,
    /// What it stands for.
    pub kind: Kind,
    /// Its labels.
    pub labels: Labels<'a>,
    /// Labels and named ports as text, one a line: equal for equal identities.
    pub text: String,
    /// The named container ports of its pods, sorted.
    pub ports: Vec<ContainerPort>,
}

/// All identities of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Identities<'a> {
    /// In order: entities, pods, nodes.
    pub entries: Vec<Entry<'a>>,
    pods: Vec<Option<u32>>,
    remote_nodes: Vec<u32>,
    own_nodes: Vec<u32>,
}

/// Places of the entities that addresses outside have.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Of IPv4.
    pub v4: u32,
    /// Of IPv6.
    pub v6: u32,
    /// Of the API server at an IPv4 address outside.
    pub apiserver_v4: u32,
    /// Of the API server at an IPv6 address outside.
    pub apiserver_v6: u32,
}

/// The entities with a number of their own, and their labels.
const ENTITIES: &[(Identity, &[&str])] = &[
    (Identity::HOST, &["host"]),
    (Identity::UNMANAGED, &["unmanaged"]),
    (Identity::HEALTH, &["health"]),
    (Identity::INIT, &["init"]),
    (Identity::REMOTE_NODE, &["remote-node"]),
    (Identity::INGRESS, &["ingress"]),
    (Identity::WORLD_IPV4, &["world", "world-ipv4"]),
    (Identity::WORLD_IPV6, &["world", "world-ipv6"]),
    (Identity::KUBE_APISERVER, &["kube-apiserver", "world", "world-ipv4"]),
    // Without a number: its addresses go by prefix alone.
    (Identity::UNKNOWN, &["kube-apiserver", "world", "world-ipv6"]),
];

/// The label text that names a pod's identity; also what a lock file keeps.
pub fn pod_text(cluster: &Cluster, pod: &Pod, selected: &FxHashSet<String>) -> String {
    pod_identity(cluster, pod, selected).2
}

/// The text that names a node's identity, which is its own whatever its labels are.
pub fn node_text(cluster: &Cluster, node: &Node, own: bool) -> String {
    format!("{}\nnode:{}", cluster.node_labels(node, own).canonical(), node.meta.name)
}

fn pod_identity<'a>(
    cluster: &'a Cluster,
    pod: &'a Pod,
    selected: &FxHashSet<String>,
) -> (Labels<'a>, Vec<ContainerPort>, String) {
    let mut labels = cluster.pod_labels(pod);
    labels.retain(|label| !PER_POD.contains(&label.key) || selected.contains(label.key));
    let mut ports: Vec<ContainerPort> =
        pod.ports.iter().filter(|port| port.name.is_some()).cloned().collect();
    ports.sort_unstable();
    ports.dedup();
    let mut text = labels.canonical();
    for port in &ports {
        let protocol = match port.protocol {
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
            Protocol::Tcp | Protocol::Any | Protocol::Other(_) => "TCP",
        };
        text.push_str(&format!(
            "\nport:{}={protocol}/{}",
            port.name.as_deref().unwrap_or_default(),
            port.port
        ));
    }
    (labels, ports, text)
}

impl<'a> Identities<'a> {
    /// Numbers all identities of a cluster. `selected` holds the label keys that selectors name;
    /// numbers come from `lock` first and new ones are added to it.
    ///
    /// # Errors
    /// [`LockError`] if the lock is unsound or the numbers are used up.
    pub fn number(
        cluster: &'a Cluster,
        selected: &FxHashSet<String>,
        lock: &mut IdentityLock,
        home: Option<usize>,
    ) -> Result<Self, LockError> {
        let mut identities = Identities::default();
        for &(identity, names) in ENTITIES {
            let labels = match (identity, home) {
                (Identity::HOST, Some(home)) => cluster.node_labels(&cluster.nodes[home], true),
                _ => Labels::reserved(names),
            };
            identities.push(identity, Kind::Entity, labels);
        }
        identities.add_pods(cluster, selected, lock)?;
        identities.add_nodes(cluster, lock)?;
        Ok(identities)
    }

    fn add_pods(
        &mut self,
        cluster: &'a Cluster,
        selected: &FxHashSet<String>,
        lock: &mut IdentityLock,
    ) -> Result<(), LockError> {
        let mut pods: Vec<(String, usize, Labels<'a>, Vec<ContainerPort>)> = Vec::new();
        for (place, pod) in cluster.pods.iter().enumerate().filter(|(_, pod)| !pod.host_network) {
            let (labels, ports, text) = pod_identity(cluster, pod, selected);
            pods.push((text, place, labels, ports));
        }
        pods.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        self.pods = vec![None; cluster.pods.len()];
        let first = self.entries.len();
        for (text, place, labels, ports) in pods {
            if self.entries[first..].last().is_none_or(|entry| entry.text != text) {
                let (identity, kind) = (Identity::UNKNOWN, Kind::Pods);
                self.entries.push(Entry { identity, kind, labels, text, ports });
            }
            self.pods[place] = self.next_place().checked_sub(1);
        }
        let numbers = lock.pods(self.entries[first..].iter().map(|entry| &entry.text))?;
        for (entry, identity) in self.entries[first..].iter_mut().zip(numbers) {
            entry.identity = identity;
        }
        Ok(())
    }

    fn add_nodes(&mut self, cluster: &'a Cluster, lock: &mut IdentityLock) -> Result<(), LockError> {
        let numbers = lock.nodes(cluster.nodes.iter().map(|node| &node.meta.name))?;
        for (own, first) in [(false, Identity::FIRST_NODE), (true, Identity::FIRST_HOST)] {
            for (place, (node, number)) in cluster.nodes.iter().zip(&numbers).enumerate() {
                let kind = if own { Kind::OwnNode(place) } else { Kind::RemoteNode(place) };
                let at = self.next_place();
                if own {
                    self.own_nodes.push(at);
                } else {
                    self.remote_nodes.push(at);
                }
                let text = node_text(cluster, node, own);
                let labels = cluster.node_labels(node, own);
                let identity = Identity(first + number);
                self.entries.push(Entry { identity, kind, labels, text, ports: Vec::new() });
            }
        }
        Ok(())
    }

    fn push(&mut self, identity: Identity, kind: Kind, labels: Labels<'a>) {
        let text = labels.canonical();
        self.entries.push(Entry { identity, kind, labels, text, ports: Vec::new() });
    }

    fn next_place(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// The place of a party's identity, as a party on `home` sees it; none for addresses outside.
    pub fn place(&self, party: Party, home: Option<usize>) -> Option<u32> {
        match party {
            Party::Pod(place) => self.pods.get(place).copied().flatten(),
            Party::Node(place) if home == Some(place) => self.own_nodes.get(place).copied(),
            Party::Node(place) => self.remote_nodes.get(place).copied(),
            Party::Outside(_) => None,
        }
    }

    /// The places of the entities for addresses outside.
    pub fn world(&self) -> World {
        let place = |identity| {
            let at = ENTITIES.iter().position(|&(entity, _)| entity == identity);
            u32::try_from(at.unwrap_or_default()).unwrap_or_default()
        };
        World {
            v4: place(Identity::WORLD_IPV4),
            v6: place(Identity::WORLD_IPV6),
            apiserver_v4: place(Identity::KUBE_APISERVER),
            apiserver_v6: place(Identity::UNKNOWN),
        }
    }
}
