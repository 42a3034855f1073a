//! Address blocks, groups, exceptions, and the sets that give names to lists of them.
//!
//! A set stands for its blocks as if they were written in its place; their places are where they are written.
//! A set must be defined above its use, so that no set can hold itself.

use super::Rule;
use super::build::{Build, Field};
use super::selector;
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::{ENTITY_NAMES, hint};
use crate::span::Span;
use crate::yaml::NodeId;
use hashbrown::HashMap;
use pest::iterators::Pair;

/// Sets among whose names one that was meant is looked for.
const NEAR: usize = 500;

/// One entry: a prefix or groups, perhaps with exceptions.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) at: Span,
    source: Field,
    is_prefix: bool,
    except: Option<Field>,
}

impl Block {
    /// The prefix, if the block is nothing else.
    pub(super) fn plain(&self) -> Option<NodeId> {
        (self.is_prefix && self.except.is_none()).then_some(self.source.1)
    }

    /// As an entry of `fromCIDRSet`, or as an `ipBlock`.
    pub(super) fn entry(&self, build: &mut Build<'_, '_>) -> NodeId {
        let fields: Vec<Field> = std::iter::once(self.source).chain(self.except).collect();
        build.object(self.at, &fields)
    }

    /// Whether it names groups.
    pub(super) fn is_group(&self) -> bool {
        !self.is_prefix
    }
}

/// The sets of a file.
#[derive(Default)]
pub(super) struct Sets<'t>(HashMap<&'t str, Set>);

struct Set {
    name: Span,
    blocks: Vec<Block>,
    /// Something of it could not be read: whoever names it lacks that, too.
    is_broken: bool,
}

impl<'t> Sets<'t> {
    /// Takes a definition. Returns its entries, to be checked.
    pub(super) fn define(&mut self, build: &mut Build<'t, '_>, statement: Pair<'_, Rule>) -> Vec<Block> {
        let errors = build.findings.errors();
        let mut blocks = Vec::new();
        let mut name = Span::point(build.file, build.base);
        for part in statement.into_inner() {
            match part.as_rule() {
                Rule::word => name = build.span(&part),
                Rule::block => blocks.extend(self.block(build, part)),
                _ => {}
            }
        }
        let text = build.text.get(name.start as usize..name.end as usize).unwrap_or("");
        let is_name =
            text.starts_with(|first: char| first.is_ascii_alphabetic()) && !text.contains([':', '/', '*']);
        let finding = if !is_name {
            Diagnostic::new(Code::SetName, name, format!("`{}` cannot name a set", hint::short(text)))
                .labelled("not a name")
                .help("names begin with a letter and have letters, digits, `-`, `_` and `.`")
        } else if ENTITY_NAMES.contains(&text) {
            Diagnostic::new(Code::SetName, name, format!("`{text}` is an entity and cannot name a set"))
                .labelled("taken by the API")
                .help("give the set another name")
        } else if let Some(&Set { name: earlier, .. }) = self.0.get(text) {
            Diagnostic::new(Code::SetName, name, format!("the set `{text}` is defined twice"))
                .labelled("defined again here")
                .also(earlier, "defined first here")
                .help("keep one of the two")
        } else {
            let is_broken = build.findings.errors() > errors;
            self.0.insert(text, Set { name, blocks: blocks.clone(), is_broken });
            return blocks;
        };
        build.findings.push(finding);
        blocks
    }

    /// The blocks of a set, if there is one of the name; charged as if written.
    pub(super) fn named(&self, build: &mut Build<'_, '_>, name: &Pair<'_, Rule>) -> Option<Vec<Block>> {
        let Set { blocks, is_broken, .. } = self.0.get(name.as_str().trim_end())?;
        if *is_broken {
            build.findings.repeat_error();
        }
        let at = build.span(name);
        Some(if build.charge(blocks.len(), at) { blocks.clone() } else { Vec::new() })
    }

    /// The blocks that an entry of a list stands for.
    pub(super) fn block(&self, build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> Vec<Block> {
        let at = build.span(&part);
        let (mut source, mut except) = (None, None);
        for piece in part.into_inner() {
            let piece_at = build.span(&piece);
            match piece.as_rule() {
                Rule::name => {
                    return self.named(build, &piece).unwrap_or_else(|| {
                        self.report_unknown(build, &piece, &[]);
                        Vec::new()
                    });
                }
                Rule::address => source = Some((build.text_field("cidr", piece), true)),
                Rule::by_group => {
                    let name = super::texts(piece).next();
                    source = name.map(|name| (build.text_field("cidrGroupRef", name), false));
                }
                Rule::by_labels => {
                    let labels = selector::selector(build, &piece, None);
                    source = Some((build.field(piece_at, "cidrGroupSelector", labels), false));
                }
                _ => {
                    let list = self.prefixes(build, piece);
                    except = Some(build.field(piece_at, "except", list));
                }
            }
        }
        source.map(|(source, is_prefix)| Block { at, source, is_prefix, except }).into_iter().collect()
    }

    /// The plain prefixes among a part's pieces.
    pub(super) fn prefixes(&self, build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> NodeId {
        let at = build.span(&part);
        let mut items = Vec::new();
        for piece in part.into_inner() {
            match piece.as_rule() {
                Rule::address => items.push(build.text(&piece)),
                Rule::name => match self.named(build, &piece) {
                    Some(blocks) => {
                        items.extend(blocks.iter().filter_map(Block::plain));
                        if blocks.iter().any(|block| block.plain().is_none()) {
                            let span = build.span(&piece);
                            build.findings.push(
                                Diagnostic::new(
                                    Code::SetName,
                                    span,
                                    "a set with exceptions or groups has no place here",
                                )
                                .labelled("more than plain prefixes")
                                .help("name a set of prefixes alone, or write them out"),
                            );
                        }
                    }
                    None => self.report_unknown(build, &piece, &[]),
                },
                _ => {}
            }
        }
        build.list(at, &items)
    }

    /// Reports a name that is neither a set nor among `others`.
    pub(super) fn report_unknown(&self, build: &mut Build<'_, '_>, name: &Pair<'_, Rule>, others: &[&str]) {
        let text = name.as_str().trim_end();
        // Among very many names any word is near to some.
        let sets = self.0.keys().copied().filter(|_| self.0.len() <= NEAR);
        let mut known: Vec<&str> = sets.chain(others.iter().copied()).collect();
        known.sort_unstable();
        let what = if others.is_empty() { "there is no set" } else { "there is no set and no entity" };
        let help = match hint::nearest(text, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if others.is_empty() => {
                format!("define it above: set {} = {{ 192.0.2.0/24 }}", hint::short(text))
            }
            None => format!(
                "entities are {}; a set is defined above its use; a label is `key=value`",
                hint::list(others)
            ),
        };
        let finding =
            Diagnostic::new(Code::SetName, build.span(name), format!("{what} `{}`", hint::short(text)));
        build.findings.push(finding.labelled("names nothing").help(help));
    }
}
