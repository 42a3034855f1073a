//! Expectations (`weir.dev/v1`): what people expect of policies, as a manifest.
//!
//! Strict as policies are: an expectation that is read otherwise than it was meant would be worse than none.
//! Names of peers and ports are those of Cilium's API, so that one decoder reads them wherever they stand.
//!
//! Not here: whether anybody has such a name, and what the policies say (the compiler).

use super::context::Context;
use super::decode::Shape;
use super::metadata::{self, metadata};
use super::selector::{Keys, selector};
use super::{cidr, entity, fqdn, header, hint, icmp, names, ports};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Spanned;
use crate::tree::{
    CidrSet, End, EndKind, Expectation, Expectations, ExpectedDirection, ExpectedRequest, ExpectedVerdict,
};
use crate::yaml::{Value, parse_prefix};

const OBJECT: Shape = Shape {
    what: "an Expectations object",
    fields: &["apiVersion", "kind", "metadata", "spec"],
    elsewhere: &[
        ("expectations", "put it into `spec`"),
        ("description", "put it into `spec`"),
        ("status", "expectations have no status"),
    ],
};

const SPEC: Shape = Shape {
    what: "the `spec` of an Expectations object",
    fields: &["description", "expectations"],
    elsewhere: &[("expect", "did you mean `expectations`?")],
};

const EXPECTATION: Shape = Shape {
    what: "an expectation",
    fields: &["from", "to", "ports", "icmps", "http", "dns", "verdict", "direction"],
    elsewhere: &[
        ("toPorts", "write `ports: [{port: \"80\", protocol: TCP}]` directly into the expectation"),
        ("rules", "write `http` or `dns` directly into the expectation"),
        ("port", "put it into a list: `ports: [{port: \"80\", protocol: TCP}]`"),
        ("protocol", "put it into a list: `ports: [{port: \"80\", protocol: TCP}]`"),
        ("fqdn", "put it into an item of `to`: `to: [{fqdn: api.example}]`"),
        ("expect", "did you mean `verdict`?"),
    ],
};

/// What an item of `from` and `to` may be; blocks have fields of their own.
const END: Shape = Shape {
    what: "an item of `from` or `to`",
    fields: &[
        "workload",
        "pods",
        "nodes",
        "entity",
        "address",
        "cidr",
        "except",
        "cidrGroupRef",
        "cidrGroupSelector",
        "fqdn",
    ],
    elsewhere: &[
        ("pod", "did you mean `workload`? It names one pod, or all pods of a workload"),
        ("matchLabels", "put it into `pods`: `pods: {matchLabels: {app: web}}`"),
        ("podSelector", "did you mean `pods`?"),
        ("endpointSelector", "did you mean `pods`?"),
        ("namespaceSelector", "select by the label `k8s:io.kubernetes.pod.namespace` in `pods`"),
        ("matchName", "did you mean `fqdn`?"),
        ("matchPattern", "write `fqdn` and one name; a pattern has names without end"),
    ],
};

/// Fields that an entry of a CIDR set has.
const BLOCK: &[&str] = &["cidr", "except", "cidrGroupRef", "cidrGroupSelector"];

const HTTP: Shape = Shape {
    what: "the request of an expectation",
    fields: &["method", "path", "host", "headers"],
    elsewhere: &[("header", "did you mean `headers`? It is a list of `Name: value`")],
};

/// Reads one object.
pub(crate) fn expectations(cx: &mut Context<'_>, object: Value<'_>) -> Option<Expectations> {
    let meta = metadata(cx, object, metadata::Rules { namespaced: false, strict: true });
    let (mut description, mut list, mut spec) = (None, None, None);
    cx.fields(object, &OBJECT, |cx, field, value, _| {
        if field != "spec" {
            return;
        }
        spec = Some(value);
        let mut is_given = false;
        let is_object = cx.fields(value, &SPEC, |cx, field, value, _| match field {
            "description" => description = cx.string(value, field).map(|text| text.value),
            _ => {
                is_given = true;
                list = cx.list_of(value, field, expectation);
            }
        });
        if is_object && !is_given && !SPEC.is_misspelt(value) {
            cx.missing(value.head(), "`spec`", "expectations", "list what is expected there");
        }
    });
    if spec.is_none() {
        cx.missing(object.head(), OBJECT.what, "spec", "add `spec: {expectations: […]}`");
    }
    Some(Expectations { list: list?, meta: meta?, description })
}

