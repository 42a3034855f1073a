//! NetworkPolicy (`networking.k8s.io/v1`).

use super::context::Context;
use super::decode::{Shape, integer};
use super::metadata::{self, metadata};
use super::selector::{Keys, selector};
use super::{cidr, hint, kubernetes_port};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{NetworkPeer, NetworkPolicy, NetworkRule, PlacedCidr, Port, PortSpec, Protocol, Selector};
use crate::yaml::Value;

const POLICY: Shape = Shape {
    what: "a NetworkPolicy",
    fields: &["apiVersion", "kind", "metadata", "spec", "status"],
    elsewhere: &[("specs", "a NetworkPolicy has one `spec`; write several objects")],
};

const SPEC: Shape = Shape {
    what: "the `spec` of a NetworkPolicy",
    fields: &["podSelector", "ingress", "egress", "policyTypes"],
    elsewhere: &[
        ("endpointSelector", "a NetworkPolicy has `podSelector`"),
        (
            "namespaceSelector",
            "the policy binds pods of its own namespace; `namespaceSelector` belongs into a peer of `from` or `to`",
        ),
        ("ingressDeny", "a NetworkPolicy cannot deny; CiliumNetworkPolicy has `ingressDeny`"),
        ("egressDeny", "a NetworkPolicy cannot deny; CiliumNetworkPolicy has `egressDeny`"),
    ],
};

const INGRESS: Shape = Shape {
    what: "an ingress rule of a NetworkPolicy",
    fields: &["from", "ports"],
    elsewhere: &[("to", "ingress rules have `from`"), ("toPorts", "a NetworkPolicy has `ports`")],
};

const EGRESS: Shape = Shape {
    what: "an egress rule of a NetworkPolicy",
    fields: &["to", "ports"],
    elsewhere: &[("from", "egress rules have `to`"), ("toPorts", "a NetworkPolicy has `ports`")],
};

const PEER: Shape = Shape {
    what: "a peer of a NetworkPolicy",
    fields: &["podSelector", "namespaceSelector", "ipBlock"],
    elsewhere: &[
        ("endpointSelector", "a NetworkPolicy has `podSelector`"),
        ("matchLabels", "put it into `podSelector` or `namespaceSelector`"),
        ("matchExpressions", "put it into `podSelector` or `namespaceSelector`"),
        ("cidr", "put it into `ipBlock`"),
    ],
};

const BLOCK: Shape = Shape { what: "`ipBlock`", fields: &["cidr", "except"], elsewhere: &[] };
const PORT: Shape =
    Shape { what: "a port of a NetworkPolicy", fields: &["port", "endPort", "protocol"], elsewhere: &[] };

/// Reads one policy object.
pub(crate) fn policy(cx: &mut Context<'_>, object: Value<'_>) -> Option<NetworkPolicy> {
    let meta = metadata(cx, object, metadata::Rules { namespaced: true, strict: true });
    let mut spec = None;
    cx.fields(object, &POLICY, |cx, field, value, _| match field {
        "spec" => spec = Some(self::spec(cx, value)),
        "status" => cx.is_object(value, field),
        _ => {}
    });
    if spec.is_none() {
        cx.missing(
            object.head(),
            "a NetworkPolicy",
            "spec",
            "to isolate every pod of the namespace write `spec: {podSelector: {}}`",
        );
    }
    let (spec, meta) = (spec??, meta?);
    Some(NetworkPolicy { meta, ..spec })
}

fn spec(cx: &mut Context<'_>, value: Value<'_>) -> Option<NetworkPolicy> {
    // A pod selector left out is an empty one, as for the API server.
    let mut pods = Selector { span: value.span(), requirements: Vec::new() };
    let (mut ingress, mut egress, mut types) = (Vec::new(), Vec::new(), None);
    let is_object = cx.fields(value, &SPEC, |cx, field, value, _| match field {
        "podSelector" => {
            if let Some(selector) = selector(cx, value, Keys::Kubernetes) {
                pods = selector;
            }
        }
        "ingress" => {
            ingress = cx.list_of(value, field, |cx, item| rule(cx, item, &INGRESS)).unwrap_or_default();
        }
        "egress" => egress = cx.list_of(value, field, |cx, item| rule(cx, item, &EGRESS)).unwrap_or_default(),
        _ => types = policy_types(cx, value),
    });
    // An empty list of types is a list left out.
    let (isolates_ingress, isolates_egress) = types.unwrap_or((true, !egress.is_empty()));
    let meta =
        crate::tree::Meta { namespace: None, name: String::new(), labels: Vec::new(), span: value.span() };
    is_object.then_some(NetworkPolicy { meta, pods, isolates_ingress, isolates_egress, ingress, egress })
}

