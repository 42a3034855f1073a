//! Strings of the language: what stands between their quotes.

use super::statements::is_word;
use std::fmt::Write as _;

/// The text that is meant by what stands between two quotes. The grammar has checked the form.
pub(super) fn undone(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(rest.get(..at).unwrap_or(""));
        let escape = rest.get(at + 1..).unwrap_or("");
        let length = match escape.bytes().next() {
            Some(b'n') => push(&mut text, '\n', 1),
            Some(b'r') => push(&mut text, '\r', 1),
            Some(b't') => push(&mut text, '\t', 1),
            Some(b'u') => {
                let digits = escape.get(2..).and_then(|digits| digits.split('}').next()).unwrap_or("");
                let number = u32::from_str_radix(digits, 16).ok();
                // What is no character stays visible as the one that says so.
                let c = number.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                push(&mut text, c, digits.len() + 3)
            }
            Some(byte) => push(&mut text, char::from(byte), 1),
            None => 0,
        };
        rest = escape.get(length..).unwrap_or("");
    }
    text.push_str(rest);
    text
}

fn push(text: &mut String, c: char, length: usize) -> usize {
    text.push(c);
    length
}

/// The text as a bare word where it is one, in quotes otherwise.
pub(super) fn word_or_string(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(is_word) { text.to_owned() } else { string(text) }
}

/// The text in quotes.
pub(super) fn string(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            '\n' => string.push_str("\\n"),
            '\r' => string.push_str("\\r"),
            '\t' => string.push_str("\\t"),
            // A text with a NUL is refused as a whole; other control characters could not be seen.
            c if c.is_control() => {
                let _ = write!(string, "\\u{{{:x}}}", u32::from(c));
            }
            c => string.push(c),
        }
    }
    string.push('"');
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_comes_back() {
        for text in ["", "a b", "\"", "\\", "\\d+\\.", "a\nb\r\t", "\0\u{7f}ü", "{}#,;"] {
            let quoted = string(text);
            assert_eq!(undone(&quoted[1..quoted.len() - 1]), text, "{quoted}");
        }
        assert_eq!(word_or_string("app.kubernetes.io/name"), "app.kubernetes.io/name");
        assert_eq!(word_or_string(""), "\"\"");
    }
}
