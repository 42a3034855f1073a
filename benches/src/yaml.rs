//! Manifests as text, in the block style people and tools write.

use std::fmt::{Display, Write};

/// A file in the making.
#[derive(Debug, Default)]
pub struct Yaml {
    text: String,
}

impl Yaml {
    /// An empty file with room for about that many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Yaml { text: String::with_capacity(bytes) }
    }

    /// Adds a line.
    pub fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// Adds text that brings its own line ends.
    pub fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Begins a document that describes an object.
    pub fn object(&mut self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) {
        if !self.text.is_empty() {
            self.line("---");
        }
        self.line(format_args!("apiVersion: {api_version}"));
        self.line(format_args!("kind: {kind}"));
        self.line("metadata:");
        self.line(format_args!("  name: {name}"));
        if let Some(namespace) = namespace {
            self.line(format_args!("  namespace: {namespace}"));
        }
    }

    /// The whole file.
    pub fn finish(self) -> String {
        self.text
    }
}
