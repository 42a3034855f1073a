//! A statement in lines.
//!
//! What fits on one line stands on one. What does not is broken at its widest joints first: before each
//! `on` and `auth`; then between peers; then behind commas. A list in brackets has an entry a line if it
//! does not fit, holds a comment, or was begun on a new line. All of this goes by the tokens and their
//! comments alone, so that lines laid out once are laid out so again.

use super::page::{Page, STEP, WIDTH};
use super::tokens::{Kind, Quotes, Starts, Tokens};
use crate::language::escape::{string, undone, word_or_string};
use std::borrow::Cow;
use std::ops::Range;

/// Joints at which a part may be broken; the first is the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Joint {
    Clause,
    Peer,
    Comma,
}

/// Lays out one statement.
pub(super) struct Lines<'a, 't> {
    pub(super) tokens: &'a Tokens<'t>,
    pub(super) page: Page,
}

impl<'a> Lines<'a, '_> {
    /// Writes a part whose first line begins at a column.
    pub(super) fn part(&mut self, part: Range<usize>, indent: usize) {
        if let Some(line) = self.line(part.clone(), WIDTH.saturating_sub(indent)) {
            self.page.write(&line);
            return;
        }
        if let Some((open, line)) = self.before_last_list(&part, indent) {
            self.page.write(&line);
            self.entries(open, part.end - 1, indent);
            return;
        }
        let places = self.joints(part.clone());
        let Some(widest) = places.iter().map(|&(_, joint)| joint).min() else {
            self.unbroken(part, indent);
            return;
        };
        let (mut from, mut column) = (part.start, indent);
        for (place, _) in places.into_iter().filter(|&(_, joint)| joint == widest) {
            self.part(from..place, column);
            (from, column) = (place, indent + STEP);
            self.page.end_line(column);
            self.remarks(place);
        }
        self.part(from..part.end, column);
    }

    /// The part on one line of at most so many columns, if it may stand on one.
    pub(super) fn line(&self, part: Range<usize>, width: usize) -> Option<String> {
        let mut line = String::new();
        let mut columns = 0;
        let mut before = None;
        // Lists that are open, and whether an exception without braces ended their last entry.
        let mut lists: Vec<bool> = Vec::new();
        for place in part.clone() {
            let token = self.tokens.list.get(place)?;
            if place > part.start && !token.comments.is_empty() {
                return None;
            }
            match token.starts {
                Starts::Separator => continue,
                Starts::LoneException => {
                    if let Some(is_ended) = lists.last_mut() {
                        *is_ended = true;
                    }
                }
                Starts::Entry if lists.last() == Some(&true) => return None,
                _ => {}
            }
            let text = self.text(place);
            if let Some(before) = before {
                let between = self.between(before, place);
                line.push_str(between);
                columns += between.len();
            }
            line.push_str(&text);
            columns += text.chars().count();
            if columns > width {
                return None;
            }
            if self.is_list(place) {
                let next = place + 1;
                let is_begun = next < part.end && self.tokens.list.get(next)?.begins_line;
                if is_begun && !self.is_close(next) {
                    return None;
                }
                lists.push(false);
            } else if self.is_close(place) {
                lists.pop();
            }
            before = Some(place);
        }
        Some(line)
    }

    /// What stands before the entries of the list that ends the part, if that alone can be broken: the
    /// list's bracket, and the line up to it.
    fn before_last_list(&self, part: &Range<usize>, indent: usize) -> Option<(usize, String)> {
        let last = part.end.checked_sub(1)?;
        let mut place = part.start;
        let open = loop {
            if place >= part.end {
                return None;
            }
            let close = if self.is_list(place) { self.tokens.close(place) } else { place };
            if close == last && self.is_list(place) {
                break place;
            }
            place = close + 1;
        };
        let joints = self.joints(part.start..open);
        let count = |joint| joints.iter().filter(|&&(_, other)| other == joint).count();
        let is_last_part = match count(Joint::Clause) {
            0 => count(Joint::Peer) == 0,
            clauses => clauses == 1,
        };
        let line = self.line(part.start..open + 1, WIDTH.saturating_sub(indent)).filter(|_| is_last_part)?;
        Some((open, line))
    }

    /// Writes a part without joints: its lists are all that can be broken.
    fn unbroken(&mut self, part: Range<usize>, indent: usize) {
        let mut before = None;
        let mut place = part.start;
        while place < part.end {
            if let Some(before) = before {
                let between = self.between(before, place);
                self.page.write(between);
            }
            let text = self.text(place);
            self.page.write(&text);
            if self.is_list(place) {
                let close = self.tokens.close(place);
                self.entries(place, close, indent);
                place = close;
            }
            before = Some(place);
            place += 1;
        }
    }

    /// Writes a list's entries, each on its line, and its closing bracket.
    fn entries(&mut self, open: usize, close: usize, indent: usize) {
        let inner = indent + STEP;
        self.page.open();
        self.page.end_line(inner);
        let mut place = open + 1;
        while place < close {
            self.remarks(place);
            if self.starts(place) == Starts::Separator {
                place += 1;
                continue;
            }
            let mut end = place + 1;
            while end < close
                && !matches!(self.starts(end), Starts::Separator | Starts::Entry | Starts::Request)
            {
                end = if self.is_list(end) { self.tokens.close(end) + 1 } else { end + 1 };
            }
            self.part(place..end, inner);
            let is_last = (end..close).all(|rest| self.starts(rest) == Starts::Separator);
            if self.tokens.is(open, "(") && !is_last {
                self.page.write(",");
            }
            self.page.end_line(inner);
            place = end;
        }
        self.remarks(close);
        self.page.end_line(indent);
        let text = self.text(close);
        self.page.write(&text);
    }

    /// Writes the comments before a token, and keeps an empty line before it.
    fn remarks(&mut self, place: usize) {
        let Some(token) = self.tokens.list.get(place) else { return };
        remarks(&mut self.page, self.tokens, token.comments.clone());
        if token.after_blank {
            self.page.leave_blank();
        }
    }

    /// The joints of a part, those of its lists left out.
    fn joints(&self, part: Range<usize>) -> Vec<(usize, Joint)> {
        let mut joints = Vec::new();
        let mut place = part.start;
        while place < part.end {
            let is_behind_comma = place > part.start && self.tokens.is(place - 1, ",");
            let joint = match self.starts(place) {
                Starts::Clause => Some(Joint::Clause),
                Starts::Peer => Some(Joint::Peer),
                _ => is_behind_comma.then_some(Joint::Comma),
            };
            joints.extend(joint.filter(|_| place > part.start).map(|joint| (place, joint)));
            place = if self.is_list(place) { self.tokens.close(place) + 1 } else { place + 1 };
        }
        joints
    }

    /// What separates two tokens on one line.
    fn between(&self, before: usize, place: usize) -> &'static str {
        let is = |mark| self.tokens.is(place, mark);
        let follows = |mark| self.tokens.is(before, mark);
        let is_equal = |at: usize| {
            (self.tokens.is(at, "=") || self.tokens.is(at, "!=")) && self.starts(at) != Starts::Definition
        };
        match self.starts(place) {
            Starts::Entry if follows("(") => "",
            Starts::Entry if !follows("{") => ", ",
            Starts::Request if !follows("{") => "; ",
            _ if is(",") || is(";") || is(")") || is("]") => "",
            _ if follows("(") || follows("[") || follows("!") => "",
            _ if is_equal(place) || is_equal(before) => "",
            _ => " ",
        }
    }

    /// The text of a token, with quotes where it needs them.
    fn text(&self, place: usize) -> Cow<'a, str> {
        let tokens = self.tokens;
        let Some(token) = tokens.list.get(place) else { return Cow::Borrowed("") };
        let written = tokens.written(token);
        match (token.kind, token.quotes) {
            (Kind::Word, Quotes::Kept) => Cow::Owned(string(written)),
            (Kind::Quoted, Quotes::Spared | Quotes::SparedOnKeys) => {
                let inner = written.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or("");
                let text = undone(inner);
                let spared = match token.quotes {
                    Quotes::SparedOnKeys => super::key(&text),
                    _ => word_or_string(&text),
                };
                // Escapes stay as they are written: some are there to be seen.
                if spared.starts_with('"') { Cow::Borrowed(written) } else { Cow::Owned(spared) }
            }
            _ => Cow::Borrowed(written),
        }
    }

    fn starts(&self, place: usize) -> Starts {
        self.tokens.list.get(place).map_or(Starts::Nothing, |token| token.starts)
    }

    /// Whether a bracket opens entries here.
    fn is_list(&self, place: usize) -> bool {
        (self.tokens.is(place, "{") || self.tokens.is(place, "(")) && self.starts(place) != Starts::Body
    }

    fn is_close(&self, place: usize) -> bool {
        self.tokens.is(place, "}") || self.tokens.is(place, ")")
    }
}

/// Writes comments, and keeps an empty line before one.
pub(super) fn remarks(page: &mut Page, tokens: &Tokens<'_>, comments: Range<usize>) {
    for comment in tokens.comments.get(comments).unwrap_or_default() {
        if comment.after_blank && comment.is_alone {
            page.leave_blank();
        }
        page.remark(tokens.remark(comment), comment.is_alone);
    }
}
