//! What policies would cost on Cilium: how many entries each endpoint's policy map would have.
//!
//! Cilium keeps, for each endpoint, one entry for every pair of a peer's identity and a port that any rule names, in a map of
//! [`DEFAULT_SIZE`]; what does not fit is dropped. The forecast counts them as Cilium's policy engine does (told for 1.17 to 1.20):
//!
//! * a rule's entries are the identities of its peers times its ports; an entry that several rules ask for is one, denied or allowed;
//! * a rule for anyone asks for one entry a port, and plain entries of single identities for that port are left out;
//! * a range of ports is as many entries as it has masked prefixes; all ports of a protocol are one, all ports of all protocols too;
//! * peers are identities as `identities` tells: nested blocks are what multiplies;
//! * a direction without rules is one entry, so is the way of a pod's own node to it, and what `enableDefaultDeny: false` leaves open.
//!
//! Not counted: entries that a stronger deny makes needless, so where many denies cover allows there are fewer; addresses that
//! a DNS name will have beside the one identity of its selector, so there may be more; other clusters of a mesh.
//!
//! Not here: what Weir's own image costs ([`crate::compile::cost`]); it has no such product.

mod identities;
mod keys;

use crate::cluster::{Cluster, Party};
use crate::compile::classified::{EndpointRules, endpoints};
use crate::compile::selected_keys;
use crate::identity::{Entry, Identities, IdentityLock, Kind};
use crate::ir::{Direction, Effect, PolicySet, Rule};
use crate::resolve::LabelIndex;
use identities::{CiliumIdentities, Selected};
use keys::{Key, PortNames};
use roaring::RoaringBitmap;
use rustc_hash::{FxHashMap, FxHashSet};

/// Entries that a policy map holds, unless the agent is told otherwise.
pub const DEFAULT_SIZE: u64 = 16_384;
/// Rules told of one endpoint.
const TOLD_RULES: usize = 8;
/// Sets of identities that are kept to count entries of several rules once, as parts of 65,536 identities.
const MAX_KEPT: usize = 1 << 16;

/// The forecast of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// The largest first.
    pub maps: Vec<PolicyMap>,
}

/// The map of endpoints that are under the same rules; each has one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyMap {
    /// Whose, sorted.
    pub endpoints: Vec<Party>,
    /// Entries for traffic to them and from them.
    pub entries: [u64; 2],
    /// Whether entries that several rules ask for were counted once. If not there may be fewer.
    pub is_exact: bool,
    /// The rules that ask for most entries, and how many; what several ask for is counted for each.
    pub rules: Vec<(u32, u64)>,
}

impl PolicyMap {
    /// All entries.
    pub const fn total(&self) -> u64 {
        self.entries[0].saturating_add(self.entries[1])
    }
}

/// What maps differ by: rules for ingress and egress, whether it is a pod's, and the numbers of its own port names.
type Treated = (Vec<u32>, Vec<u32>, bool, Vec<Key>);

/// Forecasts the policy maps of a cluster's endpoints.
pub fn forecast(set: &PolicySet, cluster: &Cluster) -> Forecast {
    let numbered = Identities::number(cluster, &selected_keys(set), &mut IdentityLock::default(), None);
    let Ok(numbered) = numbered else { return Forecast::default() };
    let index = LabelIndex::new(&numbered);
    let mut counter = Counter {
        set,
        identities: CiliumIdentities::new(set, cluster, &numbered),
        names: PortNames::new(&numbered),
        index: &index,
        selected: vec![None; set.peers.len()],
    };
    let mut parties: FxHashMap<u32, Vec<Party>> = FxHashMap::default();
    let everyone =
        (0..cluster.pods.len()).filter(|&pod| cluster.pods.get(pod).is_some_and(|pod| !pod.finished));
    for pod in everyone {
        if let Some(place) = numbered.place(Party::Pod(pod), None) {
            parties.entry(place).or_default().push(Party::Pod(pod));
        }
    }
    let mut maps: FxHashMap<Treated, PolicyMap> = FxHashMap::default();
    for EndpointRules { place, ingress, egress } in endpoints(set, cluster, &numbered, &index, None) {
        let Some(entry) = numbered.entries.get(place as usize) else { continue };
        let endpoints = match entry.kind {
            // A node's policy is enforced where some policy is about nodes.
            Kind::OwnNode(_) if ingress.is_empty() && egress.is_empty() => continue,
            Kind::OwnNode(node) => vec![Party::Node(node)],
            _ => parties.remove(&place).unwrap_or_default(),
        };
        if endpoints.is_empty() {
            continue;
        }
        // Endpoints under the same rules differ by the numbers of their own port names alone.
        let own: Vec<Key> = ingress
            .iter()
            .filter_map(|&id| set.rules.get(id as usize))
            .flat_map(|rule| counter.names.own(rule, entry))
            .collect();
        let is_pod = entry.kind == Kind::Pods;
        match maps.entry((ingress, egress, is_pod, own)) {
            std::collections::hash_map::Entry::Occupied(mut known) => {
                known.get_mut().endpoints.extend(endpoints);
            }
            std::collections::hash_map::Entry::Vacant(new) => {
                let (ingress, egress, ..) = new.key();
                let map = counter.map(endpoints, [ingress, egress], entry);
                new.insert(map);
            }
        }
    }
    let mut maps: Vec<PolicyMap> = maps.into_values().collect();
    for map in &mut maps {
        map.endpoints.sort_unstable();
    }
    maps.sort_by(|a, b| (b.total(), &a.endpoints).cmp(&(a.total(), &b.endpoints)));
    Forecast { maps }
}

