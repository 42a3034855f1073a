//! Who is on one side of an expectation: pods, nodes, and an address of each class of a block.
//!
//! Selectors mean what they mean in a cluster-wide policy. A block is about addresses outside the cluster, as in
//! policies; a single address is whoever has it, as in flows. A name that nobody has is told, with what is near.
//!
//! Not here: which members the image tells apart.

use super::{Judge, Nobody};
use crate::cluster::{Cluster, Party, k8s_labels};
use crate::labels::Labels;
use crate::translate::any_source;
use crate::workload::workload;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use weir_grammar::nearest_word;
use weir_grammar::span::Span;
use weir_grammar::tree::{CidrSet, End, EndKind, Entity, GroupSource, Pod, Requirement};

/// Names that are shown where one is not there.
const SHOWN: usize = 5;

/// Somebody on one side.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) party: Party,
    pub(super) relation: Relation,
    /// The DNS name that led to the address.
    pub(super) name: Option<String>,
}

/// What a node must be to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Relation {
    /// Anything.
    Any,
    /// The other's own node.
    Own,
    /// Another node.
    Remote,
}

impl Relation {
    pub(super) fn admits(self, node: Party, other: Party, cluster: &Cluster) -> bool {
        let Party::Node(place) = node else { return true };
        let is_outside = matches!(other, Party::Outside(_));
        match self {
            Relation::Any => true,
            Relation::Own => is_outside || cluster.home(other) == Some(place),
            Relation::Remote => is_outside || cluster.home(other) != Some(place),
        }
    }
}

