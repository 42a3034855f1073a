//! What changes from one policy set to another in one cluster: every verdict and every request rule, exactly.
//!
//! ```text
//! two sets ─ join ─> one set ─ compile::classified ─> classes in common; for each endpoint two tables' rules
//!    └─ for each distinct pair of tables: tables (cells that changed) ─ merge ─> told ─> Difference
//! ```
//!
//! Nothing is sampled. Both sets are classified as one, so a peer class is a set of peers that neither set tells apart,
//! and so is a port class: whatever can get another verdict is a cell of a pair of tables, and each cell that a changed
//! rule touches is asked. No image is written, because an image has classes of its own and two of them would have to be
//! laid over each other again.
//!
//! Compared are the action (allow, deny, redirect) and, for redirects, the set of request rules by content. Which rule
//! decided is told and makes no difference. Each direction is compared by itself.
//!
//! An address outside is compared without any DNS name, and with each combination of the written names and patterns that
//! one name can match ([`names`]). An address of several names has the strongest of their verdicts; where one of these hands DNS
//! queries to the proxy and another allows that very port, whether queries are free may change without either verdict changing,
//! and that alone is not told.
//!
//! Not here: reading, names of files, words for people.

mod axes;
mod bits;
mod cell;
mod join;
mod lists;
mod merge;
mod name_terms;
pub mod names;
mod other_side;
mod requests;
mod tables;
mod told;

pub use join::{Joined, join};
pub use name_terms::{NameTerm, Names};
pub use requests::{HeaderRule, HttpRequestRule, Request};
pub use told::{Outside, Peers, PortRange, Ports};

use crate::cluster::Party;
use crate::compile::classified::{Classified, classified, selected_keys};
use crate::compile::{CompileError, Input};
use crate::fqdn::FqdnPattern;
use crate::identity::{Identities, IdentityLock};
use crate::ir::Direction;
use crate::tables::{PeerMembers, TableRules};
use lists::Lists;
use merge::{Merged, merge};
use other_side::OtherSide;
use requests::Contents;
use std::collections::BTreeMap;
use tables::{Ground, Refusal, Work};
use told::Teller;
use weir_abi::{Action, Reason};

/// Some subjects, some peers, some ports, and what happens between them before and after: the same for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose policies: those of the subjects, for traffic to them or from them.
    pub direction: Direction,
    /// Pods and nodes, in the order of the cluster.
    pub subjects: Vec<Party>,
    /// Who is on the other side.
    pub peers: Peers,
    /// Destination ports.
    pub ports: Ports,
    /// What happened under the first set.
    pub before: Said,
    /// What happens under the second.
    pub after: Said,
    /// Pods among the peers, by place in the cluster, whose own policies deny all of it: what opens is denied still, what
    /// closes was denied before.
    pub other_side_denies: Vec<usize>,
}

/// What one set says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What happens to the connection.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The rules that decide, by id in the joined set: the first that denies or allows, all that redirect; for default
    /// deny those that isolate, the first of each subject.
    pub rules: Vec<u32>,
    /// For a redirect: what may be asked.
    pub requests: Option<Asked>,
}

/// What may be asked over a redirected connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Every request passes.
    pub everything: bool,
    /// The request rules; where every request passes only those that act on requests.
    pub rules: Vec<Request>,
}

/// What a difference is to whoever reviews it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What was denied passes, or some requests of it do.
    Opened,
    /// What passed, or some requests of it, is denied.
    Closed,
    /// Connections pass before and after; what may be asked over them changes.
    Requests,
}

impl Kind {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Opened => "opened",
            Kind::Closed => "closed",
            Kind::Requests => "requests",
        }
    }
}

/// Which way requests change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// More pass.
    Wider,
    /// Fewer pass.
    Narrower,
    /// Neither, as far as the contents of the rules tell.
    Other,
}

impl Difference {
    /// Whether anything passes that did not, as far as can be told.
    pub fn opens(&self) -> bool {
        match self.kind() {
            Kind::Opened => true,
            Kind::Closed => false,
            // Where everything passed before, nothing more can. What TLS rules let through is not known.
            Kind::Requests => self.before.requests.as_ref().is_some_and(|asked| {
                let is_tls = |rule: &Request| matches!(rule, Request::Tls { .. });
                (!asked.everything || asked.rules.iter().any(is_tls)) && self.trend() != Trend::Narrower
            }),
        }
    }

    /// Whether it is about one pod and itself: what a pod says to itself meets no policy.
    fn is_of_itself(&self) -> bool {
        let Peers { everyone, pods, nodes, own_nodes, entities, outside } = &self.peers;
        let is_alone = !everyone
            && nodes.is_empty()
            && own_nodes.is_empty()
            && entities.is_empty()
            && outside.is_empty();
        is_alone && matches!((&self.subjects[..], &pods[..]), ([Party::Pod(pod)], [peer]) if pod == peer)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match (self.before.action, self.after.action) {
            (Action::Deny, _) => Kind::Opened,
            (_, Action::Deny) => Kind::Closed,
            _ => Kind::Requests,
        }
    }

    /// Which way requests change, where nothing opens or closes.
    pub fn trend(&self) -> Trend {
        let passes = |said: &Said| said.requests.as_ref().is_none_or(|asked| asked.everything);
        let rules = |said: &Said| said.requests.clone().map_or(Vec::new(), |asked| asked.rules);
        let (before, after) = (rules(&self.before), rules(&self.after));
        let within = |some: &[Request], all: &[Request]| some.iter().all(|rule| all.contains(rule));
        match (passes(&self.before), passes(&self.after)) {
            (false, true) => Trend::Wider,
            (true, false) => Trend::Narrower,
            (false, false) if within(&before, &after) => Trend::Wider,
            (false, false) if within(&after, &before) => Trend::Narrower,
            _ => Trend::Other,
        }
    }
}

