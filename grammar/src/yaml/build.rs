//! Parser events to a tree, document by document.
//!
//! After a syntax error, or a value out of bounds, the rest of the document is skipped and the next
//! one is read, so one run reports the problems of every document. Aliases share what they name;
//! what they would expand to is charged against two bounds, the file's own and the ratio that the
//! API server's YAML library allows, so a bomb ends when its second or third level is read.

use super::lane::Lane;
use super::message;
use super::offsets::Offsets;
use super::scalar::{Resolved, resolve};
use super::tree::{Content, Node, NodeId, Tag, Tree};
use crate::Limits;
use crate::diagnostic::{Code, Diagnostic};
use crate::findings::Findings;
use crate::span::{FileId, Span};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle, options};
use hashbrown::HashMap;
use std::borrow::Cow;

/// The documents of one text.
pub(crate) struct Documents<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    file: FileId,
    limits: Limits,
    offsets: &'t Offsets,
    lane: &'t Lane,
    /// The run whose last line comes next.
    next_run: usize,
    /// Runs found in the place where the lane saw them.
    placed_runs: usize,
    /// Values read so far in the whole file, aliases expanded.
    values: usize,
    frames: Vec<Frame>,
    pending: Vec<NodeId>,
    anchors: HashMap<usize, (NodeId, usize)>,
    literal: usize,
    aliased: usize,
    sound: bool,
    /// Findings before the document.
    first_finding: usize,
}

/// An open container.
struct Frame {
    start: u32,
    /// End of the last child, as written.
    end: u32,
    mapping: bool,
    block: bool,
    broken: bool,
    anchor: usize,
    /// Where its children begin in `pending`.
    base: usize,
    /// Values charged before it.
    before: usize,
    /// Where its last item starts, in the text as parsed.
    last_item: u32,
}

/// Why a document was given up.
enum Abandon {
    Syntax(ScanError),
    Reported,
}

impl<'t> Documents<'t> {
    /// Reads `text`, in which places are moved by `offsets`, and from which `lane` took lines.
    pub(crate) fn new(
        file: FileId,
        text: &'t str,
        offsets: &'t Offsets,
        lane: &'t Lane,
        limits: &Limits,
    ) -> Self {
        let mut options = options! {
            emit_unresolved_aliases: true,
            simple_key_max_lookahead: 4096,
            flow_nesting_limit: limits.depth as usize + 1,
            block_nesting_limit: limits.depth as usize + 1,
        };
        options.set_emit_comments(false);
        Documents {
            parser: Parser::new_from_str_with_options(text, options),
            text,
            file,
            limits: *limits,
            offsets,
            lane,
            next_run: 0,
            placed_runs: 0,
            values: 0,
            frames: Vec::new(),
            pending: Vec::new(),
            anchors: HashMap::new(),
            literal: 0,
            aliased: 0,
            sound: true,
            first_finding: 0,
        }
    }

    /// Whether every run stood where the lane took it to be.
    pub(crate) fn all_runs_placed(&self) -> bool {
        self.placed_runs == self.lane.runs().len()
    }

    /// How many findings there were before the document that was read last.
    pub(crate) fn first_finding(&self) -> usize {
        self.first_finding
    }

    /// Reads the next document into `tree`. `None` after the last one; otherwise whether the
    /// document is free of problems.
    pub(crate) fn next(&mut self, tree: &mut Tree<'t>, findings: &mut Findings) -> Option<bool> {
        loop {
            match self.document(tree, findings) {
                Ok(true) => return Some(self.sound),
                Ok(false) => return None,
                Err(Abandon::Syntax(error)) => self.report_syntax(&error, findings),
                Err(Abandon::Reported) => {}
            }
            // A file that is too large is so in every later document, too.
            if self.values > self.limits.values || !matches!(self.parser.proceed_next_document(), Ok(true)) {
                return None;
            }
        }
    }