fn policy_types(cx: &mut Context<'_>, value: Value<'_>) -> Option<(bool, bool)> {
    if let Some(third) = value.items().and_then(|mut items| items.nth(2)) {
        cx.report(
            Diagnostic::new(Code::PolicyType, third.head(), "`policyTypes` has more than two items")
                .labelled("there are only two types")
                .help("name `Ingress` and `Egress` at most once each"),
        );
    }
    let (mut ingress, mut egress) = (false, false);
    cx.items(value, "policyTypes", |cx, item| {
        let Some(text) = cx.text(item, "policyTypes") else { return };
        match text.value {
            "Ingress" => ingress = true,
            "Egress" => egress = true,
            other => cx.report(
                Diagnostic::new(
                    Code::PolicyType,
                    text.span,
                    format!("`{}` is not a policy type", hint::short(other)),
                )
                .labelled("no such type")
                .help("types are `Ingress` and `Egress`, in this spelling"),
            ),
        }
    });
    (ingress || egress).then_some((ingress, egress))
}

fn rule(cx: &mut Context<'_>, value: Value<'_>, shape: &Shape) -> Option<NetworkRule> {
    let mut rule = NetworkRule { span: value.span(), peers: Vec::new(), ports: Vec::new() };
    cx.fields(value, shape, |cx, field, value, _| match field {
        "ports" => rule.ports = cx.list_of(value, field, port).unwrap_or_default(),
        _ => rule.peers = cx.list_of(value, field, peer).unwrap_or_default(),
    })
    .then_some(rule)
}

fn peer(cx: &mut Context<'_>, value: Value<'_>) -> Option<NetworkPeer> {
    let (mut pods, mut namespaces, mut block) = (None, None, None);
    let (mut selector_at, mut block_at): (Option<Span>, Option<Span>) = (None, None);
    let is_object = cx.fields(value, &PEER, |cx, field, value, key| match field {
        "podSelector" => {
            selector_at = Some(key);
            pods = selector(cx, value, Keys::Kubernetes);
        }
        "namespaceSelector" => {
            selector_at = Some(key);
            namespaces = selector(cx, value, Keys::Kubernetes);
        }
        _ => {
            block_at = Some(key);
            block = ip_block(cx, value);
        }
    });
    if !is_object {
        return None;
    }
    match (selector_at, block_at) {
        (None, None) if PEER.is_misspelt(value) => None,
        (None, None) => {
            cx.report(
                Diagnostic::new(Code::PeerChoice, value.head(), "the peer selects nothing")
                    .labelled("an empty peer")
                    .help("for every pod of the namespace write `podSelector: {}`; for every peer leave the list out"),
            );
            None
        }
        (Some(selector), Some(block)) => {
            let (first, second) =
                if selector.start < block.start { (selector, block) } else { (block, selector) };
            cx.report(
                Diagnostic::new(Code::PeerChoice, second, "`ipBlock` and selectors exclude each other")
                    .labelled("a second kind of peer")
                    .also(first, "the first one")
                    .help("write two items: `- ipBlock: …` and `- podSelector: …`"),
            );
            None
        }
        (_, Some(_)) => block,
        _ => Some(NetworkPeer::Pods { namespaces, pods }),
    }
}

fn ip_block(cx: &mut Context<'_>, value: Value<'_>) -> Option<NetworkPeer> {
    let (mut block, mut except) = (None, Vec::new());
    let is_object = cx.fields(value, &BLOCK, |cx, field, value, _| match field {
        "cidr" => {
            block =
                Some(cidr::prefix(cx, value, field, cidr::Bare::Refused).map(|cidr| (cidr, value.span())));
        }
        _ => except = cidr::prefixes(cx, value, field, cidr::Bare::Refused).unwrap_or_default(),
    });
    if !is_object {
        return None;
    }
    if block.is_none() {
        cx.missing(value.head(), "`ipBlock`", "cidr", "write `cidr: 192.0.2.0/24`");
    }
    let (block, block_at) = block??;
    for outside in &except {
        if !(block.net.contains(&outside.net) && outside.net.prefix_len() > block.net.prefix_len()) {
            not_strictly_inside(cx, *outside, block, block_at);
        }
    }
    Some(NetworkPeer::Block { cidr: block, except })
}