fn expectation(cx: &mut Context<'_>, value: Value<'_>) -> Option<Expectation> {
    let (mut from, mut to, mut verdict, mut direction) = (None, None, None, None);
    let (mut ports_of, mut icmps, mut http, mut dns) = (Vec::new(), Vec::new(), None, None);
    let is_object = cx.fields(value, &EXPECTATION, |cx, field, value, key| match field {
        "from" => from = Some(ends(cx, value, true)),
        "to" => to = Some(ends(cx, value, false)),
        "ports" => ports_of = ports::ports(cx, value),
        "icmps" => icmps = icmp::types(cx, value).unwrap_or_default(),
        "http" => http = http_request(cx, value).map(|request| (key, request)),
        "dns" => dns = query(cx, value, field).map(|name| (key, ExpectedRequest::Dns(name))),
        "verdict" => verdict = Some(one_of(cx, value, field, VERDICTS)),
        _ => direction = one_of(cx, value, field, DIRECTIONS).map(|direction| direction.value),
    });
    if !is_object {
        return None;
    }
    if !EXPECTATION.is_misspelt(value) {
        for (is_missing, field, help) in [
            (from.is_none(), "from", "say who connects: `from: [{workload: shop/web}]`"),
            (to.is_none(), "to", "say to whom: `to: [{workload: shop/db}]`"),
            (verdict.is_none(), "verdict", "say what is to happen: `allow` or `deny`"),
        ] {
            if is_missing {
                cx.missing(value.head(), EXPECTATION.what, field, help);
            }
        }
    }
    if let (Some((first, _)), Some((second, _))) = (&http, &dns) {
        cx.report(
            Diagnostic::new(Code::L7Mix, *second, "`http` and `dns` exclude each other")
                .labelled("a second request")
                .also(*first, "the first one")
                .help("write two expectations"),
        );
    }
    Some(Expectation {
        span: value.span(),
        from: from??,
        to: to??,
        ports: ports_of.into_iter().map(|entry| entry.spec).collect(),
        icmps,
        request: http.or(dns).map(|(_, request)| request),
        verdict: verdict??,
        direction,
    })
}

const VERDICTS: &[(&str, ExpectedVerdict)] =
    &[("allow", ExpectedVerdict::Allow), ("deny", ExpectedVerdict::Deny)];
const DIRECTIONS: &[(&str, ExpectedDirection)] =
    &[("ingress", ExpectedDirection::Ingress), ("egress", ExpectedDirection::Egress)];

fn one_of<T: Copy>(
    cx: &mut Context<'_>,
    value: Value<'_>,
    field: &str,
    known: &[(&str, T)],
) -> Option<Spanned<T>> {
    let text = cx.text(value, field)?;
    if let Some(&(_, meant)) = known.iter().find(|(name, _)| *name == text.value) {
        return Some(Spanned::new(meant, text.span));
    }
    let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
    let message = format!("`{}` is no `{field}`", hint::short(text.value));
    cx.report(Diagnostic::new(Code::Expectation, text.span, message).labelled(format!(
        "expected {}",
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
    )));
    None
}

fn ends(cx: &mut Context<'_>, value: Value<'_>, is_source: bool) -> Option<Vec<End>> {
    let name = if is_source { "from" } else { "to" };
    let ends = cx.list_of(value, name, |cx, item| end(cx, item, is_source))?;
    if value.items().is_some_and(|items| items.len() == 0) {
        cx.report(
            Diagnostic::new(Code::Expectation, value.span(), format!("`{name}` is empty"))
                .labelled("nobody")
                .help(
                    "an expectation about nobody says nothing; name a workload, pods, an entity or addresses",
                ),
        );
    }
    Some(ends)
}

fn end(cx: &mut Context<'_>, value: Value<'_>, is_source: bool) -> Option<End> {
    let is_block = value.pairs().is_some_and(|mut pairs| {
        pairs.any(|(key, value)| key.raw().is_some_and(|key| BLOCK.contains(&key)) && !value.is_null())
    });
    let mut kinds = Vec::new();
    let mut who = None;
    let is_object = cx.fields(value, &END, |cx, field, value, key| {
        if !BLOCK.contains(&field) {
            kinds.push(key);
        }
        who = match field {
            "workload" => workload(cx, value),
            "pods" => selector(cx, value, Keys::Cilium).map(EndKind::Pods),
            "nodes" => selector(cx, value, Keys::Cilium).map(EndKind::Nodes),
            "entity" => entity::entity(cx, value, field).map(|entity| EndKind::Entity(entity.value)),
            "address" => address(cx, value),
            "fqdn" => {
                if is_source {
                    cx.report(
                        Diagnostic::new(Code::Expectation, key, "a DNS name cannot connect")
                            .labelled("names lead to who is connected to")
                            .help("name the address, or a block of them"),
                    );
                }
                query(cx, value, field).map(EndKind::Fqdn)
            }
            _ => return,
        };
    });
    if !is_object {
        return None;
    }
    if kinds.len() + usize::from(is_block) != 1 {
        if kinds.is_empty() && END.is_misspelt(value) {
            return None;
        }
        let at = kinds.get(usize::from(!is_block)).copied().unwrap_or(value.head());
        let (message, label) = match kinds.len() + usize::from(is_block) {
            0 => ("the item names nobody", "nobody"),
            _ => ("the item names several kinds of peers", "a second kind"),
        };
        let help = "write one item for each: `workload`, `pods`, `nodes`, `entity`, `address`, `cidr`, `cidrGroupRef`, `cidrGroupSelector` or `fqdn`";
        cx.report(Diagnostic::new(Code::Expectation, at, message).labelled(label).help(help));
        return None;
    }
    if is_block {
        let mut set = CidrSet::empty(value.span());
        cidr::entry(cx, value, &mut set);
        who = (!set.is_empty()).then_some(EndKind::Blocks(set));
    }
    Some(End { span: value.span(), who: who? })
}