impl Judge<'_> {
    /// The members of one side.
    pub(super) fn members(&self, ends: &[End]) -> Result<Vec<Member>, Nobody> {
        let mut members = Vec::new();
        for end in ends {
            let before = members.len();
            self.end(end, &mut members)?;
            if members.len() == before {
                return Err(nobody(end.span, "nobody is meant by this", None));
            }
        }
        Ok(members)
    }

    fn end(&self, end: &End, members: &mut Vec<Member>) -> Result<(), Nobody> {
        let any = |party| Member { party, relation: Relation::Any, name: None };
        let cluster = self.cluster;
        match &end.who {
            EndKind::Workload { namespace, name } => {
                let parties = workload_pods(cluster, namespace, name);
                if parties.is_empty() {
                    return Err(no_workload(cluster, end.span, namespace, name));
                }
                members.extend(parties.into_iter().map(any));
            }
            EndKind::Pods(selector) => {
                let pods = selected(cluster, &selector.requirements);
                if pods.is_empty() {
                    return Err(no_pods(cluster, end.span, &selector.requirements));
                }
                members.extend(pods.into_iter().map(any));
            }
            EndKind::Nodes(selector) => {
                let is_selected = |&(_, node): &(usize, &_)| {
                    cluster.node_labels(node, false).satisfy(&selector.requirements)
                };
                let nodes = cluster.nodes.iter().enumerate().filter(is_selected);
                let before = members.len();
                members.extend(nodes.map(|(place, _)| any(Party::Node(place))));
                if members.len() == before {
                    return Err(nobody(end.span, "no node of the cluster has these labels", None));
                }
            }
            EndKind::Entity(entity) => {
                let before = members.len();
                self.entity(*entity, members);
                if members.len() == before {
                    let help = "what a snapshot holds are pods, nodes and addresses; `world`, `host`, `remote-node`, `kube-apiserver` and `cluster` name some of these";
                    return Err(nobody(
                        end.span,
                        "the cluster has nobody of this entity",
                        Some(help.to_owned()),
                    ));
                }
            }
            EndKind::Address(address) => members.push(any(cluster.party(*address))),
            EndKind::Blocks(set) => self.blocks(end.span, set, members)?,
            EndKind::Fqdn(name) => {
                let locked = self.lock.map_or(&[][..], |lock| lock.addresses(name));
                let parties: Vec<Party> = if locked.is_empty() {
                    self.addresses.widest(cluster).into_iter().map(Party::Outside).collect()
                } else {
                    locked.iter().map(|&address| cluster.party(address)).collect()
                };
                let named = |party| Member { party, relation: Relation::Any, name: Some(name.clone()) };
                members.extend(parties.into_iter().map(named));
            }
        }
        Ok(())
    }

    fn entity(&self, entity: Entity, members: &mut Vec<Member>) {
        let cluster = self.cluster;
        let pods = matches!(entity, Entity::All | Entity::Cluster);
        if pods {
            let pods = cluster.pods.iter().enumerate().filter(|(_, pod)| has_address(pod));
            members.extend(pods.map(|(place, _)| member(Party::Pod(place), Relation::Any)));
        }
        let relation = match entity {
            Entity::All | Entity::Cluster | Entity::KubeApiserver => Some(Relation::Any),
            Entity::Host => Some(Relation::Own),
            Entity::RemoteNode => Some(Relation::Remote),
            _ => None,
        };
        if let Some(relation) = relation {
            let is_meant = |&(_, node): &(usize, &weir_grammar::tree::Node)| {
                entity != Entity::KubeApiserver
                    || node.addresses.iter().any(|address| cluster.is_apiserver(address))
            };
            let nodes = cluster.nodes.iter().enumerate().filter(is_meant);
            members.extend(nodes.map(|(place, _)| member(Party::Node(place), relation)));
        }
        if entity == Entity::KubeApiserver {
            let outside = cluster.outside_apiservers().into_iter().map(Party::Outside);
            members.extend(outside.map(|party| member(party, Relation::Any)));
        }
        let everything = match entity {
            Entity::All | Entity::World => &["0.0.0.0/0", "::/0"][..],
            Entity::WorldIpv4 => &["0.0.0.0/0"],
            Entity::WorldIpv6 => &["::/0"],
            _ => &[],
        };
        for block in everything.iter().filter_map(|text| text.parse().ok()) {
            let addresses = self.addresses.of(block, &[], cluster).into_iter();
            members.extend(addresses.map(|address| member(Party::Outside(address), Relation::Any)));
        }
    }

    fn blocks(&self, span: Span, set: &CidrSet, members: &mut Vec<Member>) -> Result<(), Nobody> {
        let cluster = self.cluster;
        let mut found: Vec<IpAddr> = Vec::new();
        for block in &set.blocks {
            let except: Vec<IpNet> = set.excepts_of(block).iter().map(|placed| placed.net).collect();
            found.extend(self.addresses.of(block.cidr.net, &except, cluster));
        }
        for group in &set.groups {
            let except: Vec<IpNet> = group.except.iter().map(|placed| placed.net).collect();
            let groups: Vec<_> = match &group.source {
                GroupSource::Name(name) => {
                    let named: Vec<_> =
                        cluster.groups.iter().filter(|group| group.meta.name == name.value).collect();
                    if named.is_empty() {
                        let names = cluster.groups.iter().map(|group| group.meta.name.as_str());
                        let help = near_or_list(&name.value, names, "there are", "the input has none");
                        let message = format!("there is no CiliumCIDRGroup `{}`", name.value);
                        return Err(nobody(name.span, message, Some(help)));
                    }
                    named
                }
                GroupSource::Selector(selector) => {
                    let requirements = any_source(&selector.requirements);
                    let is_selected = |group: &&weir_grammar::tree::CidrGroup| {
                        Labels::new(k8s_labels(&group.meta.labels).collect()).satisfy(&requirements)
                    };
                    cluster.groups.iter().filter(is_selected).collect()
                }
            };
            for cidr in groups.into_iter().flat_map(|group| &group.cidrs) {
                found.extend(self.addresses.of(cidr.net, &except, cluster));
            }
        }
        if found.is_empty() {
            let inside = set.blocks.iter().find_map(|block| match cluster.party(block.cidr.net.addr()) {
                Party::Outside(_) => None,
                party => Some(format!("{} is {}", block.cidr.net.addr(), cluster.name(party))),
            });
            let help = match inside {
                Some(inside) => format!("{inside}; a single address without a length is whoever has it"),
                None => "a block is about addresses that no pod and no node has, as in policies".to_owned(),
            };
            return Err(nobody(span, "no address outside the cluster is meant by this", Some(help)));
        }
        members.extend(found.into_iter().map(|address| member(Party::Outside(address), Relation::Any)));
        Ok(())
    }
}

fn member(party: Party, relation: Relation) -> Member {
    Member { party, relation, name: None }
}

fn nobody(span: Span, message: impl Into<String>, help: Option<String>) -> Nobody {
    Nobody { span, message: message.into(), help }
}

/// Whether policy sees the pod as itself.
fn has_address(pod: &Pod) -> bool {
    !pod.host_network && !pod.finished
}

