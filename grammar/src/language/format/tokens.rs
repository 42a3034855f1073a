//! A text as tokens, and the comments between them.
//!
//! A comment belongs to the token that follows it. Line ends are no tokens: a token knows whether it begins
//! a line and whether an empty line is before it.
//!
//! Not here: where statements end (`statements.rs`), and what a token is for (`roles`).

use crate::language::statements::is_word;
use std::ops::Range;

/// What a token is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, digits and what else a word may have.
    Word,
    /// Text in quotes.
    Quoted,
    /// Everything else: a character, `!=` or `->`.
    Mark,
}

/// What begins with a token, as far as the layout asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    Nothing,
    /// `on …` or `auth …`.
    Clause,
    /// A peer behind a comma, or the `or` before one.
    Peer,
    /// An entry of a list in brackets.
    Entry,
    /// A request.
    Request,
    /// An exception without braces.
    LoneException,
    /// What separates entries or requests.
    Separator,
    /// The `=` of a set.
    Definition,
    /// The `->` of an expectation.
    Arrow,
    /// Its verdict.
    Verdict,
    /// The `{` of a policy or of a spec.
    Body,
}

/// Whether a word or a text needs its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// None around a word.
    Spared,
    /// None around a word that nothing else could begin with.
    SparedOnKeys,
    /// Always.
    Kept,
}

/// A token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    /// A line ends between it and the token before.
    pub(super) begins_line: bool,
    /// An empty line is right before it.
    pub(super) after_blank: bool,
    /// The comments before it.
    pub(super) comments: Range<usize>,
    pub(super) starts: Starts,
    pub(super) quotes: Quotes,
}

/// A comment, from its `#` on.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Nothing but separators is before it on its line.
    pub(super) is_alone: bool,
    /// An empty line is right before it.
    pub(super) after_blank: bool,
}

/// A text in tokens.
#[derive(Debug)]
pub(super) struct Tokens<'t> {
    pub(super) text: &'t str,
    pub(super) list: Vec<Token>,
    pub(super) comments: Vec<Comment>,
    /// The comments behind the last token.
    pub(super) last: Range<usize>,
}

impl<'t> Tokens<'t> {
    /// Cuts a text into tokens.
    pub(super) fn of(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut tokens = Tokens { text, list: Vec::new(), comments: Vec::new(), last: 0..0 };
        let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let (mut line_ends, mut begins_line, mut is_alone, mut first) = (0, false, true, 0);
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            match byte {
                b'\n' => {
                    (line_ends, begins_line, is_alone) = (line_ends + 1, true, true);
                    at += 1;
                    continue;
                }
                b' ' | b'\t' | b'\r' => {
                    at += 1;
                    continue;
                }
                b'#' => {
                    let rest = bytes.get(at..).unwrap_or(&[]);
                    at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                    let told = text.get(start..at).unwrap_or("").trim_end().len();
                    let after_blank = line_ends > 1;
                    tokens.comments.push(Comment { start, end: start + told, is_alone, after_blank });
                    line_ends = 0;
                    continue;
                }
                _ => {}
            }
            let kind = kind(text.get(start..).unwrap_or(""));
            at += length(kind, text.get(start..).unwrap_or(""));
            let comments = first..tokens.comments.len();
            first = comments.end;
            is_alone &= matches!(byte, b',' | b';');
            tokens.list.push(Token {
                start,
                end: at,
                kind,
                begins_line,
                after_blank: line_ends > 1,
                comments,
                starts: Starts::Nothing,
                quotes: Quotes::Spared,
            });
            (line_ends, begins_line) = (0, false);
        }
        tokens.last = first..tokens.comments.len();
        tokens
    }

    /// The text of a token as it is written.
    pub(super) fn written(&self, token: &Token) -> &'t str {
        self.text.get(token.start..token.end).unwrap_or("")
    }

    /// The text of a comment.
    pub(super) fn remark(&self, comment: &Comment) -> &'t str {
        self.text.get(comment.start..comment.end).unwrap_or("")
    }

    /// The first token that begins at a place or behind it, from `from` on.
    pub(super) fn at(&self, from: usize, place: usize) -> usize {
        let rest = self.list.get(from..).unwrap_or_default();
        from + rest.partition_point(|token| token.start < place)
    }

    /// Whether a token is a mark.
    pub(super) fn is(&self, token: usize, mark: &str) -> bool {
        self.list.get(token).is_some_and(|token| token.kind == Kind::Mark && self.written(token) == mark)
    }

    /// The bracket that closes the one at `open`; the last token if none does.
    pub(super) fn close(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (place, token) in self.list.iter().enumerate().skip(open) {
            if token.kind == Kind::Mark {
                match self.written(token) {
                    "{" | "(" | "[" => depth += 1,
                    "}" | ")" | "]" => depth = depth.saturating_sub(1),
                    _ => continue,
                }
                if depth == 0 {
                    return place;
                }
            }
        }
        self.list.len().saturating_sub(1)
    }
}

/// What a text begins with.
fn kind(text: &str) -> Kind {
    match text.bytes().next() {
        Some(b'"') => Kind::Quoted,
        Some(byte) if is_word(byte) && !text.starts_with("->") => Kind::Word,
        _ => Kind::Mark,
    }
}

/// Bytes of the token that a text begins with.
fn length(kind: Kind, text: &str) -> usize {
    match kind {
        Kind::Word => text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len()),
        Kind::Mark if text.starts_with("!=") || text.starts_with("->") => 2,
        Kind::Mark => text.chars().next().map_or(1, char::len_utf8),
        Kind::Quoted => {
            let mut is_escaped = false;
            let end = text.bytes().skip(1).position(|byte| {
                let ends = byte == b'\n' || byte == b'"' && !is_escaped;
                is_escaped = byte == b'\\' && !is_escaped;
                ends
            });
            match end {
                Some(end) if text.as_bytes().get(end + 1) == Some(&b'"') => end + 2,
                Some(end) => end + 1,
                None => text.len(),
            }
        }
    }
}
