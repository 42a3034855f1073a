//! A text laid out anew: the same statements and the same comments, in the lines that everybody's files have.
//!
//! The layout goes by tokens, since the tree of a file has no comments: `tokens` cuts the text, `statements.rs`
//! says where a statement ends, as it does for reading, `roles` asks the grammar what each token is for, and
//! `lines` breaks what is too long. A statement is kept as it is written if the grammar does not know it, or
//! if it would be cut otherwise when laid out.
//!
//! Invariants: tokens keep their order, every comment is written once, and what is laid out stays as it is
//! when it is laid out again.
//!
//! Not here: whether a text is well-formed (the caller reads it first), and files.

mod lines;
mod page;
mod roles;
mod tokens;

use super::Rule;
use super::escape::{string, undone, word_or_string};
use super::statements::{End, Statements};
use lines::{Lines, remarks};
use page::{Column, Page, STEP, WIDTH};
use std::borrow::Cow;
use std::ops::Range;
use tokens::{Starts, Tokens};

/// Words that may stand before a selector. As a key of one they are in quotes.
const KINDS: &[&str] = &["pods", "nodes", "namespaces", "groups", "services"];

/// A key of a label: without quotes if it is a word that is read as nothing else.
pub(super) fn key(text: &str) -> String {
    if KINDS.contains(&text) { string(text) } else { word_or_string(text) }
}

/// The text laid out. One that is not well-formed may come out otherwise than it was meant.
pub(crate) fn laid_out(text: &str) -> String {
    let (tokens, statements) = (Tokens::of(text), Statements::new(text));
    let mut layout = Layout { tokens, statements, next: 0, page: Page::default() };
    layout.file();
    let mut laid_out = layout.page.finish();
    if !laid_out.is_empty() {
        laid_out.push('\n');
    }
    laid_out
}

/// Words, texts, marks and comments in their order, however they are laid out.
pub(crate) fn pieces(text: &str) -> Vec<Cow<'_, str>> {
    let tokens = Tokens::of(text);
    let mut pieces = Vec::with_capacity(tokens.list.len() + tokens.comments.len());
    let remarks = |comments: Range<usize>| {
        let comments = tokens.comments.get(comments).unwrap_or_default();
        comments.iter().map(|comment| Cow::Borrowed(tokens.remark(comment)))
    };
    for token in &tokens.list {
        pieces.extend(remarks(token.comments.clone()));
        let written = tokens.written(token);
        let inner = written.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
        match inner {
            Some(inner) => pieces.push(Cow::Owned(undone(inner))),
            None if matches!(written, "," | ";") => {}
            None => pieces.push(Cow::Borrowed(written)),
        }
    }
    pieces.extend(remarks(tokens.last.clone()));
    pieces
}

struct Layout<'t> {
    tokens: Tokens<'t>,
    statements: Statements<'t>,
    /// The token that comes next.
    next: usize,
    page: Page,
}

/// What a statement's end looks like, to the one who cuts it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Statement,
    Head,
}

