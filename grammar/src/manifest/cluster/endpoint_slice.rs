//! EndpointSlices: the addresses behind a service, their ports, and what they are fit for.

use super::super::context::Context;
use super::super::metadata::metadata;
use super::{NAMESPACED, address, annotations, given, object, port_kind, port_number, reachable};
use crate::tree::{EndpointSlice, SliceEndpoint, SlicePort};
use crate::yaml::Value;

/// The label that names a slice's service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Reads an EndpointSlice.
pub(crate) fn endpoint_slice(cx: &mut Context<'_>, value: Value<'_>) -> Option<EndpointSlice> {
    let meta = metadata(cx, value, NAMESPACED)?;
    let service = meta.labels.iter().find(|(key, _)| key == SERVICE_LABEL).map(|(_, value)| value.clone());
    // Slices of host names hold no addresses.
    let of_names = value.get("addressType").and_then(Value::raw) == Some("FQDN");
    let mut endpoints = Vec::new();
    if let Some(list) = value.get("endpoints").filter(|_| !of_names) {
        cx.items(list, "endpoints", |cx, item| endpoints.extend(endpoint(cx, item)));
    }
    let mut ports = Vec::new();
    if let Some(list) = value.get("ports") {
        cx.items(list, "ports", |cx, item| ports.extend(port(cx, item)));
    }
    let weight = annotations::weight(cx, value);
    Some(EndpointSlice { meta, service, endpoints, ports, weight })
}

fn endpoint(cx: &mut Context<'_>, value: Value<'_>) -> Option<SliceEndpoint> {
    if value.pairs().is_none() {
        cx.wrong_type(value, "an item of `endpoints`", "an object");
        return None;
    }
    let mut addresses = Vec::new();
    if let Some(list) = value.get("addresses") {
        cx.items(list, "addresses", |cx, item| {
            address(cx, item, "addresses", &mut addresses);
            reachable(cx, item, "addresses", &mut addresses);
        });
    }
    let conditions = object(cx, value, "conditions");
    let mut condition = |field| {
        let value = conditions.and_then(|conditions| conditions.get(field))?;
        cx.boolean(value, field)
    };
    let ready = condition("ready").unwrap_or(true);
    let serving = condition("serving").unwrap_or(ready);
    let terminating = condition("terminating").unwrap_or(false);
    let hints = object(cx, value, "hints");
    let mut named = |field: &str| {
        let mut names = Vec::new();
        if let Some(list) = hints.and_then(|hints| hints.get(field)) {
            cx.items(list, field, |cx, item| names.extend(given(cx, item, "name")));
        }
        names
    };
    let (for_zones, for_nodes) = (named("forZones"), named("forNodes"));
    let (node, zone) = (given(cx, value, "nodeName"), given(cx, value, "zone"));
    Some(SliceEndpoint { addresses, ready, serving, terminating, node, zone, for_zones, for_nodes })
}

fn port(cx: &mut Context<'_>, value: Value<'_>) -> Option<SlicePort> {
    let (name, protocol) = port_kind(cx, value)?;
    let port = match value.get("port") {
        Some(value) => Some(port_number(cx, value, "port")?),
        None => None,
    };
    Some(SlicePort { name: name.unwrap_or_default(), protocol, port })
}
