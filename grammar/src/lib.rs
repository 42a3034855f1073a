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
use span::FileId;
use std::collections::BTreeMap;
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
    /// The sets that files of the policy language define, for those that include them.
    sets: BTreeMap<FileId, Vec<language::Exported>>,
    /// Bytes of all files.
    written: usize,
}

/// What became of the files that a file includes, by the paths that it names.
#[derive(Clone, Debug, Default)]
pub struct Included {
    files: BTreeMap<String, Result<FileId, String>>,
}

impl Included {
    /// The path leads to a file that was read before, into the same [`Reading`]. A file that is still being read
    /// (because it includes itself, by whatever way) may be named as well: it has nothing to give.
    pub fn file(&mut self, path: String, file: FileId) {
        self.files.insert(path, Ok(file));
    }

    /// The path leads to nothing that can be read, and why.
    pub fn refused(&mut self, path: String, why: String) {
        self.files.insert(path, Err(why));
    }

    fn get(&self, path: &str) -> Option<&Result<FileId, String>> {
        self.files.get(path)
    }
}

/// Reads one file into `reading`: in the policy language if its name ends in `.policy`, or if it has no ending, as
/// that of stdin, and begins with a word of it; otherwise YAML (or JSON, which is YAML).
///
/// `name` is shown to people. `bytes` that are not UTF-8 are one finding.
pub fn read(reading: &mut Reading, name: &str, bytes: Vec<u8>, limits: &Limits) {
    read_including(reading, name, bytes, limits, &Included::default());
}

/// The word among `known` that is a slip of the finger away from `word`, if one is.
pub fn nearest_word<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    manifest::hint::nearest(word, known)
}

/// Has findings about files in the policy language speak in its words, as those of [`read`] do: for those who find
/// something in what was read.
pub fn put_into_words(sources: &Sources, findings: &mut [Diagnostic]) {
    language::put_files_into_words(sources, findings);
}

/// Reads one file whose includes were read before. See [`includes`].
pub fn read_including(
    reading: &mut Reading,
    name: &str,
    bytes: Vec<u8>,
    limits: &Limits,
    included: &Included,
) {
    file::read(reading, name, bytes, limits, included);
}

/// The paths that a file's `include` statements name, in order; none if it is not in the policy language.
/// Each path is to be read first, and told to [`read_including`].
pub fn includes(name: &str, bytes: &[u8]) -> Vec<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if language::is_used(name, text) => language::paths(text),
        _ => Vec::new(),
    }
}
