//! Peers of Cilium rules: entities as selectors, groups and services resolved.

use super::{Translation, scope};
use crate::cluster::k8s_labels;
use crate::ir::{CidrPart, Peers};
use crate::labels::{CLUSTER, CLUSTER_NAME, Labels, k8s_key, reserved_key};
use ipnet::IpNet;
use std::sync::Arc;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::{Span, Spanned};
use weir_grammar::tree::{self, CidrSet, Entity, GroupSource, Operator, Requirement, ServicePeer};

impl Translation<'_> {
    /// Peers of which at least one field was written.
    pub(super) fn resolve_peers(&mut self, written: tree::Peers, namespace: Option<&str>) -> Peers {
        let mut peers = Peers::default();
        for selector in written.endpoints.into_iter().flatten() {
            peers.selectors.push(scope::cilium_peer(selector, namespace));
        }
        for selector in written.nodes.into_iter().flatten() {
            let mut requirements = selector.requirements;
            requirements.push(is_reserved("remote-node", selector.span));
            peers.selectors.push(requirements);
        }
        for entity in written.entities.into_iter().flatten() {
            entity_peers(entity, &mut peers);
        }
        for list in [written.cidr, written.cidr_set].into_iter().flatten() {
            self.cidr_list(list, &mut peers);
        }
        for service in written.services.into_iter().flatten() {
            self.service(&service, &mut peers);
        }
        peers.fqdns = written.fqdns.unwrap_or_default();
        peers
    }

    fn cidr_list(&mut self, mut list: CidrSet, peers: &mut Peers) {
        for block in std::mem::take(&mut list.groups) {
            let except: Arc<[IpNet]> = block.except.iter().map(|placed| placed.net).collect();
            let groups: Vec<usize> = match &block.source {
                GroupSource::Name(name) => {
                    let found =
                        self.cluster.groups.binary_search_by(|group| group.meta.name.cmp(&name.value));
                    if found.is_err() {
                        self.diagnostics.push(unknown_group(name));
                    }
                    found.into_iter().collect()
                }
                GroupSource::Selector(selector) => {
                    let selected = |group: &tree::CidrGroup| {
                        Labels::new(k8s_labels(&group.meta.labels).collect())
                            .satisfy(&any_source(&selector.requirements))
                    };
                    let groups = self.cluster.groups.iter().enumerate();
                    groups.filter(|(_, group)| selected(group)).map(|(place, _)| place).collect()
                }
            };
            let parts = groups.into_iter().map(|group| CidrPart::Group { group, except: except.clone() });
            peers.cidrs.extend(parts);
        }
        if !list.is_empty() {
            list.blocks.shrink_to_fit();
            peers.cidrs.push(CidrPart::Written(Arc::new(list)));
        }
    }

    fn service(&mut self, peer: &ServicePeer, peers: &mut Peers) {
        // As in Cilium, a reference without a namespace means every namespace.
        let within = |service: &tree::Service, namespace: &Option<String>| {
            namespace.is_none() || service.meta.namespace == *namespace
        };
        let services: Vec<&tree::Service> = match peer {
            ServicePeer::Name { span, name, namespace } => {
                let named =
                    |service: &&tree::Service| service.meta.name == *name && within(service, namespace);
                let found: Vec<&tree::Service> = self.cluster.services.iter().filter(named).collect();
                if found.is_empty() {
                    let namespace = namespace.as_deref().map(|namespace| format!("{namespace}/"));
                    let message =
                        format!("there is no service {}{name} in the cluster", namespace.unwrap_or_default());
                    self.diagnostics.push(
                        Diagnostic::new(Code::UnknownService, *span, message)
                            .labelled("matches nobody until the service exists"),
                    );
                }
                found
            }
            ServicePeer::Selector { selector, namespace } => {
                let selected = |service: &&tree::Service| {
                    within(service, namespace)
                        && Labels::new(k8s_labels(&service.meta.labels).collect())
                            .satisfy(&selector.requirements)
                };
                self.cluster.services.iter().filter(selected).collect()
            }
        };
        let span = match peer {
            ServicePeer::Name { span, .. } => *span,
            ServicePeer::Selector { selector, .. } => selector.span,
        };
        for service in services {
            let namespace = service.meta.namespace.as_deref().unwrap_or("default");
            if let Some(selector) = &service.selector {
                // A service with a selector stands for the pods behind it.
                let label = |(key, value): &(String, String)| {
                    scope::added(k8s_key(key), Operator::In, vec![value.clone()], span)
                };
                let mut requirements: Vec<Requirement> = selector.iter().map(label).collect();
                requirements.push(scope::in_namespace(namespace, span));
                peers.selectors.push(requirements);
            } else {
                let addresses = self.cluster.service_addresses(namespace, &service.meta.name);
                let mut addresses: Vec<IpNet> = addresses.map(IpNet::from).collect();
                addresses.sort_unstable();
                addresses.dedup();
                peers.cidrs.push(CidrPart::Addresses(addresses.into()));
            }
        }
    }
}

/// The labels of groups have a source of their own in Cilium; here their keys are compared alone.
pub(crate) fn any_source(requirements: &[Requirement]) -> Vec<Requirement> {
    let mut requirements = requirements.to_vec();
    for requirement in &mut requirements {
        requirement.key.value.source = tree::LabelSource::Any;
    }
    requirements
}

fn unknown_group(name: &Spanned<String>) -> Diagnostic {
    Diagnostic::new(Code::UnknownGroup, name.span, format!("there is no CiliumCIDRGroup `{}`", name.value))
        .labelled("not among the policies or the cluster's objects")
        .help("add the group's manifest to -f or -c; without it the rule would match nothing")
}

fn is_reserved(name: &str, span: Span) -> Requirement {
    scope::added(reserved_key(name), Operator::Exists, Vec::new(), span)
}

fn entity_peers(entity: Spanned<Entity>, peers: &mut Peers) {
    let mut reserved = |name: &str| peers.selectors.push(vec![is_reserved(name, entity.span)]);
    match entity.value {
        Entity::All => peers.anyone = true,
        Entity::None => {}
        Entity::World => reserved("world"),
        Entity::WorldIpv4 => reserved("world-ipv4"),
        Entity::WorldIpv6 => reserved("world-ipv6"),
        Entity::Host => reserved("host"),
        Entity::RemoteNode => reserved("remote-node"),
        Entity::Init => reserved("init"),
        Entity::Ingress => reserved("ingress"),
        Entity::Unmanaged => reserved("unmanaged"),
        Entity::Health => reserved("health"),
        Entity::KubeApiserver => reserved("kube-apiserver"),
        Entity::Cluster => {
            for name in ["host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"] {
                reserved(name);
            }
            let own = vec![CLUSTER_NAME.to_owned()];
            peers.selectors.push(vec![scope::added(k8s_key(CLUSTER), Operator::In, own, entity.span)]);
        }
    }
}
