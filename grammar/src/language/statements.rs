//! Cuts a file into statements, before anything of them is understood.
//!
//! A statement ends at the end of its line, at a `;`, or before the `}` of what it stands in. It goes on
//! over a line's end inside brackets, after a comma, and where the next line begins with `on`, `or` or `auth`.
//! A bracket that is never closed ends where a line begins like a statement, so that what follows is still
//! read. Each byte is looked at a bounded number of times.
//!
//! Not here: which words a statement may have (`policy.pest`).

use std::ops::Range;

/// Words that open an item of a file.
pub(super) const ITEMS: &[&str] = &["policy", "cluster", "network", "group", "set", "expect", "include"];
/// Words that open a statement of a policy.
pub(super) const STATEMENTS: &[&str] = &["for", "allow", "deny", "isolate", "log", "types", "spec"];
/// Bytes of a line that are looked at to see whether it opens an item.
const LOOK: usize = 512;
/// A line that begins so belongs to the one before.
const CONTINUES: &[&str] = &["on", "or", "auth"];

/// Where a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At the end of its line, or of the text, or before a `}`.
    Here,
    /// Before a `{` that opens a body.
    Body,
}

/// A place in the text that moves on.
#[derive(Clone, Debug)]
pub(super) struct Statements<'t> {
    text: &'t str,
    at: usize,
    /// Behind the last byte that was neither blank nor comment.
    told: usize,
}

impl<'t> Statements<'t> {
    /// At the beginning.
    pub(super) fn new(text: &'t str) -> Self {
        // Some editors put a byte order mark there.
        Statements { text, at: if text.starts_with('\u{feff}') { 3 } else { 0 }, told: 0 }
    }

    /// Moves to the next statement, past blanks, comments and separators. The byte there.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte(self.at)? {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => self.at += 1,
                b'#' => self.at = self.line_end(self.at),
                byte => return Some(byte),
            }
        }
    }

    /// Where it is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes to a place further on.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The word here; empty if there is none.
    pub(super) fn word(&self) -> &'t str {
        word_at(self.text, self.at)
    }

    /// Whether an item of a file begins here: inside a body that means that its `}` is missing.
    pub(super) fn is_item(&self) -> bool {
        is_item(self.text, self.at)
    }

    /// Passes one byte, a bracket.
    pub(super) fn skip_bracket(&mut self) {
        self.at += 1;
    }

    /// Passes one character, whatever it is.
    pub(super) fn skip_character(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or("");
        self.at += rest.chars().next().map_or(0, char::len_utf8);
    }

    /// Passes a whole statement.
    pub(super) fn statement(&mut self) -> Range<usize> {
        let start = self.at;
        self.scan(false);
        start..self.told
    }

    /// Passes what stands before a body, and its `{` if there is one.
    pub(super) fn head(&mut self) -> (Range<usize>, End) {
        let start = self.at;
        let end = self.scan(true);
        self.at += usize::from(end == End::Body);
        (start..self.told, end)
    }

    fn scan(&mut self, is_head: bool) -> End {
        let (mut depth, mut after_comma) = (0usize, false);
        self.told = self.at;
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'#' => {
                    self.at = self.line_end(self.at);
                    continue;
                }
                b'"' => self.at = self.string_end(self.at),
                b'{' if is_head && depth == 0 => return End::Body,
                b'{' | b'(' | b'[' => depth += 1,
                b'}' if depth == 0 => return End::Here,
                b'}' | b')' | b']' => depth = depth.saturating_sub(1),
                b';' if depth == 0 => return End::Here,
                b'\n' if depth == 0 && !after_comma && !self.continues() => return End::Here,
                b'\n' if self.interrupts() => return End::Here,
                _ => {}
            }
            after_comma = match byte {
                b',' => true,
                b' ' | b'\t' | b'\r' | b'\n' => after_comma,
                _ => false,
            };
            self.at += 1;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                self.told = self.at;
            }
        }
        End::Here
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or(&[]);
        at + memchr::memchr(b'\n', rest).unwrap_or(rest.len())
    }

    /// The last byte of a string that begins at `at`: its quote, or what stands before the line's end.
    fn string_end(&self, at: usize) -> usize {
        let mut end = at + 1;
        loop {
            match self.byte(end) {
                Some(b'"') => return end,
                Some(b'\\') if self.byte(end + 1).is_some_and(|next| next != b'\n') => end += 2,
                None | Some(b'\n') => return end - 1,
                Some(_) => end += 1,
            }
        }
    }

    /// Where the next line's first word would be.
    fn next_line(&self) -> usize {
        let rest = self.text.get(self.at + 1..).unwrap_or("");
        self.at + 1 + rest.len() - rest.trim_start_matches([' ', '\t']).len()
    }

    fn continues(&self) -> bool {
        CONTINUES.contains(&word_at(self.text, self.next_line()))
    }

    /// Whether the next line cannot be inside a bracket or a list.
    fn interrupts(&self) -> bool {
        let at = self.next_line();
        let word = word_at(self.text, at);
        let rest = self.text.get(at + word.len()..).unwrap_or("");
        let is_statement = STATEMENTS.contains(&word)
            && rest.starts_with([' ', '\t'])
            && !rest.trim_start_matches([' ', '\t']).starts_with([',', ')', '=', '!', '\r', '\n', '}']);
        is_statement || is_item(self.text, at)
    }
}

/// Whether a text begins with an item of the language; what YAML begins with has a colon behind it.
pub(super) fn begin(text: &str) -> bool {
    let mut statements = Statements::new(text);
    statements.peek().is_some() && {
        let word = statements.word();
        let rest = text.get(statements.at() + word.len()..).unwrap_or("");
        ITEMS.contains(&word) && rest.starts_with([' ', '\t', '"', '{'])
    }
}

/// An item is two words at least; `group` and `set` may also be names in a list.
fn is_item(text: &str, at: usize) -> bool {
    let word = word_at(text, at);
    if !ITEMS.contains(&word) {
        return false;
    }
    let rest = text.as_bytes().get(at + word.len()..).unwrap_or(&[]);
    let rest = rest.get(..LOOK).unwrap_or(rest);
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    let has = |byte| memchr::memchr(byte, line).is_some();
    match word {
        "group" => has(b'{') && memchr::memmem::find(line, b"except").is_none(),
        "set" => has(b'=') && has(b'{'),
        "expect" => has(b'{'),
        "include" => line.trim_ascii_start().starts_with(b"\""),
        "policy" => line.starts_with(b" ") && has(b'{'),
        _ => line.trim_ascii_start().starts_with(b"policy "),
    }
}

fn word_at(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or("");
    let end = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
    rest.get(..end).unwrap_or("")
}

/// `word_char` of the grammar.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:*".contains(&byte)
}
