//! From paths to a policy set and a cluster, with everything that is wrong on the way; and from these
//! to an image.
//!
//! Not here: locks and flows, which are read into a project afterwards (`locks`, `flows`).

use crate::error::ProjectError;
use crate::finding;
use crate::inputs::{self, Manifests};
use crate::locks::IdentityFile;
use crate::place::Places;
use crate::refusal::Refused;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use weir_compiler::check;
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::{self, CompileError, Compiled, Stage};
use weir_compiler::fqdn::{FqdnLock, FqdnPattern};
use weir_compiler::identity::IdentityLock;
use weir_compiler::ir::PolicySet;
use weir_compiler::policy_map::Forecast;
use weir_compiler::translate::translate;
use weir_grammar::diagnostic::{Code, Diagnostic, Severity};
use weir_grammar::source::Sources;
use weir_grammar::span::{FileId, Span};
use weir_grammar::tree::{Expectations, Object};

/// Findings that only a cluster can settle.
const NEEDS_CLUSTER: &[Code] = &[Code::UnknownGroup, Code::UnknownService, Code::UnknownSecret];
/// Surprises that may come from an object that was refused.
const UNSURE_BESIDE_ERRORS: &[Code] = &[
    Code::SelectsNothing,
    Code::NeverMatches,
    Code::FqdnWithoutDns,
    Code::UnknownSecret,
    Code::TargetPortName,
    Code::NobodyBehind,
];
/// Surprises told of one file; the rest are counted.
const SURPRISES: usize = 200;
/// Nodes that are named where one is not there.
const NAMED_NODES: usize = 5;

/// The steps of reading, for progress and timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Files to trees.
    Read {
        /// Bytes of the files, as far as they are known beforehand.
        bytes: u64,
    },
    /// Trees to policies and a cluster.
    Translate,
}

impl Step {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Read { .. } => "read",
            Step::Translate => "translate",
        }
    }

    /// Bytes that are read in it.
    pub const fn bytes(self) -> u64 {
        match self {
            Step::Read { bytes } => bytes,
            Step::Translate => 0,
        }
    }
}

/// What was read.
#[derive(Debug)]
pub struct Project {
    /// The files.
    pub sources: Sources,
    /// The cluster's objects.
    pub cluster: Arc<Cluster>,
    /// The policies.
    pub set: PolicySet,
    /// What is expected of them, in the order it was read.
    pub expectations: Vec<Expectations>,
    /// What is wrong, sorted by file and place.
    pub findings: Vec<Diagnostic>,
    /// Whether a cluster was given.
    has_cluster: bool,
}

impl Project {
    /// Reads policies and cluster: files, folders, or `-` for stdin. Without any cluster path, findings
    /// that need one are left out. `progress` hears of every step as it begins.
    ///
    /// # Errors
    /// Files that cannot be read, or stdin asked for twice. What is wrong inside a file is a finding.
    pub fn read(
        policies: &[PathBuf],
        cluster: &[PathBuf],
        progress: &mut dyn FnMut(Step),
    ) -> Result<Self, ProjectError> {
        inputs::refuse_stdin_twice(policies.iter().chain(cluster))?;
        let paths: Vec<&PathBuf> = policies.iter().chain(cluster).collect();
        let manifests = Manifests::find(&paths)?;
        progress(Step::Read { bytes: manifests.bytes() });
        let mut reading = manifests.read()?;
        progress(Step::Translate);
        let mut findings = std::mem::take(&mut reading.diagnostics);
        let snapshot = Cluster::collect(&mut reading.objects, &mut findings);
        let (expectations, policies_read) = apart(std::mem::take(&mut reading.objects));
        let set = translate(policies_read, &snapshot, &mut findings);
        let mut sources = reading.sources;
        if !policies.is_empty()
            && set.policies.is_empty()
            && findings.iter().all(|finding| finding.severity < Severity::Error)
        {
            findings.push(no_policy(&mut sources, policies));
        }
        let has_cluster = !cluster.is_empty();
        if !has_cluster {
            findings.retain(|finding| !NEEDS_CLUSTER.contains(&finding.code));
        }
        let mut project = Project {
            sources,
            cluster: Arc::new(snapshot),
            set,
            expectations,
            findings: Vec::new(),
            has_cluster,
        };
        project.add(findings);
        Ok(project)
    }

    /// Of policies and a cluster that were read already.
    pub(crate) fn of(sources: Sources, cluster: Cluster, set: PolicySet, findings: Vec<Diagnostic>) -> Self {
        let mut project = Project {
            sources,
            cluster: Arc::new(cluster),
            set,
            expectations: Vec::new(),
            findings: Vec::new(),
            has_cluster: true,
        };
        project.add(findings);
        project
    }

    /// Adds what is legal and probably not meant to the findings.
    pub fn find_surprises(&mut self) {
        let (has_cluster, has_errors) = (self.has_cluster, self.has_errors());
        let is_sure = |finding: &Diagnostic| {
            (has_cluster || !NEEDS_CLUSTER.contains(&finding.code))
                && !(has_errors && UNSURE_BESIDE_ERRORS.contains(&finding.code))
        };
        let mut counts: BTreeMap<FileId, usize> = BTreeMap::new();
        let mut found = Vec::new();
        for finding in check::surprises(&self.set, &self.cluster, &self.sources).into_iter().filter(is_sure) {
            let count = counts.entry(finding.span.file).or_default();
            *count += 1;
            if *count <= SURPRISES {
                found.push(finding);
            }
        }
        for (file, count) in counts {
            if let Some(more @ 1..) = count.checked_sub(SURPRISES) {
                let text = self.sources.text(file);
                found.push(finding::left_out(Code::MoreWarnings, file, text, more, "more warning"));
            }
        }
        self.add(found);
    }

