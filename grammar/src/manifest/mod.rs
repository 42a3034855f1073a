//! Texts to objects: YAML documents, then typed and checked trees.
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
mod entity;
mod expectations;
mod expression;
mod fit;
mod fqdn;
mod header;
pub(crate) mod hint;
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
pub(crate) mod write;

use crate::Limits;
use crate::findings::Findings;
use crate::span::FileId;
use crate::tree::Object;
use crate::yaml::lane::{self, Lane, RunItems};
use crate::yaml::{Documents, Offsets, Tree};
use hashbrown::HashSet;

// The decoders, for values that come from elsewhere than YAML.
pub(crate) use cidr::set as cidr_set;
pub(crate) use context::Context;
pub(crate) use entity::{ENTITY_NAMES, name_of as entity_name};
pub(crate) use icmp::MOST_ICMP_TYPES;
pub(crate) use object::{Skipped, document, title};

/// Reads the YAML documents of a text.
pub(crate) fn documents(file: FileId, text: &str, limits: &Limits) -> (Vec<Object>, Findings) {
    let pass = with_lane(file, text, limits).unwrap_or_else(|| without_lane(file, text, limits));
    (pass.objects, pass.findings)
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
    let mut skipped = Skipped::default();
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
            context.findings.attribute(documents.first_finding(), title(tree.root()));
        }
        document(&mut context, tree.root(), sound, &mut skipped, &mut objects);
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
