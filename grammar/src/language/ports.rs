//! What stands behind `on`: ports, ICMP types, and what may be asked over them.

use super::build::{Build, Field};
use super::peers::dns_names;
use super::{Rule, misplaced, texts};
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::hint;
use crate::span::Span;
use crate::yaml::NodeId;
use pest::iterators::Pair;

/// Protocols whose ports may be left out to mean all of them.
const WITH_PORTS: &[(&str, &str)] = &[("tcp", "TCP"), ("udp", "UDP"), ("sctp", "SCTP"), ("any", "ANY")];
/// What `else` may say, and the API's word for it.
const MISMATCHES: &[(&str, &str)] =
    &[("log", "LOG"), ("add", "ADD"), ("delete", "DELETE"), ("replace", "REPLACE")];

/// The lists that the `on` clauses of one rule make up; `None` where no clause names that kind.
#[derive(Default)]
pub(super) struct Lists {
    ports: Option<(Span, Vec<NodeId>)>,
    icmps: Option<(Span, Vec<NodeId>)>,
}

fn add(list: &mut Option<(Span, Vec<NodeId>)>, at: Span, item: Option<NodeId>) {
    let (span, items) = list.get_or_insert((at, Vec::new()));
    *span = span.to(at);
    items.extend(item);
}

impl Lists {
    /// Takes a clause of a rule of Cilium's policies: an element of `toPorts`, of `icmps`, or of both,
    /// which the decoder refuses.
    pub(super) fn cilium(&mut self, build: &mut Build<'_, '_>, clause: Pair<'_, Rule>) {
        let at = build.span(&clause);
        let (mut ports, mut types, mut rules, mut fields) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut is_icmp, mut is_empty) = (false, false);
        for piece in clause.into_inner() {
            let piece_at = build.span(&piece);
            match piece.as_rule() {
                Rule::Icmp => is_icmp = true,
                Rule::empty => is_empty = true,
                Rule::port => match icmp_type(build, &piece) {
                    Some(entry) => types.push(entry),
                    None => ports.push(cilium_port(build, &piece)),
                },
                Rule::http => {
                    let requests = piece.into_inner().filter(|piece| piece.as_rule() == Rule::request);
                    let requests: Vec<NodeId> = requests.map(|piece| request(build, piece)).collect();
                    let list = build.list(piece_at, &requests);
                    rules.push(build.field(piece_at, "http", list));
                }
                Rule::dns => {
                    let names = dns_names(build, piece);
                    let list = build.list(piece_at, &names);
                    rules.push(build.field(piece_at, "dns", list));
                }
                Rule::terminating => fields.push(tls(build, "terminatingTLS", piece)),
                Rule::originating => fields.push(tls(build, "originatingTLS", piece)),
                Rule::server_names => {
                    let names = build.texts(piece_at, texts(piece));
                    fields.push(build.field(piece_at, "serverNames", names));
                }
                _ => {}
            }
        }
        if is_empty {
            add(if is_icmp { &mut self.icmps } else { &mut self.ports }, at, None);
            return;
        }
        if !types.is_empty() {
            let list = build.list(at, &types);
            let item = build.wrapped(at, "fields", list);
            add(&mut self.icmps, at, Some(item));
        }
        if types.is_empty() || !(ports.is_empty() && rules.is_empty() && fields.is_empty()) {
            if !ports.is_empty() {
                let list = build.list(at, &ports);
                fields.insert(0, build.field(at, "ports", list));
            }
            if let Some(&(first, _)) = rules.first() {
                let rules_at = build.span_of(first);
                let rules = build.object(rules_at, &rules);
                fields.push(build.field(rules_at, "rules", rules));
            }
            let item = build.object(at, &fields);
            add(&mut self.ports, at, Some(item));
        }
    }

    /// Takes a clause of a rule of a NetworkPolicy.
    pub(super) fn network(&mut self, build: &mut Build<'_, '_>, clause: Pair<'_, Rule>) {
        for piece in clause.into_inner() {
            let at = build.span(&piece);
            match piece.as_rule() {
                Rule::On => {}
                Rule::port => {
                    let port = network_port(build, &piece);
                    add(&mut self.ports, at, Some(port));
                }
                _ => {
                    let word = piece.as_str().split([' ', '\t', '{']).next().unwrap_or("");
                    let help = "a network policy has ports alone; write a `policy` for more";
                    misplaced(build, at, &format!("`{word}`"), "a network policy", help);
                }
            }
        }
    }

    /// The fields of the rule.
    pub(super) fn fields(self, build: &mut Build<'_, '_>, ports: &'static str) -> Vec<Field> {
        let mut fields = Vec::new();
        for (key, list) in [(ports, self.ports), ("icmps", self.icmps)] {
            if let Some((at, items)) = list {
                let list = build.list(at, &items);
                fields.push(build.field(at, key, list));
            }
        }
        fields
    }
}

