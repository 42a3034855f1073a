//! The objects of a cluster, as kubectl prints them: hundreds of fields, of which a few matter.
//!
//! Unknown fields are passed over; the ones that are read must have the right type, since a pod
//! misread is a pod unprotected.

mod endpoint_slice;
mod node;
mod pod;
mod service;

pub(crate) use endpoint_slice::endpoint_slice;
pub(crate) use node::node;
pub(crate) use pod::pod;
pub(crate) use service::service;

use super::context::Context;
use super::metadata::{Rules, metadata};
use crate::tree::{Namespace, Secret};
use crate::yaml::Value;
use std::net::IpAddr;

const NAMESPACED: Rules = Rules { namespaced: true, strict: false };
const CLUSTERWIDE: Rules = Rules { namespaced: false, strict: false };

/// Reads a Namespace.
pub(crate) fn namespace(cx: &mut Context<'_>, object: Value<'_>) -> Option<Namespace> {
    metadata(cx, object, CLUSTERWIDE).map(|meta| Namespace { meta })
}

/// Reads a Secret's name.
pub(crate) fn secret(cx: &mut Context<'_>, object: Value<'_>) -> Option<Secret> {
    metadata(cx, object, NAMESPACED).map(|meta| Secret { meta })
}

/// An object field of which only some fields matter.
fn object<'d>(cx: &mut Context<'_>, parent: Value<'d>, field: &str) -> Option<Value<'d>> {
    let value = parent.get(field)?;
    if value.pairs().is_none() {
        cx.wrong_type(value, &format!("`{field}`"), "an object");
        return None;
    }
    Some(value)
}

/// Adds an address, unless it is there already. An empty string is none.
fn address(cx: &mut Context<'_>, value: Value<'_>, field: &str, addresses: &mut Vec<IpAddr>) {
    let Some(text) = cx.text(value, field) else { return };
    if text.value.is_empty() {
        return;
    }
    match text.value.parse() {
        Ok(address) => {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Err(_) => cx.wrong_type(value, &format!("`{field}`"), "an IP address"),
    }
}
