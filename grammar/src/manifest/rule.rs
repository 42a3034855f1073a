//! One element of a section of a Cilium policy: peers, ports, ICMP types.

use super::context::Context;
use super::decode::Shape;
use super::section::Section;
use super::selector::{Keys, selectors};
use super::{authentication, cidr, entity, fqdn, icmp, ports, services};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use crate::tree::{Peers, Rule};
use crate::yaml::Value;

const AUTHENTICATION: (&str, &str) = ("authentication", "only allow rules ask for authentication");

const INGRESS: Shape = Shape {
    what: "an ingress rule",
    fields: &[
        "fromEndpoints",
        "fromRequires",
        "fromCIDR",
        "fromCIDRSet",
        "fromEntities",
        "fromNodes",
        "fromGroups",
        "toPorts",
        "icmps",
        "authentication",
    ],
    elsewhere: &[
        ("fromPorts", "rules name destination ports: `toPorts`"),
        ("toFQDNs", "names are matched on egress alone"),
        ("fromFQDNs", "names are matched on egress alone: `toFQDNs`"),
        ("fromServices", "services are matched on egress alone: `toServices`"),
        ("toServices", "services are matched on egress alone"),
    ],
};

const INGRESS_DENY: Shape = Shape {
    what: "an ingress deny rule",
    fields: &[
        "fromEndpoints",
        "fromRequires",
        "fromCIDR",
        "fromCIDRSet",
        "fromEntities",
        "fromNodes",
        "fromGroups",
        "toPorts",
        "icmps",
    ],
    elsewhere: &[AUTHENTICATION, ("fromPorts", "rules name destination ports: `toPorts`")],
};

const EGRESS: Shape = Shape {
    what: "an egress rule",
    fields: &[
        "toEndpoints",
        "toRequires",
        "toCIDR",
        "toCIDRSet",
        "toEntities",
        "toNodes",
        "toServices",
        "toGroups",
        "toFQDNs",
        "toPorts",
        "icmps",
        "authentication",
    ],
    elsewhere: &[("toFQDN", "did you mean `toFQDNs`?")],
};

const EGRESS_DENY: Shape = Shape {
    what: "an egress deny rule",
    fields: &[
        "toEndpoints",
        "toRequires",
        "toCIDR",
        "toCIDRSet",
        "toEntities",
        "toNodes",
        "toServices",
        "toGroups",
        "toPorts",
        "icmps",
    ],
    elsewhere: &[
        AUTHENTICATION,
        (
            "toFQDNs",
            "names cannot be denied, as a name's addresses may serve other names too; allow the wanted ones in `egress`",
        ),
    ],
};

/// Reads a section.
pub(crate) fn rules(cx: &mut Context<'_>, value: Value<'_>, section: Section) -> Option<Vec<Rule>> {
    cx.list_of(value, section.field(), |cx, item| rule(cx, item, section))
}

