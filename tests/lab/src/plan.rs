//! The plan of a lab: which nodes and pods there are, with what names, labels and addresses.
//!
//! Invariant: addresses follow from a node's number and a pod's number on it, both counted from 1, and no number is given
//! twice at a time. Not here: anything that runs.

use super::{Lab, manifests};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The wire's number of the outside, beyond those of nodes.
pub(super) const OUTSIDE: u8 = 254;

/// The wire's number of the other host outside.
pub(super) const ELSEWHERE: u8 = 253;

/// The addresses that the outside uses unless told otherwise.
pub(super) const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The same of IPv6.
pub(super) const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Those of the other host outside.
pub(super) const ELSEWHERE_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The same of IPv6.
pub(super) const ELSEWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 1);

/// Bytes of the largest packet on a wire.
const USUAL_MTU: u32 = 1500;

/// An address on the wire: 192.168.100.n.
pub(super) fn wire_v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 100, number)
}

/// An address on the wire: fd00:100::n.
pub(super) fn wire_v6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, number.into())
}

/// What is to be built; every method adds to it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) nodes: Vec<NodePlan>,
    pub(super) pods: Vec<PodPlan>,
    pub(super) has_elsewhere: bool,
    pub(super) led: Vec<Led>,
    pub(super) mtu: u32,
    pub(super) is_hardware: bool,
}

/// Addresses, as a prefix, that lead to a node.
#[derive(Clone, Debug)]
pub(super) struct Led {
    pub(super) node: String,
    pub(super) prefix: String,
}

/// A node to be.
#[derive(Clone, Debug)]
pub struct NodePlan {
    pub(super) name: String,
    pub(super) number: u8,
    pub(super) labels: BTreeMap<String, String>,
}

/// A pod to be.
#[derive(Clone, Debug)]
pub struct PodPlan {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) node: String,
    pub(super) node_number: u8,
    pub(super) number: Option<u8>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ports: Vec<(String, String, u16)>,
}

impl Plan {
    /// A plan of nothing but the outside.
    pub fn new() -> Plan {
        Plan {
            namespaces: BTreeMap::new(),
            nodes: Vec::new(),
            pods: Vec::new(),
            has_elsewhere: false,
            led: Vec::new(),
            mtu: USUAL_MTU,
            is_hardware: false,
        }
    }

    /// Another host outside, which every address of 198.18.0.0/24 and 2001:db8:e::/64 is of.
    #[must_use]
    pub fn elsewhere(mut self) -> Plan {
        self.has_elsewhere = true;
        self
    }

    /// Everyone but the node itself reaches these addresses, given as prefixes, through that node: those of services, which are nobody's.
    #[must_use]
    pub fn led(mut self, node: &str, prefixes: &[&str]) -> Plan {
        let led = |prefix: &&str| Led { node: node.to_owned(), prefix: (*prefix).to_owned() };
        self.led.extend(prefixes.iter().map(led));
        self
    }

    /// Bytes of the largest packet on the wire, in place of 1500; at least the 1280 of IPv6. Pods' own interfaces keep 1500.
    #[must_use]
    pub fn wire_mtu(mut self, mtu: u32) -> Plan {
        self.mtu = mtu.max(1280);
        self
    }

    /// The wire's devices work as hardware does: packets on it have whole checksums and are no larger than they may be, and what XDP sends
    /// back is taken. Otherwise they hand each other what the sender's kernel left undone.
    #[must_use]
    pub fn wire_of_hardware(mut self) -> Plan {
        self.is_hardware = true;
        self
    }

