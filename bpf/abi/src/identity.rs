//! Numbers of peers and endpoints.
//!
//! The ranges are Cilium's, so that people meet no second numbering: reserved numbers below 256,
//! pods from 256 on, nodes in a scope of their own. Addresses outside the cluster have no number;
//! they go straight to a class.

/// A number that stands for one set of security-relevant labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub u32);

impl Identity {
    /// No identity; in no table.
    pub const UNKNOWN: Identity = Identity(0);
    /// `reserved:host` of the node that an image was compiled for.
    pub const HOST: Identity = Identity(1);
    /// Pods not managed by the datapath.
    pub const UNMANAGED: Identity = Identity(3);
    /// Health-check endpoints.
    pub const HEALTH: Identity = Identity(4);
    /// Endpoints without labels yet.
    pub const INIT: Identity = Identity(5);
    /// Any other node.
    pub const REMOTE_NODE: Identity = Identity(6);
    /// The API server where it is no node.
    pub const KUBE_APISERVER: Identity = Identity(7);
    /// Ingress proxies.
    pub const INGRESS: Identity = Identity(8);
    /// Outside, IPv4.
    pub const WORLD_IPV4: Identity = Identity(9);
    /// Outside, IPv6.
    pub const WORLD_IPV6: Identity = Identity(10);
    /// First number for pods. Numbers below are reserved and never handed out.
    pub const FIRST_POD: u32 = 256;
    /// One past the last number for pods.
    pub const END_POD: u32 = 1 << 20;
    /// First number of the scope for nodes seen from outside (`reserved:remote-node` and labels).
    pub const FIRST_NODE: u32 = 0x0200_0000;
    /// First number of the scope for nodes seen from themselves (`reserved:host` and labels).
    pub const FIRST_HOST: u32 = 0x0280_0000;
    /// Numbers in each of the two scopes for nodes.
    pub const NODES: u32 = 1 << 16;

    /// Entities have numbers below this.
    pub const ENTITIES: u32 = 16;

    /// Place in the table of entities and pods, which has no gap between the two.
    pub const fn pod_index(self) -> Option<usize> {
        if self.0 < Self::ENTITIES {
            Some(self.0 as usize)
        } else if self.0 >= Self::FIRST_POD && self.0 < Self::END_POD {
            Some((self.0 - Self::FIRST_POD + Self::ENTITIES) as usize)
        } else {
            None
        }
    }

    /// Place in the node table: remote form first, host form of the same node right after it.
    pub const fn node_index(self) -> Option<usize> {
        if self.0 >= Self::FIRST_HOST && self.0 < Self::FIRST_HOST + Self::NODES {
            Some((self.0 - Self::FIRST_HOST) as usize * 2 + 1)
        } else if self.0 >= Self::FIRST_NODE && self.0 < Self::FIRST_NODE + Self::NODES {
            Some((self.0 - Self::FIRST_NODE) as usize * 2)
        } else {
            None
        }
    }
}