/// The pod of the name, or all pods of the workload. Those on their node's network are their nodes.
fn workload_pods(cluster: &Cluster, namespace: &str, name: &str) -> Vec<Party> {
    let of_namespace = cluster
        .pods
        .iter()
        .enumerate()
        .filter(|(_, pod)| pod.meta.namespace.as_deref() == Some(namespace) && !pod.finished);
    let party = |(place, pod): (usize, &Pod)| {
        if pod.host_network { cluster.node_of(pod).map(Party::Node) } else { Some(Party::Pod(place)) }
    };
    let exact: Vec<Party> =
        of_namespace.clone().filter(|(_, pod)| pod.meta.name == name).filter_map(party).collect();
    if !exact.is_empty() {
        return exact;
    }
    of_namespace.filter(|(_, pod)| workload(pod) == Some(name)).filter_map(party).collect()
}

fn selected(cluster: &Cluster, requirements: &[Requirement]) -> Vec<Party> {
    let is_selected =
        |&(_, pod): &(usize, &Pod)| has_address(pod) && cluster.pod_labels(pod).satisfy(requirements);
    cluster.pods.iter().enumerate().filter(is_selected).map(|(place, _)| Party::Pod(place)).collect()
}

fn no_workload(cluster: &Cluster, span: Span, namespace: &str, name: &str) -> Nobody {
    let of_namespace = |pod: &&Pod| pod.meta.namespace.as_deref() == Some(namespace);
    let names = |pods: Vec<&Pod>| -> BTreeSet<String> {
        pods.into_iter().map(|pod| workload(pod).unwrap_or(&pod.meta.name).to_owned()).collect()
    };
    let message = format!("there is no pod and no workload {namespace}/{name}");
    let here = names(cluster.pods.iter().filter(of_namespace).collect());
    if let Some(near) = nearest(name, here.iter().map(String::as_str)) {
        return nobody(span, message, Some(format!("did you mean {namespace}/{near}?")));
    }
    let elsewhere = cluster.pods.iter().find(|pod| pod.meta.name == name || workload(pod) == Some(name));
    if let Some(pod) = elsewhere {
        let namespace = pod.meta.namespace.as_deref().unwrap_or_default();
        return nobody(span, message, Some(format!("there is {namespace}/{name}")));
    }
    let help = if here.is_empty() {
        let spaces: BTreeSet<&str> =
            cluster.pods.iter().filter_map(|pod| pod.meta.namespace.as_deref()).collect();
        near_or_list(
            namespace,
            spaces.into_iter(),
            "namespaces with pods are",
            "the cluster has no pod; give one with -c",
        )
    } else {
        list(here.iter().map(String::as_str), &format!("the namespace {namespace} has"))
    };
    nobody(span, message, Some(help))
}

/// The requirement without which somebody would be selected.
fn no_pods(cluster: &Cluster, span: Span, requirements: &[Requirement]) -> Nobody {
    let message = "no pod of the cluster has these labels";
    let mut help = None;
    for place in 0..requirements.len() {
        let (before, after) = requirements.split_at(place);
        let Some((left_out, after)) = after.split_first() else { break };
        let rest: Vec<Requirement> = before.iter().chain(after).cloned().collect();
        let pods = selected(cluster, &rest);
        if pods.is_empty() {
            continue;
        }
        let key = &left_out.key.value.name;
        let values: BTreeSet<String> = pods
            .iter()
            .filter_map(|party| match party {
                Party::Pod(place) => cluster.pods.get(*place),
                Party::Node(_) | Party::Outside(_) => None,
            })
            .flat_map(|pod| {
                let labels = cluster.pod_labels(pod);
                labels
                    .iter()
                    .filter(|label| label.key == key)
                    .map(|label| label.value.to_owned())
                    .collect::<Vec<_>>()
            })
            .collect();
        let wanted = left_out.values.first().map_or("", String::as_str);
        help = Some(match nearest(wanted, values.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {}={near}?", shown_key(key)),
            None if values.is_empty() => format!("no pod has the label `{key}`"),
            None => {
                list(values.iter().map(String::as_str), &format!("the values of `{}` are", shown_key(key)))
            }
        });
        break;
    }
    nobody(span, message, help)
}

/// The label of a pod's namespace is written as `in`.
fn shown_key(key: &str) -> &str {
    if key == crate::labels::POD_NAMESPACE { "namespace" } else { key }
}

/// The name that a slip of the finger away from `word`, if one is.
pub(super) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let names: Vec<&str> = names.take(1000).collect();
    nearest_word(word, &names)
}

fn near_or_list<'n>(word: &str, names: impl Iterator<Item = &'n str>, some: &str, none: &str) -> String {
    let names: Vec<&str> = names.collect();
    match nearest(word, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => none.to_owned(),
        None => list(names.into_iter(), some),
    }
}

fn list<'n>(names: impl Iterator<Item = &'n str>, some: &str) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{some} {shown} and {more} more"),
        _ => format!("{some} {shown}"),
    }
}
