//! `toPorts`: ports, protocols, and whether request rules fit them.

use super::context::Context;
use super::decode::Shape;
use super::section::Section;
use super::{fit, hint, names, requests, tls};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{Port, PortList, PortSpec, Protocol};
use crate::yaml::Value;

/// The API's bound on one `ports` list.
const MOST_PORTS: usize = 40;

const PORT_RULE: Shape = Shape {
    what: "an item of `toPorts`",
    fields: &["ports", "rules", "terminatingTLS", "originatingTLS", "serverNames", "listener"],
    elsewhere: &[
        ("port", "put it into a list: `ports: [{port: \"80\", protocol: TCP}]`"),
        ("protocol", "put it into a list: `ports: [{port: \"80\", protocol: TCP}]`"),
        ("http", "put it into `rules`"),
        ("dns", "put it into `rules`"),
    ],
};

const PORT_DENY_RULE: Shape = Shape {
    what: "an item of `toPorts` in a deny rule",
    fields: &["ports", "rules"],
    elsewhere: &[
        ("terminatingTLS", "what is denied is not looked into; only allow rules have it"),
        ("originatingTLS", "what is denied is not looked into; only allow rules have it"),
        ("serverNames", "what is denied is not looked into; only allow rules have it"),
        ("listener", "what is denied is not looked into; only allow rules have it"),
    ],
};

const PORT: Shape =
    Shape { what: "an item of `ports`", fields: &["port", "endPort", "protocol"], elsewhere: &[] };

/// A port entry with what the checks of request rules need to point at.
pub(crate) struct Entry {
    /// What is written.
    pub(crate) spec: PortSpec,
    /// Where the port is.
    pub(crate) port_at: Span,
    /// Where the protocol is, or the entry if it is left out.
    pub(crate) protocol_at: Span,
    /// Whether the port has an end above it.
    pub(crate) is_range: bool,
}

/// Reads `toPorts`.
pub(crate) fn port_lists(cx: &mut Context<'_>, value: Value<'_>, section: Section) -> Option<Vec<PortList>> {
    cx.list_of(value, "toPorts", |cx, item| port_list(cx, item, section))
}

fn port_list(cx: &mut Context<'_>, value: Value<'_>, section: Section) -> Option<PortList> {
    let mut list = PortList {
        span: value.span(),
        ports: Vec::new(),
        requests: None,
        terminating_tls: None,
        originating_tls: None,
        server_names: Vec::new(),
    };
    let (mut entries, mut rules_at, mut names_at) = (Vec::new(), None, None);
    let shape = if section.deny { &PORT_DENY_RULE } else { &PORT_RULE };
    let is_object = cx.fields(value, shape, |cx, field, value, key| match field {
        "ports" => entries = ports(cx, value),
        "rules" if section.deny => cx.report(
            Diagnostic::new(Code::L7Place, key, "a deny rule takes no request rules")
                .labelled("has no meaning here")
                .help(format!(
                    "deny whole ports here, or allow only some requests in `{}`",
                    &section.field()[..section.field().len() - 4]
                )),
        ),
        "rules" => {
            rules_at = Some(key);
            list.requests = requests::rules(cx, value);
        }
        "terminatingTLS" => list.terminating_tls = tls::context(cx, value, field),
        "originatingTLS" => list.originating_tls = tls::context(cx, value, field),
        "serverNames" => {
            names_at = Some(key);
            list.server_names = tls::server_names(cx, value);
        }
        _ => cx.report(
            Diagnostic::new(
                Code::UnsupportedField,
                key,
                "Weir does not redirect to listeners of CiliumEnvoyConfig",
            )
            .labelled("not implemented")
            .help("use `rules.http` or `rules.dns` instead"),
        ),
    });
    if let (Some(at), Some(requests)) = (rules_at, &list.requests) {
        fit::check(cx, at, requests, &entries, section);
        if let Some(names) = names_at
            && list.terminating_tls.is_none()
        {
            cx.report(
                Diagnostic::new(
                    Code::Tls,
                    names,
                    "`serverNames` beside request rules needs `terminatingTLS`",
                )
                .labelled("requests inside TLS cannot be seen")
                .also(at, "the request rules")
                .help("add `terminatingTLS`, or move the request rules to an item of their own"),
            );
        }
    }
    list.ports = entries.into_iter().map(|entry| entry.spec).collect();
    is_object.then_some(list)
}

/// Reads `ports`.
pub(crate) fn ports(cx: &mut Context<'_>, value: Value<'_>) -> Vec<Entry> {
    if let Some(beyond) = value.items().and_then(|mut items| items.nth(MOST_PORTS)) {
        let count = value.items().map_or(0, |items| items.len());
        cx.report(
            Diagnostic::new(
                Code::TooMany,
                beyond.head(),
                format!("`ports` has {count} items; the most is {MOST_PORTS}"),
            )
            .labelled("the first one too many")
            .help("split the list over several items of `toPorts`, or use `endPort` for neighbours"),
        );
    }
    cx.list_of(value, "ports", port).unwrap_or_default()
}

