//! Spans as people write them: file, line, column.

use std::collections::BTreeMap;
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::source::{LineIndex, Sources};
use weir_grammar::span::{FileId, Span};

/// A span in lines and columns, all from 1; columns count characters, the end is one past the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'s> {
    /// The file's name.
    pub file: &'s str,
    /// Where it begins.
    pub line: u32,
    /// Where in that line.
    pub column: u32,
    /// Where it ends.
    pub end_line: u32,
    /// Where in that line.
    pub end_column: u32,
}

/// The files of some findings, indexed by line once.
#[derive(Debug)]
pub struct Places<'s> {
    sources: &'s Sources,
    indexes: BTreeMap<FileId, LineIndex<'s>>,
}

impl<'s> Places<'s> {
    /// Of these findings.
    pub fn of<'d>(findings: impl IntoIterator<Item = &'d Diagnostic>, sources: &'s Sources) -> Self {
        let mut places = Places { sources, indexes: BTreeMap::new() };
        for finding in findings {
            places.add(finding.span.file);
            for label in &finding.labels {
                places.add(label.span.file);
            }
        }
        places
    }

    /// Indexes one more file.
    pub fn add(&mut self, file: FileId) {
        self.indexes.entry(file).or_insert_with(|| LineIndex::new(self.sources.text(file)));
    }

    /// The place of a span.
    pub fn place(&self, span: Span) -> Place<'s> {
        let (start, end) = match self.indexes.get(&span.file) {
            Some(index) => (index.locate(span.start), index.locate(span.end.max(span.start))),
            None => {
                let end = Span::point(span.file, span.end.max(span.start));
                (self.sources.locate(span), self.sources.locate(end))
            }
        };
        Place {
            file: self.sources.name(span.file),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
        }
    }

    /// The text of a span's file.
    pub fn text(&self, span: Span) -> &'s str {
        self.sources.text(span.file)
    }
}
