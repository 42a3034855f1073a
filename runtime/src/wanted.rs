//! What should be in the kernel: an image, a roster and the node's interfaces to a [`State`], and who is where.
//!
//! Pure. A registration says which interface a pod has, and wins over the routes that lead there; a route to a pod's address says so of an
//! interface that nobody registered. Where the two name two interfaces both are the pod's, for one of them may be out of date, and what
//! is not a pod's would be open. Where a route goes and interface and pod stay, the pod is where it was: routes are taken away and put
//! again.
//! An interface that was a pod's and is no longer is nobody's, and nothing passes there until it goes: a pod may outlive its object, and
//! a mistake in a source must open no door (Calico does the same with interfaces that it knows nothing of). Whoever registered it may
//! unregister it, which opens it.
//! Addresses that the node has besides those its cluster object names are the node as well, such as a bridge's: what
//! a kubelet sends from there is the host's.
//!
//! Not here: how interfaces are found ([`crate::interfaces`]), in what order changes are made ([`crate::plan`]).

use crate::datapath::Endpoint;
use crate::interfaces::Interfaces;
use crate::plan::State;
use crate::registrations::Registrations;
use crate::roster::{Member, Roster};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use weir_abi::Identity;

/// What is wanted, and who is where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// For the kernel.
    pub state: State,
    /// The pod behind each interface, by index.
    pub placements: BTreeMap<u32, Placement>,
    /// Pods of this node whose interface is not known.
    pub unplaced: Vec<String>,
}

/// A pod behind an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// `namespace/pod`.
    pub pod: String,
    /// The interface's name.
    pub interface: String,
    /// How this is known.
    pub by: Because,
}

/// How a pod's interface is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Because {
    /// It was registered.
    Registration,
    /// A route leads to the pod's address.
    Route,
}

/// What should be in the kernel while the image with this checksum is wanted. `last` is who was where so far, and at the interfaces of
/// `attached` programs stand already.
pub fn wanted(
    image: u64,
    roster: &Roster,
    interfaces: &Interfaces,
    registrations: &Registrations,
    last: &BTreeMap<u32, Placement>,
    attached: &BTreeSet<u32>,
) -> Wanted {
    let mut wanted = Wanted { state: State { image: Some(image), ..State::default() }, ..Wanted::default() };
    let own = roster.own_identity();
    wanted.state.addresses.extend(interfaces.own.iter().map(|&address| (address, own)));
    for member in &roster.members {
        let identity = Identity(member.identity);
        wanted.state.addresses.extend(member.addresses.iter().map(|&address| (address, identity)));
    }

    let here: BTreeMap<&str, &Member> =
        roster.pods_here().map(|member| (member.name.as_str(), member)).collect();
    let by_name: HashMap<&str, u32> =
        interfaces.links.iter().map(|(&index, link)| (link.name.as_str(), index)).collect();
    let owners: HashMap<IpAddr, &Member> = here
        .values()
        .flat_map(|&member| member.addresses.iter().map(move |&address| (address, member)))
        .collect();
    let owners_of = |index: u32| {
        let routes = interfaces.links.get(&index).filter(|link| link.is_veth).map(|link| &link.routes);
        routes.into_iter().flatten().filter_map(|address| owners.get(address).copied())
    };
    for (pod, interface) in registrations.iter() {
        if let (Some(&member), Some(&index)) = (here.get(pod), by_name.get(interface)) {
            wanted.place(index, member, interface, Because::Registration);
        }
    }
    for (&index, link) in &interfaces.links {
        if let (Some(owner), false) = (owners_of(index).next(), wanted.placements.contains_key(&index)) {
            wanted.place(index, owner, &link.name, Because::Route);
        }
    }
    let found: BTreeSet<String> = wanted.placements.values().map(|placement| placement.pod.clone()).collect();
    let by_route = last.iter().filter(|(_, placement)| placement.by == Because::Route);
    for (&index, placement) in by_route.filter(|(_, placement)| !found.contains(&placement.pod)) {
        let stays = interfaces.links.get(&index).is_some_and(|link| link.name == placement.interface);
        if let (Some(&member), true, false) =
            (here.get(placement.pod.as_str()), stays, wanted.placements.contains_key(&index))
        {
            wanted.place(index, member, &placement.interface, placement.by);
        }
    }
    let there = attached.iter().filter(|index| interfaces.links.contains_key(index));
    wanted.state.attached.extend(there);
    let placed: BTreeSet<&str> = wanted.placements.values().map(|placement| placement.pod.as_str()).collect();
    let unplaced: Vec<String> =
        here.keys().filter(|pod| !placed.contains(*pod)).map(|&pod| pod.to_owned()).collect();
    wanted.unplaced = unplaced;
    wanted
}

impl Wanted {
    fn place(&mut self, index: u32, member: &Member, interface: &str, by: Because) {
        let first = |pick: fn(&IpAddr) -> bool| member.addresses.iter().copied().find(pick);
        let endpoint = Endpoint {
            identity: Identity(member.identity),
            v4: first(IpAddr::is_ipv4).and_then(|address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }),
            v6: first(IpAddr::is_ipv6).and_then(|address| match address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            }),
        };
        self.state.endpoints.insert(index, endpoint);
        self.state.attached.insert(index);
        let placement = Placement { pod: member.name.clone(), interface: interface.to_owned(), by };
        self.placements.insert(index, placement);
    }
}

#[cfg(test)]
mod tests;
