//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.

use super::{Element, Translation, scope};
use crate::ir::{Direction, Effect, Peers, PortMatch, Ports, Requests, Subject, protocol};
use weir_abi::{Part, RulePath, RuleSection};
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::Span;
use weir_grammar::tree::{
    CiliumPolicy, IcmpFamily, IcmpType, Port, PortList, PortSpec, Protocol, RequestRules, Rule, Spec,
    SpecPlace, TlsContext,
};

/// Which of the four lists of a spec.
struct Section {
    name: RuleSection,
    direction: Direction,
    effect: Effect,
    isolates: bool,
    rules: Vec<Rule>,
}

impl Translation<'_> {
    pub(super) fn cilium(&mut self, policy: CiliumPolicy) {
        let namespace = policy.meta.namespace;
        for spec in policy.specs {
            self.spec(spec, namespace.as_deref());
        }
    }

    fn spec(&mut self, spec: Spec, namespace: Option<&str>) {
        let place = match spec.place {
            SpecPlace::Spec => None,
            SpecPlace::Specs(place) => {
                let told_apart = u16::try_from(place).ok().filter(|&place| place < RulePath::MAX_SPECS);
                if told_apart.is_none() {
                    self.too_many(spec.span, "specs", usize::from(RulePath::MAX_SPECS));
                    return;
                }
                told_apart
            }
        };
        let subject_span = match &spec.subject {
            weir_grammar::tree::Subject::Nodes(selector)
            | weir_grammar::tree::Subject::Endpoints(selector) => selector.span,
        };
        let subject = match (spec.subject, namespace) {
            (weir_grammar::tree::Subject::Nodes(selector), _) => Subject::Nodes(selector.requirements),
            (weir_grammar::tree::Subject::Endpoints(selector), Some(namespace)) => {
                Subject::Pods(scope::own_subject(selector, namespace))
            }
            (weir_grammar::tree::Subject::Endpoints(selector), None) => Subject::Pods(selector.requirements),
        };
        let subject = self.subject(subject);
        // A direction is isolated by default as soon as the spec has a rule in it; `enableDefaultDeny`
        // says otherwise, but without any rule in a direction it says nothing.
        let section = |name, direction, effect, isolates: Option<bool>, rules: Option<Vec<Rule>>| Section {
            name,
            direction,
            effect,
            isolates: isolates.unwrap_or(true),
            rules: rules.unwrap_or_default(),
        };
        let (ingress, egress) = (spec.default_deny_ingress, spec.default_deny_egress);
        let sections = [
            section(RuleSection::Ingress, Direction::Ingress, Effect::Allow, ingress, spec.ingress),
            section(RuleSection::IngressDeny, Direction::Ingress, Effect::Deny, ingress, spec.ingress_deny),
            section(RuleSection::Egress, Direction::Egress, Effect::Allow, egress, spec.egress),
            section(RuleSection::EgressDeny, Direction::Egress, Effect::Deny, egress, spec.egress_deny),
        ];
        for section in sections {
            for (element, rule) in (0..).zip(section.rules) {
                let has_ports = rule.ports.as_ref().is_some_and(|ports| !ports.is_empty());
                let has_icmps = rule.icmps.as_ref().is_some_and(|icmps| !icmps.is_empty());
                let peers = self.peers_of(rule.peers, namespace, has_ports || has_icmps);
                let element = Element {
                    path: RulePath { spec: place, section: section.name, element, part: Part::Whole },
                    subject,
                    subject_span,
                    direction: section.direction,
                    effect: section.effect,
                    isolates: section.isolates,
                    peers: self.peers(peers),
                };
                if has_ports {
                    let lists = rule.ports.unwrap_or_default();
                    if lists.len() > usize::from(u16::MAX) {
                        self.too_many(rule.span, "toPorts", usize::from(u16::MAX));
                        continue;
                    }
                    for (list_place, list) in (0..).zip(lists) {
                        let span = list.span;
                        let (ports, requests, tls, server_names) = port_list(list);
                        self.rule(&element, Part::Ports(list_place), span, ports, requests);
                        if let Some(rule) = self.set.rules.last_mut() {
                            rule.tls = tls;
                            rule.server_names = server_names;
                        }
                    }
                } else if has_icmps {
                    let ports = rule.icmps.into_iter().flatten().map(icmp_type).collect();
                    self.rule(&element, Part::Icmps, rule.span, Ports::Any(ports), None);
                } else {
                    self.rule(&element, Part::Whole, rule.span, Ports::Everything, None);
                }
            }
        }
    }

    /// Rules are named by their place, and places have a size in the image.
    fn too_many(&mut self, span: Span, list: &str, most: usize) {
        let message = format!("`{list}` has more than {most} elements");
        let help = "write the rest as another policy; the effect is the same";
        self.diagnostics
            .push(Diagnostic::new(Code::TooMany, span, message).labelled("one too many").help(help));
    }

    fn peers_of(
        &mut self,
        written: weir_grammar::tree::Peers,
        namespace: Option<&str>,
        has_ports: bool,
    ) -> Peers {
        let absent = written.endpoints.is_none()
            && written.nodes.is_none()
            && written.entities.is_none()
            && written.cidr.is_none()
            && written.cidr_set.is_none()
            && written.services.is_none()
            && written.fqdns.is_none();
        if absent {
            // Ports without peers are for anyone; an element with neither admits nobody.
            return Peers { anyone: has_ports, ..Peers::default() };
        }
        self.resolve_peers(written, namespace)
    }
}

fn port_list(list: PortList) -> (Ports, Option<Requests>, Vec<TlsContext>, Vec<String>) {
    let has_tls =
        list.terminating_tls.is_some() || list.originating_tls.is_some() || !list.server_names.is_empty();
    let requests = match list.requests {
        Some(RequestRules::Http(rules)) => Some(Requests::Http(rules.into())),
        Some(RequestRules::Dns(names)) => Some(Requests::Dns(names.into())),
        None => has_tls.then_some(Requests::Tls),
    };
    let tls = list.terminating_tls.into_iter().chain(list.originating_tls).collect();
    let server_names = list.server_names.into_iter().map(|name| name.value).collect();
    (Ports::Any(list.ports.into_iter().flat_map(port_spec).collect()), requests, tls, server_names)
}

/// The IP protocols that a written protocol stands for.
pub(super) fn protocols(written: Protocol) -> Vec<u8> {
    match written {
        Protocol::Any => vec![protocol::TCP, protocol::UDP, protocol::SCTP],
        Protocol::Tcp => vec![protocol::TCP],
        Protocol::Udp => vec![protocol::UDP],
        Protocol::Sctp => vec![protocol::SCTP],
        Protocol::Other(number) => vec![number],
    }
}

pub(super) fn port_spec(spec: PortSpec) -> Vec<PortMatch> {
    let one = |protocol| match &spec.port {
        Port::All => PortMatch::Range { protocol, first: 0, last: u16::MAX },
        Port::Range(first, last) => PortMatch::Range { protocol, first: *first, last: *last },
        Port::Name(name) => PortMatch::Named { protocol, name: name.clone() },
    };
    protocols(spec.protocol).into_iter().map(one).collect()
}

fn icmp_type(field: IcmpType) -> PortMatch {
    let protocol = match field.family {
        IcmpFamily::V4 => protocol::ICMP,
        IcmpFamily::V6 => protocol::ICMPV6,
    };
    let number = u16::from(field.icmp_type);
    PortMatch::Range { protocol, first: number, last: number }
}
