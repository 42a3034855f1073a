//! From paths to a policy set and a cluster, with everything that is wrong on the way.

use crate::inputs;
use crate::output::Terminal;
use crate::refusal::{self, Refused};
use crate::render;
use crate::stages::Stages;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use weir_compiler::check;
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::CompileError;
use weir_compiler::fqdn::{FqdnLock, FqdnPattern};
use weir_compiler::identity::IdentityLock;
use weir_compiler::ir::PolicySet;
use weir_compiler::translate::translate;
use weir_grammar::diagnostic::{Code, Diagnostic, Severity};
use weir_grammar::source::Sources;
use weir_grammar::span::{FileId, Span};

/// What was read.
pub(crate) struct Project {
    /// The files.
    pub(crate) sources: Sources,
    /// The cluster's objects.
    pub(crate) cluster: Cluster,
    /// The policies.
    pub(crate) set: PolicySet,
    /// What is wrong, sorted by file and place.
    pub(crate) findings: Vec<Diagnostic>,
}

/// Findings that only a cluster can settle.
const NEEDS_CLUSTER: &[Code] = &[Code::UnknownGroup, Code::UnknownService, Code::UnknownSecret];
/// Surprises that may come from an object that was refused.
const UNSURE_BESIDE_ERRORS: &[Code] =
    &[Code::SelectsNothing, Code::NeverMatches, Code::FqdnWithoutDns, Code::UnknownSecret];
/// Surprises told of one file; the rest are counted.
const SURPRISES: usize = 200;

impl Project {
    /// Reads policies and cluster. Without any cluster path, findings that need one are left out.
    pub(crate) fn read(
        policies: &[PathBuf],
        cluster: &[PathBuf],
        stages: &mut Stages,
    ) -> anyhow::Result<Self> {
        inputs::refuse_stdin_twice(policies.iter().chain(cluster))?;
        let paths: Vec<&PathBuf> = policies.iter().chain(cluster).collect();
        let mut reading = inputs::read(&paths, stages)?;
        stages.begin("translate", 0);
        let mut findings = std::mem::take(&mut reading.diagnostics);
        let snapshot = Cluster::collect(&mut reading.objects, &mut findings);
        let set = translate(std::mem::take(&mut reading.objects), &snapshot, &mut findings);
        let mut sources = reading.sources;
        if !policies.is_empty()
            && set.policies.is_empty()
            && findings.iter().all(|finding| finding.severity < Severity::Error)
        {
            findings.push(no_policy(&mut sources, policies));
        }
        if cluster.is_empty() {
            findings.retain(|finding| !NEEDS_CLUSTER.contains(&finding.code));
        }
        let mut project = Project { sources, cluster: snapshot, set, findings };
        project.sort();
        Ok(project)
    }

    /// Adds what is legal and probably not meant.
    pub(crate) fn find_surprises(&mut self, has_cluster: bool) {
        let has_errors = self.has_errors();
        let is_sure = |finding: &Diagnostic| {
            (has_cluster || !NEEDS_CLUSTER.contains(&finding.code))
                && !(has_errors && UNSURE_BESIDE_ERRORS.contains(&finding.code))
        };
        let mut counts: BTreeMap<FileId, usize> = BTreeMap::new();
        for finding in check::surprises(&self.set, &self.cluster, &self.sources).into_iter().filter(is_sure) {
            let count = counts.entry(finding.span.file).or_default();
            *count += 1;
            if *count <= SURPRISES {
                self.findings.push(finding);
            }
        }
        for (file, count) in counts {
            if let Some(more @ 1..) = count.checked_sub(SURPRISES) {
                let end = u32::try_from(self.sources.text(file).len()).unwrap_or(u32::MAX);
                let message = format!("{} in this file", render::count(more, "more warning"));
                self.findings.push(Diagnostic::new(Code::MoreWarnings, Span::point(file, end), message));
            }
        }
    }

    /// Brings the findings into the order of files and places.
    pub(crate) fn sort(&mut self) {
        self.findings.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
        self.findings.dedup();
    }

    /// Whether any finding refuses a policy.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Tells the errors, and warnings too if `warnings`.
    pub(crate) fn tell(&self, terminal: &Terminal, warnings: bool) {
        let shown = self.findings.iter().filter(|finding| warnings || finding.severity == Severity::Error);
        render::text::tell(shown, &self.sources, terminal);
    }

    /// Adds the finding for a set that has no image; an error if it is not about what was read.
    pub(crate) fn refuse(&mut self, error: CompileError, lock: Option<FileId>) -> anyhow::Result<()> {
        let refused = Refused { set: &self.set, cluster: &self.cluster, sources: &self.sources, lock };
        self.findings.push(refused.finding(error)?);
        self.sort();
        Ok(())
    }

    /// The place of a node that was asked for by name.
    pub(crate) fn node(&self, name: Option<&str>) -> anyhow::Result<Option<usize>> {
        let Some(name) = name else { return Ok(None) };
        match self.cluster.node_named(name) {
            Some(place) => Ok(Some(place)),
            None => anyhow::bail!("the cluster has no node `{name}`{}", self.nodes()),
        }
    }

    fn nodes(&self) -> String {
        const SHOWN: usize = 5;
        let names: Vec<&str> =
            self.cluster.nodes.iter().take(SHOWN).map(|node| node.meta.name.as_str()).collect();
        match self.cluster.nodes.len().saturating_sub(SHOWN) {
            _ if names.is_empty() => "; it has none at all".to_owned(),
            0 => format!("; it has {}", names.join(", ")),
            more => format!("; it has {} and {more} more", names.join(", ")),
        }
    }

    /// Reads the lock of identity numbers. A file that is not there yet is an empty lock, if `may_be_new`.
    pub(crate) fn identity_lock(
        &mut self,
        path: Option<&Path>,
        may_be_new: bool,
    ) -> anyhow::Result<(IdentityLock, Option<FileId>)> {
        let Some(path) = path else { return Ok((IdentityLock::default(), None)) };
        if may_be_new && !path.try_exists()? {
            return Ok((IdentityLock::default(), None));
        }
        let file = match inputs::read_text(path, &mut self.sources)? {
            Ok(file) => file,
            Err(finding) => {
                self.findings.push(*finding);
                return Ok((IdentityLock::default(), None));
            }
        };
        match IdentityLock::parse(self.sources.text(file)) {
            Ok(lock) => Ok((lock, Some(file))),
            Err(error) => {
                self.findings.push(refusal::identity_lock(error, &self.sources, Some(file)));
                Ok((IdentityLock::default(), None))
            }
        }
    }

    /// Reads the lock of DNS names.
    pub(crate) fn fqdn_lock(&mut self, path: Option<&Path>) -> anyhow::Result<Option<FqdnLock>> {
        let Some(path) = path else { return Ok(None) };
        let read = inputs::read_text(path, &mut self.sources)?;
        match read.and_then(|file| FqdnLock::parse(file, self.sources.text(file))) {
            Ok(lock) => Ok(Some(lock)),
            Err(finding) => {
                self.findings.push(*finding);
                Ok(None)
            }
        }
    }
}

/// The addresses that a DNS name or pattern leads to.
pub(crate) fn addresses_of(lock: Option<&FqdnLock>, text: &str, is_pattern: bool) -> Vec<IpAddr> {
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
