//! Whether one rule is about no more than another: subjects, peers, ports.
//!
//! Every answer that is not sure is `no`. What is compared often is made once.

use crate::check::implication::implies;
use crate::check::reach::{AddressReach, Families, PortReach};
use crate::check::view::{View, parts};
use crate::fqdn::FqdnPattern;
use crate::ir::{Peers, Rule};
use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use weir_grammar::tree::{FqdnSelector, LabelSource, Operator, Requirement};

pub(super) struct Containment<'v> {
    view: &'v View<'v>,
    ports: Vec<PortReach<'v>>,
    subjects: FxHashMap<(usize, usize), bool>,
    addresses: FxHashMap<usize, Option<AddressReach>>,
    places: FxHashMap<usize, RoaringBitmap>,
}

impl<'v> Containment<'v> {
    pub(super) fn new(view: &'v View<'v>) -> Self {
        Containment {
            view,
            ports: view.set.rules.iter().map(|rule| PortReach::of(&rule.ports)).collect(),
            subjects: FxHashMap::default(),
            addresses: FxHashMap::default(),
            places: FxHashMap::default(),
        }
    }

    /// Whether a rule names nobody or no port, which is told elsewhere.
    pub(super) fn is_void(&self, id: u32) -> bool {
        let rule = &self.view.set.rules[id as usize];
        let peers = self.view.peers(rule);
        let nobody =
            !peers.anyone && peers.selectors.is_empty() && peers.cidrs.is_empty() && peers.fqdns.is_empty();
        nobody || self.ports[id as usize].is_empty()
    }

    pub(super) fn ports(&self, narrow: u32, wide: u32) -> bool {
        self.ports[wide as usize].covers(&self.ports[narrow as usize])
    }

    pub(super) fn same_single_ports(&self, narrow: u32, wide: u32) -> bool {
        self.ports[wide as usize].covers_singly(&self.ports[narrow as usize])
    }

    pub(super) fn has_single_port(&self, id: u32) -> bool {
        self.ports[id as usize].has_single()
    }

    /// By what the selectors say.
    pub(super) fn subjects(&mut self, narrow: &Rule, wide: &Rule) -> bool {
        let view = self.view;
        narrow.subject == wide.subject
            || *self.subjects.entry((narrow.subject, wide.subject)).or_insert_with(|| {
                let (narrow_nodes, narrow) = parts(&view.set.subjects[narrow.subject]);
                let (wide_nodes, wide) = parts(&view.set.subjects[wide.subject]);
                narrow_nodes == wide_nodes && implies(narrow, wide)
            })
    }

    /// By whom they select in this cluster; never if nobody is known.
    pub(super) fn subjects_here(&self, narrow: &Rule, wide: &Rule) -> bool {
        let (from, to) = (self.view.subject(narrow), self.view.subject(wide));
        self.view.knows_subject(narrow) && !from.is_empty() && from.is_subset(to)
    }

    /// By what is written.
    pub(super) fn peers(&mut self, narrow: usize, wide: usize) -> bool {
        let (from, to) = (&self.view.set.peers[narrow], &self.view.set.peers[wide]);
        if narrow == wide || to.anyone {
            return true;
        }
        !from.anyone
            && from.selectors.iter().all(|narrow| to.selectors.iter().any(|wide| implies(narrow, wide)))
            && self.outside(narrow, wide)
    }

    /// By whom they select in this cluster.
    pub(super) fn peers_here(&mut self, narrow: &Rule, wide: &Rule) -> bool {
        let view = self.view;
        let (from, to) = (view.peers(narrow), view.peers(wide));
        if to.anyone || from.anyone {
            return to.anyone;
        }
        // Without pods (or nodes) the cluster does not tell who is a peer.
        if !view.has_pods || !view.has_nodes {
            return false;
        }
        for rule in [narrow, wide] {
            self.places.entry(rule.peers).or_insert_with(|| view.places(view.peers(rule)));
        }
        let all = |selector: &Vec<Requirement>| !view.index.select(selector).is_empty();
        from.selectors.iter().all(all)
            && self.places[&narrow.peers].is_subset(&self.places[&wide.peers])
            && self.outside(narrow.peers, wide.peers)
    }

    /// Prefixes and DNS names.
    fn outside(&mut self, narrow: usize, wide: usize) -> bool {
        let view = self.view;
        let (from, to) = (&view.set.peers[narrow], &view.set.peers[wide]);
        if from.cidrs.is_empty() && from.fqdns.is_empty() {
            return true;
        }
        let mut families = world(to);
        for peers in [narrow, wide] {
            self.addresses
                .entry(peers)
                .or_insert_with(|| AddressReach::of(&view.set.peers[peers], view.cluster));
        }
        let (narrow, wide) = (&self.addresses[&narrow], &self.addresses[&wide]);
        if let Some(wide) = wide {
            let whole = wide.whole_families();
            families = Families { v4: families.v4 || whole.v4, v6: families.v6 || whole.v6 };
        }
        let all = families.v4 && families.v6;
        let cidrs = from.cidrs.is_empty()
            || all
            || match (narrow, wide) {
                (Some(narrow), Some(wide)) => wide.covers(narrow, families),
                (Some(narrow), None) => AddressReach::default().covers(narrow, families),
                (None, _) => false,
            };
        cidrs
            && (all || from.fqdns.iter().all(|narrow| to.fqdns.iter().any(|wide| fqdn_covers(wide, narrow))))
    }
}

/// The families of which the peers take in every address outside, by entity.
fn world(peers: &Peers) -> Families {
    let is = |name: &str| {
        peers.selectors.iter().any(|selector| match selector.as_slice() {
            [only] => {
                only.operator == Operator::Exists
                    && only.key.value.source == LabelSource::Reserved
                    && only.key.value.name == name
            }
            _ => false,
        })
    };
    Families { v4: is("world") || is("world-ipv4"), v6: is("world") || is("world-ipv6") }
}

/// Whether a name or pattern surely takes in another.
fn fqdn_covers(wide: &FqdnSelector, narrow: &FqdnSelector) -> bool {
    (wide.text == narrow.text && wide.is_pattern == narrow.is_pattern)
        || (!narrow.is_pattern && FqdnPattern::new(wide).matches(&narrow.text))
        || FqdnPattern::new(wide) == FqdnPattern::from_text("*", true)
}
