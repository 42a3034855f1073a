//! The cluster as plain values: who is where, with which labels and addresses.
//!
//! A pod on its node's network has no identity of its own: to policy it is the node. Finished pods
//! hold no addresses. Not here: policies, identities' numbers.

use crate::labels::{
    CLUSTER, CLUSTER_NAME, DERIVED, Label, Labels, NAMESPACE_LABELS, NAMESPACE_NAME, POD_NAMESPACE,
    SERVICE_ACCOUNT,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::tree;

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// A pod with an address of its own, by place in [`Cluster::pods`].
    Pod(usize),
    /// A node, by place in [`Cluster::nodes`].
    Node(usize),
    /// An address outside the cluster.
    Outside(IpAddr),
}

/// A snapshot of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Pods, sorted by namespace and name.
    pub pods: Vec<tree::Pod>,
    /// Nodes, sorted by name.
    pub nodes: Vec<tree::Node>,
    /// Services, sorted by namespace and name.
    pub services: Vec<tree::Service>,
    /// EndpointSlices, sorted by namespace and name.
    pub slices: Vec<tree::EndpointSlice>,
    /// Secrets, as (namespace, name).
    pub secrets: FxHashSet<(String, String)>,
    /// CIDR groups, sorted by name.
    pub groups: Vec<tree::CidrGroup>,
    namespaces: BTreeMap<String, Vec<(String, String)>>,
    pods_by_name: FxHashMap<(String, String), usize>,
    nodes_by_name: FxHashMap<String, usize>,
    parties: FxHashMap<IpAddr, Party>,
    apiservers: FxHashSet<IpAddr>,
    /// Places of EndpointSlices by namespace and service.
    slices_of_service: FxHashMap<(String, String), Vec<usize>>,
}

/// The kind of CIDR groups.
const GROUP: &str = "CiliumCIDRGroup";

/// Sorts objects of one kind by name and reports those defined twice; the first stays.
fn unique<T>(
    objects: &mut Vec<T>,
    kind: &str,
    meta: impl Fn(&T) -> &tree::Meta,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let key = |object: &T| (meta(object).namespace.clone(), meta(object).name.clone());
    objects.sort_by_cached_key(key);
    objects.dedup_by(|later, first| {
        let (a, b) = (meta(first), meta(later));
        let same = a.namespace == b.namespace && a.name == b.name;
        if same && a.span != b.span {
            diagnostics.push(defined_twice(kind, a, b));
        }
        same
    });
}

/// The finding for an object that is defined twice.
pub(crate) fn defined_twice(kind: &str, first: &tree::Meta, second: &tree::Meta) -> Diagnostic {
    let (first, second) = if first.span <= second.span { (first, second) } else { (second, first) };
    let name = second.namespace.as_ref().map_or(second.name.clone(), |ns| format!("{ns}/{}", second.name));
    Diagnostic::new(Code::DuplicateObject, second.span, format!("{kind} {name} is defined twice"))
        .labelled("defined again here")
        .also(first.span, "first defined here")
        .help("keep one of the two, or give one another name")
}

impl Cluster {
    /// Collects the cluster's objects; policies among `objects` are left where they are.
    pub fn collect(objects: &mut Vec<tree::Object>, diagnostics: &mut Vec<Diagnostic>) -> Cluster {
        let mut cluster = Cluster::default();
        let mut namespaces = Vec::new();
        let mut secrets = Vec::new();
        let mut rest = Vec::new();
        for object in std::mem::take(objects) {
            match object {
                tree::Object::Pod(pod) => cluster.pods.push(pod),
                tree::Object::Node(node) => cluster.nodes.push(node),
                tree::Object::Namespace(namespace) => namespaces.push(namespace),
                tree::Object::Service(service) => cluster.services.push(service),
                tree::Object::EndpointSlice(slice) => cluster.slices.push(slice),
                tree::Object::Secret(secret) => secrets.push(secret),
                tree::Object::CidrGroup(group) => cluster.groups.push(group),
                other @ (tree::Object::Cilium(_)
                | tree::Object::Network(_)
                | tree::Object::Expectations(_)) => {
                    rest.push(other);
                }
            }
        }
        *objects = rest;
        unique(&mut cluster.pods, "Pod", |pod| &pod.meta, diagnostics);
        unique(&mut cluster.nodes, "Node", |node| &node.meta, diagnostics);
        unique(&mut cluster.services, "Service", |service| &service.meta, diagnostics);
        unique(&mut cluster.slices, "EndpointSlice", |slice| &slice.meta, diagnostics);
        unique(&mut cluster.groups, GROUP, |group| &group.meta, diagnostics);
        unique(&mut namespaces, "Namespace", |namespace| &namespace.meta, diagnostics);
        let name_of = |meta: tree::Meta| (meta.namespace.unwrap_or_default(), meta.name);
        cluster.secrets = secrets.into_iter().map(|secret| name_of(secret.meta)).collect();
        cluster.namespaces = namespaces
            .into_iter()
            .map(|namespace| (namespace.meta.name, pod_form(namespace.meta.labels)))
            .collect();
        cluster.index(diagnostics);
        cluster
    }

