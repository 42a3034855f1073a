//! A world: policies and a cluster, read and translated, and compiled when somebody asks.

use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::{CompileError, Compiled, Input, Options, compile};
use weir_compiler::flow::{self, Flow};
use weir_compiler::fqdn::{FqdnLock, FqdnPattern};
use weir_compiler::identity::IdentityLock;
use weir_compiler::image::write::ImageBytes;
use weir_compiler::ir::PolicySet;
use weir_compiler::translate::translate;
use weir_grammar::diagnostic::{Diagnostic, Severity};
use weir_grammar::source::Sources;
use weir_grammar::{Limits, Reading};

/// Everything that verdicts depend on, and what was found wrong with it.
#[derive(Debug)]
pub struct World {
    /// The files.
    pub sources: Sources,
    /// The cluster.
    pub cluster: Cluster,
    /// The policies.
    pub policies: PolicySet,
    /// Names of addresses outside, if there is a lock file.
    pub lock: Option<FqdnLock>,
    /// Findings, warnings among them.
    pub findings: Vec<Diagnostic>,
    image: OnceLock<Result<ImageBytes, String>>,
    node_images: OnceLock<Result<Vec<ImageBytes>, String>>,
}

impl World {
    /// Reads manifests, given as names and bytes: policies and objects of the cluster in any order.
    pub fn read(files: Vec<(String, Vec<u8>)>) -> World {
        let mut reading = Reading::default();
        for (name, bytes) in files {
            weir_grammar::read(&mut reading, &name, bytes, &Limits::default());
        }
        let Reading { sources, mut objects, mut diagnostics, .. } = reading;
        let cluster = Cluster::collect(&mut objects, &mut diagnostics);
        let policies = translate(objects, &cluster, &mut diagnostics);
        World {
            sources,
            cluster,
            policies,
            lock: None,
            findings: diagnostics,
            image: OnceLock::new(),
            node_images: OnceLock::new(),
        }
    }

    /// Reads manifests from files.
    ///
    /// # Errors
    /// A file that cannot be read, with its name.
    pub fn load(paths: &[&Path]) -> Result<World, String> {
        let bytes = |path: &&Path| match std::fs::read(path) {
            Ok(bytes) => Ok((path.display().to_string(), bytes)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        Ok(World::read(paths.iter().map(bytes).collect::<Result<_, _>>()?))
    }

    /// Adds a lock file of DNS names; before anything is compiled.
    pub fn read_lock(&mut self, name: &str, text: &str) {
        let file = self.sources.add(name, text);
        match FqdnLock::parse(file, text) {
            Ok(lock) => self.lock = Some(lock),
            Err(finding) => self.findings.push(*finding),
        }
    }

    /// Reads flows; lines that are none join the findings.
    pub fn read_flows(&mut self, name: &str, text: &str) -> Vec<Flow> {
        let file = self.sources.add(name, text);
        flow::read(file, text, &self.cluster, &mut self.findings)
    }

    /// The errors found so far, one a line, each with its place.
    pub fn errors(&self) -> Vec<String> {
        let is_error = |finding: &&Diagnostic| finding.severity == Severity::Error;
        let shown = |finding: &Diagnostic| {
            let place = self.sources.locate(finding.span);
            let file = self.sources.name(finding.span.file);
            let (line, column) = (place.line, place.column);
            format!("{file}:{line}:{column}: {} {}", finding.code.as_str(), finding.message)
        };
        self.findings.iter().filter(is_error).map(shown).collect()
    }

    /// The image of the whole cluster.
    ///
    /// # Errors
    /// Why there is none.
    pub fn image(&self) -> Result<&ImageBytes, String> {
        self.image.get_or_init(|| self.compile(None)).as_ref().map_err(Clone::clone)
    }

    /// The images of the nodes, by place in the cluster.
    ///
    /// # Errors
    /// Why there is one missing.
    pub fn node_images(&self) -> Result<&[ImageBytes], String> {
        let all = || (0..self.cluster.nodes.len()).map(|node| self.compile(Some(node))).collect();
        self.node_images.get_or_init(all).as_deref().map_err(Clone::clone)
    }

    fn compile(&self, node: Option<usize>) -> Result<ImageBytes, String> {
        let options = Options { node, ..Options::default() };
        match self.compile_with(&mut IdentityLock::default(), &options) {
            Ok(compiled) => Ok(compiled.bytes),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The addresses that the lock file gives to a DNS name or the names of a pattern.
    pub fn addresses_of(&self, text: &str, is_pattern: bool) -> Vec<IpAddr> {
        let pattern = FqdnPattern::from_text(text, is_pattern);
        let known = self.lock.iter().flat_map(FqdnLock::iter);
        let selected = known.filter(|(name, _)| pattern.matches(name));
        selected.flat_map(|(_, addresses)| addresses).copied().collect()
    }

    /// Compiles with an identity lock and options; nothing is kept.
    ///
    /// # Errors
    /// Why there is no image.
    pub fn compile_with(&self, lock: &mut IdentityLock, options: &Options) -> Result<Compiled, CompileError> {
        let addresses_of = |text: &str, is_pattern: bool| self.addresses_of(text, is_pattern);
        let input = Input {
            set: &self.policies,
            cluster: &self.cluster,
            sources: &self.sources,
            addresses_of: &addresses_of,
        };
        compile(&input, lock, options, &mut |_| {})
    }
}
