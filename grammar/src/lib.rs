//! What can be written: text to trees, with a place for every value and every problem found.
//!
//! [`read`] takes one file's bytes and appends objects and diagnostics. It never stops at the
//! first problem, never panics, and is bounded in time and memory whatever the bytes are.
//!
//! Not here: what a policy means, which objects exist, files and the environment (the caller reads
//! them), and how diagnostics look on a terminal.

pub mod diagnostic;
mod encoding;
mod file;
mod findings;
pub mod format;
mod language;
mod manifest;
pub mod source;
pub mod span;
pub mod tree;
pub mod write;
mod yaml;

use diagnostic::Diagnostic;
use source::Sources;
use tree::Object;

/// Bounds on one input file. Every one is generous for people and small for machines.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: usize,
    /// Nesting of values.
    pub depth: u32,
    /// Values after aliases are expanded.
    pub values: usize,
    /// Problems reported per file; the rest are counted in one last finding.
    pub diagnostics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { file_bytes: 1 << 30, depth: 64, values: 50_000_000, diagnostics: 200 }
    }
}

/// What reading collected.
#[derive(Debug, Default)]
pub struct Reading {
    /// The files, for places.
    pub sources: Sources,
    /// The objects, in the order of files and of documents within them.
    pub objects: Vec<Object>,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads one file into `reading`: in the policy language if its name ends in `.policy`, otherwise YAML
/// (or JSON, which is YAML).
///
/// `name` is shown to people. `bytes` that are not UTF-8 are one finding.
pub fn read(reading: &mut Reading, name: &str, bytes: Vec<u8>, limits: &Limits) {
    file::read(reading, name, bytes, limits);
}
