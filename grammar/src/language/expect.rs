//! Expectations: a line for each, gathered into the object that YAML would hold.

use super::blocks::{Block, Sets};
use super::build::{Build, Field};
use super::peers::{dns_names, pods};
use super::ports::{cilium_port, icmp_type, request_part};
use super::selector::selector;
use super::{Rule, policy, texts};
use crate::manifest::{ENTITY_NAMES, MOST_ICMP_TYPES};
use crate::span::Span;
use crate::yaml::NodeId;
use pest::iterators::Pair;

/// The name of expectations without one.
pub(super) const UNNAMED: &str = "expectations";

/// A block of expectations.
pub(super) struct Expectations {
    at: Span,
    fields: Vec<Field>,
    spec: Vec<Field>,
    list: Vec<NodeId>,
}

impl Expectations {
    /// Reads the head.
    pub(super) fn head(build: &mut Build<'_, '_>, head: Pair<'_, Rule>) -> Self {
        let at = build.span(&head);
        let (mut name, mut metadata, mut spec) = (None, Vec::new(), Vec::new());
        for piece in head.into_inner() {
            match piece.as_rule() {
                Rule::word => name = Some(build.text_field("name", piece)),
                Rule::labels => metadata.push(policy::labels(build, piece)),
                Rule::string => spec.push(build.text_field("description", piece)),
                Rule::Expect if name.is_none() => {
                    let at = build.span(&piece);
                    let unnamed = build.scalar(at, UNNAMED);
                    name = Some(build.field(at, "name", unnamed));
                }
                _ => {}
            }
        }
        metadata.splice(0..0, name);
        let fields = policy::type_and_metadata(build, at, ("weir.dev/v1", "Expectations"), &metadata);
        Expectations { at, fields, spec, list: Vec::new() }
    }

    /// Takes one line.
    pub(super) fn take<'t>(&mut self, build: &mut Build<'t, '_>, sets: &Sets<'t>, line: Pair<'_, Rule>) {
        let at = build.span(&line);
        let mut fields = Vec::new();
        for piece in line.into_inner() {
            let piece_at = build.span(&piece);
            match piece.as_rule() {
                Rule::ends => {
                    let key = if fields.is_empty() { "from" } else { "to" };
                    let ends = ends(build, sets, piece);
                    let list = build.list(piece_at, &ends);
                    fields.push(build.field(piece_at, key, list));
                }
                Rule::on_ports => ports(build, piece, &mut fields),
                Rule::asked => {
                    let request = request(build, piece);
                    fields.push(build.field(piece_at, "http", request));
                }
                Rule::asked_name => {
                    fields.extend(texts(piece).next().map(|text| build.text_field("dns", text)));
                }
                Rule::verdict => fields.push(build.text_field("verdict", piece)),
                Rule::by => {
                    let direction = piece.into_inner().find(|part| part.as_rule() == Rule::direction);
                    fields.extend(direction.map(|word| build.text_field("direction", word)));
                }
                _ => {}
            }
        }
        self.list.push(build.object(at, &fields));
    }

    /// The whole object; `body` is where its lines stand.
    pub(super) fn object(mut self, build: &mut Build<'_, '_>, body: Span) -> NodeId {
        let list = build.list(body, &self.list);
        self.spec.push(build.field(body, "expectations", list));
        let spec = build.object(body, &self.spec);
        self.fields.push(build.field(body, "spec", spec));
        build.object(self.at, &self.fields)
    }
}

/// The items of one side.
fn ends<'t>(build: &mut Build<'t, '_>, sets: &Sets<'t>, part: Pair<'_, Rule>) -> Vec<NodeId> {
    let mut items = Vec::new();
    for piece in super::peers::separated(build, part.into_inner()) {
        let at = build.span(&piece);
        match piece.as_rule() {
            Rule::pods => {
                let who = pods(build, piece);
                items.push(build.wrapped(at, "pods", who));
            }
            Rule::nodes => {
                let who = selector(build, &piece, None);
                items.push(build.wrapped(at, "nodes", who));
            }
            Rule::workload => {
                let name = build.text(&piece);
                items.push(build.wrapped(at, "workload", name));
            }
            Rule::fqdn => {
                // A pattern is no name; the decoder says so, at its text.
                for selector in dns_names(build, piece) {
                    if let Some(name) = build.only_value(selector) {
                        let at = build.span_of(name);
                        items.push(build.wrapped(at, "fqdn", name));
                    }
                }
            }
            _ => blocks(build, sets, piece, &mut items),
        }
    }
    items
}

/// A set, an entity, an address or a block.
fn blocks<'t>(build: &mut Build<'t, '_>, sets: &Sets<'t>, part: Pair<'_, Rule>, items: &mut Vec<NodeId>) {
    let at = build.span(&part);
    let name = part.clone().into_inner().next().filter(|piece| piece.as_rule() == Rule::name);
    if let Some(name) = name {
        let errors = build.findings.errors();
        if let Some(named) = sets.named(build, &name) {
            items.extend(named.iter().map(|block| block.entry(build)));
            if build.findings.errors() > errors {
                items.push(build.broken(at));
            }
        } else if ENTITY_NAMES.contains(&name.as_str().trim_end()) {
            let entity = build.text(&name);
            items.push(build.wrapped(at, "entity", entity));
        } else {
            sets.report_unknown(build, &name, ENTITY_NAMES);
            items.push(build.broken(at));
        }
        return;
    }
    for block in sets.block(build, part) {
        items.push(match block.plain() {
            Some(prefix) if !build.name_of(prefix).contains('/') => build.wrapped(at, "address", prefix),
            _ => Block::entry(&block, build),
        });
    }
}

fn ports(build: &mut Build<'_, '_>, part: Pair<'_, Rule>, fields: &mut Vec<Field>) {
    let at = build.span(&part);
    let (mut ports, mut types) = (Vec::new(), Vec::new());
    for piece in part.into_inner().filter(|piece| piece.as_rule() == Rule::on_port) {
        match icmp_type(build, &piece) {
            Some(entry) => types.push(entry),
            None => ports.push(cilium_port(build, &piece)),
        }
    }
    if !ports.is_empty() {
        let list = build.list(at, &ports);
        fields.push(build.field(at, "ports", list));
    }
    if !types.is_empty() {
        let mut items = Vec::new();
        for types in types.chunks(MOST_ICMP_TYPES) {
            let list = build.list(at, types);
            items.push(build.wrapped(at, "fields", list));
        }
        let list = build.list(at, &items);
        fields.push(build.field(at, "icmps", list));
    }
}

fn request(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&part);
    let (mut fields, mut headers) = (Vec::new(), Vec::new());
    for piece in part.into_inner() {
        request_part(build, piece, &mut fields, &mut headers);
    }
    if !headers.is_empty() {
        let list = build.list(at, &headers);
        fields.push(build.field(at, "headers", list));
    }
    build.object(at, &fields)
}
