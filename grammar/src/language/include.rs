//! Includes: which files a file asks for, and the sets that these define.
//!
//! A file may name the sets of the files it includes, and of those that these include. What comes over is checked
//! values, so nothing is found twice; at its use a set stands at the place of its name.
//!
//! Not here: paths as a system knows them, and reading files.

use super::{Grammar, Rule, escape, statements};
use crate::span::Span;
use crate::tree::CidrSet;
use pest::Parser;
use statements::{End, Statements};
use std::sync::Arc;

/// A set that other files may name.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    pub(super) name: Arc<str>,
    /// Where the name is defined.
    pub(super) at: Span,
    /// Its blocks; `None` if something of it could not be read.
    pub(super) blocks: Option<Arc<CidrSet>>,
}

/// The paths that a text's `include` statements name, in order.
pub(crate) fn paths(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    if memchr::memmem::find(text.as_bytes(), b"include").is_none() {
        return paths;
    }
    let mut statements = Statements::new(text);
    while let Some(byte) = statements.peek() {
        let before = statements.at();
        if statements.word() == "include" {
            let statement = text.get(statements.statement()).unwrap_or("");
            let parsed = Grammar::parse(Rule::include, statement).ok();
            let path = parsed.and_then(|mut pairs| super::texts(pairs.next()?).next());
            paths.extend(path.map(|path| unquoted(path.as_str().trim_end())));
        } else if matches!(byte, b'}' | b')' | b']')
            || statements.head().1 == End::Here && statements.at() == before
        {
            statements.skip_character();
        }
    }
    paths
}

fn unquoted(raw: &str) -> String {
    match raw.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) => escape::undone(inner),
        None => raw.to_owned(),
    }
}