/// `namespace/name`.
fn workload(cx: &mut Context<'_>, value: Value<'_>) -> Option<EndKind> {
    let text = cx.text(value, "workload")?;
    let Some((namespace, name)) = text.value.split_once('/') else {
        let message = format!("`{}` names no namespace", hint::short(text.value));
        cx.report(
            Diagnostic::new(Code::Expectation, text.span, message)
                .labelled("expected `namespace/name`")
                .help("name a pod or a workload with its namespace: shop/web"),
        );
        return None;
    };
    for (part, checked) in [("namespace", names::dns_label(namespace)), ("name", names::subdomain(name))] {
        if let Err(fault) = checked {
            let written = if part == "name" { name } else { namespace };
            cx.report(metadata::bad_name(part, &Spanned::new(written.to_owned(), text.span), fault));
            return None;
        }
    }
    Some(EndKind::Workload { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn address(cx: &mut Context<'_>, value: Value<'_>) -> Option<EndKind> {
    let text = cx.text(value, "address")?;
    match parse_prefix(text.value) {
        Some(parsed) if parsed.bare => Some(EndKind::Address(parsed.net.addr())),
        parsed => {
            let help =
                if parsed.is_some() { "write `cidr` for a block" } else { "write 192.0.2.1 or 2001:db8::1" };
            let message = format!("`{}` is not an address", hint::short(text.value));
            cx.report(Diagnostic::new(Code::Cidr, text.span, message).labelled("not one address").help(help));
            None
        }
    }
}

/// A DNS name that is asked for or that leads somewhere.
fn query(cx: &mut Context<'_>, value: Value<'_>, field: &str) -> Option<String> {
    let text = cx.text(value, field)?;
    if text.value.is_empty() || text.value.contains('*') {
        let message = format!("`{}` is not one DNS name", hint::short(text.value));
        cx.report(
            Diagnostic::new(Code::Fqdn, text.span, message)
                .labelled("expected one name")
                .help("an expectation is about one name; write one for each that matters"),
        );
        return None;
    }
    fqdn::name(cx, text)
}

fn http_request(cx: &mut Context<'_>, value: Value<'_>) -> Option<ExpectedRequest> {
    let (mut method, mut path, mut host) = (None, None, None);
    let mut headers: Vec<(String, String)> = Vec::new();
    let is_object = cx.fields(value, &HTTP, |cx, field, value, _| match field {
        "method" => method = Some(cx.string(value, field)),
        "path" => path = cx.string(value, field),
        "host" => host = cx.string(value, field),
        _ => {
            let lines = cx.list_of(value, field, header::line).unwrap_or_default();
            for line in lines {
                let (name, content) = line.value.split_once(": ").unwrap_or((&line.value, ""));
                if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    let message = format!("the header `{}` is given twice", hint::short(name));
                    cx.report(
                        Diagnostic::new(Code::Header, line.span, message)
                            .labelled("given again here")
                            .help("a request has each header once here"),
                    );
                } else {
                    headers.push((name.to_owned(), content.to_owned()));
                }
            }
        }
    });
    if is_object && method.is_none() && !HTTP.is_misspelt(value) {
        cx.missing(value.head(), HTTP.what, "method", "such as `method: GET`");
    }
    let text = |part: Option<Spanned<String>>| part.map(|part| part.value);
    Some(ExpectedRequest::Http {
        method: method??.value,
        path: text(path).unwrap_or_else(|| "/".to_owned()),
        host: text(host).unwrap_or_default(),
        headers,
    })
}