struct Counter<'a> {
    set: &'a PolicySet,
    identities: CiliumIdentities<'a>,
    names: PortNames,
    index: &'a LabelIndex<'a>,
    /// By place in the set's peers.
    selected: Vec<Option<Selected>>,
}

/// The entries of one direction.
#[derive(Default)]
struct Entries {
    /// Keys of rules for anyone, and whether one is a plain allow.
    anyone: FxHashMap<Key, bool>,
    /// Whose identities rules name, for plain allows and for all else.
    named: FxHashMap<Key, [RoaringBitmap; 2]>,
    /// Parts of sets that are kept.
    kept: usize,
    /// Entries that were only added up.
    added: u64,
}

impl Counter<'_> {
    fn map(&mut self, endpoints: Vec<Party>, rules: [&Vec<u32>; 2], entry: &Entry<'_>) -> PolicyMap {
        let mut map = PolicyMap { endpoints, entries: [0; 2], is_exact: true, rules: Vec::new() };
        for ((direction, ids), total) in Direction::BOTH.into_iter().zip(rules).zip(&mut map.entries) {
            let mut entries = Entries::default();
            let mut isolates = false;
            for &id in ids {
                let Some(rule) = self.set.rules.get(id as usize) else { continue };
                isolates |= rule.isolates;
                let asked = self.add(rule, entry, &mut entries);
                if asked > 0 {
                    map.rules.push((id, asked));
                }
            }
            let everything = (0, 0, 0);
            if !isolates {
                entries.anyone.entry(everything).or_default();
            } else if direction == Direction::Ingress && entry.kind == Kind::Pods {
                let [plain, _] = entries.named.entry(everything).or_default();
                plain.extend(self.identities.own_node());
            }
            *total = entries.count();
            map.is_exact &= entries.added == 0;
        }
        map.rules.sort_by_key(|&(id, entries)| (std::cmp::Reverse(entries), id));
        map.rules.truncate(TOLD_RULES);
        map
    }

    /// Adds a rule's entries; returns how many it asks for.
    fn add(&mut self, rule: &Rule, entry: &Entry<'_>, entries: &mut Entries) -> u64 {
        let keys = self.names.keys(rule, entry);
        let Some(slot) = self.selected.get_mut(rule.peers) else { return 0 };
        let selected = slot.get_or_insert_with(|| {
            self.set
                .peers
                .get(rule.peers)
                .map(|peers| self.identities.select(peers, self.index))
                .unwrap_or_default()
        });
        let is_plain = rule.effect == Effect::Allow && rule.requests.is_none();
        let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        if selected.anyone {
            for key in keys {
                *entries.anyone.entry(key).or_default() |= is_plain;
            }
            return count;
        }
        let parts = 1 + selected.parts;
        let asked = count.saturating_mul(selected.identities.len());
        let distinct: FxHashSet<Key> = keys.into_iter().collect();
        if entries.kept.saturating_add(parts.saturating_mul(distinct.len())) > MAX_KEPT {
            entries.added = entries.added.saturating_add(asked);
            return asked;
        }
        for key in distinct {
            let known = entries.named.entry(key).or_default();
            if let Some(known) = known.get_mut(usize::from(!is_plain)) {
                *known |= &selected.identities;
            }
            entries.kept += parts;
        }
        asked
    }
}

impl Entries {
    fn count(&self) -> u64 {
        let named = self.named.iter().map(|(key, [plain, other])| {
            if self.anyone.get(key) == Some(&true) { other.len() } else { plain.union_len(other) }
        });
        let anyone = u64::try_from(self.anyone.len()).unwrap_or(u64::MAX);
        named.fold(anyone.saturating_add(self.added), u64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
