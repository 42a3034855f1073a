//! `rules` of a port list: HTTP or DNS.

use super::context::Context;
use super::decode::Shape;
use super::expression::expression;
use super::{fqdn, header};
use crate::diagnostic::{Code, Diagnostic};
use crate::tree::{HttpRule, RequestRules};
use crate::yaml::Value;

const RULES: Shape = Shape {
    what: "`rules`",
    fields: &["http", "dns", "kafka", "l7proto", "l7"],
    elsewhere: &[("https", "did you mean `http`?")],
};

const HTTP: Shape = Shape {
    what: "an HTTP rule",
    fields: &["method", "path", "host", "headers", "headerMatches"],
    elsewhere: &[
        ("hosts", "did you mean `host`? It is one expression"),
        ("methods", "did you mean `method`? It is one expression"),
    ],
};

/// Reads `rules`. `None` if there are none, or if they cannot be read.
pub(crate) fn rules(cx: &mut Context<'_>, value: Value<'_>) -> Option<RequestRules> {
    let (mut http, mut dns) = (None, None);
    cx.fields(value, &RULES, |cx, field, value, key| match field {
        "http" => http = cx.list_of(value, "http", http_rule).map(|list| (key, list)),
        "dns" => dns = fqdn::selectors(cx, value, "dns").map(|list| (key, list)),
        _ => cx.report(
            Diagnostic::new(Code::UnsupportedField, key, format!("Weir does not implement `{field}` rules"))
                .labelled("not implemented")
                .help("Cilium 1.20 removes them; request rules are `http` and `dns`"),
        ),
    });
    match (http, dns) {
        (Some((http_at, http)), Some((dns_at, dns))) if !http.is_empty() || !dns.is_empty() => {
            let (first, second) =
                if http_at.start < dns_at.start { (http_at, dns_at) } else { (dns_at, http_at) };
            cx.report(
                Diagnostic::new(Code::L7Mix, second, "`http` and `dns` exclude each other")
                    .labelled("a second kind of request rules")
                    .also(first, "the first one")
                    .help("write two items of `toPorts`"),
            );
            None
        }
        (Some((_, http)), _) if !http.is_empty() => Some(RequestRules::Http(http)),
        (_, Some((_, dns))) if !dns.is_empty() => Some(RequestRules::Dns(dns)),
        _ => None,
    }
}

fn http_rule(cx: &mut Context<'_>, value: Value<'_>) -> Option<HttpRule> {
    let mut rule = HttpRule {
        span: value.span(),
        method: None,
        path: None,
        host: None,
        headers: Vec::new(),
        header_matches: Vec::new(),
    };
    cx.fields(value, &HTTP, |cx, field, value, _| match field {
        "method" => rule.method = expression(cx, value, field),
        "path" => rule.path = expression(cx, value, field),
        "host" => rule.host = expression(cx, value, field),
        "headers" => rule.headers = cx.list_of(value, field, header::line).unwrap_or_default(),
        _ => rule.header_matches = cx.list_of(value, field, header::header_match).unwrap_or_default(),
    })
    .then_some(rule)
}
