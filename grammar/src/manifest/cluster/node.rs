//! Nodes: labels, addresses, the prefixes of their pods.

use super::super::cidr::{Bare, prefix};
use super::super::context::Context;
use super::super::metadata::metadata;
use super::{CLUSTERWIDE, address, object};
use crate::tree::Node;
use crate::yaml::Value;

/// Reads a Node.
pub(crate) fn node(cx: &mut Context<'_>, value: Value<'_>) -> Option<Node> {
    let meta = metadata(cx, value, CLUSTERWIDE)?;
    let mut node = Node { meta, addresses: Vec::new(), pod_cidrs: Vec::new() };
    if let Some(spec) = object(cx, value, "spec") {
        let mut add = |cx: &mut Context<'_>, value, field| {
            if let Some(cidr) = prefix(cx, value, field, Bare::Refused)
                && !node.pod_cidrs.contains(&cidr.net)
            {
                node.pod_cidrs.push(cidr.net);
            }
        };
        if let Some(cidr) = spec.get("podCIDR") {
            add(cx, cidr, "podCIDR");
        }
        if let Some(list) = spec.get("podCIDRs") {
            cx.items(list, "podCIDRs", |cx, item| add(cx, item, "podCIDRs"));
        }
    }
    if let Some(list) = object(cx, value, "status").and_then(|status| status.get("addresses")) {
        cx.items(list, "addresses", |cx, item| {
            // Hostname, InternalDNS and ExternalDNS are no addresses.
            if matches!(item.get("type").and_then(Value::raw), Some("InternalIP" | "ExternalIP"))
                && let Some(value) = item.get("address")
            {
                address(cx, value, "address", &mut node.addresses);
            }
        });
    }
    Some(node)
}