/// Everything that changes between the two sets that [`join()`] made one, sorted: by kind, subjects, peers and ports.
/// `input` holds the joined set, and a cluster with the joined groups. Identity numbers matter to nothing here; the lock
/// is kept to what a compilation would accept.
///
/// # Errors
/// What no image can be: more than can be told apart, or request rules of two kinds on one peer and port.
pub fn differences(
    input: &Input<'_>,
    split: u32,
    lock: &mut IdentityLock,
) -> Result<Vec<Difference>, CompileError> {
    let set = input.set;
    let identities = Identities::number(input.cluster, &selected_keys(set), lock, None)?;
    let ends = [split, u32::try_from(set.rules.len()).unwrap_or(u32::MAX)];
    let classified = classified(input, &identities, None, ends, &mut || ())?;
    let combinations = combinations(&classified)?;
    let teller = Teller::new(input.cluster, &identities, &classified, &combinations);
    let classes = &classified.peers.classes;
    let marks = |patterns: &Vec<u32>| {
        let of = |&pattern: &u32| {
            classified.peers.fqdns.get(pattern as usize).map_or(&[][..], |&(.., class)| classes.marks(class))
        };
        let mut marks: Vec<u32> = patterns.iter().flat_map(of).copied().collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    };
    let mut ground = Ground {
        members: PeerMembers::new(classes, classified.marks),
        ports: &classified.ports,
        classes,
        places: teller.places_of_classes(),
        outside: teller.outside_classes(),
        names: std::iter::once(Vec::new()).chain(combinations.iter().map(marks)).collect(),
        contents: Contents::new(set),
        lists: Lists::default(),
        clauses: tables::ClauseNumbers::default(),
    };
    let merged = merged(&classified, &mut ground)?;
    let mut other_side = OtherSide::new(&classified, &identities);
    let mut differences = Vec::with_capacity(merged.len());
    for merged in &merged {
        let Some(mut difference) = teller.difference(merged, &ground) else { continue };
        if difference.is_of_itself() {
            continue;
        }
        let denying = match difference.kind() {
            Kind::Opened => other_side.denying(merged, 1, &ground),
            Kind::Closed => other_side.denying(merged, 0, &ground),
            Kind::Requests => Vec::new(),
        };
        difference.other_side_denies = teller.pods(&denying);
        differences.push(difference);
    }
    differences.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(differences)
}

/// The combinations of names, each as places among the names and patterns.
fn combinations(classified: &Classified<'_, 2>) -> Result<Vec<Vec<u32>>, CompileError> {
    let patterns: Vec<FqdnPattern> = classified
        .peers
        .fqdns
        .iter()
        .map(|&(text, is_pattern, _)| FqdnPattern::from_text(text, is_pattern))
        .collect();
    names::combinations(&patterns).ok_or(CompileError::TooManyOverlaps {
        what: "places in DNS names and patterns",
        most: names::MAX_PLACES,
    })
}

/// Compares each distinct pair of tables once, and puts together what changes.
fn merged<'c>(
    classified: &'c Classified<'_, 2>,
    ground: &mut Ground<'c>,
) -> Result<Vec<Merged>, CompileError> {
    let mut pairs: BTreeMap<(Direction, [Option<usize>; 2]), Vec<u32>> = BTreeMap::new();
    let [before, after] = &classified.under;
    for ((&place, before), after) in classified.endpoints.iter().zip(&before.endpoints).zip(&after.endpoints)
    {
        for (direction, tables) in Direction::BOTH.into_iter().zip(before.iter().zip(after)) {
            let tables = [*tables.0, *tables.1];
            if tables != [None, None] {
                pairs.entry((direction, tables)).or_default().push(place);
            }
        }
    }
    let mut work = Work::default();
    let mut blocks = Vec::new();
    for ((direction, numbers), subjects) in pairs {
        let table = |set: usize| {
            let number = numbers[set]?;
            classified.under[set].rules.get(number)
        };
        let tables = [table(0), table(1)];
        let changed = ground.compare(direction, tables.map(|table| table.unwrap_or(NO_RULES)), &mut work);
        let changed = changed.map_err(|refusal| match refusal {
            Refusal::Conflict(conflict) => CompileError::Conflict(conflict),
            Refusal::TooMany { most } => {
                CompileError::TooManyOverlaps { what: "peers and ports under changed rules", most }
            }
        })?;
        if changed.is_empty() {
            continue;
        }
        let subjects = ground.lists.number(subjects);
        let isolated_by = tables.map(|table| {
            let rule = table.and_then(|table| table.isolated_by);
            ground.lists.number(rule.into_iter().collect())
        });
        for block in changed {
            let mut change = block.change;
            for (said, table) in change.iter_mut().zip(&tables) {
                if table.is_none() {
                    said.reason = Reason::NoPolicy;
                }
            }
            let tables::Block { peers, ports, .. } = block;
            blocks.push(Merged { direction, change, subjects, peers, ports, isolated_by });
        }
    }
    Ok(merge(blocks, &mut ground.lists))
}

/// What stands for a table where no policy selects the endpoint.
const NO_RULES: &TableRules = &TableRules { clauses: Vec::new(), isolated_by: None };

type Order<'d> = (Kind, &'d [Party], Direction, &'d Peers, &'d Ports);

fn order(difference: &Difference) -> Order<'_> {
    let Difference { direction, subjects, peers, ports, .. } = difference;
    (difference.kind(), subjects, *direction, peers, ports)
}
