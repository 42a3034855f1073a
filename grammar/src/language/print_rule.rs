//! Rules to the language: peers, ports, requests.

use super::escape::{string, word_or_string};
use super::print::braced;
use super::print_selector::{Keys, namespace_name, pods, selected};
use crate::manifest::{MOST_ICMP_TYPES, entity_name};
use crate::tree::{
    CidrSet, FqdnSelector, GroupSource, HeaderMatch, HttpRule, IcmpFamily, IcmpType, Mismatch, NetworkPeer,
    NetworkRule, Peers, PlacedCidr, Port, PortList, PortSpec, RequestRules, Rule, SecretName, ServicePeer,
    TlsContext,
};

/// What follows `allow ingress`, in a policy of Cilium.
pub(super) fn cilium(rule: &Rule, ingress: bool) -> String {
    let mut text = side(&peers(&rule.peers), ingress);
    if let Some(lists) = &rule.ports {
        text.push_str(if lists.is_empty() { " on []" } else { "" });
        text.extend(lists.iter().map(port_list));
    }
    if let Some(types) = &rule.icmps {
        text.push_str(if types.is_empty() { " on icmp []" } else { "" });
        text.extend(types.chunks(MOST_ICMP_TYPES).map(|types| {
            let types: Vec<String> = types.iter().map(icmp_type).collect();
            format!(" on {}", types.join(", "))
        }));
    }
    if let Some(mode) = &rule.authentication {
        text = format!("{text} auth {}", mode.value.as_str());
    }
    if text.is_empty() { side("nobody", ingress) } else { text }
}

/// What follows `allow ingress`, in a NetworkPolicy.
pub(super) fn network(rule: &NetworkRule, ingress: bool) -> String {
    let peers: Vec<String> = rule.peers.iter().map(network_peer).collect();
    let mut text = side(&peers.join(" or "), ingress);
    if !rule.ports.is_empty() {
        let ports: Vec<String> = rule.ports.iter().map(port).collect();
        text = format!("{text} on {}", ports.join(", "));
    }
    text
}

fn side(peers: &str, ingress: bool) -> String {
    match (peers, ingress) {
        ("", _) => String::new(),
        (peers, true) => format!(" from {peers}"),
        (peers, false) => format!(" to {peers}"),
    }
}

/// The peers. Only one kind of them can have entries; those without are said first, since a list of blocks
/// would take what follows it for more of them.
fn peers(peers: &Peers) -> String {
    let selectors = |kind: &'static str, list: &Option<Vec<crate::tree::Selector>>| {
        list.as_ref().map(|list| {
            let of = |selector| {
                if kind == "pods" {
                    pods(selector, Keys::Cilium)
                } else {
                    selected(kind, selector, Keys::Cilium)
                }
            };
            (kind, list.iter().map(of).collect::<Vec<String>>(), " or ")
        })
    };
    let kinds = [
        selectors("pods", &peers.endpoints),
        selectors("nodes", &peers.nodes),
        peers.entities.as_ref().map(|list| {
            ("entities", list.iter().map(|entity| entity_name(entity.value).to_owned()).collect(), ", ")
        }),
        peers.cidr.as_ref().map(|set| ("cidr", blocks(set), ", ")),
        peers.cidr_set.as_ref().map(|set| ("cidrset", blocks(set), ", ")),
        peers.services.as_ref().map(|list| ("services", list.iter().map(service).collect(), " or ")),
        peers.fqdns.as_ref().map(|list| ("fqdn", dns_names(list), ", ")),
    ];
    let kinds: Vec<_> = kinds.into_iter().flatten().collect();
    let empty =
        kinds.iter().filter(|(_, entries, _)| entries.is_empty()).map(|(kind, ..)| format!("{kind} []"));
    let given =
        kinds.iter().filter(|(_, entries, _)| !entries.is_empty()).map(|(kind, entries, separator)| {
            let entries = entries.join(separator);
            match *kind {
                "fqdn" => format!("fqdn {entries}"),
                // Without exceptions and groups it would be taken for the other list.
                "cidrset" if peers.cidr_set.as_ref().is_some_and(is_plain) => format!("cidrset {entries}"),
                _ => entries,
            }
        });
    let all: Vec<String> = empty.chain(given).collect();
    all.join(", ")
}

fn is_plain(set: &CidrSet) -> bool {
    set.groups.is_empty() && set.blocks.iter().all(|block| set.excepts_of(block).is_empty())
}

pub(super) fn blocks(set: &CidrSet) -> Vec<String> {
    let prefixes =
        set.blocks.iter().map(|block| format!("{}{}", block.cidr.net, except(set.excepts_of(block))));
    let groups = set.groups.iter().map(|group| {
        let source = match &group.source {
            GroupSource::Name(name) => format!("group {}", word_or_string(&name.value)),
            GroupSource::Selector(selector) => selected("groups", selector, Keys::Cilium),
        };
        source + &except(&group.except)
    });
    prefixes.chain(groups).collect()
}

fn except(prefixes: &[PlacedCidr]) -> String {
    if prefixes.is_empty() {
        return String::new();
    }
    let prefixes: Vec<String> = prefixes.iter().map(|prefix| prefix.net.to_string()).collect();
    format!(" except {}", braced(&prefixes))
}

