//! Files to objects: text, then YAML documents, then typed and checked trees.
//!
//! One file per kind or concept. Decoders are strict for policies, as the API server is, and
//! lenient about what they do not read in objects of the cluster.
//!
//! Absent: whatever needs a second object (groups, services, secrets, other policies).

mod authentication;
mod cidr;
mod cidr_group;
mod cilium;
mod cluster;
mod context;
mod decode;
mod encoding;
mod entity;
mod expression;
mod fit;
mod fqdn;
mod header;
mod hint;
mod icmp;
mod kind;
mod kubernetes_port;
mod metadata;
mod names;
mod network_policy;
mod object;
mod ports;
mod requests;
mod rule;
mod section;
mod selector;
mod services;
mod tls;

use crate::diagnostic::{Code, Diagnostic};
use crate::findings::Findings;
use crate::span::{FileId, Span};
use crate::tree::Object;
use crate::yaml::lane::{self, Lane, RunItems};
use crate::yaml::{Documents, Offsets, Tree};
use crate::{Limits, Reading};
use context::Context;
use hashbrown::HashSet;
use std::sync::Arc;

/// Reads one file.
pub(crate) fn read(reading: &mut Reading, name: &str, bytes: Vec<u8>, limits: &Limits) {
    let file = reading.sources.next_id();
    let size = bytes.len();
    if size > limits.file_bytes || u32::try_from(size).is_err() {
        reading.sources.add(name, "");
        reading.diagnostics.push(
            Diagnostic::new(
                Code::TooLarge,
                Span::point(file, 0),
                format!("the file has {size} bytes; the most is {}", limits.file_bytes),
            )
            .help("split the file"),
        );
        return;
    }
    let (text, finding) = encoding::text(bytes, file);
    if let Some(finding) = finding {
        reading.sources.add(name, text);
        reading.diagnostics.push(finding);
        return;
    }
    let text: Arc<str> = text.into();
    reading.sources.add(name, Arc::clone(&text));
    let pass = with_lane(file, &text, limits).unwrap_or_else(|| without_lane(file, &text, limits));
    reading.objects.extend(pass.objects);
    reading.diagnostics.extend(pass.findings.finish(file, u32::try_from(size).unwrap_or(u32::MAX)));
}

/// Reads long lists of CIDRs ahead of the YAML parser. `None` if there are none, or if something
/// that looked like one was another thing: what is read must not depend on the lane.
fn with_lane(file: FileId, text: &str, limits: &Limits) -> Option<Pass> {
    let scan = lane::scan(text)?;
    let pass = pass(file, text, &scan.text, &scan.offsets, &scan.lane, scan.runs, limits);
    pass.complete.then_some(pass)
}

/// Reads everything through the YAML parser.
fn without_lane(file: FileId, text: &str, limits: &Limits) -> Pass {
    pass(file, text, text, &Offsets::default(), &Lane::default(), Vec::new(), limits)
}

/// What one pass over a text gave.
struct Pass {
    objects: Vec<Object>,
    findings: Findings,
    /// Every run of the lane went into a list of CIDRs.
    complete: bool,
}

/// Reads `parsed`, which is `text` less the lines that the lane took.
fn pass(
    file: FileId,
    text: &str,
    parsed: &str,
    offsets: &Offsets,
    lane: &Lane,
    runs: Vec<Option<RunItems>>,
    limits: &Limits,
) -> Pass {
    let mut findings = Findings::new(limits.diagnostics);
    let mut objects = Vec::new();
    let mut skipped = object::Skipped::default();
    let mut documents = Documents::new(file, parsed, offsets, lane, limits);
    let mut tree = Tree::new(file);
    let mut context = Context {
        text,
        findings: &mut findings,
        object: None,
        runs,
        run_misplaced: false,
        expressions: HashSet::new(),
    };
    while let Some(sound) = documents.next(&mut tree, context.findings) {
        if !sound {
            context.findings.attribute(documents.first_finding(), object::title(tree.root()));
        }
        object::document(&mut context, tree.root(), sound, &mut skipped, &mut objects);
        if context.run_misplaced {
            break;
        }
    }
    skipped.report(&mut context);
    let complete =
        documents.all_runs_placed() && !context.run_misplaced && context.runs.iter().all(Option::is_none);
    Pass { objects, findings, complete }
}

#[cfg(test)]
mod lane_property;
