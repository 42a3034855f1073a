//! Who is who to an image: the identities of a cluster's pods and nodes among those that the image knows.
//!
//! An image knows identities by their labels, the cluster says who has which. A pod or node whose labels
//! the image does not have is [`Identity::UNKNOWN`]: closed wherever policy applies.
//!
//! Not here: how numbers are given ([`crate::identity`]), verdicts ([`crate::interpret`]).

use crate::cluster::{Cluster, Party};
use crate::compile::SELECTED_KEYS_FACT;
use crate::identity;
use rustc_hash::{FxHashMap, FxHashSet};
use weir_abi::{Identity, Image};

/// The identities of pods and nodes, by place in the cluster.
#[derive(Clone, Debug)]
pub struct PartyIdentities {
    pods: Vec<Identity>,
    remote_nodes: Vec<Identity>,
    own_nodes: Vec<Identity>,
}

impl PartyIdentities {
    /// Finds the cluster's pods and nodes among the image's identities.
    pub fn new(image: &Image<'_>, cluster: &Cluster) -> Self {
        let by_labels: FxHashMap<&str, Identity> = image
            .identities()
            .filter(|entry| entry.identity.0 >= Identity::FIRST_POD)
            .map(|entry| (entry.labels, entry.identity))
            .collect();
        let find = |labels: &str| by_labels.get(labels).copied().unwrap_or(Identity::UNKNOWN);
        let selected: FxHashSet<String> =
            image.fact(SELECTED_KEYS_FACT).unwrap_or_default().lines().map(str::to_owned).collect();
        let node = |own| {
            let labels = move |node| identity::node_text(cluster, node, own);
            cluster.nodes.iter().map(|node| find(&labels(node))).collect()
        };
        PartyIdentities {
            pods: cluster.pods.iter().map(|pod| find(&identity::pod_text(cluster, pod, &selected))).collect(),
            remote_nodes: node(false),
            own_nodes: node(true),
        }
    }

    /// The identity of a pod or node as a party on `home` sees it; an address outside has none.
    pub fn identity(&self, party: Party, home: Option<usize>) -> Identity {
        let found = match party {
            Party::Pod(place) => self.pods.get(place),
            Party::Node(place) if home == Some(place) => self.own_nodes.get(place),
            Party::Node(place) => self.remote_nodes.get(place),
            Party::Outside(_) => None,
        };
        found.copied().unwrap_or(Identity::UNKNOWN)
    }
}