    /// Puts other CIDR groups in place of the cluster's.
    pub fn set_groups(&mut self, groups: Vec<tree::CidrGroup>, diagnostics: &mut Vec<Diagnostic>) {
        self.groups = groups;
        unique(&mut self.groups, GROUP, |group| &group.meta, diagnostics);
    }

    fn index(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        for (place, node) in self.nodes.iter().enumerate() {
            self.nodes_by_name.insert(node.meta.name.clone(), place);
            for &address in &node.addresses {
                if let Some(other) = self.parties.insert(address, Party::Node(place))
                    && other != Party::Node(place)
                {
                    diagnostics.push(clash(address, &node.meta));
                }
            }
        }
        for (place, pod) in self.pods.iter().enumerate() {
            let namespace = pod.meta.namespace.clone().unwrap_or_default();
            self.pods_by_name.insert((namespace, pod.meta.name.clone()), place);
            if pod.host_network || pod.finished {
                continue;
            }
            for &address in &pod.addresses {
                if self.parties.insert(address, Party::Pod(place)).is_some() {
                    diagnostics.push(clash(address, &pod.meta));
                }
            }
        }
        for (place, slice) in self.slices.iter().enumerate() {
            if let Some(service) = &slice.service {
                let namespace = slice.meta.namespace.clone().unwrap_or_default();
                self.slices_of_service.entry((namespace, service.clone())).or_default().push(place);
            }
        }
        self.apiservers = self.service_addresses("default", "kubernetes").collect();
    }

    /// The addresses in a service's EndpointSlices.
    pub fn service_addresses(&self, namespace: &str, service: &str) -> impl Iterator<Item = IpAddr> {
        let slices = self.slices_of(namespace, service);
        slices.flat_map(|slice| &slice.endpoints).flat_map(|endpoint| endpoint.addresses.iter().copied())
    }

    /// A service's EndpointSlices, sorted by name.
    pub fn slices_of(&self, namespace: &str, service: &str) -> impl Iterator<Item = &tree::EndpointSlice> {
        let places = self.slices_of_service.get(&(namespace.to_owned(), service.to_owned()));
        places.into_iter().flatten().filter_map(|&place| self.slices.get(place))
    }

    /// Everything that selectors can say about a pod.
    pub fn pod_labels<'a>(&'a self, pod: &'a tree::Pod) -> Labels<'a> {
        let namespace = pod.meta.namespace.as_deref().unwrap_or_default();
        // The first of two labels with one key stays, so what is derived goes before what is written.
        let mut labels = vec![
            Label::k8s(POD_NAMESPACE, namespace),
            Label::k8s(CLUSTER, CLUSTER_NAME),
            Label::k8s(SERVICE_ACCOUNT, pod.service_account.as_deref().unwrap_or("default")),
            Label::k8s(NAMESPACE_NAME, namespace),
        ];
        let of_namespace = self.namespaces.get(namespace).map_or(&[][..], Vec::as_slice);
        labels.extend(k8s_labels(of_namespace));
        // What is derived from other objects cannot be claimed by a label of one's own; Cilium drops
        // such labels too.
        labels.extend(k8s_labels(&pod.meta.labels).filter(|label| !label.key.starts_with(DERIVED)));
        Labels::new(labels)
    }