fn port(cx: &mut Context<'_>, value: Value<'_>) -> Option<Entry> {
    let (mut text, mut end, mut protocol) = (None, None, None);
    let is_object = cx.fields(value, &PORT, |cx, field, value, _| match field {
        "port" => text = Some(cx.text(value, "port")),
        "endPort" => end = end_port(cx, value),
        _ => protocol = Some(self::protocol(cx, value)),
    });
    if !is_object {
        return None;
    }
    let protocol_at = match protocol {
        Some(protocol) => protocol?,
        None => Spanned::new(Protocol::Any, value.head()),
    };
    let protocol = protocol_at.value;
    let portless = matches!(protocol, Protocol::Other(_));
    let port = match text {
        None if portless => Spanned::new(Port::All, value.head()),
        Some(Some(Spanned { value: "", span })) if portless => Spanned::new(Port::All, span),
        None => {
            cx.missing(
                value.head(),
                "an item of `ports`",
                "port",
                "give a number or a name as a string; \"0\" means every port",
            );
            return None;
        }
        Some(text) => port_of(cx, text?)?,
    };
    if portless && port.value != Port::All {
        cx.report(
            Diagnostic::new(Code::Port, port.span, "this protocol has no ports")
                .labelled("must be empty or \"0\"")
                .also(protocol_at.span, "the protocol"),
        );
        return None;
    }
    let (spec_port, is_range) = with_end(cx, &port, end);
    Some(Entry {
        spec: PortSpec { span: value.span(), port: spec_port, protocol },
        port_at: port.span,
        protocol_at: protocol_at.span,
        is_range,
    })
}

/// A port number or name, as Cilium takes it.
fn port_of(cx: &mut Context<'_>, text: Spanned<&str>) -> Option<Spanned<Port>> {
    let digits = text.value.bytes().all(|byte| byte.is_ascii_digit()) && !text.value.is_empty();
    let leading_zero = digits && text.value.len() > 1 && text.value.starts_with('0');
    let port = if digits && !leading_zero {
        text.value.parse::<u16>().ok().map(|port| if port == 0 { Port::All } else { Port::Range(port, port) })
    } else {
        names::port_name(text.value).ok().map(|()| Port::Name(text.value.to_ascii_lowercase()))
    };
    if let Some(port) = port {
        return Some(Spanned::new(port, text.span));
    }
    let help = if leading_zero {
        "a leading zero would make the number octal; leave it out"
    } else if digits {
        "ports go from 1 to 65535; \"0\" means every port"
    } else if let Some((first, last)) = text.value.split_once(['-', ':'])
        && [first, last].iter().all(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()))
    {
        "write a range with two fields: `port` and `endPort`"
    } else {
        "a name has at most 15 letters, digits and `-`, with at least one letter and no `--`"
    };
    cx.report(
        Diagnostic::new(Code::Port, text.span, format!("`{}` is not a port", hint::short(text.value)))
            .labelled("neither a port number nor a port name")
            .help(help),
    );
    None
}

fn end_port(cx: &mut Context<'_>, value: Value<'_>) -> Option<Spanned<u16>> {
    let number = cx.integer(value, "endPort")?;
    if let Ok(number) = u16::try_from(number) {
        return Some(Spanned::new(number, value.span()));
    }
    cx.report(
        Diagnostic::new(Code::PortRange, value.span(), format!("{number} is not the end of a port range"))
            .labelled("beyond 65535, or below 0")
            .help("ports go up to 65535"),
    );
    None
}

/// Applies `endPort`. Where Cilium ignores one, so does Weir, and says so.
fn with_end(cx: &mut Context<'_>, port: &Spanned<Port>, end: Option<Spanned<u16>>) -> (Port, bool) {
    let Some(end) = end.filter(|end| end.value != 0) else { return (port.value.clone(), false) };
    let why = match port.value {
        Port::Range(first, _) if end.value > first => return (Port::Range(first, end.value), true),
        // "0" with an end is a range from the first port there is.
        Port::All if end.value == u16::MAX => return (Port::All, true),
        Port::All => return (Port::Range(1, end.value), true),
        Port::Range(first, _) if end.value == first => return (port.value.clone(), false),
        Port::Range(..) => "it is below `port`, so only the one port is meant",
        Port::Name(_) => "a port given by name has no range",
    };
    cx.report(
        Diagnostic::new(
            Code::EndPortIgnored,
            end.span,
            format!("`endPort: {}` has no effect: {why}", end.value),
        )
        .labelled("ignored")
        .also(port.span, "the port")
        .help("remove it, or give a number for `port` that is not above it"),
    );
    (port.value.clone(), false)
}

fn protocol(cx: &mut Context<'_>, value: Value<'_>) -> Option<Spanned<Protocol>> {
    let text = cx.text(value, "protocol")?;
    let protocol = match text.value.to_ascii_uppercase().as_str() {
        "" | "ANY" => Protocol::Any,
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        "VRRP" => Protocol::Other(112),
        "IGMP" => Protocol::Other(2),
        other => {
            let help = match other {
                "ICMP" | "ICMPV6" => {
                    "ICMP has types, not ports: write `icmps: [{fields: [{type: 8, family: IPv4}]}]` beside the peers"
                }
                "HTTP" | "HTTPS" | "GRPC" => {
                    "write `protocol: TCP`; what may be asked over it goes into `rules.http`"
                }
                "DNS" => "write `protocol: UDP` (or ANY); the names asked for go into `rules.dns`",
                "GRE" | "IPIP" | "IPV6" | "ESP" | "AH" => {
                    "Weir knows TCP, UDP, SCTP, VRRP and IGMP; an L3 rule without ports admits all protocols"
                }
                _ => "protocols are TCP, UDP, SCTP, ANY, VRRP and IGMP",
            };
            cx.report(
                Diagnostic::new(
                    Code::Protocol,
                    text.span,
                    format!("`{}` is not a transport protocol", hint::short(text.value)),
                )
                .labelled("no such protocol")
                .help(help),
            );
            return None;
        }
    };
    Some(Spanned::new(protocol, text.span))
}