    /// Adds the policy maps of Cilium that would overflow to the findings.
    pub fn find_overflows(&mut self, forecast: &Forecast) {
        let found = check::overflows(&self.set, &self.cluster, &self.sources, forecast);
        self.add(found);
    }

    /// Whether any finding refuses a policy.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Where the findings are, in lines and columns.
    pub fn places(&self) -> Places<'_> {
        Places::of(&self.findings, &self.sources)
    }

    /// The findings in order, one line each (see [`finding::line`]).
    pub fn finding_lines(&self) -> impl Iterator<Item = String> {
        let places = self.places();
        self.findings.iter().map(move |found| finding::line(found, &places))
    }

    /// The place of a node that was asked for by name.
    ///
    /// # Errors
    /// [`ProjectError::NoSuchNode`].
    pub fn node(&self, name: Option<&str>) -> Result<Option<usize>, ProjectError> {
        let Some(name) = name else { return Ok(None) };
        if let Some(place) = self.cluster.node_named(name) {
            return Ok(Some(place));
        }
        let nodes = &self.cluster.nodes;
        Err(ProjectError::NoSuchNode {
            name: name.to_owned(),
            names: nodes.iter().take(NAMED_NODES).map(|node| node.meta.name.clone()).collect(),
            more: nodes.len().saturating_sub(NAMED_NODES),
        })
    }

    /// Compiles one image: for a node by its place in the cluster, or for the whole cluster. New
    /// identity numbers are added to `identities`; `on_stage` hears of every step as it begins.
    ///
    /// # Errors
    /// The policies ask for something that no image can be; [`Project::refuse`] makes it a finding.
    pub fn compile(
        &self,
        node: Option<usize>,
        identities: &mut IdentityLock,
        fqdn: Option<&FqdnLock>,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Result<Compiled, CompileError> {
        let input = compile::Input {
            set: &self.set,
            cluster: &self.cluster,
            sources: &self.sources,
            addresses_of: &|text, is_pattern| addresses_of(fqdn, text, is_pattern),
        };
        let options = compile::Options { node, ..compile::Options::default() };
        compile::compile(&input, identities, &options, on_stage)
    }

    /// Compiles one image with the numbers of a lock file; where there can be none, the findings tell why.
    ///
    /// # Errors
    /// What is not about what was read.
    pub fn image(
        &mut self,
        node: Option<usize>,
        identities: &mut IdentityFile,
        fqdn: Option<&FqdnLock>,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Result<Option<Compiled>, CompileError> {
        match self.compile(node, &mut identities.lock, fqdn, on_stage) {
            Ok(compiled) => Ok(Some(compiled)),
            Err(error) => self.refuse(error, identities.file()).map(|()| None),
        }
    }

    /// Adds the finding for a set that has no image. `lock` is the file of identity numbers that it was
    /// compiled with, if there is one.
    ///
    /// # Errors
    /// The error itself, if it is not about what was read.
    pub fn refuse(&mut self, error: CompileError, lock: Option<FileId>) -> Result<(), CompileError> {
        let refused = Refused { set: &self.set, cluster: &self.cluster, sources: &self.sources, lock };
        let finding = refused.finding(error)?;
        self.add([finding]);
        Ok(())
    }

    /// Adds findings where they belong by file and place.
    pub fn add(&mut self, findings: impl IntoIterator<Item = Diagnostic>) {
        self.findings.extend(findings);
        self.findings.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
        self.findings.dedup();
    }
}

/// Expectations, and all other objects.
fn apart(objects: Vec<Object>) -> (Vec<Expectations>, Vec<Object>) {
    let (mut expectations, mut others) = (Vec::new(), Vec::with_capacity(objects.len()));
    for object in objects {
        match object {
            Object::Expectations(written) => expectations.push(written),
            other => others.push(other),
        }
    }
    (expectations, others)
}

/// The addresses that a DNS name or pattern (`is_pattern`) leads to; none without a lock.
pub fn addresses_of(lock: Option<&FqdnLock>, text: &str, is_pattern: bool) -> Vec<IpAddr> {
    let Some(lock) = lock else { return Vec::new() };
    if !is_pattern {
        return lock.addresses(text).to_vec();
    }
    let pattern = FqdnPattern::from_text(text, is_pattern);
    let selected = lock.iter().filter(|(name, _)| pattern.matches(name));
    let mut addresses: Vec<IpAddr> = selected.flat_map(|(_, addresses)| addresses.iter().copied()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn no_policy(sources: &mut Sources, policies: &[PathBuf]) -> Diagnostic {
    let named = policies.first().map_or_else(String::new, |path| path.display().to_string());
    let known = sources.iter().find(|(_, source)| source.name == named).map(|(file, _)| file);
    let file = known.unwrap_or_else(|| sources.add(named, ""));
    Diagnostic::new(Code::EmptyInput, Span::point(file, 0), "the input holds no policy")
        .help("without policies everything is allowed")
}

#[cfg(test)]
mod tests;
