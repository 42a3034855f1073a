//! Values to YAML text: block style, one way for each value.
//!
//! Text is bare only where every reader takes it for text, YAML 1.1's included; otherwise it is quoted.

use super::scalar::{Resolved, resolve};
use super::tree::Tag;
use std::fmt::Write as _;

/// A value to be printed. It is as deep as a manifest is, so printing may recurse.
#[derive(Debug)]
pub(crate) enum Item {
    /// Text.
    Text(String),
    /// A number or a truth value.
    Plain(String),
    /// A list.
    List(Vec<Item>),
    /// An object, its fields in order.
    Object(Vec<(String, Item)>),
}

/// The document of an object.
pub(crate) fn document(item: &Item) -> String {
    let mut text = String::new();
    block(&mut text, item, 0);
    text
}

/// A list or an object, each entry on lines of its own from the cursor on.
fn block(text: &mut String, item: &Item, depth: usize) {
    let pad = "  ".repeat(depth);
    match item {
        Item::Object(fields) => {
            for (place, (key, value)) in fields.iter().enumerate() {
                let pad = if place == 0 { "" } else { pad.as_str() };
                let _ = write!(text, "{pad}{}:", scalar(key));
                match value {
                    // A list stands at the indent of its key, as kubectl prints it.
                    Item::List(items) if !items.is_empty() => {
                        let _ = write!(text, "\n{}", "  ".repeat(depth));
                        block(text, value, depth);
                    }
                    Item::Object(fields) if !fields.is_empty() => {
                        let _ = write!(text, "\n{}", "  ".repeat(depth + 1));
                        block(text, value, depth + 1);
                    }
                    _ => line(text, value),
                }
            }
        }
        Item::List(items) => {
            for (place, item) in items.iter().enumerate() {
                let _ = write!(text, "{}-", if place == 0 { "" } else { pad.as_str() });
                if matches!(item, Item::Object(fields) if !fields.is_empty()) {
                    text.push(' ');
                    block(text, item, depth + 1);
                } else {
                    line(text, item);
                }
            }
        }
        Item::Text(_) | Item::Plain(_) => line(text, item),
    }
}

/// What needs no lines of its own.
fn line(text: &mut String, item: &Item) {
    let _ = match item {
        Item::Text(value) => writeln!(text, " {}", scalar(value)),
        Item::Plain(value) => writeln!(text, " {value}"),
        Item::List(_) => writeln!(text, " []"),
        Item::Object(_) => writeln!(text, " {{}}"),
    };
}

fn scalar(text: &str) -> String {
    // What begins with a digit may be a date or a number to the base of 60; an IPv4 block is neither.
    let is_block =
        text.contains('/') && text.bytes().all(|byte| byte.is_ascii_digit() || b"./".contains(&byte));
    let is_bare = resolve(text, Tag::None) == Resolved::Text(text)
        && (is_block || text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/'))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte))
        && !text.ends_with(':');
    if is_bare { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // Line ends of Unicode, byte order marks and what cannot be seen: by number.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_reader_takes_for_text_is_bare() {
        for bare in ["app", "10.0.0.0/8", "app.kubernetes.io/name", "k8s:app", "/healthz"] {
            assert_eq!(scalar(bare), bare);
        }
        for text in [
            "", "on", "y", "80", "1e3", "a: b", "a:", "-", "*", "a #b", "{}", "~", "\"", "1:30", "::1", "0x1",
        ] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
    }
}