fn not_strictly_inside(cx: &mut Context<'_>, except: PlacedCidr, block: PlacedCidr, block_at: Span) {
    let at = cidr::written_span(cx, except.at, block_at);
    cx.report(
        Diagnostic::new(
            Code::CidrExcept,
            at,
            format!("the exception `{}` is no strict part of `{}`", except.net, block.net),
        )
        .labelled("not strictly within the block")
        .also(block_at, "the block")
        .help("an exception takes a smaller block out of `cidr`"),
    );
}

fn port(cx: &mut Context<'_>, value: Value<'_>) -> Option<PortSpec> {
    let (mut port, mut end, mut protocol) = (None, None, Some(Protocol::Tcp));
    let is_object = cx.fields(value, &PORT, |cx, field, value, _| match field {
        "port" => port = Some(kubernetes_port::port(cx, value).map(|port| Spanned::new(port, value.span()))),
        "endPort" => end = Some(end_port(cx, value)),
        _ => protocol = self::protocol(cx, value),
    });
    if !is_object {
        return None;
    }
    let port = match (port, end) {
        (None, None) => Port::All,
        (None, Some(end)) => {
            let at = end.map_or(value.head(), |end| end.span);
            range_fault(cx, at, "`endPort` needs a `port` to begin the range", "add `port`");
            return None;
        }
        (Some(port), None) => port?.value,
        (Some(port), Some(end)) => {
            let (port, end) = (port?, end?);
            match port.value {
                Port::Range(first, _) if end.value >= first => Port::Range(first, end.value),
                Port::Range(first, _) => {
                    range_fault(
                        cx,
                        end.span,
                        &format!("`endPort` {} is below `port` {first}", end.value),
                        "exchange the two",
                    );
                    return None;
                }
                _ => {
                    range_fault(
                        cx,
                        end.span,
                        "a port given by name has no `endPort`",
                        "give `port` as a number",
                    );
                    return None;
                }
            }
        }
    };
    Some(PortSpec { span: value.span(), port, protocol: protocol? })
}

fn end_port(cx: &mut Context<'_>, value: Value<'_>) -> Option<Spanned<u16>> {
    let Some(number) = integer(value) else {
        cx.wrong_type(value, "`endPort`", "an integer");
        return None;
    };
    if let Ok(number @ 1..) = u16::try_from(number) {
        return Some(Spanned::new(number, value.span()));
    }
    range_fault(
        cx,
        value.span(),
        &format!("{number} is not the end of a port range"),
        "ports go from 1 to 65535",
    );
    None
}

fn range_fault(cx: &mut Context<'_>, at: Span, message: &str, help: &str) {
    cx.report(Diagnostic::new(Code::PortRange, at, message).labelled("not a port range").help(help));
}

/// A protocol as Kubernetes spells it.
pub(crate) fn protocol(cx: &mut Context<'_>, value: Value<'_>) -> Option<Protocol> {
    let text = cx.text(value, "protocol")?;
    match text.value {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        other => {
            let help = match other.to_ascii_uppercase().as_str() {
                upper @ ("TCP" | "UDP" | "SCTP") => format!("write `{upper}`, in capitals"),
                "ANY" | "" => "list the protocols one by one; left out it is TCP".to_owned(),
                "ICMP" | "ICMPV6" => {
                    "a NetworkPolicy cannot name ICMP; CiliumNetworkPolicy has `icmps`".to_owned()
                }
                _ => "protocols are TCP, UDP and SCTP".to_owned(),
            };
            cx.report(
                Diagnostic::new(
                    Code::Protocol,
                    text.span,
                    format!("`{}` is not a transport protocol", hint::short(other)),
                )
                .labelled("no such protocol")
                .help(help),
            );
            None
        }
    }
}