    /// Everything that selectors can say about a node, seen from itself (`own`) or from elsewhere.
    pub fn node_labels<'a>(&'a self, node: &'a tree::Node, own: bool) -> Labels<'a> {
        let mut labels = vec![Label::reserved(if own { "host" } else { "remote-node" })];
        if node.addresses.iter().any(|address| self.apiservers.contains(address)) {
            labels.push(Label::reserved("kube-apiserver"));
        }
        labels.extend(k8s_labels(&node.meta.labels));
        Labels::new(labels)
    }

    /// Everything that selectors can say about an address outside.
    pub fn outside_labels(&self, address: IpAddr) -> Labels<'static> {
        let family = if address.is_ipv4() { "world-ipv4" } else { "world-ipv6" };
        let mut names = vec!["world", family];
        if self.apiservers.contains(&address) {
            names.push("kube-apiserver");
        }
        Labels::reserved(&names)
    }

    /// Whether an address is the API server's.
    pub fn is_apiserver(&self, address: &IpAddr) -> bool {
        self.apiservers.contains(address)
    }

    /// API server addresses that belong to no node or pod, sorted.
    pub fn outside_apiservers(&self) -> Vec<IpAddr> {
        let mut outside: Vec<IpAddr> =
            self.apiservers.iter().copied().filter(|address| !self.parties.contains_key(address)).collect();
        outside.sort_unstable();
        outside
    }

    /// Whose an address is.
    pub fn party(&self, address: IpAddr) -> Party {
        self.parties.get(&address).copied().unwrap_or(Party::Outside(address))
    }

    /// The addresses of pods and nodes.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, Party)> {
        self.parties.iter().map(|(&address, &party)| (address, party))
    }

    /// A pod by name; its node if it is on the node's network (`None` if that node is unknown).
    pub fn party_named(&self, namespace: &str, name: &str) -> Option<Party> {
        let place = *self.pods_by_name.get(&(namespace.to_owned(), name.to_owned()))?;
        let pod = &self.pods[place];
        if pod.host_network { self.node_of(pod).map(Party::Node) } else { Some(Party::Pod(place)) }
    }

    /// Whether nothing here is about nodes: there is no Node object, and no pod says which one it is on. Then whoever reads it is no node of a
    /// cluster, but for instance a balancer in front of machines.
    pub fn is_without_nodes(&self) -> bool {
        self.nodes.is_empty() && self.pods.iter().all(|pod| pod.node.is_none())
    }

    /// The place of a node by name.
    pub fn node_named(&self, name: &str) -> Option<usize> {
        self.nodes_by_name.get(name).copied()
    }

    /// The place of the node that a pod runs on.
    pub fn node_of(&self, pod: &tree::Pod) -> Option<usize> {
        self.node_named(pod.node.as_deref()?)
    }

    /// The node that a party is on or is.
    pub fn home(&self, party: Party) -> Option<usize> {
        match party {
            Party::Pod(place) => self.node_of(&self.pods[place]),
            Party::Node(place) => Some(place),
            Party::Outside(_) => None,
        }
    }

    /// The name of a party, as in flows.
    pub fn name(&self, party: Party) -> String {
        match party {
            Party::Pod(place) => {
                let meta = &self.pods[place].meta;
                format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name)
            }
            Party::Node(place) => self.nodes[place].meta.name.clone(),
            Party::Outside(address) => address.to_string(),
        }
    }
}

/// The labels of a namespace as its pods carry them.
fn pod_form(labels: Vec<(String, String)>) -> Vec<(String, String)> {
    labels.into_iter().map(|(key, value)| (format!("{NAMESPACE_LABELS}{key}"), value)).collect()
}

/// The labels of an object.
pub(crate) fn k8s_labels(labels: &[(String, String)]) -> impl Iterator<Item = Label<'_>> {
    labels.iter().map(|(key, value)| Label::k8s(key, value))
}

fn clash(address: IpAddr, meta: &tree::Meta) -> Diagnostic {
    Diagnostic::new(Code::AddressClash, meta.span, format!("{address} belongs to two objects"))
        .labelled("claims the address again")
        .help("an address must lead to one pod or node; remove the stale object")
}
