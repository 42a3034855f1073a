//! The user part of an image: the source map, labels of identities, request rules, facts.

use super::{Input, Options, selected_keys};
use crate::identity::Identities;
use crate::image::write::{ImageWriter, Parts};
use crate::ir::{PolicySet, Requests};
use crate::requests::HttpParts;
use crate::tables::RequestSet;
use rustc_hash::FxHashMap;
use weir_abi::RequestKind;
use weir_abi::layout::{
    FactRecord, FqdnRecord, HeaderRecord, IdentityRecord, PlaceRecord, PolicyRecord, RequestRuleRecord,
    RequestSetRecord,
};
use weir_grammar::source::{LineIndex, Sources};
use weir_grammar::span::FileId;
use weir_grammar::tree::{HttpRule, Mismatch};

/// The fact that names the node an image is for; absent for the whole cluster's.
pub const NODE_FACT: &str = "node";
/// The fact that lists the label keys that selectors name, one a line.
pub const SELECTED_KEYS_FACT: &str = "selected-keys";

pub(super) fn add(
    parts: &mut Parts,
    writer: &mut ImageWriter,
    input: &Input<'_>,
    identities: &Identities<'_>,
    fqdns: &[(&str, bool, u32)],
    request_sets: &[RequestSet],
    options: &Options,
) {
    add_source_map(parts, writer, input.set, input.sources);
    for entry in identities.entries.iter().filter(|entry| entry.identity.0 != 0) {
        // No two identities have the same text, so there is nothing to look up.
        let labels = writer.unique_text(&entry.text);
        parts.identities.push(IdentityRecord { number: entry.identity.0, labels });
    }
    parts.identities.sort_unstable_by_key(|record| record.number);
    for &(text, is_pattern, class) in fqdns {
        let text = writer.text(text);
        parts.fqdns.push(FqdnRecord { text, is_pattern: u32::from(is_pattern), class });
    }
    add_requests(parts, writer, input, request_sets);
    let node = options.node.and_then(|node| input.cluster.nodes.get(node)).map(|node| node.meta.name.clone());
    let mut keys: Vec<String> = selected_keys(input.set).into_iter().collect();
    keys.sort_unstable();
    let facts = [(NODE_FACT, node), (SELECTED_KEYS_FACT, Some(keys.join("\n")))];
    for (key, value) in facts {
        if let Some(value) = value {
            parts.facts.push(FactRecord { key: writer.text(key), value: writer.text(&value) });
        }
    }
}

fn add_source_map(parts: &mut Parts, writer: &mut ImageWriter, set: &PolicySet, sources: &Sources) {
    let mut next_rule = 0u32;
    let mut rules = set.rules.iter().peekable();
    let mut lines: FxHashMap<FileId, LineIndex<'_>> = FxHashMap::default();
    for (place, policy) in set.policies.iter().enumerate() {
        parts.policies.push(PolicyRecord {
            kind: writer.text(policy.kind.as_str()),
            namespace: writer.text(policy.namespace.as_deref().unwrap_or_default()),
            name: writer.text(&policy.name),
            file: writer.text(sources.name(policy.span.file)),
            first_rule: next_rule,
        });
        while let Some(rule) = rules.next_if(|rule| rule.policy == place) {
            next_rule += 1;
            let file = rule.span.file;
            let index = lines.entry(file).or_insert_with(|| LineIndex::new(sources.text(file)));
            let at = index.locate(rule.span.start);
            parts.rules.push(rule.path.to_record());
            parts.places.push(PlaceRecord { line: at.line, column: at.column });
        }
    }
}

fn add_requests(parts: &mut Parts, writer: &mut ImageWriter, input: &Input<'_>, sets: &[RequestSet]) {
    // Rules of requests by rule id, each kept once however many sets it is in.
    let mut runs: FxHashMap<u32, std::ops::Range<u32>> = FxHashMap::default();
    for set in sets {
        let start = parts.request_members.len();
        for &rule in &set.rules {
            let run = match runs.get(&rule) {
                Some(run) => run.clone(),
                None => {
                    let first = place(parts.request_rules.len());
                    add_request_rules(parts, writer, input, rule);
                    let run = first..place(parts.request_rules.len());
                    runs.insert(rule, run.clone());
                    run
                }
            };
            parts.request_members.extend(run);
        }
        parts.request_sets.push(RequestSetRecord {
            rule: set.rules.first().copied().unwrap_or_default(),
            kind: set.kind as u16,
            wildcard: u16::from(set.wildcard),
            start: place(start),
            len: place(parts.request_members.len() - start),
        });
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn add_request_rules(parts: &mut Parts, writer: &mut ImageWriter, input: &Input<'_>, id: u32) {
    let rule = &input.set.rules[id as usize];
    let namespace = input.set.policies[rule.policy].namespace.as_deref();
    match &rule.requests {
        Some(Requests::Http(rules)) => {
            for http in rules.iter() {
                let record = http_record(parts, writer, id, http, namespace);
                parts.request_rules.push(record);
            }
        }
        Some(Requests::Dns(names)) => {
            for name in names.iter() {
                let dns = writer.text(&name.text);
                let dns_is_pattern = u32::from(name.is_pattern);
                let kind = RequestKind::Dns as u32;
                parts.request_rules.push(RequestRuleRecord {
                    rule: id,
                    kind,
                    dns,
                    dns_is_pattern,
                    ..RequestRuleRecord::default()
                });
            }
        }
        Some(Requests::Tls) => {
            let kind = RequestKind::Tls as u32;
            parts.request_rules.push(RequestRuleRecord { rule: id, kind, ..RequestRuleRecord::default() });
        }
        None => {}
    }
}

fn http_record(
    parts: &mut Parts,
    writer: &mut ImageWriter,
    id: u32,
    rule: &HttpRule,
    namespace: Option<&str>,
) -> RequestRuleRecord {
    let start = parts.headers.len();
    let written = HttpParts::from_tree(rule, namespace);
    for header in &written.headers {
        let secret = header.secret.map(|(namespace, name)| format!("{namespace}/{name}"));
        parts.headers.push(HeaderRecord {
            name: writer.text(header.name),
            value: writer.text(header.value.unwrap_or_default()),
            has_value: u32::from(header.value.is_some()),
            mismatch: 0,
            secret: writer.text(secret.as_deref().unwrap_or_default()),
        });
    }
    // The first ones come from `headers`, which always fail; the others say what a mismatch does.
    let matches = parts.headers.len() - rule.header_matches.len();
    for (record, header) in parts.headers[matches..].iter_mut().zip(&rule.header_matches) {
        record.mismatch = mismatch(header.mismatch);
    }
    let mut part = |text: Option<&str>| writer.text(text.unwrap_or_default());
    RequestRuleRecord {
        rule: id,
        kind: RequestKind::Http as u32,
        method: part(written.method),
        path: part(written.path),
        host: part(written.host),
        headers: place(start),
        header_count: place(parts.headers.len() - start),
        ..RequestRuleRecord::default()
    }
}

/// What a mismatch does, as the image says it.
const fn mismatch(written: Mismatch) -> u32 {
    match written {
        Mismatch::Fail => 0,
        Mismatch::Log => 1,
        Mismatch::Add => 2,
        Mismatch::Delete => 3,
        Mismatch::Replace => 4,
    }
}
