//! Why a selector selects nobody: the one requirement that is in the way, and what is there instead.
//!
//! Requirements are left out one by one; where somebody is then selected, their labels tell what might
//! have been meant. Only so many of them are looked at, and only so many selectors of a run are
//! looked into, so a run stays short however much of it selects nobody.

use super::view::View;
use crate::identity::Kind;
use crate::ir::{Direction, PolicyKind, Rule};
use crate::labels::{CLUSTER, NAMESPACE_LABELS, POD_NAMESPACE};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use weir_grammar::tree::{Operator, Requirement};

/// Identities whose labels are looked at for one selector.
const SAMPLE: usize = 1000;
/// Selectors looked into in one run.
const SELECTORS: usize = 300;
/// Values or namespaces named in one hint.
const SHOWN: usize = 3;

/// Whose selector it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Subject,
    Peer,
}

/// Whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Pods,
    Nodes,
}

/// Finds what was probably meant.
pub(super) struct NearMisses<'v> {
    view: &'v View<'v>,
    left: usize,
    whom: Whom,
}

impl<'v> NearMisses<'v> {
    pub(super) fn new(view: &'v View<'v>) -> Self {
        NearMisses { view, left: SELECTORS, whom: Whom::Pods }
    }

    /// Advice for a selector that selects nobody.
    pub(super) fn advice(
        &mut self,
        rule: &Rule,
        role: Role,
        whom: Whom,
        selector: &[Requirement],
    ) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        self.whom = whom;
        if let Some(pod) = self.on_node_network(selector) {
            let to_peer = match rule.direction {
                Direction::Ingress => "`fromEntities: [host, remote-node]`",
                Direction::Egress => "`toEntities: [host, remote-node]`",
            };
            let instead = match role {
                Role::Subject => "a CiliumClusterwideNetworkPolicy with a `nodeSelector`",
                Role::Peer => to_peer,
            };
            return Some(format!(
                "pod {pod} has these labels but is on its node's network, so to policy it is the node: {instead}"
            ));
        }
        // The namespace is the one requirement that people rarely write themselves.
        let by_namespace = |place: &usize| selector[*place].key.value.name != POD_NAMESPACE;
        let mut places: Vec<usize> = (0..selector.len()).collect();
        places.sort_by_key(by_namespace);
        let alone = places.iter().find_map(|&place| {
            let mut rest = selector.to_vec();
            let asked = rest.remove(place);
            let others = self.select(&rest);
            (!others.is_empty()).then(|| self.instead(rule, role, &asked, &rest, &others))
        });
        alone.unwrap_or_else(|| self.missing(rule, selector))
    }

    fn select(&self, selector: &[Requirement]) -> RoaringBitmap {
        let entries = &self.view.identities.entries;
        let selected = self.view.index.select(selector);
        let is_meant = |place: &u32| match entries[*place as usize].kind {
            Kind::Pods => self.whom == Whom::Pods,
            Kind::RemoteNode(_) | Kind::OwnNode(_) => self.whom == Whom::Nodes,
            Kind::Entity => false,
        };
        selected.iter().filter(is_meant).take(SAMPLE).collect()
    }

    fn on_node_network(&self, selector: &[Requirement]) -> Option<String> {
        let cluster = self.view.cluster;
        let pods = cluster.pods.iter().filter(|pod| pod.host_network && !pod.finished).take(SAMPLE);
        let pod = pods.into_iter().find(|pod| cluster.pod_labels(pod).satisfy(selector))?;
        Some(format!("{}/{}", pod.meta.namespace.as_deref().unwrap_or_default(), pod.meta.name))
    }

    /// `others` fulfil everything but `asked`.
    fn instead(
        &self,
        rule: &Rule,
        role: Role,
        asked: &Requirement,
        rest: &[Requirement],
        others: &RoaringBitmap,
    ) -> Option<String> {
        let key = asked.key.value.name.as_str();
        let there = self.values(others, key);
        if key == POD_NAMESPACE && asked.operator == Operator::In {
            let own = asked.values.join("`, `");
            if rest.iter().all(|requirement| requirement.key.value.name == CLUSTER) {
                return Some(format!("there is no pod in namespace `{own}`"));
            }
            let first = there.iter().next()?;
            let found = format!("pods with these labels are in namespace {}", list(&there, ""));
            return Some(match (role, self.view.kind(rule)) {
                (Role::Subject, _) => {
                    format!("{found}; a policy selects pods of its own namespace alone: write it there")
                }
                (Role::Peer, PolicyKind::Network) => format!(
                    "{found}: add `namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {first}}}}}` beside `podSelector`"
                ),
                (Role::Peer, _) => format!("{found}: write `{POD_NAMESPACE}: {first}` in the selector"),
            });
        }
        let shown = self.view.key(rule, key);
        match asked.operator {
            Operator::NotIn | Operator::DoesNotExist => {
                Some(format!("all that fit otherwise have {shown} {}", list(&there, "")))
            }
            Operator::In | Operator::Exists if there.is_empty() => self.other_key(rule, asked, others),
            Operator::In | Operator::Exists => {
                let near = asked.values.first().map_or("", String::as_str);
                Some(format!("of those that fit otherwise {shown} is {}", list(&there, near)))
            }
        }
    }

    /// Nobody among `others` has the key: perhaps the value stands under another, or the key is misspelt.
    fn other_key(&self, rule: &Rule, asked: &Requirement, others: &RoaringBitmap) -> Option<String> {
        let key = asked.key.value.name.as_str();
        let entries = &self.view.identities.entries;
        let labels = others.iter().flat_map(|place| entries[place as usize].labels.iter());
        let of_namespace = |key: &str| key.starts_with(NAMESPACE_LABELS);
        let alike: BTreeSet<(bool, usize, &str, &str)> = labels
            .filter(|label| of_namespace(label.key) == of_namespace(key))
            .filter_map(|label| {
                let has_value =
                    !label.value.is_empty() && asked.values.iter().any(|value| value == label.value);
                let distance = distance(label.key, key);
                (has_value || distance <= 2).then_some((!has_value, distance, label.key, label.value))
            })
            .collect();
        let asked = self.view.key(rule, key);
        match alike.first() {
            Some((_, _, key, value)) => {
                let key = self.view.key(rule, key);
                Some(format!("none of those that fit otherwise has {asked}, but there is {key}: `{value}`"))
            }
            None => Some(format!("none of those that fit otherwise has {asked}")),
        }
    }

    /// The first requirement that nobody at all fulfils.
    fn missing(&self, rule: &Rule, selector: &[Requirement]) -> Option<String> {
        let asked = selector.iter().find(|&asked| {
            matches!(asked.operator, Operator::In | Operator::Exists)
                && self.select(std::slice::from_ref(asked)).is_empty()
        })?;
        let key = asked.key.value.name.as_str();
        if key == POD_NAMESPACE {
            return Some(format!("there is no pod in namespace `{}`", asked.values.join("`, `")));
        }
        let anybody = self.select(&[]);
        let there = self.values(&anybody, key);
        if there.is_empty() {
            return self.other_key(rule, asked, &anybody);
        }
        let near = asked.values.first().map_or("", String::as_str);
        Some(format!("in this cluster {} is {}", self.view.key(rule, key), list(&there, near)))
    }

    fn values(&self, places: &RoaringBitmap, key: &str) -> BTreeSet<&str> {
        let entries = &self.view.identities.entries;
        let labels = places.iter().flat_map(|place| entries[place as usize].labels.iter());
        labels.filter(|label| label.key == key).map(|label| label.value).collect()
    }
}

/// The few of `values` that are most like `near`, in the order of the alphabet.
fn list(values: &BTreeSet<&str>, near: &str) -> String {
    let mut nearest: Vec<&str> = values.iter().copied().collect();
    if !near.is_empty() {
        nearest.sort_by_key(|value| distance(value, near));
    }
    let more = nearest.len().saturating_sub(SHOWN);
    nearest.truncate(SHOWN);
    nearest.sort_unstable();
    let named: Vec<String> = nearest
        .iter()
        .map(|value| if value.is_empty() { "`\"\"`".to_owned() } else { format!("`{value}`") })
        .collect();
    match (more, named.as_slice()) {
        (0, [first @ .., last]) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        (0, named) => named.concat(),
        (more, named) => format!("{} or another ({more} more)", named.join(", ")),
    }
}

/// Letters to insert, remove or change; long texts are as far apart as they are long.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return a.len().max(b.len());
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