fn service(service: &ServicePeer) -> String {
    let (text, namespace) = match service {
        ServicePeer::Name { name, namespace, .. } => (format!("service {}", word_or_string(name)), namespace),
        ServicePeer::Selector { selector, namespace } => {
            (selected("services", selector, Keys::Cilium), namespace)
        }
    };
    match namespace {
        Some(namespace) => format!("{text} in {}", word_or_string(namespace)),
        None => text,
    }
}

fn network_peer(peer: &NetworkPeer) -> String {
    match peer {
        NetworkPeer::Block { cidr, except: prefixes } => format!("{}{}", cidr.net, except(prefixes)),
        NetworkPeer::Pods { namespaces: Some(namespaces), pods: None } => {
            selected("namespaces", namespaces, Keys::Kubernetes)
        }
        NetworkPeer::Pods { namespaces, pods } => {
            let pods =
                pods.as_ref().map_or("all pods".to_owned(), |pods| selected("pods", pods, Keys::Kubernetes));
            match namespaces {
                None => pods,
                Some(namespaces) => match namespace_name(namespaces) {
                    Some(name) => format!("{pods} in {}", word_or_string(name)),
                    None => format!("{pods} in {}", selected("namespaces", namespaces, Keys::Kubernetes)),
                },
            }
        }
    }
}

fn dns_names(list: &[FqdnSelector]) -> Vec<String> {
    let of = |name: &FqdnSelector| {
        // A star says by itself that it is a pattern.
        let pattern = if name.is_pattern && !name.text.contains('*') { "pattern " } else { "" };
        format!("{pattern}{}", string(&name.text))
    };
    list.iter().map(of).collect()
}

fn port_list(list: &PortList) -> String {
    let ports: Vec<String> = list.ports.iter().map(port).collect();
    let mut text = format!(" on {}", if ports.is_empty() { "nothing".to_owned() } else { ports.join(", ") });
    for (word, context) in [("terminating", &list.terminating_tls), ("originating", &list.originating_tls)] {
        if let Some(context) = context {
            text = format!("{text} {word} tls{}", tls(context));
        }
    }
    if !list.server_names.is_empty() {
        let names: Vec<String> = list.server_names.iter().map(|name| string(&name.value)).collect();
        text = format!("{text} server names {}", names.join(", "));
    }
    match &list.requests {
        None => text,
        Some(RequestRules::Dns(names)) => format!("{text} dns {}", dns_names(names).join(", ")),
        Some(RequestRules::Http(rules)) => {
            let requests: Vec<String> = rules.iter().map(request).collect();
            // Several stand on lines of their own.
            let first = if requests.len() > 1 { "\n" } else { " " };
            format!("{text} http {{{first}{} }}", requests.join("; "))
        }
    }
}

pub(super) fn port(spec: &PortSpec) -> String {
    let protocol = spec.protocol.as_str().to_ascii_lowercase();
    match &spec.port {
        Port::All => protocol,
        Port::Range(first, last) if first == last => format!("{protocol}/{first}"),
        Port::Range(first, last) => format!("{protocol}/{first}-{last}"),
        Port::Name(name) => format!("{protocol}/{name}"),
    }
}

pub(super) fn icmp_type(icmp: &IcmpType) -> String {
    let family = match icmp.family {
        IcmpFamily::V4 => "icmp",
        IcmpFamily::V6 => "icmpv6",
    };
    format!("{family}/{}", icmp.icmp_type)
}

fn tls(context: &TlsContext) -> String {
    let items =
        [("ca", &context.trusted_ca), ("certificate", &context.certificate), ("key", &context.private_key)];
    let items = items
        .into_iter()
        .filter_map(|(word, item)| item.as_ref().map(|item| format!(" {word} {}", word_or_string(item))));
    let items: String = items.collect();
    format!(" secret {}{items}", secret(&context.secret))
}

fn secret(secret: &SecretName) -> String {
    match &secret.namespace {
        Some(namespace) => format!("{namespace}/{}", secret.name),
        None => secret.name.clone(),
    }
}

fn request(rule: &HttpRule) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(method) = &rule.method {
        let is_capital =
            !method.value.is_empty() && method.value.bytes().all(|byte| byte.is_ascii_uppercase());
        parts.push(if is_capital {
            method.value.clone()
        } else {
            format!("method {}", string(&method.value))
        });
    }
    parts.extend(rule.path.iter().map(|path| string(&path.value)));
    parts.extend(rule.host.iter().map(|host| format!("host {}", string(&host.value))));
    parts.extend(rule.headers.iter().map(|header| format!("header {}", word_or_string(&header.value))));
    parts.extend(rule.header_matches.iter().map(header_match));
    if parts.is_empty() { "any".to_owned() } else { parts.join(" ") }
}

fn header_match(header: &HeaderMatch) -> String {
    let mut text = format!("match {}", word_or_string(&header.name));
    if let Some(value) = &header.value {
        text = format!("{text} value {}", string(value));
    }
    if let Some(name) = &header.secret {
        text = format!("{text} secret {}", secret(name));
    }
    match header.mismatch {
        Mismatch::Fail => text,
        Mismatch::Log => text + " else log",
        Mismatch::Add => text + " else add",
        Mismatch::Delete => text + " else delete",
        Mismatch::Replace => text + " else replace",
    }
}
