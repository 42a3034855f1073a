//! The node's interfaces, the host routes through them, and the addresses that the node itself has.
//!
//! ```text
//! links, host routes, addresses of the kernel ─ netlink::watch ─> Interfaces, again whenever they change
//! ```
//!
//! Only routes to one address (/32, /128) are kept, and only those through a veth: that is how a CNI without a bridge
//! leads to a pod. Of default routes it is known through which interface they go. Not here: which pod it is ([`crate::wanted`]).

pub mod netlink;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What the node's network is like, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Interfaces by index.
    pub links: BTreeMap<u32, Link>,
    /// Addresses of the node itself that others can reach.
    pub own: BTreeSet<IpAddr>,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
    /// Whether its packets have no Ethernet header, as those of tunnels and of PPP.
    pub is_bare: bool,
    /// Whether it is the loopback.
    pub is_loopback: bool,
    /// Whether it has an address that others can reach the node at.
    pub is_of_node: bool,
    /// Those addresses, as the kernel lists them.
    pub addresses: Vec<IpAddr>,
    /// Whether a default route of the main table goes through it, in either family.
    pub has_default_route: bool,
    /// Addresses that a route of their own leads through it, if it is a veth.
    pub routes: BTreeSet<IpAddr>,
}

impl Interfaces {
    /// The index of an interface, by name.
    pub fn named(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(&index, _)| index)
    }

    /// Adds a host route; whether it is new. Routes through anything but a veth say nothing of pods.
    pub fn add_route(&mut self, address: IpAddr, interface: u32) -> bool {
        let link = self.links.get_mut(&interface).filter(|link| link.is_veth);
        link.is_some_and(|link| link.routes.insert(address))
    }
}
