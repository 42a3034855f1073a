//! The lines of a file that a finding shows, cut out so that the renderer never sees the rest.
//!
//! A line of a manifest may be a file long. What is far from the offending text is replaced by an
//! ellipsis, and what would steer a terminal is written out, before anything is underlined.

use std::ops::Range;
use weir_project::visible::visible;

/// Characters kept before and after the offending text of a long line.
const MARGIN: usize = 60;
/// Characters of the offending text itself that are kept.
const LONGEST: usize = 120;
/// A line of at most so many bytes is shown whole.
pub(super) const SHORT: usize = 200;

/// Lines above a piece of text that are searched for the item it belongs to.
const REACH: usize = 40;
/// Lines of that item that are shown.
const HEAD: u32 = 6;

/// One line, and where in it the offending text is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text, safe to print.
    pub(crate) text: String,
    /// Bytes of `text`.
    pub(crate) mark: Range<usize>,
}

impl Line {
    /// The line of `text` that `start` is in. The mark ends with the line, or before.
    pub(crate) fn around(text: &str, start: usize, end: usize) -> Line {
        let start = floor(text, start.min(text.len()));
        let line_end = text.get(start..).unwrap_or_default();
        let line_end = start + line_end.find('\n').unwrap_or(line_end.len());
        let line_start = text.get(..start).unwrap_or_default().rfind('\n').map_or(0, |at| at + 1);
        let end = ceil(text, end.clamp(start, line_end));
        let (mut before, mut marked, mut after) =
            (part(text, line_start, start), part(text, start, end), part(text, end, line_end));
        after = after.trim_end_matches('\r');
        if after.is_empty() {
            marked = marked.trim_end();
        }
        let (mut cut_before, mut cut_after) = (false, false);
        if before.len() + marked.len() + after.len() > SHORT {
            (before, cut_before) = last(before, MARGIN);
            let (kept, cut_mark) = first(marked, LONGEST);
            marked = kept;
            (after, cut_after) = if cut_mark { ("", true) } else { first(after, MARGIN) };
        }
        let ellipsis = |cut: bool| if cut { "…" } else { "" };
        let before = format!("{}{}", ellipsis(cut_before), visible(before));
        let marked = visible(marked);
        let mark = before.len()..before.len() + marked.len();
        Line { text: format!("{before}{marked}{}{}", visible(after), ellipsis(cut_after)), mark }
    }
}

/// The first lines of a longer piece of text, and the list item that it belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The lines, safe to print.
    pub(crate) text: String,
    /// Lines of the item before the piece itself.
    pub(crate) above: u32,
    /// Bytes of `text` in the first line of the piece.
    pub(crate) mark: Range<usize>,
    /// Bytes of `text` that are shown; between them lines may be left out.
    pub(crate) shown: [Range<usize>; 2],
}

impl Block {
    /// The lines that `start..end` lies in, at most `lines`.
    pub(crate) fn new(text: &str, start: usize, end: usize, lines: usize) -> Block {
        Block::below(Vec::new(), text, start, end, lines)
    }

    /// The same, and above it the item of a list that it is in, if it is written below `key` of that item.
    pub(crate) fn in_item(text: &str, start: usize, end: usize, lines: usize, key: &str) -> Block {
        Block::below(item_above(text, start, key), text, start, end, lines)
    }

    fn below(item: Vec<&str>, text: &str, start: usize, end: usize, lines: usize) -> Block {
        let mut shown = String::new();
        let (mut above, mut head_end) = (0, 0);
        for line in item {
            shown.push_str(Line::around(line, 0, 0).text.trim_end());
            above += 1;
            if above <= HEAD {
                head_end = shown.len();
            }
            shown.push('\n');
        }
        let first = Line::around(text, start, end);
        let offset = shown.len();
        shown.push_str(&first.text);
        let mut at = start;
        for _ in 1..lines {
            let rest = part(text, at, end.min(text.len()));
            let Some(length) = rest.find('\n') else { break };
            at += length + 1;
            if part(text, at, end).trim().is_empty() {
                break;
            }
            shown.push('\n');
            shown.push_str(Line::around(text, at, at).text.trim_end());
        }
        Block {
            above,
            mark: offset + first.mark.start..offset + first.mark.end,
            shown: [0..head_end, offset..shown.len()],
            text: shown,
        }
    }
}

