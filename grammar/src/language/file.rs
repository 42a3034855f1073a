//! A file, item by item, and a policy, statement by statement.
//!
//! What cannot be read is told and passed over; what follows is read. Only an object without any mistake is
//! handed on.

use super::blocks::Sets;
use super::build::Build;
use super::expect::Expectations;
use super::include::Exported;
use super::mistake;
use super::policy::{self, Head, Kind, Spec};
use super::statements::{End, ITEMS, STATEMENTS, Statements};
use super::{Grammar, Rule};
use crate::diagnostic::{Code, Diagnostic};
use crate::findings::Findings;
use crate::manifest::hint;
use crate::manifest::{self, Context, Skipped};
use crate::span::{FileId, Span};
use crate::tree::Object;
use crate::yaml::NodeId;
use crate::{Included, Limits};
use hashbrown::HashSet;
use pest::Parser;
use pest::iterators::Pair;
use std::collections::BTreeMap;
use std::ops::Range;

/// Reads a text in the language.
pub(crate) fn pass(
    file: FileId,
    text: &str,
    written: usize,
    limits: &Limits,
    included: &Included,
    exported: &mut BTreeMap<FileId, Vec<Exported>>,
) -> (Vec<Object>, Findings) {
    let mut findings = Findings::without_repeats(limits.diagnostics);
    let build = Build::new(text, file, written, limits, &mut findings);
    let mut reader = Reader {
        text,
        statements: Statements::new(text),
        build,
        sets: Sets::default(),
        objects: Vec::new(),
        included,
        exported,
    };
    reader.file();
    let (objects, sets) = (reader.objects, reader.sets.exported());
    exported.insert(file, sets);
    (objects, findings)
}

/// Bytes of a line that are looked at to see whether it is an expectation.
const LINE: usize = 512;

struct Reader<'t, 'f> {
    text: &'t str,
    statements: Statements<'t>,
    build: Build<'t, 'f>,
    sets: Sets<'t>,
    objects: Vec<Object>,
    included: &'f Included,
    /// The sets of the files read before.
    exported: &'f BTreeMap<FileId, Vec<Exported>>,
}

/// What closed a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    Well,
    /// By an item of the file, or by its end.
    Missing,
}

