//! Expectations to their manifest.

use super::{cidr_set, cilium_port, icmp_types, list, object_of, optional, selector, some_list, text};
use crate::manifest::entity::name_of;
use crate::tree::{End, EndKind, Expectation, Expectations, ExpectedRequest, LabelKey};
use crate::yaml::Item;

/// The `spec`.
pub(super) fn spec(written: &Expectations) -> Item {
    object_of([
        ("description", optional(&written.description)),
        ("expectations", Some(list(&written.list, expectation))),
    ])
}

fn expectation(written: &Expectation) -> Item {
    let Expectation { from, to, ports, icmps, request, verdict, direction, .. } = written;
    let (http, dns) = match request {
        None => (None, None),
        Some(ExpectedRequest::Dns(name)) => (None, Some(text(name))),
        Some(ExpectedRequest::Http { method, path, host, headers }) => {
            let header = |(name, value): &(String, String)| {
                text(if value.is_empty() { name.clone() } else { format!("{name}: {value}") })
            };
            let request = object_of([
                ("method", Some(text(method))),
                ("path", Some(text(path))),
                ("host", (!host.is_empty()).then(|| text(host))),
                ("headers", some_list(headers, header)),
            ]);
            (Some(request), None)
        }
    };
    object_of([
        ("from", Some(ends(from))),
        ("to", Some(ends(to))),
        ("ports", some_list(ports, cilium_port)),
        ("icmps", (!icmps.is_empty()).then(|| icmp_types(icmps))),
        ("http", http),
        ("dns", dns),
        ("verdict", Some(text(verdict.value.as_str()))),
        ("direction", direction.map(|direction| text(direction.as_str()))),
    ])
}

fn ends(ends: &[End]) -> Item {
    Item::List(ends.iter().flat_map(end).collect())
}

fn end(end: &End) -> Vec<Item> {
    let (key, value) = match &end.who {
        EndKind::Workload { namespace, name } => ("workload", text(format!("{namespace}/{name}"))),
        EndKind::Pods(who) => ("pods", selector(who, LabelKey::with_source)),
        EndKind::Nodes(who) => ("nodes", selector(who, LabelKey::with_source)),
        EndKind::Entity(entity) => ("entity", text(name_of(*entity))),
        EndKind::Address(address) => ("address", text(address.to_string())),
        EndKind::Fqdn(name) => ("fqdn", text(name)),
        EndKind::Blocks(set) => {
            let Item::List(entries) = cidr_set(set) else { return Vec::new() };
            return entries;
        }
    };
    vec![object_of([(key, Some(value))])]
}
