//! Objects to manifests: what is written here reads to the same objects, places apart.
//!
//! Only what a tree holds is written: no comment, annotation or status.

mod expectations;

use super::entity::name_of;
use super::icmp::MOST_ICMP_TYPES;
use crate::tree::{
    CidrSet, CiliumPolicy, FqdnSelector, GroupSource, HeaderMatch, HttpRule, IcmpFamily, IcmpType, LabelKey,
    Meta, Mismatch, NetworkPeer, NetworkPolicy, NetworkRule, Object, Operator, Peers, PlacedCidr, Port,
    PortList, PortSpec, Protocol, RequestRules, Requirement, Rule, Scope, SecretName, Selector, ServicePeer,
    Spec, SpecPlace, Subject, TlsContext,
};
use crate::yaml::Item;

/// The manifest of a policy or a group; `None` for objects of the cluster.
pub(crate) fn item(object: &Object) -> Option<Item> {
    let (version, kind, meta, specs) = match object {
        Object::Cilium(policy) => {
            let kind = match policy.scope {
                Scope::Namespaced => "CiliumNetworkPolicy",
                Scope::Clusterwide => "CiliumClusterwideNetworkPolicy",
            };
            ("cilium.io/v2", kind, &policy.meta, cilium(policy))
        }
        Object::Network(policy) => {
            ("networking.k8s.io/v1", "NetworkPolicy", &policy.meta, vec![("spec", network(policy))])
        }
        Object::CidrGroup(group) => {
            let spec = object_of([("externalCIDRs", Some(prefixes(&group.cidrs)))]);
            ("cilium.io/v2", "CiliumCIDRGroup", &group.meta, vec![("spec", spec)])
        }
        Object::Expectations(written) => {
            let spec = expectations::spec(written);
            ("weir.dev/v1", "Expectations", &written.meta, vec![("spec", spec)])
        }
        _ => return None,
    };
    let head = [("apiVersion", text(version)), ("kind", text(kind)), ("metadata", metadata(meta))];
    Some(object_of(head.into_iter().chain(specs).map(|(key, value)| (key, Some(value)))))
}

