//! The values of one document, in one arena.
//!
//! A value is an index, so an alias is the index of what it names: sharing costs nothing, and
//! dropping a tree is dropping two vectors. Containers keep their children side by side.
//! Keys of a mapping are text and differ from each other; what was written otherwise has been
//! reported and left out.

use super::scalar::{Resolved, resolve};
use crate::span::{FileId, Span};
use std::borrow::Cow;

/// Index of a value in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

/// The core-schema tags that change how a scalar is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// No tag: the text decides, if it is plain.
    None,
    /// Quoted, a block scalar, or `!!str`.
    Text,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Content<'t> {
    /// Text, quoted or not.
    Scalar(Cow<'t, str>, Tag),
    /// Items `first..first + count` of the children.
    Sequence { first: u32, count: u32 },
    /// `count` pairs of key and value in the children from `first` on.
    Mapping { first: u32, count: u32 },
    /// A run of list items that the lane has read; an item of a sequence, standing for many.
    Run(u32),
    /// Something that was reported already; it agrees with every type.
    Broken,
}

/// A value and its place in the original text.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) content: Content<'t>,
}

/// One document.
#[derive(Debug)]
pub(crate) struct Tree<'t> {
    pub(crate) file: FileId,
    pub(crate) nodes: Vec<Node<'t>>,
    pub(crate) children: Vec<NodeId>,
    pub(crate) root: NodeId,
}

/// A value of a tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'d> {
    tree: &'d Tree<'d>,
    id: NodeId,
}

impl<'t> Tree<'t> {
    /// An empty tree, to be filled.
    pub(crate) fn new(file: FileId) -> Self {
        Tree { file, nodes: Vec::new(), children: Vec::new(), root: NodeId(0) }
    }

    /// The root of the document.
    pub(crate) fn root(&self) -> Value<'_> {
        Value { tree: self, id: self.root }
    }

    /// Adds a value.
    pub(crate) fn push(&mut self, node: Node<'t>) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }

    /// Empties the tree and keeps its memory for the next document.
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.children.clear();
        self.root = NodeId(0);
    }
}

impl<'d> Value<'d> {
    fn node(self) -> Option<&'d Node<'d>> {
        self.tree.nodes.get(self.id.0 as usize)
    }

    /// What it is.
    pub(crate) fn content(self) -> &'d Content<'d> {
        self.node().map_or(&Content::Broken, |node| &node.content)
    }

    /// Where it stands.
    pub(crate) fn span(self) -> Span {
        let (start, end) = self.node().map_or((0, 0), |node| (node.start, node.end));
        Span { file: self.tree.file, start, end }
    }

    /// The place that stands for the whole value without covering all of it: the first key of a
    /// mapping, the value itself otherwise.
    pub(crate) fn head(self) -> Span {
        match self.pairs().and_then(|mut pairs| pairs.next()) {
            Some((key, _)) if key.span().start >= self.span().start => key.span(),
            _ => self.span(),
        }
    }

    /// Whether the field counts as absent.
    pub(crate) fn is_null(self) -> bool {
        match self.content() {
            Content::Scalar(text, tag) => matches!(resolve(text, *tag), Resolved::Null),
            _ => false,
        }
    }

    /// Whether a problem with it was reported already.
    pub(crate) fn is_broken(self) -> bool {
        matches!(self.content(), Content::Broken)
    }

    /// The scalar, read as the YAML library of the API server reads it.
    pub(crate) fn scalar(self) -> Option<Resolved<'d>> {
        match self.content() {
            Content::Scalar(text, tag) => Some(resolve(text, *tag)),
            _ => None,
        }
    }

    /// The scalar's text, whatever its type.
    pub(crate) fn raw(self) -> Option<&'d str> {
        match self.content() {
            Content::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub(crate) fn items(self) -> Option<impl ExactSizeIterator<Item = Value<'d>> + Clone> {
        let Content::Sequence { first, count } = *self.content() else { return None };
        let tree = self.tree;
        let ids = tree.children.get(first as usize..(first + count) as usize).unwrap_or(&[]);
        Some(ids.iter().map(move |&id| Value { tree, id }))
    }

    /// The pairs of a mapping.
    pub(crate) fn pairs(self) -> Option<impl ExactSizeIterator<Item = (Value<'d>, Value<'d>)> + Clone> {
        let Content::Mapping { first, count } = *self.content() else { return None };
        let tree = self.tree;
        let ids = tree.children.get(first as usize..(first + 2 * count) as usize).unwrap_or(&[]);
        Some(ids.chunks_exact(2).map(move |pair| (Value { tree, id: pair[0] }, Value { tree, id: pair[1] })))
    }

    /// The value of a mapping's key; null counts as absent.
    pub(crate) fn get(self, key: &str) -> Option<Value<'d>> {
        self.pairs()?
            .find(|(name, _)| name.raw() == Some(key))
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }
}
