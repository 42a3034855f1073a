//! The objects of a cluster that policy looks at; of each only what matters here.

use super::{Meta, Protocol};
use std::net::IpAddr;

/// A Namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Name and labels.
    pub meta: Meta,
}

/// A named or unnamed port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerPort {
    /// `name`, lower case.
    pub name: Option<String>,
    /// `containerPort`.
    pub port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

/// A Pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// `spec.hostNetwork`: the pod has its node's identity.
    pub host_network: bool,
    /// `spec.serviceAccountName`.
    pub service_account: Option<String>,
    /// `status.podIPs` (and `podIP`), without repeats.
    pub addresses: Vec<IpAddr>,
    /// Ports of all containers (init containers with `restartPolicy: Always` included).
    pub ports: Vec<ContainerPort>,
    /// What made it: kind and name of its controller, or of the first owner.
    pub owner: Option<(String, String)>,
    /// Succeeded or Failed: its addresses are free again.
    pub finished: bool,
    /// The condition `Ready`; what has no such condition is ready.
    pub ready: bool,
    /// `metadata.deletionTimestamp`: it ends.
    pub ending: bool,
}

/// A Node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name and labels.
    pub meta: Meta,
    /// `status.addresses` of type InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<ipnet::IpNet>,
}

/// A Secret; its content is not read.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Name and namespace.
    pub meta: Meta,
}
