//! EndpointSlices: the addresses behind a service.

use super::super::context::Context;
use super::super::metadata::metadata;
use super::{NAMESPACED, address, object};
use crate::tree::{EndpointSlice, SliceEndpoint};
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
        cx.items(list, "endpoints", |cx, item| {
            if item.pairs().is_none() {
                cx.wrong_type(item, "an item of `endpoints`", "an object");
                return;
            }
            let ready = object(cx, item, "conditions")
                .and_then(|conditions| conditions.get("ready"))
                .and_then(|value| cx.boolean(value, "ready"))
                .unwrap_or(true);
            let mut addresses = Vec::new();
            if let Some(list) = item.get("addresses") {
                cx.items(list, "addresses", |cx, item| address(cx, item, "addresses", &mut addresses));
            }
            endpoints.push(SliceEndpoint { addresses, ready });
        });
    }
    Some(EndpointSlice { meta, service, endpoints })
}