/// The lines above `start` that belong to the same item of the list around it, as block style shows it
/// by indentation; none if that is not to be seen.
fn item_above<'t>(text: &'t str, start: usize, key: &str) -> Vec<&'t str> {
    let start = floor(text, start.min(text.len()));
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
    let mut lines = Vec::new();
    for above in before.get(..line_start).unwrap_or_default().lines().rev().take(REACH) {
        lines.push(above);
        if above.trim_start().starts_with("- ") && indent(above) < indent(line) {
            let has_key = |line: &&str| line.trim_start_matches([' ', '-']).starts_with(key);
            if lines.iter().any(has_key) {
                lines.reverse();
                return lines;
            }
            break;
        }
        if indent(above) == 0 && !above.is_empty() {
            break;
        }
    }
    Vec::new()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn part(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// The first so many characters, and whether there were more.
fn first(text: &str, most: usize) -> (&str, bool) {
    match text.char_indices().nth(most) {
        Some((at, _)) => (part(text, 0, at), true),
        None => (text, false),
    }
}

/// The last so many characters, and whether there were more.
fn last(text: &str, most: usize) -> (&str, bool) {
    match text.char_indices().rev().nth(most) {
        Some((at, character)) => (part(text, at + character.len_utf8(), text.len()), true),
        None => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_line_stays_whole() {
        let line = Line::around("a: 1\nport: \"x\"\r\nb: 2\n", 11, 14);
        assert_eq!(line, Line { text: "port: \"x\"".into(), mark: 6..9 });
    }

    #[test]
    fn a_mark_over_several_lines_ends_with_the_first() {
        let line = Line::around("- a: 1  \n  b: 2\n", 2, 15);
        assert_eq!((&line.text[line.mark.clone()], line.text.as_str()), ("a: 1", "- a: 1"));
    }

    #[test]
    fn a_long_line_is_cut_on_both_sides() {
        let text = format!("{}HERE{}", "[".repeat(100_000), "]".repeat(100_000));
        let line = Line::around(&text, 100_000, 100_004);
        assert_eq!(&line.text[line.mark.clone()], "HERE");
        assert_eq!(line.text.chars().count(), 2 * MARGIN + 4 + 2);
        assert!(line.text.starts_with("…[") && line.text.ends_with("]…"));
    }

    #[test]
    fn control_characters_do_not_move_the_mark() {
        let line = Line::around("a\u{1b}b: \u{9b}x y\n", 5, 8);
        assert_eq!(line.text, "a\\u{1b}b: \\u{9b}x y");
        assert_eq!(&line.text[line.mark.clone()], "\\u{9b}x");
    }

    #[test]
    fn a_block_shows_the_item_it_belongs_to() {
        let text =
            "egress:\n- toCIDR:\n  - 10.0.0.0/8\n  toPorts:\n  - ports:\n    - port: \"80\"\n- toPorts:\n";
        let start = text.find("ports:").unwrap();
        let block = Block::in_item(text, start, text.find("- toPorts").unwrap(), 9, "toPorts:");
        assert_eq!(block.text, "- toCIDR:\n  - 10.0.0.0/8\n  toPorts:\n  - ports:\n    - port: \"80\"");
        assert_eq!((&block.text[block.mark.clone()], block.above), ("ports:", 3));
        let outer = text.find("toCIDR").unwrap();
        assert_eq!(Block::in_item(text, outer, outer + 7, 9, "toPorts:").above, 0);
    }

    #[test]
    fn places_past_the_end_and_within_a_character_do_no_harm() {
        assert_eq!(Line::around("ab", 9, 12), Line { text: "ab".into(), mark: 2..2 });
        assert_eq!(&Line::around("größe", 3, 4).text, "größe");
        assert_eq!(Line::around("", 0, 0), Line { text: String::new(), mark: 0..0 });
    }
}
