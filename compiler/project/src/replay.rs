//! Recorded flows held against other policies: which traffic would break, and which would open.
//!
//! ```text
//! hubble observe -o jsonpb ─ recording::read ─> what passed, who, on which port ─ judge (an Engine) ─> Changes, counted by pair
//! ```
//!
//! A flow that was forwarded and would be denied breaks; one that policy dropped and would pass opens. What was dropped for
//! another reason, replies, and what is no connection says nothing of policy and is counted by why it is left out.
//!
//! A recorded pod may be gone: one of the same labels in its namespace stands for it, since policy knows labels alone.
//!
//! Not here: how Hubble writes ([`recording`]), how a flow is judged (`weir_compiler::flow`).

mod recording;

use crate::error::ProjectError;
use crate::finding;
use crate::inputs;
use crate::project::Project;
use recording::{Record, Recorded};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::flow::{self, Enforced, Engine, Flow, Origins, RuleLine, Verdict, VerdictLine};
use weir_grammar::diagnostic::Code;
use weir_grammar::span::Span;

/// Bad lines of a recording that are told one by one.
const BAD_LINES: usize = 200;

/// A recording, read against a cluster.
#[derive(Debug, Default)]
pub struct Recording {
    flows: Vec<Replayed>,
    /// Lines that say nothing of policy, by why.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// A flow that was recorded.
#[derive(Debug)]
struct Replayed {
    flow: Flow,
    source: String,
    destination: String,
    /// What became of it.
    passed: bool,
}

/// What would become of a recording.
#[derive(Debug, Default, Serialize)]
pub struct Changes<'a> {
    /// Flows judged.
    pub replayed: usize,
    /// Flows of which the verdict stays.
    pub same: usize,
    /// Flows that passed and would be denied, by pair.
    pub breaks: Vec<Change<'a>>,
    /// Flows that policy dropped and that would pass, by pair.
    pub opens: Vec<Change<'a>>,
    /// Lines that say nothing of policy, by why.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// What changes for one pair.
#[derive(Clone, Debug, Serialize)]
pub struct Change<'a> {
    /// Flows.
    pub count: usize,
    /// A workload, a DNS name, or an address.
    pub source: &'a str,
    /// The same.
    pub destination: &'a str,
    /// By name.
    pub protocol: String,
    /// Destination port; for ICMP the type.
    pub port: u16,
    /// The side that was recorded: `ingress`, `egress` or `both`.
    pub direction: &'static str,
    /// The new verdict.
    pub verdict: &'static str,
    /// Why.
    pub reason: &'static str,
    /// The rules that decide, as `policyc verdict` tells them.
    pub by: Vec<RuleLine<'a>>,
}

impl Project {
    /// Reads what `hubble observe -o jsonpb` wrote, one JSON object a line; `-` is stdin.
    ///
    /// # Errors
    /// [`ProjectError::Unreadable`]. What is wrong with a line is a finding.
    pub fn recording(&mut self, path: &Path) -> Result<Recording, ProjectError> {
        let file = match inputs::read_text(path, &mut self.sources)? {
            Ok(file) => file,
            Err(finding) => {
                self.add([*finding]);
                return Ok(Recording::default());
            }
        };
        let text = self.sources.text(file);
        let (mut recording, mut findings) = (Recording::default(), Vec::new());
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let trimmed = line.trim_end_matches(['\n', '\r']);
            match recording::read(file, start, trimmed) {
                Ok(Record::Flow(recorded)) => {
                    let at = |offset: usize| u32::try_from(start + offset).unwrap_or(u32::MAX);
                    let span = Span { file, start: at(0), end: at(trimmed.len()) };
                    recording.add(*recorded, span, &self.cluster);
                }
                Ok(Record::LeftOut(why)) => *recording.left_out.entry(why).or_default() += 1,
                Ok(Record::Empty) => {}
                Err(finding) => findings.push(*finding),
            }
            start += line.len();
        }
        if let Some(more @ 1..) = findings.len().checked_sub(BAD_LINES) {
            findings.truncate(BAD_LINES);
            findings.push(finding::left_out(Code::MoreErrors, file, text, more, "more bad line"));
        }
        self.add(findings);
        Ok(recording)
    }
}

impl Recording {
    fn add(&mut self, recorded: Recorded, span: Span, cluster: &Cluster) {
        let Recorded { source, destination, protocol, port, enforced, passed, http, dns, .. } = recorded;
        let (Some(from), Some(to)) = (source.party(cluster), destination.party(cluster)) else {
            *self.left_out.entry("of a pod that the cluster has none like").or_default() += 1;
            return;
        };
        let outside = matches!(to, Party::Outside(_));
        let flow = Flow {
            id: String::new(),
            span,
            source: from,
            destination: to,
            protocol,
            port,
            enforced,
            http,
            dns,
            fqdn: if outside { destination.names.clone() } else { Vec::new() },
            expected: Vec::new(),
            why: None,
        };
        self.flows.push(Replayed { flow, source: source.name(), destination: destination.name(), passed });
    }

    /// Judges every flow, and tells what changes: the most frequent first.
    pub fn replay<'a>(&'a self, engine: &impl Engine, origins: &'a dyn Origins) -> Changes<'a> {
        let mut changes = Changes { left_out: self.left_out.clone(), ..Changes::default() };
        let [mut breaks, mut opens]: [BTreeMap<_, Change<'_>>; 2] = Default::default();
        for Replayed { flow, source, destination, passed } in &self.flows {
            changes.replayed += 1;
            let judgement = flow::judge(engine, flow);
            if matches!(judgement.verdict, Verdict::Allow | Verdict::RedirectAllow) == *passed {
                changes.same += 1;
                continue;
            }
            let kind = if *passed { &mut breaks } else { &mut opens };
            let direction = match flow.enforced {
                Enforced::Ingress => "ingress",
                Enforced::Egress => "egress",
                Enforced::Both => "both",
            };
            let line = VerdictLine::new(flow, &judgement, origins);
            let key = (source, destination, flow.protocol, flow.port, direction, line.reason);
            kind.entry(key).and_modify(|change| change.count += 1).or_insert_with(|| Change {
                count: 1,
                source,
                destination,
                protocol: flow::protocol_name(flow.protocol),
                port: flow.port,
                direction,
                verdict: line.verdict,
                reason: line.reason,
                by: line.by,
            });
        }
        let sorted = |changes: BTreeMap<_, Change<'a>>| {
            let mut changes: Vec<Change<'a>> = changes.into_values().collect();
            changes.sort_by_key(|change| std::cmp::Reverse(change.count));
            changes
        };
        (changes.breaks, changes.opens) = (sorted(breaks), sorted(opens));
        changes
    }
}
