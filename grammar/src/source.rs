//! The files of a run: their names, their text, and lines and columns for people.

use crate::span::{FileId, Span};
use std::sync::Arc;

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name shown to people: a path as given, or `<stdin>`.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

/// All files of a run; a [`FileId`] is an index into it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// A place as people write it: 1-based line and column, columns counted in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in Unicode scalar values.
    pub column: u32,
}

impl Sources {
    /// No files.
    pub fn new() -> Self {
        Sources::default()
    }

    /// Adds a file.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let id = self.next_id();
        self.files.push(Source { name: name.into(), text: text.into() });
        id
    }

    /// The id that the next file added will have.
    pub fn next_id(&self) -> FileId {
        FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX))
    }

    /// The file of an id that this value gave out.
    pub fn get(&self, id: FileId) -> Option<&Source> {
        self.files.get(id.0 as usize)
    }

    /// Its name, `?` for a foreign id.
    pub fn name(&self, id: FileId) -> &str {
        self.get(id).map_or("?", |file| file.name.as_str())
    }

    /// Its text, empty for a foreign id.
    pub fn text(&self, id: FileId) -> &str {
        self.get(id).map_or("", |file| &file.text)
    }

    /// All files in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        (0..).map(FileId).zip(&self.files)
    }

    /// Line and column of a span's start. Linear in the file; for many places of one file use
    /// [`LineIndex`].
    pub fn locate(&self, span: Span) -> LineColumn {
        LineIndex::new(self.text(span.file)).locate(span.start)
    }
}

/// Line starts of one text.
#[derive(Clone, Debug)]
pub struct LineIndex<'t> {
    text: &'t str,
    starts: Vec<u32>,
}

impl<'t> LineIndex<'t> {
    /// Finds the line starts.
    pub fn new(text: &'t str) -> Self {
        let starts =
            memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| u32::try_from(at + 1).unwrap_or(u32::MAX));
        LineIndex { text, starts: std::iter::once(0).chain(starts).collect() }
    }

    /// Line and column of a byte offset; past the end it is the end.
    pub fn locate(&self, offset: u32) -> LineColumn {
        let offset = (offset as usize).min(self.text.len());
        let line = self.starts.partition_point(|&start| start as usize <= offset).max(1);
        let start = self.starts[line - 1] as usize;
        let before = self.text.as_bytes().get(start..offset).unwrap_or(&[]);
        // Continuation bytes do not start a character.
        let characters = before.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        LineColumn {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(characters + 1).unwrap_or(u32::MAX),
        }
    }
}
