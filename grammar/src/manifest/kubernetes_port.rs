//! The port of a NetworkPolicy, or of a service's backends: a number from 1, or a name in lower case.

use super::context::Context;
use super::decode::integer;
use super::{hint, names};
use crate::diagnostic::{Code, Diagnostic};
use crate::tree::Port;
use crate::yaml::{Resolved, Value};

/// Reads the port of a policy.
pub(crate) fn port(cx: &mut Context<'_>, value: Value<'_>) -> Option<Port> {
    number_or_name(cx, value, "port", "leave `port` out to mean every port")
}

/// Reads a port that is a number or a name; `help` is for a number that is none.
pub(crate) fn number_or_name(
    cx: &mut Context<'_>,
    value: Value<'_>,
    field: &str,
    help: &str,
) -> Option<Port> {
    if let Some(number) = integer(value) {
        if let Ok(port @ 1..) = u16::try_from(number) {
            return Some(Port::Range(port, port));
        }
        cx.report(
            Diagnostic::new(Code::Port, value.span(), format!("{number} is not a port"))
                .labelled("ports go from 1 to 65535")
                .help(help),
        );
        return None;
    }
    let Some(Resolved::Text(name)) = value.scalar() else {
        cx.wrong_type(value, &format!("`{field}`"), "a port number or name");
        return None;
    };
    let fault = match names::port_name(name) {
        Ok(()) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => "may not hold upper-case letters",
        Ok(()) => return Some(Port::Name(name.to_owned())),
        Err(fault) => fault,
    };
    let help = if name.parse::<u16>().is_ok() {
        format!("a port in quotes is a name; write {name} without them")
    } else {
        "a name has at most 15 lower-case letters, digits and `-`, with at least one letter".to_owned()
    };
    cx.report(
        Diagnostic::new(
            Code::Port,
            value.span(),
            format!("`{}` is not the name of a port: it {fault}", hint::short(name)),
        )
        .labelled("not a port name")
        .help(help),
    );
    None
}