/// A word as `protocol/port`, and where its parts stand.
struct Written<'p> {
    at: Span,
    protocol: &'p str,
    protocol_at: Span,
    port: Option<(&'p str, Span)>,
    /// The end of a range.
    end: Option<(&'p str, Span)>,
}

fn written<'p>(build: &Build<'_, '_>, part: &Pair<'p, Rule>) -> Written<'p> {
    let at = build.span(part);
    let text = part.as_str();
    let from = |start: usize, text: &str| {
        let start = at.start + u32::try_from(start).unwrap_or(0);
        Span { start, end: start + u32::try_from(text.len()).unwrap_or(0), ..at }
    };
    let (protocol, rest) = text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let mut written = Written { at, protocol, protocol_at: from(0, protocol), port: None, end: None };
    let Some(rest) = rest else { return written };
    let start = protocol.len() + 1;
    match rest.split_once('-').filter(|(first, last)| is_number(first) && is_number(last)) {
        Some((first, last)) => {
            written.port = Some((first, from(start, first)));
            written.end = Some((last, from(start + first.len() + 1, last)));
        }
        None => written.port = Some((rest, from(start, rest))),
    }
    written
}

/// A number as both APIs read it; with a leading zero it would be octal to some.
fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// The protocol in the API's letters, or as written.
fn protocol_field(build: &mut Build<'_, '_>, written: &Written<'_>) -> Field {
    let known = WITH_PORTS.iter().find(|(word, _)| *word == written.protocol).map(|(_, name)| *name);
    if known.is_none() && is_number(written.protocol) {
        // The decoder would only say that it is no protocol.
        let number = hint::short(written.protocol);
        let help = match written.port {
            Some((protocol, _)) => format!("the protocol comes first: {}/{number}", hint::short(protocol)),
            None => format!("write tcp/{number}, udp/{number} or any/{number}"),
        };
        build.findings.push(
            Diagnostic::new(Code::Protocol, written.at, "a port stands behind its protocol")
                .labelled("begins with a number")
                .help(help),
        );
        let value = build.broken(written.at);
        return build.field(written.at, "protocol", value);
    }
    let value = build.scalar(written.protocol_at, known.unwrap_or(written.protocol).to_owned());
    build.field(written.protocol_at, "protocol", value)
}

fn end_field(build: &mut Build<'_, '_>, written: &Written<'_>) -> Option<Field> {
    let (end, at) = written.end?;
    let value = build.plain(at, end.to_owned());
    Some(build.field(at, "endPort", value))
}

/// A port as an item of `ports`.
pub(super) fn cilium_port(build: &mut Build<'_, '_>, part: &Pair<'_, Rule>) -> NodeId {
    let written = written(build, part);
    let mut fields = vec![protocol_field(build, &written)];
    let all = WITH_PORTS.iter().any(|(word, _)| *word == written.protocol).then_some(("0", written.at));
    if let Some((port, at)) = written.port.or(all) {
        let value = build.scalar(at, port.to_owned());
        fields.push(build.field(at, "port", value));
    }
    fields.extend(end_field(build, &written));
    build.object(written.at, &fields)
}

fn network_port(build: &mut Build<'_, '_>, part: &Pair<'_, Rule>) -> NodeId {
    let written = written(build, part);
    let mut fields = vec![protocol_field(build, &written)];
    if let Some((port, at)) = written.port {
        let port_text = port.to_owned();
        let value = if is_number(port) { build.plain(at, port_text) } else { build.scalar(at, port_text) };
        fields.push(build.field(at, "port", value));
    }
    fields.extend(end_field(build, &written));
    build.object(written.at, &fields)
}