    /// Reads up to the end of a document (`true`) or of the text.
    fn document(&mut self, tree: &mut Tree<'t>, findings: &mut Findings) -> Result<bool, Abandon> {
        tree.clear();
        self.frames.clear();
        self.pending.clear();
        self.anchors.clear();
        (self.literal, self.aliased, self.sound) = (0, 0, true);
        self.first_finding = findings.len();
        while let Some(event) = self.parser.next_event() {
            let (event, place) = event.map_err(Abandon::Syntax)?;
            let from = offset(place.start);
            let span = self.span(from, offset(place.end));
            let tag_span = |documents: &Self| match place.tag_span() {
                Some(tag) => documents.span(offset(tag.start), offset(tag.end)),
                None => span,
            };
            match event {
                Event::DocumentEnd => return Ok(true),
                Event::StreamEnd => return Ok(false),
                Event::Scalar(text, style, anchor, tag) => {
                    self.enter_item(from, tree);
                    self.charge(1, span, findings)?;
                    let content = match scalar_content(text, style, tag.as_deref()) {
                        Ok(content) => content,
                        Err(tag) => {
                            self.foreign_tag(&tag, tag_span(self), findings);
                            Content::Broken
                        }
                    };
                    let id = tree.push(Node { start: span.start, end: span.end, content });
                    if anchor != 0 {
                        self.anchors.insert(anchor, (id, 1));
                    }
                    self.attach(id, span, tree, findings);
                }
                Event::SequenceStart(style, anchor, tag) => {
                    self.enter_item(from, tree);
                    let broken = foreign_to(tag.as_deref(), "seq");
                    if let Some(tag) = &broken {
                        self.foreign_tag(tag, tag_span(self), findings);
                    }
                    self.open(span, false, style, anchor, broken.is_some(), findings)?;
                }
                Event::MappingStart(style, anchor, tag) => {
                    self.enter_item(from, tree);
                    let broken = foreign_to(tag.as_deref(), "map");
                    if let Some(tag) = &broken {
                        self.foreign_tag(tag, tag_span(self), findings);
                    }
                    self.open(span, true, style, anchor, broken.is_some(), findings)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(span, tree, findings),
                Event::Alias(anchor) => {
                    self.enter_item(from, tree);
                    let id = self.alias(anchor, span, findings)?;
                    self.attach(id, span, tree, findings);
                }
                Event::UnresolvedAlias(name) => {
                    self.enter_item(from, tree);
                    self.sound = false;
                    findings.push(
                        Diagnostic::new(
                            Code::Syntax,
                            span,
                            format!("`*{name}` names no anchor of this document"),
                        )
                        .labelled("no such anchor")
                        .help(format!(
                            "define it before with `&{name}`, or quote the value if a star is meant"
                        )),
                    );
                    let id = tree.push(Node { start: span.start, end: span.end, content: Content::Broken });
                    self.attach(id, span, tree, findings);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Before an item of a block sequence: if it is the one that the lane left at the end of a run,
    /// and the one before it is the run's first, the run stands between them.
    fn enter_item(&mut self, from: u32, tree: &mut Tree<'t>) {
        while let Some(run) = self.lane.runs().get(self.next_run)
            && run.last_at <= from
        {
            if let Some(frame) = self.frames.last()
                && run.last_at == from
                && !frame.mapping
                && frame.block
                && frame.last_item == run.first_at
                // Deeper lines may lie in the run than in its first and last item.
                && self.frames.len() + 3 <= self.limits.depth as usize
                && self.values + run.values <= self.limits.values
            {
                self.values += run.values;
                self.literal += run.values;
                let index = u32::try_from(self.next_run).unwrap_or(u32::MAX);
                let at = self.offsets.original(run.last_at);
                self.pending.push(tree.push(Node { start: at, end: at, content: Content::Run(index) }));
                self.placed_runs += 1;
            }
            self.next_run += 1;
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.last_item = from;
        }
    }

    fn open(
        &mut self,
        span: Span,
        mapping: bool,
        style: StructureStyle,
        anchor: usize,
        broken: bool,
        findings: &mut Findings,
    ) -> Result<(), Abandon> {
        self.charge(1, span, findings)?;
        if self.frames.len() >= self.limits.depth as usize {
            findings.push(too_deep(span, self.limits.depth));
            return Err(Abandon::Reported);
        }
        self.frames.push(Frame {
            start: span.start,
            end: span.end,
            mapping,
            block: style == StructureStyle::Block,
            broken,
            anchor,
            base: self.pending.len(),
            before: self.values - 1,
            last_item: u32::MAX,
        });
        Ok(())
    }

    fn close(&mut self, span: Span, tree: &mut Tree<'t>, findings: &mut Findings) {
        let Some(frame) = self.frames.pop() else { return };
        let end = if frame.block { frame.end } else { span.end };
        let span = Span { file: self.file, start: frame.start, end };
        let first = u32::try_from(tree.children.len()).unwrap_or(u32::MAX);
        let content = if frame.mapping {
            self.sound &= super::mapping::fill(tree, &self.pending[frame.base..], self.file, findings);
            let count = u32::try_from((tree.children.len() - first as usize) / 2).unwrap_or(u32::MAX);
            Content::Mapping { first, count }
        } else {
            tree.children.extend_from_slice(&self.pending[frame.base..]);
            let count = u32::try_from(tree.children.len() - first as usize).unwrap_or(u32::MAX);
            Content::Sequence { first, count }
        };
        self.pending.truncate(frame.base);
        let content = if frame.broken { Content::Broken } else { content };
        let id = tree.push(Node { start: span.start, end: span.end, content });
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, (id, self.values - frame.before));
        }
        self.attach(id, span, tree, findings);
    }

    fn alias(&mut self, anchor: usize, span: Span, findings: &mut Findings) -> Result<NodeId, Abandon> {
        let Some(&(id, size)) = self.anchors.get(&anchor) else {
            findings.push(
                Diagnostic::new(Code::AliasExpansion, span, "an alias stands inside the value that it names")
                    .labelled("expands without end"),
            );
            return Err(Abandon::Reported);
        };
        self.aliased += size;
        self.values += size;
        let total = self.aliased + self.literal;
        if self.values > self.limits.values
            || (self.aliased > 100 && total > 1000 && excessive(self.aliased, total))
        {
            findings.push(
                Diagnostic::new(
                    Code::AliasExpansion,
                    span,
                    format!(
                        "the aliases up to here expand to {} values, from {} written ones",
                        self.aliased, self.literal
                    ),
                )
                .labelled("one alias too many")
                .help("write the values out, or share fewer of them"),
            );
            return Err(Abandon::Reported);
        }
        Ok(id)
    }

    /// Hands a finished value to its container, or makes it the root.
    fn attach(&mut self, id: NodeId, span: Span, tree: &mut Tree<'t>, findings: &mut Findings) {
        let Some(frame) = self.frames.last_mut() else {
            tree.root = id;
            return;
        };
        frame.end = span.end;
        let is_key = frame.mapping && (self.pending.len() - frame.base).is_multiple_of(2);
        self.pending.push(id);
        if is_key
            && let Some(Node { content: Content::Sequence { .. } | Content::Mapping { .. }, .. }) =
                tree.nodes.get(id.0 as usize)
        {
            self.sound = false;
            findings.push(
                Diagnostic::new(Code::KeyNotText, span, "a mapping key is a list or a mapping, not text")
                    .labelled("keys of a manifest are text"),
            );
        }
    }

    fn charge(&mut self, values: usize, span: Span, findings: &mut Findings) -> Result<(), Abandon> {
        self.values += values;
        self.literal += values;
        if self.values <= self.limits.values {
            return Ok(());
        }
        findings.push(
            Diagnostic::new(
                Code::TooLarge,
                span,
                format!("the file holds more than {} values", self.limits.values),
            )
            .labelled("reading stops here")
            .help("split the file"),
        );
        Err(Abandon::Reported)
    }

    fn foreign_tag(&mut self, tag: &str, span: Span, findings: &mut Findings) {
        self.sound = false;
        findings.push(
            Diagnostic::new(
                Code::ForeignTag,
                span,
                format!("the tag `{tag}` does not fit a value of a manifest"),
            )
            .labelled("not understood here")
            .help("leave the tag out; quote the value if it is text"),
        );
    }

    fn report_syntax(&mut self, error: &ScanError, findings: &mut Findings) {
        let at = u32::try_from(error.marker().byte_offset().unwrap_or(0)).unwrap_or(u32::MAX);
        let rest = self.text.get(at as usize..).unwrap_or("");
        let width = rest.chars().next().filter(|&c| c != '\n').map_or(0, char::len_utf8);
        let span = self.span(at, at + u32::try_from(width).unwrap_or(0));
        findings.push(match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(span, self.limits.depth),
            kind => message::syntax(kind, span),
        });
    }

    fn span(&self, from: u32, to: u32) -> Span {
        let start = self.offsets.original(from);
        Span { file: self.file, start, end: self.offsets.original_end(to).max(start) }
    }
}

fn offset(marker: granit_parser::Marker) -> u32 {
    u32::try_from(marker.byte_offset().unwrap_or(0)).unwrap_or(u32::MAX)
}

fn too_deep(span: Span, depth: u32) -> Diagnostic {
    Diagnostic::new(Code::TooDeep, span, format!("values are nested more than {depth} deep"))
        .labelled("too deep")
        .help("no manifest needs this; the rest of the document is not read")
}

/// The content of a scalar, or the tag that does not fit it.
fn scalar_content<'t>(
    text: Cow<'t, str>,
    style: ScalarStyle,
    tag: Option<&granit_parser::Tag>,
) -> Result<Content<'t>, String> {
    let style = if style == ScalarStyle::Plain { Tag::None } else { Tag::Text };
    let Some(tag) = tag else { return Ok(Content::Scalar(text, style)) };
    let kind = match tag.core_suffix() {
        Some("str") => Tag::Text,
        Some("null") if resolve(&text, Tag::None) == Resolved::Null => Tag::None,
        Some("bool") if matches!(resolve(&text, Tag::None), Resolved::Bool(_)) => Tag::None,
        Some("int") if matches!(resolve(&text, Tag::None), Resolved::Int(_)) => Tag::None,
        Some("float") if matches!(resolve(&text, Tag::None), Resolved::Int(_) | Resolved::Float(_)) => {
            Tag::None
        }
        // The lone `!` says "not resolved", which for a scalar is text.
        None if tag.original() == "!" => Tag::Text,
        None if text == "<<" && tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() == Some("merge") => {
            Tag::None
        }
        _ => return Err(tag.original()),
    };
    Ok(Content::Scalar(text, kind))
}

/// The tag, if it is not `own` (or the lone `!`).
fn foreign_to(tag: Option<&granit_parser::Tag>, own: &str) -> Option<String> {
    tag.filter(|tag| tag.core_suffix() != Some(own) && tag.original() != "!")
        .map(granit_parser::Tag::original)
}

/// The ratio of go-yaml: nearly everything may come from aliases in a small document, a tenth in
/// one of four million values.
fn excessive(aliased: usize, total: usize) -> bool {
    const LOW: usize = 400_000;
    const HIGH: usize = 4_000_000;
    let percent = match total {
        ..=LOW => 99,
        HIGH.. => 10,
        _ => 99 - 89 * (total - LOW) / (HIGH - LOW),
    };
    aliased.saturating_mul(100) > total.saturating_mul(percent)
}
