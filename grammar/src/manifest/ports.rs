//! `toPorts`: ports, protocols, and whether request rules fit them.

use super::context::Context;
use super::decode::Shape;
use super::section::Section;
use super::{hint, names, requests, tls};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{Port, PortList, PortSpec, Protocol, RequestRules};
use crate::yaml::{Resolved, Value};

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
struct Entry {
    spec: PortSpec,
    port_at: Span,
    protocol_at: Span,
    is_range: bool,
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
        check_requests(cx, at, requests, &entries, section);
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

fn ports(cx: &mut Context<'_>, value: Value<'_>) -> Vec<Entry> {
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

/// Whether request rules fit the ports they stand beside.
fn check_requests(
    cx: &mut Context<'_>,
    at: Span,
    requests: &RequestRules,
    entries: &[Entry],
    section: Section,
) {
    let dns = matches!(requests, RequestRules::Dns(_));
    let kind = if dns { "dns" } else { "http" };
    if dns && section.ingress {
        cx.report(
            Diagnostic::new(Code::L7Place, at, "DNS rules are not possible on ingress")
                .labelled("queries are judged where they leave")
                .help("move the rule to `egress` of the pods that ask"),
        );
    }
    if section.nodes && !dns {
        cx.report(
            Diagnostic::new(Code::HostPolicy, at, "a policy for nodes takes no HTTP rules")
                .labelled("the node's own traffic is not proxied")
                .help("remove the rules; ports and peers alone can be judged here"),
        );
    }
    if dns && entries.is_empty() {
        cx.report(
            Diagnostic::new(Code::L7Port, at, "DNS rules need a port")
                .labelled("no `ports` beside these rules")
                .help("add `ports: [{port: \"53\", protocol: ANY}]`"),
        );
    }
    for entry in entries {
        if entry.spec.port == Port::All {
            cx.report(
                Diagnostic::new(
                    Code::L7Port,
                    entry.port_at,
                    format!("`{kind}` rules need a definite port, not every port"),
                )
                .labelled("every port")
                .also(at, "the request rules"),
            );
        } else if dns && entry.is_range {
            cx.report(
                Diagnostic::new(Code::L7Port, entry.port_at, "DNS rules do not take a port range")
                    .labelled("a range")
                    .also(at, "the request rules")
                    .help("list the ports one by one; DNS is at 53"),
            );
        }
        let fits = match entry.spec.protocol {
            Protocol::Tcp => true,
            Protocol::Udp | Protocol::Any => dns,
            Protocol::Sctp | Protocol::Other(_) => false,
        };
        if !fits {
            let help = if dns {
                "DNS rules stand beside TCP, UDP or ANY"
            } else {
                "write `protocol: TCP`; HTTP rules stand beside TCP alone"
            };
            cx.report(
                Diagnostic::new(
                    Code::L7Protocol,
                    entry.protocol_at,
                    format!("`{kind}` rules do not fit this port's protocol"),
                )
                .labelled(match entry.spec.protocol {
                    Protocol::Any => "ANY protocol",
                    Protocol::Udp => "UDP",
                    Protocol::Sctp => "SCTP",
                    _ => "not TCP",
                })
                .also(at, "the request rules")
                .help(help),
            );
        }
    }
}

/// Reads the port of a NetworkPolicy or a container: a number from 1, or a name.
pub(crate) fn kubernetes_port(cx: &mut Context<'_>, value: Value<'_>) -> Option<Port> {
    if let Some(number) = super::decode::integer(value) {
        if let Ok(port @ 1..) = u16::try_from(number) {
            return Some(Port::Range(port, port));
        }
        cx.report(
            Diagnostic::new(Code::Port, value.span(), format!("{number} is not a port"))
                .labelled("ports go from 1 to 65535")
                .help("leave `port` out to mean every port"),
        );
        return None;
    }
    let Some(Resolved::Text(name)) = value.scalar() else {
        cx.wrong_type(value, "`port`", "a port number or name");
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
