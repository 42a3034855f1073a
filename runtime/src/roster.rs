//! The roster: pods and nodes by name, whose addresses are whose, and under which identity.
//!
//! It is what enforcement needs of a cluster, as plain values: it is kept on disk, so that a start can enforce
//! before any source answers, and it gives events their names. The own node's addresses have its host form, other
//! nodes the remote form; a pod or node that the image does not know has identity 0, which is closed.
//!
//! Not here: labels (the image has them), interfaces ([`crate::interfaces`]).

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use weir_abi::{Identity, Image};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::parties::PartyIdentities;

/// Everyone in the cluster, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// The node whose view it is.
    pub node: String,
    /// Pods, then nodes, each sorted by name.
    pub members: Vec<Member>,
}

/// A pod with addresses of its own, or a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// `namespace/pod`, or the node's name.
    pub name: String,
    /// Pod or node.
    pub kind: Kind,
    /// Whether it is on this node, or is this node.
    pub here: bool,
    /// Its identity.
    pub identity: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A pod.
    Pod,
    /// A node.
    Node,
}

impl Roster {
    /// The cluster as a node sees it, with the identities that an image knows.
    pub fn new(image: &Image<'_>, cluster: &Cluster, node: &str) -> Self {
        let home = cluster.node_named(node);
        let identities = PartyIdentities::new(image, cluster);
        let mut addresses: BTreeMap<Party, BTreeSet<IpAddr>> = BTreeMap::new();
        for (address, party) in cluster.addresses() {
            addresses.entry(party).or_default().insert(address);
        }
        let member = |(party, addresses): (Party, BTreeSet<IpAddr>)| Member {
            name: cluster.name(party),
            kind: if matches!(party, Party::Pod(_)) { Kind::Pod } else { Kind::Node },
            here: home.is_some() && cluster.home(party) == home,
            identity: identities.identity(party, home).0,
            addresses: addresses.into_iter().collect(),
        };
        Roster { node: node.to_owned(), members: addresses.into_iter().map(member).collect() }
    }

    /// This roster, taken from a source that could be read in part only, joined with the last whole one.
    ///
    /// Whoever the source leaves out stays who he was, at the addresses that nobody else claims. Whoever was known
    /// keeps his identity: what seems to be other labels may be a namespace that could not be read.
    #[must_use]
    pub fn joined(mut self, last: &Roster) -> Roster {
        let known: BTreeMap<(Kind, &str), &Member> =
            last.members.iter().map(|member| ((member.kind, member.name.as_str()), member)).collect();
        for member in &mut self.members {
            if let Some(last) = known.get(&(member.kind, member.name.as_str()))
                && last.addresses.iter().any(|address| member.addresses.contains(address))
            {
                member.identity = last.identity;
            }
        }
        let claimed: BTreeSet<IpAddr> =
            self.members.iter().flat_map(|member| member.addresses.iter().copied()).collect();
        let named: BTreeSet<(Kind, &str)> =
            self.members.iter().map(|member| (member.kind, member.name.as_str())).collect();
        let mut kept = Vec::new();
        for (_, member) in known.into_iter().filter(|(name, _)| !named.contains(name)) {
            let free = |address: &IpAddr| !claimed.contains(address);
            let addresses: Vec<IpAddr> = member.addresses.iter().copied().filter(free).collect();
            if !addresses.is_empty() {
                kept.push(Member { addresses, ..member.clone() });
            }
        }
        self.members.extend(kept);
        self.members.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        self
    }

    /// Pods that run on this node.
    pub fn pods_here(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.here && member.kind == Kind::Pod)
    }

    /// The identity of this node as it sees itself; unknown if the cluster does not have it.
    pub fn own_identity(&self) -> Identity {
        let own = self.members.iter().find(|member| member.here && member.kind == Kind::Node);
        own.map_or(Identity::UNKNOWN, |member| Identity(member.identity))
    }
}

#[cfg(test)]
mod tests;
