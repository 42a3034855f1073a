//! The objects of a cluster, as kubectl prints them: hundreds of fields, of which a few matter.
//!
//! Unknown fields are passed over; the ones that are read must have the right type, since a pod
//! misread is a pod unprotected.

mod annotations;
mod endpoint_slice;
mod health_check;
mod node;
mod pod;
mod service;

pub(crate) use endpoint_slice::endpoint_slice;
pub(crate) use node::node;
pub(crate) use pod::pod;
pub(crate) use service::service;

use super::context::Context;
use super::hint;
use super::metadata::{Rules, metadata};
use super::network_policy::protocol;
use crate::diagnostic::{Code, Diagnostic};
use crate::tree::{Namespace, Protocol, Secret};
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

/// Takes out the address just read if nobody can be reached at it, and reports it.
fn reachable(cx: &mut Context<'_>, value: Value<'_>, field: &str, addresses: &mut Vec<IpAddr>) {
    let is_of_a_host = |address: &IpAddr| {
        let own = address.to_canonical();
        !own.is_unspecified() && !own.is_multicast()
    };
    keep(cx, value, field, addresses, is_of_a_host, "nobody has it", "not the address of a host");
}

/// The same of one that means another host to everybody: of the loopback or of a link. The API takes neither as an external address.
fn beyond_the_host(cx: &mut Context<'_>, value: Value<'_>, field: &str, addresses: &mut Vec<IpAddr>) {
    let is_beyond = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let why = "it is another host's for everybody";
    keep(cx, value, field, addresses, is_beyond, why, "an address of the host or link alone");
}

/// Takes out the last address of a field if it is none to keep, and reports it. Those before it were looked at as they came.
fn keep(
    cx: &mut Context<'_>,
    value: Value<'_>,
    field: &str,
    addresses: &mut Vec<IpAddr>,
    is_kept: impl Fn(&IpAddr) -> bool,
    why: &str,
    label: &str,
) {
    if let Some(address) = addresses.pop_if(|address| !is_kept(address)) {
        let message = format!("{address} is no address of `{field}`: {why}");
        cx.report(Diagnostic::new(Code::ServiceField, value.head(), message).labelled(label));
    }
}

/// The name and protocol of an item of `ports`; an empty name is none.
fn port_kind(cx: &mut Context<'_>, value: Value<'_>) -> Option<(Option<String>, Protocol)> {
    if value.pairs().is_none() {
        cx.wrong_type(value, "an item of `ports`", "an object");
        return None;
    }
    let name = given(cx, value, "name");
    let protocol = match value.get("protocol") {
        Some(value) => protocol(cx, value)?,
        None => Protocol::Tcp,
    };
    Some((name, protocol))
}

/// A port from 1.
fn port_number(cx: &mut Context<'_>, value: Value<'_>, field: &str) -> Option<u16> {
    let written = cx.integer(value, field)?;
    let port = u16::try_from(written).ok().filter(|&port| port > 0);
    if port.is_none() {
        cx.report(
            Diagnostic::new(Code::Port, value.span(), format!("{written} is not a port"))
                .labelled("ports go from 1 to 65535"),
        );
    }
    port
}

/// A word of a few; an empty one is left out.
fn word<T: Copy>(cx: &mut Context<'_>, object: Value<'_>, field: &str, words: &[(&str, T)]) -> Option<T> {
    let value = object.get(field)?;
    let text = cx.text(value, field)?.value;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    if found.is_none() && !text.is_empty() {
        let message = format!("`{}` is no value of `{field}`", hint::short(text));
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        cx.report(
            Diagnostic::new(Code::ServiceField, value.span(), message)
                .labelled("no such value")
                .help(format!("the values are {}", hint::list(&known))),
        );
    }
    found
}

/// Text that is there and not empty.
fn given(cx: &mut Context<'_>, object: Value<'_>, field: &str) -> Option<String> {
    let text = cx.string(object.get(field)?, field)?.value;
    Some(text).filter(|text| !text.is_empty())
}