    /// A Kubernetes namespace with labels. Those that pods name need not be given; all have `kubernetes.io/metadata.name`.
    #[must_use]
    pub fn namespace(mut self, name: &str, labels: &[(&str, &str)]) -> Plan {
        let known = self.namespaces.entry(name.to_owned()).or_default();
        known.extend(labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        self
    }

    /// The next node: 192.168.100.n and fd00:100::n, with pods in 10.n.0.0/24 and fd00:n::/64 (n in hexadecimal).
    #[must_use]
    pub fn node(mut self, node: impl Into<NodePlan>) -> Plan {
        self.nodes.push(node.into());
        self
    }

    /// A pod.
    #[must_use]
    pub fn pod(mut self, pod: PodPlan) -> Plan {
        self.pods.push(pod);
        self
    }

    /// The plan as Kubernetes manifests, for one who cannot build it.
    pub fn cluster_yaml(mut self) -> String {
        self.settle();
        manifests::render(&self)
    }

    /// Builds the lab.
    ///
    /// # Errors
    /// The plan contradicts itself, or the machine refuses; see [`super::missing`].
    pub fn build(mut self) -> io::Result<Lab> {
        self.settle();
        Lab::build(self)
    }

    /// Gives numbers to nodes and to the pods that have none. A pod's number is the lowest beyond those given on its node.
    pub(super) fn settle(&mut self) {
        for (node, number) in self.nodes.iter_mut().zip(1..) {
            node.number = number;
            let hostname = ("kubernetes.io/hostname".to_owned(), node.name.clone());
            node.labels.extend([hostname]);
        }
        for at in 0..self.pods.len() {
            let node = self.pods[at].node.clone();
            let last = self.pods.iter().filter(|pod| pod.node == node).filter_map(|pod| pod.number).max();
            let pod = &mut self.pods[at];
            pod.node_number = self.nodes.iter().find(|of| of.name == node).map_or(0, |of| of.number);
            pod.number = pod.number.or(Some(last.unwrap_or(0).saturating_add(1)));
            self.namespaces.entry(pod.namespace.clone()).or_default();
        }
        for (name, labels) in &mut self.namespaces {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
        }
    }

    /// What a plan must not say.
    pub(super) fn check(&self) -> io::Result<()> {
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if self.nodes.len() >= usize::from(ELSEWHERE) {
            return wrong(format!("{} nodes are more than the wire has addresses for", self.nodes.len()));
        }
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        if let Some(node) = self.nodes.iter().find(|node| !names.insert(node.name.clone())) {
            return wrong(format!("two nodes are named `{}`", node.name));
        }
        if let Some(led) = self.led.iter().find(|led| self.nodes.iter().all(|node| node.name != led.node)) {
            return wrong(format!("{} leads to node `{}`, which is not in the plan", led.prefix, led.node));
        }
        for pod in &self.pods {
            let name = pod.full_name();
            if pod.node_number == 0 {
                return wrong(format!("pod `{name}` is on node `{}`, which is not in the plan", pod.node));
            }
            if !addresses.insert(pod.v4()) || pod.number == Some(0) {
                return wrong(format!("pod `{name}` cannot have the address {}", pod.v4()));
            }
            if pod.namespace.is_empty() || !names.insert(name.clone()) {
                return wrong(format!("`{name}` is not the `namespace/name` of one pod"));
            }
        }
        Ok(())
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan::new()
    }
}

impl NodePlan {
    /// A node of that name.
    pub fn new(name: &str) -> NodePlan {
        NodePlan { name: name.to_owned(), number: 0, labels: BTreeMap::new() }
    }

    /// A label besides `kubernetes.io/hostname`.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> NodePlan {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn v4(&self) -> Ipv4Addr {
        wire_v4(self.number)
    }

    pub(super) fn v6(&self) -> Ipv6Addr {
        wire_v6(self.number)
    }

    /// The addresses of the node's pods, as prefixes.
    pub(super) fn pod_ranges(&self) -> [String; 2] {
        [format!("10.{}.0.0/24", self.number), format!("fd00:{:x}::/64", self.number)]
    }
}

impl From<&str> for NodePlan {
    fn from(name: &str) -> NodePlan {
        NodePlan::new(name)
    }
}

impl PodPlan {
    /// A pod, named `namespace/name`, on a node.
    pub fn new(name: &str, node: &str) -> PodPlan {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        PodPlan {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: node.to_owned(),
            node_number: 0,
            number: None,
            labels: BTreeMap::new(),
            ports: Vec::new(),
        }
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> PodPlan {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A named port, for policies that name it; the protocol as Kubernetes writes it, `TCP` or `UDP`.
    #[must_use]
    pub fn port(mut self, name: &str, protocol: &str, port: u16) -> PodPlan {
        self.ports.push((name.to_owned(), protocol.to_owned(), port));
        self
    }

    /// The last number of its addresses, 10.n.0.x and fd00:n::x (in hexadecimal), instead of the next free one: for a pod
    /// that takes over the address of another.
    #[must_use]
    pub fn at(mut self, number: u8) -> PodPlan {
        self.number = Some(number);
        self
    }

    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub(super) fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.node_number, 0, self.number.unwrap_or(0))
    }

    pub(super) fn v6(&self) -> Ipv6Addr {
        let number = self.number.unwrap_or(0);
        Ipv6Addr::new(0xfd00, self.node_number.into(), 0, 0, 0, 0, 0, number.into())
    }

    /// The host's end of the veth pair; of the node alone, so it need not tell nodes apart.
    pub(super) fn host_interface(&self) -> String {
        format!("veth-{}", self.number.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_once_and_never_go_round() {
        let mut plan =
            Plan::new().node("n1").pod(PodPlan::new("a/one", "n1").at(7)).pod(PodPlan::new("a/two", "n1"));
        plan.settle();
        plan.check().unwrap();
        assert_eq!(plan.pods[1].v4(), Ipv4Addr::new(10, 1, 0, 8));
        let mut full =
            plan.clone().pod(PodPlan::new("a/three", "n1").at(255)).pod(PodPlan::new("a/four", "n1"));
        full.settle();
        assert!(full.check().is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        for pods in [["a/one", "a/one"], ["one", "a/two"]] {
            let mut plan = Plan::new().node("n1");
            plan.pods.extend(pods.map(|name| PodPlan::new(name, "n1")));
            plan.settle();
            assert!(plan.check().is_err(), "{pods:?}");
        }
        let mut elsewhere = Plan::new().node("n1").pod(PodPlan::new("a/one", "n2"));
        elsewhere.settle();
        assert!(elsewhere.check().is_err());
    }
}
