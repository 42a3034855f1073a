//! Kubernetes NetworkPolicy.

use super::cilium::port_spec;
use super::{Element, Translation, scope};
use crate::ir::{CidrPart, Direction, Effect, Peers, Ports, Subject};
use std::sync::Arc;
use weir_abi::{Part, RulePath, RuleSection};
use weir_grammar::span::Span;
use weir_grammar::tree::{CidrBlock, CidrSet, NetworkPeer, NetworkPolicy, NetworkRule, Selector};

impl Translation<'_> {
    pub(super) fn network(&mut self, policy: NetworkPolicy) {
        let namespace = policy.meta.namespace.as_deref().unwrap_or("default");
        let subject_span = policy.pods.span;
        let subject = self.subject(Subject::Pods(scope::own_subject(policy.pods, namespace)));
        let subject = (subject, subject_span);
        let span = policy.meta.span;
        if policy.isolates_ingress {
            self.network_rules(Direction::Ingress, policy.ingress, subject, namespace, span);
        }
        if policy.isolates_egress {
            self.network_rules(Direction::Egress, policy.egress, subject, namespace, span);
        }
    }

    fn network_rules(
        &mut self,
        direction: Direction,
        rules: Vec<NetworkRule>,
        (subject, subject_span): (usize, Span),
        namespace: &str,
        span: Span,
    ) {
        let section = match direction {
            Direction::Ingress => RuleSection::Ingress,
            Direction::Egress => RuleSection::Egress,
        };
        let mut element = Element {
            path: RulePath { spec: None, section, element: 0, part: Part::Section },
            subject,
            subject_span,
            direction,
            effect: Effect::Allow,
            isolates: true,
            peers: 0,
        };
        if rules.is_empty() {
            // Isolation alone: a rule that matches nobody.
            element.peers = self.peers(Peers::default());
            self.rule(&element, Part::Section, span, Ports::Everything, None);
        }
        for (place, rule) in (0..).zip(rules) {
            element.path.element = place;
            let peers = network_peers(rule.peers, namespace, rule.span);
            element.peers = self.peers(peers);
            let ports = if rule.ports.is_empty() {
                Ports::Everything
            } else {
                Ports::Any(rule.ports.into_iter().flat_map(port_spec).collect())
            };
            self.rule(&element, Part::Whole, rule.span, ports, None);
        }
    }
}

fn network_peers(written: Vec<NetworkPeer>, namespace: &str, span: Span) -> Peers {
    let mut peers = Peers { anyone: written.is_empty(), ..Peers::default() };
    let mut list = CidrSet::empty(span);
    for peer in written {
        match peer {
            NetworkPeer::Block { cidr, except } => {
                let start = list.excepts.len();
                list.excepts.extend(except);
                let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                list.blocks.push(CidrBlock { cidr, except: (place(start), place(list.excepts.len())) });
            }
            NetworkPeer::Pods { namespaces, pods } => {
                let mut requirements = match namespaces {
                    Some(selector) => scope::of_namespaces(selector),
                    None => {
                        let at = pods.as_ref().map_or(span, |pods| pods.span);
                        vec![scope::in_namespace(namespace, at)]
                    }
                };
                requirements.extend(pods.into_iter().flat_map(|Selector { requirements, .. }| requirements));
                peers.selectors.push(requirements);
            }
        }
    }
    if !list.is_empty() {
        peers.cidrs.push(CidrPart::Written(Arc::new(list)));
    }
    peers
}
