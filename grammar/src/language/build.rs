//! Values of a statement's parts: the nodes that YAML would have given, at the places of the words that
//! stand for them.
//!
//! One tree holds all values of a file; what a set names is shared, as an alias is in YAML, and charged
//! for every use, so that sets of sets cannot grow without bound: what names stand for is bounded by what is written.

use super::Rule;
use crate::Limits;
use crate::diagnostic::{Code, Diagnostic};
use crate::findings::Findings;
use crate::span::{FileId, Span};
use crate::yaml::{Content, Node, NodeId, Tag, Tree};
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use pest::iterators::Pair;
use std::borrow::Cow;

/// A field of an object: its key and its value.
pub(super) type Field = (NodeId, NodeId);

/// Makes values.
pub(super) struct Build<'t, 'f> {
    pub(super) text: &'t str,
    pub(super) file: FileId,
    pub(super) tree: Tree<'t>,
    pub(super) findings: &'f mut Findings,
    /// Where the statement begins that is being read.
    pub(super) base: u32,
    values: usize,
    most: usize,
    /// Entries that names of sets stood for.
    copies: usize,
    most_copies: usize,
}

/// Entries that names may stand for in a file however short it is.
const COPIES: usize = 1 << 20;
/// The same, for every byte that is written.
const COPIES_A_BYTE: usize = 4;

impl<'t, 'f> Build<'t, 'f> {
    /// `written`: bytes of this file and of all that it may include.
    pub(super) fn new(
        text: &'t str,
        file: FileId,
        written: usize,
        limits: &Limits,
        findings: &'f mut Findings,
    ) -> Self {
        let (tree, most) = (Tree::new(file), limits.values);
        let most_copies = COPIES.saturating_add(written.saturating_mul(COPIES_A_BYTE)).min(most);
        Build { text, file, tree, findings, base: 0, values: 0, most, copies: 0, most_copies }
    }

    /// Counts what the name of a set stands for against its bound; false once it is passed, told once.
    pub(super) fn charge_copies(&mut self, entries: usize, at: Span) -> bool {
        let before = self.copies <= self.most_copies;
        self.copies = self.copies.saturating_add(entries);
        let after = self.copies <= self.most_copies;
        if before && !after {
            let message = format!("names of sets stand for more than {} entries", self.most_copies);
            self.findings.push(
                Diagnostic::new(Code::TooLarge, at, message)
                    .labelled("stands for nothing from here on")
                    .help("name a set once; a list that many policies need is a `group`"),
            );
        }
        // What follows would lack it.
        if !after {
            self.findings.repeat_error();
        }
        after && self.charge(entries, at)
    }

    /// Counts values against the file's bound; false once it is passed, told once.
    pub(super) fn charge(&mut self, values: usize, at: Span) -> bool {
        let before = self.values <= self.most;
        self.values = self.values.saturating_add(values);
        let after = self.values <= self.most;
        if before && !after {
            self.findings.push(
                Diagnostic::new(Code::TooLarge, at, format!("the file holds more than {} values", self.most))
                    .labelled("reading stops here")
                    .help("split the file"),
            );
        }
        after
    }

    /// Whether the bound on values is passed.
    pub(super) fn is_full(&self) -> bool {
        self.values > self.most
    }

    /// The place of a part of the statement.
    pub(super) fn span(&self, part: &Pair<'_, Rule>) -> Span {
        let part = part.as_span();
        // A part may have taken the blanks that follow it.
        let start = part.start();
        self.place(start, start + part.as_str().trim_end().len())
    }

    /// A place within the statement.
    pub(super) fn place(&self, start: usize, end: usize) -> Span {
        let offset = |at: usize| self.base.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
        Span { file: self.file, start: offset(start), end: offset(end) }
    }

    /// The place of a value.
    pub(super) fn span_of(&self, id: NodeId) -> Span {
        let (start, end) = self.tree.nodes.get(id.0 as usize).map_or((0, 0), |node| (node.start, node.end));
        Span { file: self.file, start, end }
    }

    fn push(&mut self, at: Span, content: Content<'t>) -> NodeId {
        self.charge(1, at);
        self.tree.push(Node { start: at.start, end: at.end, content })
    }