/// `icmp/8` and `icmpv6/EchoRequest`.
pub(super) fn icmp_type(build: &mut Build<'_, '_>, part: &Pair<'_, Rule>) -> Option<NodeId> {
    let at = build.span(part);
    let text = part.as_str();
    let (word, kind) = text.split_once('/').map_or((text, None), |(word, kind)| (word, Some(kind)));
    let family = match word {
        "icmp" => "IPv4",
        "icmpv6" => "IPv6",
        _ => return None,
    };
    let family = build.scalar(at, family);
    let mut fields = vec![build.field(at, "family", family)];
    if let Some(kind) = kind {
        let value = build.scalar(at, kind.to_owned());
        fields.push(build.field(at, "type", value));
    }
    Some(build.object(at, &fields))
}

fn request(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&part);
    let (mut fields, mut headers, mut matches) = (Vec::new(), Vec::new(), Vec::new());
    for piece in part.into_inner() {
        match piece.as_rule() {
            Rule::header_match => matches.push(header_match(build, piece)),
            _ => request_part(build, piece, &mut fields, &mut headers),
        }
    }
    for (key, items) in [("headers", headers), ("headerMatches", matches)] {
        if !items.is_empty() {
            let list = build.list(at, &items);
            fields.push(build.field(at, key, list));
        }
    }
    build.object(at, &fields)
}

/// A method, a path, a host or a header, in a rule or in one request.
pub(super) fn request_part(
    build: &mut Build<'_, '_>,
    piece: Pair<'_, Rule>,
    fields: &mut Vec<Field>,
    headers: &mut Vec<NodeId>,
) {
    let key = match piece.as_rule() {
        Rule::method => "method",
        Rule::path => "path",
        Rule::host => "host",
        Rule::header => {
            headers.extend(texts(piece).next().map(|text| build.text(&text)));
            return;
        }
        _ => return,
    };
    fields.extend(texts(piece).next().map(|text| build.text_field(key, text)));
}

fn header_match(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&part);
    let mut fields = Vec::new();
    for piece in part.into_inner() {
        let piece_at = build.span(&piece);
        match piece.as_rule() {
            Rule::word | Rule::string => fields.push(build.text_field("name", piece)),
            Rule::value => fields.extend(texts(piece).next().map(|text| build.text_field("value", text))),
            Rule::secret => fields.push(secret(build, piece)),
            Rule::mismatch => {
                let Some(text) = texts(piece).next() else { continue };
                let known = MISMATCHES.iter().find(|(word, _)| *word == text.as_str());
                let value = match known {
                    Some((_, name)) => build.scalar(piece_at, *name),
                    None => build.text(&text),
                };
                fields.push(build.field(piece_at, "mismatch", value));
            }
            _ => {}
        }
    }
    build.object(at, &fields)
}

/// `secret NAMESPACE/NAME`, or `secret NAME` in the policy's namespace.
fn secret(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> Field {
    let at = build.span(&part);
    let value = texts(part).next().map(|text| build.text(&text));
    let text = value.map(|value| build.name_of(value).to_owned()).unwrap_or_default();
    let (namespace, name) =
        text.split_once('/').map_or((None, text.as_str()), |(first, rest)| (Some(first), rest));
    let name = build.scalar(at, name.to_owned());
    let mut fields = vec![build.field(at, "name", name)];
    if let Some(namespace) = namespace {
        let namespace = build.scalar(at, namespace.to_owned());
        fields.push(build.field(at, "namespace", namespace));
    }
    let reference = build.object(at, &fields);
    build.field(at, "secret", reference)
}

fn tls(build: &mut Build<'_, '_>, key: &'static str, part: Pair<'_, Rule>) -> Field {
    let at = build.span(&part);
    let mut fields = Vec::new();
    for piece in part.into_inner() {
        let item = match piece.as_rule() {
            Rule::secret => {
                fields.push(secret(build, piece));
                continue;
            }
            Rule::ca => "trustedCA",
            Rule::certificate => "certificate",
            Rule::private_key => "privateKey",
            _ => continue,
        };
        fields.extend(texts(piece).next().map(|text| build.text_field(item, text)));
    }
    let context = build.object(at, &fields);
    build.field(at, key, context)
}