impl Layout<'_> {
    fn file(&mut self) {
        while self.statements.peek().is_some() {
            self.begin(0);
            match self.statements.word() {
                "policy" | "cluster" | "network" => self.block(Rule::policy, 0),
                "expect" => self.block(Rule::expect, 0),
                "include" => self.statement(Rule::include, 0),
                "set" => self.statement(Rule::set, 0),
                "group" => self.statement(Rule::group, 0),
                _ => self.unknown_item(),
            }
        }
        self.page.end_line(0);
        // Separators may follow the last item, with comments before them.
        let first =
            self.tokens.list.get(self.next).map_or(self.tokens.last.start, |token| token.comments.start);
        remarks(&mut self.page, &self.tokens, first..self.tokens.last.end);
    }

    /// Begins a line for the statement that comes next, with what stands before it.
    fn begin(&mut self, indent: usize) {
        self.page.end_line(indent);
        self.pass_to(self.tokens.at(self.next, self.statements.at()));
    }

    /// Writes the comments up to a token, and keeps an empty line before it.
    fn pass_to(&mut self, place: usize) {
        for token in self.tokens.list.get(self.next..=place).unwrap_or_default() {
            remarks(&mut self.page, &self.tokens, token.comments.clone());
            if token.after_blank {
                self.page.leave_blank();
            }
        }
        self.next = place;
    }

    fn statement(&mut self, rule: Rule, indent: usize) {
        let range = self.statements.statement();
        let part = self.next..self.tokens.at(self.next, range.end);
        self.next = part.end;
        let laid_out = self.laid_out(part, rule, Cut::Statement, indent);
        self.page.write(&laid_out);
    }

    /// An expectation: its arrow and its verdict in columns if it has a line.
    fn expectation(&mut self, indent: usize) {
        let range = self.statements.statement();
        let part = self.next..self.tokens.at(self.next, range.end);
        if roles::assign(&mut self.tokens, part.clone(), Rule::expectation) {
            let starts = |what| {
                part.clone().find(|&at| self.tokens.list.get(at).is_some_and(|token| token.starts == what))
            };
            let lines = Lines { tokens: &self.tokens, page: Page::default() };
            let line = |part: Range<usize>| lines.line(part, WIDTH);
            if let (Some(arrow), Some(verdict)) = (starts(Starts::Arrow), starts(Starts::Verdict))
                && part
                    .clone()
                    .skip(1)
                    .all(|at| self.tokens.list.get(at).is_none_or(|token| token.comments.is_empty()))
                && line(part.clone()).is_some_and(|line| line.chars().count() + indent <= WIDTH)
                && let (Some(from), Some(to), Some(verdict)) =
                    (line(part.start..arrow), line(arrow..verdict), line(verdict..part.end))
            {
                self.page.write(&from);
                self.page.column(Column::Arrow);
                self.page.write(&to);
                self.page.column(Column::Verdict);
                self.page.write(&verdict);
                self.next = part.end;
                return;
            }
        }
        let laid_out = self.laid_out(part.clone(), Rule::expectation, Cut::Statement, indent);
        self.next = part.end;
        self.page.write(&laid_out);
    }

    /// A policy, a spec or a block of expectations, whose statements are laid out, too.
    fn block(&mut self, rule: Rule, indent: usize) {
        let (range, end) = self.statements.head();
        let open = self.tokens.at(self.next, range.end);
        let is_opened = end == End::Body;
        if let Some(token) = self.tokens.list.get_mut(open).filter(|_| is_opened) {
            token.starts = Starts::Body;
        }
        let part = self.next..open + usize::from(is_opened);
        self.next = part.end;
        let laid_out = self.laid_out(part, rule, if is_opened { Cut::Head } else { Cut::Statement }, indent);
        self.page.write(&laid_out);
        if !is_opened {
            return;
        }
        let last_line = laid_out.rsplit('\n').next().unwrap_or("").chars().count();
        let column = if laid_out.contains('\n') { last_line } else { last_line + indent };
        if let Some(body) = self.body_on_a_line(rule, WIDTH.saturating_sub(column)) {
            self.page.write(&body);
            return;
        }
        self.page.open();
        while let Some(byte) = self.statements.peek() {
            if byte == b'}' {
                break;
            }
            self.begin(indent + STEP);
            match self.statements.word() {
                _ if rule == Rule::expect => self.expectation(indent + STEP),
                "spec" if rule == Rule::policy => self.block(Rule::spec, indent + STEP),
                word => match rule_of(word) {
                    Some(rule) => self.statement(rule, indent + STEP),
                    None => self.unknown_statement(),
                },
            }
        }
        self.begin(indent + STEP);
        self.page.end_line(indent);
        self.statements.skip_bracket();
        self.next += 1;
        self.page.write("}");
    }

    /// The rest of a block whose `{` is written, on the same line: if it was begun there, holds nothing but
    /// short statements, and fits.
    fn body_on_a_line(&mut self, of: Rule, width: usize) -> Option<String> {
        let (before, next) = (self.statements.clone(), self.next);
        let body = self.statements_on_a_line(of, width);
        if body.is_none() {
            (self.statements, self.next) = (before, next);
        }
        body
    }

    fn statements_on_a_line(&mut self, of: Rule, width: usize) -> Option<String> {
        let mut body = String::new();
        loop {
            let byte = self.statements.peek()?;
            let place = self.tokens.at(self.next, self.statements.at());
            let passed = self.tokens.list.get(self.next..=place)?;
            let begins_line = passed.iter().any(|token| token.begins_line);
            if passed.iter().any(|token| !token.comments.is_empty())
                || body.is_empty() && byte != b'}' && begins_line
            {
                return None;
            }
            self.next = place;
            if byte == b'}' {
                break;
            }
            let rule = if of == Rule::expect { Rule::expectation } else { rule_of(self.statements.word())? };
            let range = self.statements.statement();
            let part = self.next..self.tokens.at(self.next, range.end);
            self.next = part.end;
            if !roles::assign(&mut self.tokens, part.clone(), rule) {
                return None;
            }
            let lines = Lines { tokens: &self.tokens, page: Page::default() };
            let line = lines.line(part, width)?;
            body.push_str(if body.is_empty() { " " } else { "; " });
            body.push_str(&line);
            // The bracket that closes it fits, too.
            if body.chars().count() + 2 > width {
                return None;
            }
        }
        self.statements.skip_bracket();
        self.next += 1;
        body.push_str(" }");
        Some(body)
    }

    /// A statement in lines, the first of them without its indentation; as written if it must be.
    fn laid_out(&mut self, part: Range<usize>, rule: Rule, cut: Cut, indent: usize) -> String {
        // The bracket of a body is no part of its head.
        let read = part.start..part.end - usize::from(cut == Cut::Head);
        if roles::assign(&mut self.tokens, read, rule) {
            let mut lines = Lines { tokens: &self.tokens, page: Page::default() };
            lines.part(part.clone(), indent);
            let laid_out = lines.page.finish();
            let mut statements = Statements::new(&laid_out);
            let whole = match cut {
                Cut::Statement => statements.statement().end == laid_out.len(),
                Cut::Head => statements.head().1 == End::Body && statements.at() == laid_out.len(),
            };
            if whole {
                return laid_out;
            }
        }
        self.as_written(part)
    }

    /// Tokens as they stand in the text, with their comments; lines end where their text does.
    fn as_written(&self, part: Range<usize>) -> String {
        let tokens = self.tokens.list.get(part).unwrap_or_default();
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return String::new() };
        let text = self.tokens.text.get(first.start..last.end).unwrap_or("");
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// An item that this file does not know, as it is written up to the bracket that closes it.
    fn unknown_item(&mut self) {
        let (range, end) = self.statements.head();
        let mut last = self.tokens.at(self.next, range.end);
        if end == End::Body {
            last = self.tokens.close(last) + 1;
            let end = last.checked_sub(1).and_then(|last| self.tokens.list.get(last)).map(|token| token.end);
            self.statements.go_to(end.unwrap_or(range.end));
        }
        self.write_as_written(last);
    }

    fn unknown_statement(&mut self) {
        let range = self.statements.statement();
        self.write_as_written(self.tokens.at(self.next, range.end));
    }

    /// Goes on behind some tokens, by one at least.
    fn write_as_written(&mut self, end: usize) {
        let end = end.max(self.next + 1);
        let text = self.as_written(self.next..end);
        self.page.write(&text);
        let last = self.tokens.list.get(end - 1).map_or(self.tokens.text.len(), |token| token.end);
        if self.statements.at() < last {
            self.statements.go_to(last);
        }
        self.next = end;
    }
}

/// The rule of a statement of a policy, by its first word.
fn rule_of(word: &str) -> Option<Rule> {
    match word {
        "for" => Some(Rule::subject),
        "allow" | "deny" => Some(Rule::traffic),
        "isolate" => Some(Rule::isolate),
        "log" => Some(Rule::log),
        "types" => Some(Rule::types),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::laid_out;

    /// What the grammar is to learn is not touched before this file knows it.
    #[test]
    fn unknown_items_and_statements_stay_as_they_are() {
        let text = "\
# what must hold
promise   \"all\" {
        shop/frontend ->   shop/web  tcp/8080 { a }   allow  # yes
    world         ->   shop/web  tcp/8080         deny
  }

look  \"other.policy\"
policy p in q {
    for all pods
    frobnicate   a,
          b
}
";
        assert_eq!(laid_out(text), text);
        assert_eq!(laid_out(&text.replace("policy p", "  policy   p")), text);
    }

    /// What is not well-formed comes out somehow, and soon.
    #[test]
    fn any_text_ends() {
        for text in
            ["}", "{", "policy", "policy p {", "policy p { spec { spec {", "a {{{", "\"", "on ; on", ") ] }"]
        {
            laid_out(text);
            laid_out(&text.repeat(2_000));
        }
    }
}