    /// Text.
    pub(super) fn scalar(&mut self, at: Span, text: impl Into<Cow<'t, str>>) -> NodeId {
        self.push(at, Content::Scalar(text.into(), Tag::Text))
    }

    /// A number or a truth value, told by its text.
    pub(super) fn plain(&mut self, at: Span, text: impl Into<Cow<'t, str>>) -> NodeId {
        self.push(at, Content::Scalar(text.into(), Tag::None))
    }

    /// What was reported already.
    pub(super) fn broken(&mut self, at: Span) -> NodeId {
        self.push(at, Content::Broken)
    }

    /// A list.
    pub(super) fn list(&mut self, at: Span, items: &[NodeId]) -> NodeId {
        let first = u32::try_from(self.tree.children.len()).unwrap_or(u32::MAX);
        self.tree.children.extend_from_slice(items);
        self.push(at, Content::Sequence { first, count: u32::try_from(items.len()).unwrap_or(u32::MAX) })
    }

    /// An object. A field that is given twice is a finding.
    pub(super) fn object(&mut self, at: Span, fields: &[Field]) -> NodeId {
        let first = u32::try_from(self.tree.children.len()).unwrap_or(u32::MAX);
        let mut kept: Vec<Field> = Vec::with_capacity(fields.len());
        let mut seen: HashMap<String, NodeId> = HashMap::new();
        for &(key, value) in fields {
            match seen.entry_ref(self.name_of(key)) {
                EntryRef::Occupied(earlier) => {
                    let earlier = *earlier.get();
                    self.given_twice(key, earlier);
                }
                EntryRef::Vacant(place) => {
                    place.insert(key);
                    kept.push((key, value));
                }
            }
        }
        for &(key, value) in &kept {
            self.tree.children.extend([key, value]);
        }
        self.push(at, Content::Mapping { first, count: u32::try_from(kept.len()).unwrap_or(u32::MAX) })
    }

    /// An object with one field.
    pub(super) fn wrapped(&mut self, at: Span, key: &'static str, value: NodeId) -> NodeId {
        let key = self.scalar(at, key);
        self.object(at, &[(key, value)])
    }

    /// A field whose key stands for `at`.
    pub(super) fn field(&mut self, at: Span, key: &'static str, value: NodeId) -> Field {
        (self.scalar(at, key), value)
    }

    /// A field of text.
    pub(super) fn text_field(&mut self, key: &'static str, part: Pair<'_, Rule>) -> Field {
        let value = self.text(&part);
        self.field(self.span_of(value), key, value)
    }

    /// A word or a string, its quotes and escapes undone.
    pub(super) fn text(&mut self, part: &Pair<'_, Rule>) -> NodeId {
        let at = self.span(part);
        let text = self.text;
        let raw = text.get(at.start as usize..at.end as usize).unwrap_or("");
        match raw.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
            Some(inner) if inner.contains('\\') => self.scalar(at, super::escape::undone(inner)),
            Some(inner) => self.scalar(at, inner),
            None => self.scalar(at, raw),
        }
    }

    /// The value of the only field of an object.
    pub(super) fn only_value(&self, id: NodeId) -> Option<NodeId> {
        match self.tree.nodes.get(id.0 as usize)?.content {
            Content::Mapping { first, count: 1 } => self.tree.children.get(first as usize + 1).copied(),
            _ => None,
        }
    }

    /// A list of texts.
    pub(super) fn texts<'p>(&mut self, at: Span, parts: impl Iterator<Item = Pair<'p, Rule>>) -> NodeId {
        let items: Vec<NodeId> = parts.map(|part| self.text(&part)).collect();
        self.list(at, &items)
    }

    /// The text of a value; empty if it has none.
    pub(super) fn name_of(&self, id: NodeId) -> &str {
        match self.tree.nodes.get(id.0 as usize).map(|node| &node.content) {
            Some(Content::Scalar(text, _)) => text,
            _ => "",
        }
    }

    fn given_twice(&mut self, key: NodeId, earlier: NodeId) {
        let message = format!("`{}` is given twice", self.name_of(key));
        let (at, first) = (self.span_of(key), self.span_of(earlier));
        self.findings.push(
            Diagnostic::new(Code::DuplicateKey, at, message)
                .labelled("given again here")
                .also(first, "given first here")
                .help("keep one of the two"),
        );
    }
}