impl<'t> Reader<'t, '_> {
    fn file(&mut self) {
        while let Some(byte) = self.statements.peek() {
            if self.build.is_full() {
                return;
            }
            if matches!(byte, b'}' | b')' | b']') {
                let at = self.here(1);
                self.push(
                    Diagnostic::new(Code::PolicySyntax, at, format!("`{}` closes nothing", char::from(byte)))
                        .labelled("nothing is open here")
                        .help("remove it, or look above for a `}` too many"),
                );
                self.statements.skip_bracket();
                continue;
            }
            match self.statements.word() {
                "include" => self.include(),
                "set" => self.set(),
                "group" => self.group(),
                "policy" | "cluster" | "network" => self.policy(),
                "expect" => self.expect(),
                word => self.unknown_item(word),
            }
        }
    }

    fn set(&mut self) {
        let statement = self.statements.statement();
        let Some(pair) = self.parse(Rule::set, statement) else { return };
        // Its values are checked here, so that those of a set nobody uses are, too.
        let at = self.build.span(&pair);
        let errors = self.build.findings.errors();
        let (name, blocks) = self.sets.define(&mut self.build, pair);
        let entries: Vec<NodeId> = blocks.iter().map(|block| block.entry(&mut self.build)).collect();
        self.build.tree.root = self.build.list(at, &entries);
        let (mut cx, root) = context(self.text, &mut self.build);
        let checked = manifest::cidr_set(&mut cx, root, "set");
        if let (Some(name), Some(checked)) = (name, checked)
            && self.build.findings.errors() == errors
        {
            self.sets.keep(name, checked);
        }
    }

    /// Takes the sets of another file, which was read before this one, or tells why it was not.
    fn include(&mut self) {
        let statement = self.statements.statement();
        let Some(pair) = self.parse(Rule::include, statement) else { return };
        let Some(path) = super::texts(pair).next() else { return };
        let at = self.build.span(&path);
        let path = self.build.text(&path);
        let path = self.build.name_of(path).to_owned();
        match self.included.get(&path) {
            Some(Ok(file)) => {
                let sets = self.exported.get(file).map_or(&[][..], Vec::as_slice);
                self.sets.include(&mut self.build, at, sets);
            }
            Some(Err(why)) => {
                let message = format!("`{}` cannot be included: {why}", hint::short(&path));
                self.push(
                    Diagnostic::new(Code::Include, at, message)
                        .labelled("not read")
                        .help("a path is relative to the file that includes it"),
                );
            }
            None => {
                let message = format!("`{}` cannot be included here", hint::short(&path));
                let help = "give the file a name, so that there is a folder to look in";
                self.push(Diagnostic::new(Code::Include, at, message).labelled("not read").help(help));
            }
        }
    }

    fn expect(&mut self) {
        let before = self.build.findings.len();
        let errors = self.build.findings.errors();
        let (range, end) = self.statements.head();
        let place = self.place(&range);
        let mut expectations =
            self.parse(Rule::expect, range).map(|pair| Expectations::head(&mut self.build, pair));
        if end != End::Body {
            self.push(
                Diagnostic::new(Code::PolicySyntax, place, "`expect` has no body")
                    .labelled("no `{` behind it")
                    .help("open the expectations with `{` on this line, write one a line, and close them with `}`"),
            );
            return;
        }
        // Only its place and its bracket are of use here.
        let mut body = Spec::new(place);
        let start = self.statements.at();
        let closed = loop {
            match self.next() {
                Err(closed) => break closed,
                Ok(_) => {
                    let at = self.here(1);
                    let statement = self.statements.statement();
                    let line = self.parse(Rule::expectation, statement);
                    if let (Some(expectations), Some(line)) = (&mut expectations, line) {
                        expectations.take(&mut self.build, &self.sets, line);
                    }
                    self.pass_over(at);
                }
            }
        };
        body.at.start = self.offset(start);
        self.end_of(&mut body, closed, place);
        if let Some(expectations) = expectations {
            let root = expectations.object(&mut self.build, body.at);
            let is_sound = self.build.findings.errors() == errors;
            self.object(root, is_sound, before);
        }
    }

    fn group(&mut self) {
        let (before, errors) = (self.build.findings.len(), self.build.findings.errors());
        let statement = self.statements.statement();
        let Some(pair) = self.parse(Rule::group, statement) else { return };
        let root = policy::group(&mut self.build, &self.sets, pair);
        self.object(root, self.build.findings.errors() == errors, before);
    }

    fn policy(&mut self) {
        let before = self.build.findings.len();
        let (range, end) = self.statements.head();
        let place = self.place(&range);
        let head = self.parse(Rule::policy, range).map(|pair| Head::policy(&mut self.build, pair));
        if end != End::Body {
            self.push(
                Diagnostic::new(Code::PolicySyntax, place, "the policy has no body")
                    .labelled("no `{` behind it")
                    .help("open the policy's statements with `{` on this line, and close them with `}`"),
            );
            return;
        }
        let kind = head.as_ref().map_or(Kind::Cilium, |head| head.kind);
        let (direct, blocks) = self.body(kind, place);
        if let Some(head) = head {
            let errors = self.build.findings.errors();
            let is_sound = !direct.is_broken && blocks.iter().all(|block| !block.is_broken);
            let root = head.object(&mut self.build, direct, blocks);
            let is_sound = is_sound && self.build.findings.errors() == errors;
            self.object(root, is_sound, before);
        }
    }

    /// The statements of a policy, up to its `}`.
    fn body(&mut self, kind: Kind, head: Span) -> (Spec, Vec<Spec>) {
        let mut direct = Spec::new(head);
        let mut blocks = Vec::new();
        let start = self.statements.at();
        let closed = loop {
            match self.next() {
                Err(closed) => break closed,
                Ok("spec") => {
                    let (range, end) = self.statements.head();
                    let at = self.place(&range);
                    if end == End::Body {
                        let mut block = Spec::new(at);
                        match self.parse(Rule::spec, range) {
                            Some(head) => block.describe(&mut self.build, head),
                            None => block.is_broken = true,
                        }
                        let start = self.statements.at();
                        let closed = self.spec(&mut block, kind);
                        block.at.start = self.offset(start);
                        self.end_of(&mut block, closed, at);
                        blocks.push(block);
                    } else {
                        direct.is_broken = true;
                        self.push(
                            Diagnostic::new(Code::PolicySyntax, at, "`spec` has no body")
                                .labelled("no `{` behind it")
                                .help("write spec { … }; statements of a policy's one spec need none"),
                        );
                    }
                }
                Ok(word) => self.statement(&mut direct, kind, word),
            }
        };
        direct.at.start = self.offset(start);
        self.end_of(&mut direct, closed, head);
        (direct, blocks)
    }

    /// The statements of a `spec` block, up to its `}`.
    fn spec(&mut self, spec: &mut Spec, kind: Kind) -> Closed {
        loop {
            match self.next() {
                Err(closed) => return closed,
                Ok(word) => self.statement(spec, kind, word),
            }
        }
    }

    /// The first word of a body's next statement, or how the body ends.
    fn next(&mut self) -> Result<&'t str, Closed> {
        match self.statements.peek() {
            Some(b'}') => Err(Closed::Well),
            None => Err(Closed::Missing),
            _ if self.statements.is_item() || self.build.is_full() => Err(Closed::Missing),
            _ => Ok(self.statements.word()),
        }
    }

    /// Closes a body: its place, its bracket, and the finding if that is missing.
    fn end_of(&mut self, spec: &mut Spec, closed: Closed, head: Span) {
        spec.at.end = self.offset(self.statements.at());
        if closed == Closed::Well {
            self.statements.skip_bracket();
            return;
        }
        spec.is_broken = true;
        if !self.build.is_full() {
            let here = self.here(self.statements.word().len());
            self.push(
                Diagnostic::new(Code::PolicySyntax, here, "a `}` is missing before this")
                    .labelled("another item, or the end")
                    .also(head, "what is still open")
                    .help("close it with `}` behind its last statement"),
            );
        }
    }

    fn statement(&mut self, spec: &mut Spec, kind: Kind, word: &str) {
        let rule = match word {
            "for" => Rule::subject,
            "allow" | "deny" => Rule::traffic,
            "isolate" => Rule::isolate,
            "log" => Rule::log,
            "types" => Rule::types,
            _ => {
                let at = self.here(word.len().max(1));
                let finding = match word {
                    "spec" => Diagnostic::new(Code::Misplaced, at, "a `spec` has no place in a `spec`")
                        .labelled("not possible here")
                        .help("close the one before it"),
                    _ => mistake::unknown_word(self.shown(at), at, STATEMENTS, "a statement of a policy"),
                };
                self.push(finding);
                spec.is_broken = true;
                self.pass_over(at);
                return;
            }
        };
        let statement = self.statements.statement();
        match self.parse(rule, statement) {
            Some(pair) => {
                let errors = self.build.findings.errors();
                spec.take(&mut self.build, &self.sets, kind == Kind::Network, pair);
                spec.is_broken |= self.build.findings.errors() > errors;
            }
            None => spec.is_broken = true,
        }
    }

    /// Something at the outer level that is no item. A body behind it is passed over with it.
    fn unknown_item(&mut self, word: &str) {
        let at = self.here(word.len().max(1));
        let finding = if STATEMENTS.contains(&word) {
            Diagnostic::new(Code::Misplaced, at, format!("`{word}` stands outside of a policy"))
                .labelled("belongs into the body of a policy")
                .help("write it between the `{` and the `}` of a policy; a `}` above may be too early")
        } else {
            self.unknown_word(at)
        };
        self.push(finding);
        let (_, end) = self.statements.head();
        if end == End::Body {
            // What it holds is looked at for its own mistakes, and goes nowhere.
            self.body(Kind::Cilium, at);
        } else {
            self.pass_over(at);
        }
    }

    fn unknown_word(&self, at: Span) -> Diagnostic {
        let rest = self.text.get(at.start as usize..).unwrap_or("");
        let line = rest.lines().next().unwrap_or("");
        let is_comment = mistake::is_foreign_comment(line);
        if !is_comment && line.get(..LINE).unwrap_or(line).contains(" -> ") {
            Diagnostic::new(Code::Misplaced, at, "an expectation stands outside of `expect`")
                .labelled("belongs between the `{` and the `}` of `expect`")
                .help("write expect { … } around it")
        } else {
            mistake::unknown_word(self.shown(at), at, ITEMS, "an item of a file")
        }
    }

    /// Goes on behind a statement, by one byte at least.
    fn pass_over(&mut self, from: Span) {
        if self.offset(self.statements.at()) == from.start {
            self.statements.statement();
        }
        if self.offset(self.statements.at()) == from.start {
            self.statements.skip_character();
        }
    }

    /// The statement as its rule reads it; a finding if it does not.
    fn parse(&mut self, rule: Rule, range: Range<usize>) -> Option<Pair<'t, Rule>> {
        let at = self.place(&range);
        let text: &'t str = self.text.get(range).unwrap_or("");
        self.build.base = at.start;
        match Grammar::parse(rule, text) {
            Ok(mut pairs) => pairs.next(),
            Err(error) => {
                self.push(mistake::malformed(&error, text, at));
                None
            }
        }
    }

    /// Decodes the object whose value is `root`, and says whose the findings from `before` on are.
    fn object(&mut self, root: NodeId, is_sound: bool, before: usize) {
        self.build.tree.root = root;
        let title = manifest::title(self.build.tree.root());
        self.build.findings.attribute(before, title);
        let (mut cx, root) = context(self.text, &mut self.build);
        // No kind is skipped that the language can write.
        manifest::document(&mut cx, root, is_sound, &mut Skipped::default(), &mut self.objects);
    }

    fn push(&mut self, finding: Diagnostic) {
        self.build.findings.push(finding);
    }

    fn shown(&self, at: Span) -> &'t str {
        self.text.get(at.start as usize..at.end as usize).unwrap_or("")
    }

    fn here(&self, length: usize) -> Span {
        let start = self.statements.at();
        // A place ends where a character does.
        let rest = self.text.get(start..).unwrap_or("");
        let length = rest.char_indices().map(|(at, c)| at + c.len_utf8()).find(|&end| end >= length);
        let length = if rest.is_empty() { 0 } else { length.unwrap_or(rest.len()) };
        self.place(&(start..start + length))
    }

    fn place(&self, range: &Range<usize>) -> Span {
        Span { file: self.build.file, start: self.offset(range.start), end: self.offset(range.end) }
    }

    fn offset(&self, at: usize) -> u32 {
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

/// What a decoder needs for the value at the root.
fn context<'b>(text: &'b str, build: &'b mut Build<'_, '_>) -> (Context<'b>, crate::yaml::Value<'b>) {
    let cx = Context {
        text,
        findings: build.findings,
        object: None,
        runs: Vec::new(),
        run_misplaced: false,
        expressions: HashSet::new(),
    };
    (cx, build.tree.root())
}