fn rule(cx: &mut Context<'_>, value: Value<'_>, section: Section) -> Option<Rule> {
    let shape = match (section.ingress, section.deny) {
        (true, false) => &INGRESS,
        (true, true) => &INGRESS_DENY,
        (false, false) => &EGRESS,
        (false, true) => &EGRESS_DENY,
    };
    let mut rule =
        Rule { span: value.span(), peers: Peers::default(), ports: None, icmps: None, authentication: None };
    // Kinds of peers given and not empty; where ports and ICMP types stand; whether any list was.
    let (mut kinds, mut ports_at, mut icmps_at, mut peers_given) = (Vec::new(), None, None, false);
    let errors = cx.findings.errors();
    let is_object = cx.fields(value, shape, |cx, field, value, key| {
        let is_empty = value.items().is_some_and(|items| items.len() == 0);
        match field {
            "toPorts" => {
                ports_at = (!is_empty).then_some(key);
                rule.ports = ports::port_lists(cx, value, section);
                return;
            }
            "icmps" => {
                icmps_at = (!is_empty).then_some(key);
                rule.icmps = icmp::types(cx, value);
                return;
            }
            "authentication" => {
                rule.authentication = authentication::mode(cx, value);
                return;
            }
            "fromRequires" | "toRequires" => {
                removed(cx, value, field, key, is_empty);
                return;
            }
            _ => peers_given = true,
        }
        if is_empty {
            let verb = if section.deny { "denies" } else { "allows" };
            cx.report(
                Diagnostic::new(Code::EmptyPeers, value.span(), format!("the empty `{field}` {verb} nobody"))
                    .labelled("an empty list, which is not the same as leaving it out")
                    .help(format!("leave `{field}` out to mean every peer, or name some")),
            );
        } else {
            kinds.push((field.to_owned(), key));
        }
        peer(cx, &mut rule.peers, field, value, key, is_empty);
    });
    if !is_object {
        return None;
    }
    if let [(first, first_at), (second, second_at), ..] = kinds.as_slice() {
        cx.report(
            Diagnostic::new(
                Code::PeerMix,
                *second_at,
                format!("one rule cannot have both `{first}` and `{second}`"),
            )
            .labelled("a second kind of peers")
            .also(*first_at, "the first one")
            .help("write two rules; their peers are added up"),
        );
    }
    if let (Some(ports), Some(icmps)) = (ports_at, icmps_at) {
        let (first, second) = if ports.start < icmps.start { (ports, icmps) } else { (icmps, ports) };
        cx.report(
            Diagnostic::new(Code::IcmpAndPorts, second, "one rule cannot have both `icmps` and `toPorts`")
                .labelled("has both")
                .also(first, "the other one")
                .help("write two rules"),
        );
    }
    // A rule with a misspelt field only looks empty; where isolation is said, an empty rule is no surprise.
    if !section.isolates
        && !peers_given
        && ports_at.is_none()
        && icmps_at.is_none()
        && cx.findings.errors() == errors
    {
        empty_rule(cx, value, section);
    }
    Some(rule)
}

fn peer(cx: &mut Context<'_>, peers: &mut Peers, field: &str, value: Value<'_>, key: Span, is_empty: bool) {
    match field {
        "fromEndpoints" | "toEndpoints" => peers.endpoints = selectors(cx, value, field, Keys::Cilium),
        "fromNodes" | "toNodes" => peers.nodes = selectors(cx, value, field, Keys::Cilium),
        "fromEntities" | "toEntities" => peers.entities = entity::entities(cx, value, field),
        "fromCIDR" | "toCIDR" => peers.cidr = cidr::plain_set(cx, value, field),
        "fromCIDRSet" | "toCIDRSet" => peers.cidr_set = cidr::set(cx, value, field),
        "toServices" => peers.services = services::services(cx, value),
        "toFQDNs" => peers.fqdns = fqdn::selectors(cx, value, field),
        _ if is_empty => {}
        _ => cx.report(
            Diagnostic::new(
                Code::UnsupportedField,
                key,
                format!("Weir does not ask a cloud for the members of `{field}`"),
            )
            .labelled("not implemented")
            .help("name the addresses in a CiliumCIDRGroup and refer to it with `cidrGroupRef`"),
        ),
    }
}

fn removed(cx: &mut Context<'_>, value: Value<'_>, field: &str, key: Span, is_empty: bool) {
    if is_empty {
        return;
    }
    if value.items().is_none() {
        cx.wrong_type(value, &format!("`{field}`"), "a list");
        return;
    }
    cx.report(
        Diagnostic::new(Code::RemovedField, key, format!("`{field}` was removed from the API"))
            .labelled("no longer exists")
            .help("say what must not pass in a deny rule"),
    );
}

fn empty_rule(cx: &mut Context<'_>, value: Value<'_>, section: Section) {
    let direction = if section.ingress { "ingress" } else { "egress" };
    let verb = if section.deny { "deny" } else { "allow" };
    let side = if section.ingress { "from" } else { "to" };
    let help = format!(
        "to {verb} all {direction} name a peer, `{side}Entities: [all]`; to isolate say so, `enableDefaultDeny: {{{direction}: true}}`"
    );
    cx.report(
        Diagnostic::new(
            Code::IsolatesAll,
            value.span(),
            format!("an empty rule in `{}` matches nothing, and isolates {direction}", section.field()),
        )
        .labelled("no peers and no ports")
        .help(help),
    );
}