/// The fields that are given, in order.
fn object_of(fields: impl IntoIterator<Item = (&'static str, Option<Item>)>) -> Item {
    Item::Object(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn text(text: impl Into<String>) -> Item {
    Item::Text(text.into())
}

fn optional(text: &Option<String>) -> Option<Item> {
    text.clone().map(Item::Text)
}

fn list<T>(entries: &[T], entry: impl FnMut(&T) -> Item) -> Item {
    Item::List(entries.iter().map(entry).collect())
}

/// A list, left out if it is empty.
fn some_list<T>(entries: &[T], entry: impl FnMut(&T) -> Item) -> Option<Item> {
    (!entries.is_empty()).then(|| list(entries, entry))
}

fn metadata(meta: &Meta) -> Item {
    let labels = meta.labels.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let labels = (!meta.labels.is_empty()).then_some(Item::Object(labels));
    object_of([
        ("name", Some(text(&meta.name))),
        ("namespace", optional(&meta.namespace)),
        ("labels", labels),
    ])
}

fn cilium(policy: &CiliumPolicy) -> Vec<(&'static str, Item)> {
    let (first, others): (Vec<&Spec>, Vec<&Spec>) =
        policy.specs.iter().partition(|spec| spec.place == SpecPlace::Spec);
    let mut fields: Vec<(&str, Item)> = first.into_iter().map(|first| ("spec", spec(first))).collect();
    if !others.is_empty() {
        fields.push(("specs", list(&others, |other| spec(other))));
    }
    fields
}

fn spec(spec: &Spec) -> Item {
    let (subject, who) = match &spec.subject {
        Subject::Endpoints(who) => ("endpointSelector", who),
        Subject::Nodes(who) => ("nodeSelector", who),
    };
    let section = |rules: &Option<Vec<Rule>>, ingress| {
        rules.as_ref().map(|rules| list(rules, |rule| self::rule(rule, ingress)))
    };
    let truth = |value: Option<bool>| value.map(|value| Item::Plain(value.to_string()));
    let isolation =
        [("ingress", truth(spec.default_deny_ingress)), ("egress", truth(spec.default_deny_egress))];
    let is_isolation = isolation.iter().any(|(_, value)| value.is_some());
    object_of([
        ("description", optional(&spec.description)),
        (subject, Some(selector(who, LabelKey::with_source))),
        ("ingress", section(&spec.ingress, true)),
        ("ingressDeny", section(&spec.ingress_deny, true)),
        ("egress", section(&spec.egress, false)),
        ("egressDeny", section(&spec.egress_deny, false)),
        ("enableDefaultDeny", is_isolation.then(|| object_of(isolation))),
        ("log", spec.log.as_ref().map(|log| object_of([("value", Some(text(&log.value)))]))),
    ])
}

fn rule(rule: &Rule, ingress: bool) -> Item {
    let Item::Object(mut fields) = peers(&rule.peers, ingress) else { return Item::Object(Vec::new()) };
    let icmps = rule.icmps.as_deref().map(icmp_types);
    let authentication =
        rule.authentication.as_ref().map(|mode| object_of([("mode", Some(text(mode.value.as_str())))]));
    let rest = object_of([
        ("toPorts", rule.ports.as_ref().map(|lists| list(lists, port_list))),
        ("icmps", icmps),
        ("authentication", authentication),
    ]);
    if let Item::Object(rest) = rest {
        fields.extend(rest);
    }
    Item::Object(fields)
}

fn icmp_types(types: &[IcmpType]) -> Item {
    let chunks = types.chunks(MOST_ICMP_TYPES);
    Item::List(chunks.map(|types| object_of([("fields", Some(list(types, icmp_type)))])).collect())
}

fn peers(peers: &Peers, ingress: bool) -> Item {
    let side = |from, to| if ingress { from } else { to };
    let selectors = |list: &Option<Vec<Selector>>| {
        list.as_ref().map(|list| self::list(list, |who| selector(who, LabelKey::with_source)))
    };
    let prefix = |set: &CidrSet| list(&set.blocks, |block| text(block.cidr.net.to_string()));
    object_of([
        (side("fromEndpoints", "toEndpoints"), selectors(&peers.endpoints)),
        (side("fromNodes", "toNodes"), selectors(&peers.nodes)),
        (
            side("fromEntities", "toEntities"),
            peers.entities.as_ref().map(|entities| list(entities, |entity| text(name_of(entity.value)))),
        ),
        (side("fromCIDR", "toCIDR"), peers.cidr.as_ref().map(prefix)),
        (side("fromCIDRSet", "toCIDRSet"), peers.cidr_set.as_ref().map(cidr_set)),
        ("toServices", peers.services.as_ref().map(|services| list(services, service))),
        ("toFQDNs", peers.fqdns.as_ref().map(|names| list(names, dns_name))),
    ])
}

fn prefixes(prefixes: &[PlacedCidr]) -> Item {
    list(prefixes, |prefix| text(prefix.net.to_string()))
}

fn except(prefixes: &[PlacedCidr]) -> (&'static str, Option<Item>) {
    ("except", (!prefixes.is_empty()).then(|| self::prefixes(prefixes)))
}

fn cidr_set(set: &CidrSet) -> Item {
    let blocks = set.blocks.iter().map(|block| {
        object_of([("cidr", Some(text(block.cidr.net.to_string()))), except(set.excepts_of(block))])
    });
    let groups = set.groups.iter().map(|group| {
        let (key, source) = match &group.source {
            GroupSource::Name(name) => ("cidrGroupRef", text(&name.value)),
            GroupSource::Selector(who) => ("cidrGroupSelector", selector(who, LabelKey::with_source)),
        };
        object_of([(key, Some(source)), except(&group.except)])
    });
    Item::List(blocks.chain(groups).collect())
}

fn service(service: &ServicePeer) -> Item {
    let (key, inner) = match service {
        ServicePeer::Name { name, namespace, .. } => {
            ("k8sService", object_of([("serviceName", Some(text(name))), ("namespace", optional(namespace))]))
        }
        ServicePeer::Selector { selector: who, namespace } => (
            "k8sServiceSelector",
            object_of([
                ("selector", Some(selector(who, LabelKey::with_source))),
                ("namespace", optional(namespace)),
            ]),
        ),
    };
    object_of([(key, Some(inner))])
}

fn dns_name(name: &FqdnSelector) -> Item {
    object_of([(if name.is_pattern { "matchPattern" } else { "matchName" }, Some(text(&name.text)))])
}

/// `matchLabels` for the first requirements that can stand there, so that their order stays.
fn selector(who: &Selector, key: impl Fn(&LabelKey) -> String) -> Item {
    let mut labels: Vec<(String, Item)> = Vec::new();
    let mut requirements = who.requirements.iter().peekable();
    while let Some(Requirement { key: label, operator: Operator::In, values }) = requirements.peek()
        && let [value] = values.as_slice()
        && !labels.iter().any(|(earlier, _)| *earlier == key(&label.value))
    {
        labels.push((key(&label.value), text(value)));
        requirements.next();
    }
    let expressions: Vec<Item> = requirements.map(|requirement| expression(requirement, &key)).collect();
    object_of([
        ("matchLabels", (!labels.is_empty()).then_some(Item::Object(labels))),
        ("matchExpressions", (!expressions.is_empty()).then_some(Item::List(expressions))),
    ])
}

fn expression(requirement: &Requirement, key: &impl Fn(&LabelKey) -> String) -> Item {
    object_of([
        ("key", Some(text(key(&requirement.key.value)))),
        ("operator", Some(text(requirement.operator.as_str()))),
        ("values", some_list(&requirement.values, |value| text(value))),
    ])
}

fn port_list(ports: &PortList) -> Item {
    let rules = ports.requests.as_ref().map(|requests| match requests {
        RequestRules::Http(rules) => object_of([("http", Some(list(rules, http_rule)))]),
        RequestRules::Dns(names) => object_of([("dns", Some(list(names, dns_name)))]),
    });
    object_of([
        ("ports", some_list(&ports.ports, cilium_port)),
        ("terminatingTLS", ports.terminating_tls.as_ref().map(tls)),
        ("originatingTLS", ports.originating_tls.as_ref().map(tls)),
        ("serverNames", some_list(&ports.server_names, |name| text(&name.value))),
        ("rules", rules),
    ])
}

/// Cilium's numbers of ports are text, and 0 is every port.
fn cilium_port(spec: &PortSpec) -> Item {
    let (port, end) = match &spec.port {
        Port::All if matches!(spec.protocol, Protocol::Other(_)) => (None, None),
        Port::All => (Some("0".to_owned()), None),
        Port::Range(first, last) => (Some(first.to_string()), (first != last).then_some(*last)),
        Port::Name(name) => (Some(name.clone()), None),
    };
    object_of([
        ("port", port.map(Item::Text)),
        ("endPort", end.map(|end| Item::Plain(end.to_string()))),
        ("protocol", Some(text(spec.protocol.as_str()))),
    ])
}

/// Those of a NetworkPolicy are numbers, and every port is said by saying none.
fn network_port(spec: &PortSpec) -> Item {
    let (port, end) = match &spec.port {
        Port::All => (None, None),
        Port::Range(first, last) => (Some(Item::Plain(first.to_string())), (first != last).then_some(*last)),
        Port::Name(name) => (Some(text(name)), None),
    };
    object_of([
        ("port", port),
        ("endPort", end.map(|end| Item::Plain(end.to_string()))),
        ("protocol", Some(text(spec.protocol.as_str()))),
    ])
}

fn icmp_type(icmp: &IcmpType) -> Item {
    let family = match icmp.family {
        IcmpFamily::V4 => "IPv4",
        IcmpFamily::V6 => "IPv6",
    };
    object_of([("family", Some(text(family))), ("type", Some(Item::Plain(icmp.icmp_type.to_string())))])
}

fn http_rule(rule: &HttpRule) -> Item {
    let part = |part: &Option<crate::span::Spanned<String>>| part.as_ref().map(|part| text(&part.value));
    object_of([
        ("method", part(&rule.method)),
        ("path", part(&rule.path)),
        ("host", part(&rule.host)),
        ("headers", some_list(&rule.headers, |header| text(&header.value))),
        ("headerMatches", some_list(&rule.header_matches, header_match)),
    ])
}

fn header_match(header: &HeaderMatch) -> Item {
    let mismatch = match header.mismatch {
        Mismatch::Fail => None,
        Mismatch::Log => Some("LOG"),
        Mismatch::Add => Some("ADD"),
        Mismatch::Delete => Some("DELETE"),
        Mismatch::Replace => Some("REPLACE"),
    };
    object_of([
        ("name", Some(text(&header.name))),
        ("value", optional(&header.value)),
        ("secret", header.secret.as_ref().map(secret)),
        ("mismatch", mismatch.map(text)),
    ])
}

fn secret(secret: &SecretName) -> Item {
    object_of([("namespace", optional(&secret.namespace)), ("name", Some(text(&secret.name)))])
}

fn tls(context: &TlsContext) -> Item {
    object_of([
        ("secret", Some(secret(&context.secret))),
        ("trustedCA", optional(&context.trusted_ca)),
        ("certificate", optional(&context.certificate)),
        ("privateKey", optional(&context.private_key)),
    ])
}

fn network(policy: &NetworkPolicy) -> Item {
    let rules = |rules: &[NetworkRule], side| some_list(rules, |rule| network_rule(rule, side));
    let types = [(policy.isolates_ingress, "Ingress"), (policy.isolates_egress, "Egress")];
    let types: Vec<Item> = types.into_iter().filter(|(is, _)| *is).map(|(_, name)| text(name)).collect();
    object_of([
        ("podSelector", Some(plain_selector(&policy.pods))),
        ("ingress", rules(&policy.ingress, "from")),
        ("egress", rules(&policy.egress, "to")),
        ("policyTypes", Some(Item::List(types))),
    ])
}

fn network_rule(rule: &NetworkRule, side: &'static str) -> Item {
    object_of([(side, some_list(&rule.peers, network_peer)), ("ports", some_list(&rule.ports, network_port))])
}

fn network_peer(peer: &NetworkPeer) -> Item {
    match peer {
        NetworkPeer::Block { cidr, except: prefixes } => {
            let block = object_of([("cidr", Some(text(cidr.net.to_string()))), except(prefixes)]);
            object_of([("ipBlock", Some(block))])
        }
        NetworkPeer::Pods { namespaces, pods } => object_of([
            ("namespaceSelector", namespaces.as_ref().map(plain_selector)),
            ("podSelector", pods.as_ref().map(plain_selector)),
        ]),
    }
}

/// A selector whose keys name no source.
fn plain_selector(who: &Selector) -> Item {
    selector(who, |key| key.name.clone())
}
