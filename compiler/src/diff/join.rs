//! Two policy sets as one, so that whatever tells peers and ports apart in either does so in both.
//!
//! The rules of the first set keep their ids, those of the second follow. Groups of both are kept side by side;
//! one that is the same in both is kept once, so that rules about it are seen to be the same.

use crate::ir::{CidrPart, Policy, PolicySet, Rule};
use ipnet::IpNet;
use weir_grammar::tree::CidrGroup;

/// Two sets, joined.
#[derive(Debug)]
pub struct Joined {
    /// The policies of both.
    pub set: PolicySet,
    /// Rules with ids below this are of the first set.
    pub split: u32,
    /// The CIDR groups of both, for [`Cluster::groups`](crate::cluster::Cluster::groups).
    pub groups: Vec<CidrGroup>,
}

/// Joins two sets, each with the groups of the cluster that it was translated for.
pub fn join(from: (PolicySet, Vec<CidrGroup>), to: (PolicySet, Vec<CidrGroup>)) -> Joined {
    let (mut set, mut groups) = from;
    let (other, other_groups) = to;
    let split = u32::try_from(set.rules.len()).unwrap_or(u32::MAX);
    let first = groups.len();
    let mut places = Vec::with_capacity(other_groups.len());
    for group in other_groups {
        // Sorted by name in either set; the second's own come behind the first's.
        let named = groups[..first].binary_search_by(|known| known.meta.name.cmp(&group.meta.name));
        let known = named.ok().filter(|&place| nets(&groups[place]).eq(nets(&group)));
        places.push(known.unwrap_or_else(|| {
            groups.push(group);
            groups.len() - 1
        }));
    }
    let (policies, subjects, peers) = (set.policies.len(), set.subjects.len(), set.peers.len());
    set.policies.extend(other.policies);
    set.subjects.extend(other.subjects);
    set.peers.extend(other.peers.into_iter().map(|mut one| {
        for part in &mut one.cidrs {
            if let CidrPart::Group { group, .. } = part {
                *group = places.get(*group).copied().unwrap_or(*group);
            }
        }
        one
    }));
    set.rules.extend(other.rules.into_iter().map(|rule| Rule {
        policy: rule.policy + policies,
        subject: rule.subject + subjects,
        peers: rule.peers + peers,
        ..rule
    }));
    Joined { set, split, groups }
}

impl Joined {
    /// The policies of the first set, then those of the second.
    pub fn policies(&self) -> (&[Policy], &[Policy]) {
        let second =
            self.set.rules.get(self.split as usize).map_or(self.set.policies.len(), |rule| rule.policy);
        self.set.policies.split_at(second)
    }
}

fn nets(group: &CidrGroup) -> impl Iterator<Item = IpNet> {
    group.cidrs.iter().map(|placed| placed.net)
}
