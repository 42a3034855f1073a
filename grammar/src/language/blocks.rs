//! Address blocks, groups, exceptions, and the sets that give names to lists of them.
//!
//! A set stands for its blocks as if they were written in its place; their places are where they are written.
//! A set must be defined above its use, so that no set can hold itself.

use super::Rule;
use super::build::{Build, Field};
use super::include::Exported;
use super::selector;
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::{ENTITY_NAMES, hint};
use crate::span::Span;
use crate::tree::{CidrSet, GroupSource, PlacedCidr};
use crate::yaml::NodeId;
use hashbrown::HashMap;
use pest::iterators::Pair;
use std::sync::Arc;

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

/// The sets of a file, and of the files that it includes.
#[derive(Default)]
pub(super) struct Sets<'t> {
    own: HashMap<&'t str, Set>,
    included: HashMap<Arc<str>, Exported>,
}

struct Set {
    name: Span,
    blocks: Vec<Block>,
    /// Something of it could not be read: whoever names it lacks that, too.
    is_broken: bool,
    /// What other files get.
    checked: Option<Arc<CidrSet>>,
}

impl<'t> Sets<'t> {
    /// Takes the sets of a file that is included at `at`.
    pub(super) fn include(&mut self, build: &mut Build<'t, '_>, at: Span, sets: &[Exported]) {
        for set in sets {
            let known = self.place_of(&set.name);
            match known {
                None => {
                    self.included.insert(Arc::clone(&set.name), set.clone());
                }
                // The same file by another way.
                Some(earlier) if earlier == set.at => {}
                Some(earlier) => build.findings.push(
                    twice(&set.name, at, earlier)
                        .also(set.at, "defined again here")
                        .labelled("includes the second one"),
                ),
            }
        }
    }

    /// The sets that a file which includes this one may name.
    pub(super) fn exported(self) -> Vec<Exported> {
        let own = self.own.into_iter().map(|(name, set)| Exported {
            name: name.into(),
            at: set.name,
            blocks: set.checked.filter(|_| !set.is_broken),
        });
        let mut sets: Vec<Exported> = own.chain(self.included.into_values()).collect();
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        sets
    }

    /// Keeps the blocks of a set, as their decoder read them, for other files.
    pub(super) fn keep(&mut self, name: &str, checked: CidrSet) {
        if let Some(set) = self.own.get_mut(name) {
            set.checked = Some(Arc::new(checked));
        }
    }

    fn place_of(&self, name: &str) -> Option<Span> {
        self.own.get(name).map(|set| set.name).or_else(|| self.included.get(name).map(|set| set.at))
    }

    /// Takes a definition. Returns its name, if it may have it, and its entries, to be checked.
    pub(super) fn define(
        &mut self,
        build: &mut Build<'t, '_>,
        statement: Pair<'_, Rule>,
    ) -> (Option<&'t str>, Vec<Block>) {
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
        } else if let Some(earlier) = self.place_of(text) {
            twice(text, name, earlier)
        } else {
            let is_broken = build.findings.errors() > errors;
            self.own.insert(text, Set { name, blocks: blocks.clone(), is_broken, checked: None });
            return (Some(text), blocks);
        };
        build.findings.push(finding);
        (None, blocks)
    }

    /// The blocks of a set, if there is one of the name; charged as if written.
    pub(super) fn named(&self, build: &mut Build<'_, '_>, name: &Pair<'_, Rule>) -> Option<Vec<Block>> {
        let at = build.span(name);
        let text = name.as_str().trim_end();
        let Some(Set { blocks, is_broken, .. }) = self.own.get(text) else {
            return self.included.get(text).map(|set| included(build, at, set));
        };
        if *is_broken {
            build.findings.repeat_error();
        }
        Some(if build.charge_copies(blocks.len(), at) { blocks.clone() } else { Vec::new() })
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
        let sets = self.own.keys().copied().chain(self.included.keys().map(|name| &**name));
        let sets = sets.filter(|_| self.own.len() + self.included.len() <= NEAR);
        let mut known: Vec<&str> = sets.chain(others.iter().copied()).collect();
        known.sort_unstable();
        let what = if others.is_empty() { "there is no set" } else { "there is no set and no entity" };
        let meant = EVERYBODY.iter().find(|(words, _)| !others.is_empty() && words.contains(&text));
        let help = match (meant, hint::nearest(text, &known)) {
            (Some((_, help)), _) => (*help).to_owned(),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            _ if others.is_empty() => {
                format!("define it above: set {} = {{ 192.0.2.0/24 }}", hint::short(text))
            }
            _ => format!(
                "entities are {}; a set is defined above its use; a label is `key=value`",
                hint::list(others)
            ),
        };
        let finding =
            Diagnostic::new(Code::SetName, build.span(name), format!("{what} `{}`", hint::short(text)));
        build.findings.push(finding.labelled("names nothing").help(help));
    }
}

/// Names that people write for many, and what they are written as.
const EVERYBODY: &[(&[&str], &str)] = &[
    (&["pods"], "write `all pods`, or whose by labels: app=web"),
    (&["nodes"], "write `all nodes`, or which by labels: nodes role=worker"),
    (&["services"], "write `all services`, or one by its name: service db"),
    (&["any", "anyone", "anybody", "everyone", "everybody", "*"], "everybody is `all`"),
    (&["internet", "outside", "external", "anywhere"], "what is outside of the cluster is `world`"),
];

fn twice(name: &str, at: Span, earlier: Span) -> Diagnostic {
    Diagnostic::new(Code::SetName, at, format!("the set `{name}` is defined twice"))
        .labelled("defined again here")
        .also(earlier, "defined first here")
        .help("keep one of the two")
}

/// The blocks of a set of another file, at the place where it is named.
fn included(build: &mut Build<'_, '_>, at: Span, set: &Exported) -> Vec<Block> {
    let Some(set) = &set.blocks else {
        // Told where it is written.
        build.findings.repeat_error();
        return Vec::new();
    };
    let excepts: usize = set.groups.iter().map(|group| group.except.len()).sum::<usize>() + set.excepts.len();
    if !build.charge_copies(set.blocks.len() + set.groups.len() + excepts, at) {
        return Vec::new();
    }
    let mut blocks = Vec::new();
    for block in &set.blocks {
        if build.is_full() {
            break;
        }
        let cidr = build.scalar(at, block.cidr.net.to_string());
        let source = build.field(at, "cidr", cidr);
        let except = prefixes(build, at, set.excepts_of(block));
        blocks.push(Block { at, source, is_prefix: true, except });
    }
    for group in &set.groups {
        let source = match &group.source {
            GroupSource::Name(name) => {
                let name = build.scalar(at, name.value.clone());
                build.field(at, "cidrGroupRef", name)
            }
            GroupSource::Selector(selector) => {
                let selector = selector::written(build, at, selector);
                build.field(at, "cidrGroupSelector", selector)
            }
        };
        let except = prefixes(build, at, &group.except);
        blocks.push(Block { at, source, is_prefix: false, except });
    }
    blocks
}

fn prefixes(build: &mut Build<'_, '_>, at: Span, except: &[PlacedCidr]) -> Option<Field> {
    let items: Vec<NodeId> = except.iter().map(|prefix| build.scalar(at, prefix.net.to_string())).collect();
    (!items.is_empty()).then(|| {
        let list = build.list(at, &items);
        build.field(at, "except", list)
    })
}
