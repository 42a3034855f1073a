//! `icmps`: types by number or by name.

use super::context::Context;
use super::decode::{Shape, integer};
use super::hint;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Spanned;
use crate::tree::{IcmpFamily, IcmpType};
use crate::yaml::{Resolved, Value};

/// The API's bound on one `fields` list.
pub(crate) const MOST_ICMP_TYPES: usize = 40;

const ICMP_RULE: Shape = Shape {
    what: "an item of `icmps`",
    fields: &["fields"],
    elsewhere: &[
        ("type", "put it into a list: `fields: [{type: 8, family: IPv4}]`"),
        ("family", "put it into a list: `fields: [{type: 8, family: IPv4}]`"),
    ],
};

const FIELD: Shape = Shape {
    what: "an item of `fields`",
    fields: &["family", "type"],
    elsewhere: &[("code", "codes cannot be told apart; the type stands for all of its codes")],
};

const V4: &[(&str, u8)] = &[
    ("EchoReply", 0),
    ("DestinationUnreachable", 3),
    ("Redirect", 5),
    ("Echo", 8),
    ("EchoRequest", 8),
    ("RouterAdvertisement", 9),
    ("RouterSelection", 10),
    ("TimeExceeded", 11),
    ("ParameterProblem", 12),
    ("Timestamp", 13),
    ("TimestampReply", 14),
    ("Photuris", 40),
    ("ExtendedEchoRequest", 42),
    ("ExtendedEchoReply", 43),
];

const V6: &[(&str, u8)] = &[
    ("DestinationUnreachable", 1),
    ("PacketTooBig", 2),
    ("TimeExceeded", 3),
    ("ParameterProblem", 4),
    ("EchoRequest", 128),
    ("EchoReply", 129),
    ("MulticastListenerQuery", 130),
    ("MulticastListenerReport", 131),
    ("MulticastListenerDone", 132),
    ("RouterSolicitation", 133),
    ("RouterAdvertisement", 134),
    ("NeighborSolicitation", 135),
    ("NeighborAdvertisement", 136),
    ("RedirectMessage", 137),
    ("RouterRenumbering", 138),
    ("ICMPNodeInformationQuery", 139),
    ("ICMPNodeInformationResponse", 140),
    ("InverseNeighborDiscoverySolicitation", 141),
    ("InverseNeighborDiscoveryAdvertisement", 142),
    ("HomeAgentAddressDiscoveryRequest", 144),
    ("HomeAgentAddressDiscoveryReply", 145),
    ("MobilePrefixSolicitation", 146),
    ("MobilePrefixAdvertisement", 147),
    ("DuplicateAddressRequestCodeSuffix", 157),
    ("DuplicateAddressConfirmationCodeSuffix", 158),
    ("ExtendedEchoRequest", 160),
    ("ExtendedEchoReply", 161),
];

/// Reads `icmps`; the fields of all its items in one list.
pub(crate) fn types(cx: &mut Context<'_>, value: Value<'_>) -> Option<Vec<IcmpType>> {
    let mut types = Vec::new();
    cx.items(value, "icmps", |cx, item| {
        cx.fields(item, &ICMP_RULE, |cx, _, value, _| {
            if let Some(beyond) = value.items().and_then(|mut items| items.nth(MOST_ICMP_TYPES)) {
                let count = value.items().map_or(0, |items| items.len());
                cx.report(
                    Diagnostic::new(
                        Code::TooMany,
                        beyond.head(),
                        format!("`fields` has {count} items; the most is {MOST_ICMP_TYPES}"),
                    )
                    .labelled("the first one too many")
                    .help("split the list over several items of `icmps`"),
                );
            }
            cx.items(value, "fields", |cx, item| types.extend(icmp_type(cx, item)));
        });
    })
    .then_some(types)
}

fn icmp_type(cx: &mut Context<'_>, value: Value<'_>) -> Option<IcmpType> {
    let mut family = Some(IcmpFamily::V4);
    let mut written = None;
    let is_object = cx.fields(value, &FIELD, |cx, field, value, _| match field {
        "family" => family = cx.text(value, "family").and_then(|text| self::family(cx, text)),
        _ => written = Some(value),
    });
    if !is_object {
        return None;
    }
    let Some(written) = written else {
        cx.missing(
            value.head(),
            "an item of `fields`",
            "type",
            "give a number from 0 to 255 or a name such as EchoRequest",
        );
        return None;
    };
    let family = family?;
    Some(IcmpType { span: value.span(), family, icmp_type: number(cx, written, family)? })
}

fn family(cx: &mut Context<'_>, text: Spanned<&str>) -> Option<IcmpFamily> {
    match text.value {
        "" | "IPv4" => Some(IcmpFamily::V4),
        "IPv6" => Some(IcmpFamily::V6),
        other => {
            cx.report(
                Diagnostic::new(
                    Code::Icmp,
                    text.span,
                    format!("`{}` is not an address family", hint::short(other)),
                )
                .labelled("no such family")
                .help("families are `IPv4` and `IPv6`, in this spelling"),
            );
            None
        }
    }
}

fn number(cx: &mut Context<'_>, value: Value<'_>, family: IcmpFamily) -> Option<u8> {
    let (own, other, other_name) = match family {
        IcmpFamily::V4 => (V4, V6, "IPv6"),
        IcmpFamily::V6 => (V6, V4, "IPv4"),
    };
    let help = match value.scalar() {
        Some(Resolved::Text(text)) => {
            // The schema takes the digits of a type as text, too.
            let digits = !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'));
            if let Some(number) = text.parse().ok().filter(|_| digits) {
                return Some(number);
            }
            if let Some(&(_, number)) = own.iter().find(|(name, _)| *name == text) {
                return Some(number);
            }
            let names: Vec<&str> = own.iter().map(|&(name, _)| name).collect();
            if digits {
                "types go from 0 to 255".to_owned()
            } else if other.iter().any(|(name, _)| *name == text) {
                format!("the name belongs to `family: {other_name}`")
            } else if let Some(near) = hint::nearest(text, &names) {
                format!("did you mean `{near}`?")
            } else {
                format!("names of this family are {}", hint::list(&names))
            }
        }
        _ => match integer(value) {
            Some(number) => match u8::try_from(number) {
                Ok(number) => return Some(number),
                Err(_) => "types go from 0 to 255".to_owned(),
            },
            None => {
                cx.wrong_type(value, "`type`", "an ICMP type number or name");
                return None;
            }
        },
    };
    let shown = hint::short(value.raw().unwrap_or("")).into_owned();
    cx.report(
        Diagnostic::new(Code::Icmp, value.span(), format!("`{shown}` is not an ICMP type of this family"))
            .labelled("no such type")
            .help(help),
    );
    None
}
