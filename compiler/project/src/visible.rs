//! Text of inputs made safe for terminals and logs: what would steer them is written out.
//!
//! A policy's text is hostile until shown otherwise. Escape sequences, C1 controls, text-direction marks
//! and invisible characters become `\u{1b}` and the like; everything else stays.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

/// The text with everything that would steer a terminal, or hide, written out.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\t' => shown.push(' '),
            plain if is_shown(plain) => shown.push(plain),
            other => _ = write!(shown, "\\u{{{:x}}}", u32::from(other)),
        }
    }
    Cow::Owned(shown)
}

/// Whether the text is shown as it is.
pub fn is_plain(text: &str) -> bool {
    text.chars().all(is_shown)
}

/// Whether a character may be printed as it is.
fn is_shown(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..='\u{9f}' | '\u{ad}' => false,
        // Zero-width and direction marks, separators of lines, invisible operators, interlinear marks, tags.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => false,
        '\u{61c}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => false,
        _ => true,
    }
}

/// JSON whose strings keep every character but show no control character to a terminal; the formatter
/// within lays it out.
#[derive(Clone, Debug)]
pub struct VisibleJson<F>(pub F);

impl<F: serde_json::ser::Formatter> serde_json::ser::Formatter for VisibleJson<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if text.chars().all(is_shown) {
            return writer.write_all(text.as_bytes());
        }
        let mut units = [0; 2];
        let mut plain = [0; 4];
        for character in text.chars() {
            if is_shown(character) {
                writer.write_all(character.encode_utf8(&mut plain).as_bytes())?;
            } else {
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(
            visible("a\u{1b}[31mb\u{9b}c\u{202e}d\r\n"),
            "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{d}\\u{a}"
        );
        assert_eq!(visible("größe → 大"), "größe → 大");
    }

    #[test]
    fn json_keeps_every_character() {
        let text = "a\u{9b}b\u{202e}\u{e0041}\n\"ü";
        let mut bytes = Vec::new();
        let formatter = VisibleJson(serde_json::ser::CompactFormatter);
        text.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).unwrap();
        let written = String::from_utf8(bytes).unwrap();
        assert_eq!(written, r#""a\u009bb\u202e\udb40\udc41\n\"ü""#);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
