//! Rust source with comments and literals blanked, so that a word found in it is a word of the program.
//!
//! A scanner, not a parser: it knows comments (nested ones too), strings, raw strings, byte strings and character literals.
//! Lines stay where they are.

/// The text with everything that is not code replaced by spaces.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_other(bytes, at);
        if end > at {
            code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            // What is not ASCII can be part of a name only; any letter stands for it.
            code.push(if bytes[at].is_ascii() { char::from(bytes[at]) } else { 'x' });
            at += 1;
        }
    }
    code
}

/// The 1-based lines on which `word` stands as a whole word; a word may contain `::`, `#` or `!`.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let whole = |line: &str, start: usize| {
        let bytes = line.as_bytes();
        let open = word.starts_with(|first: char| first.is_ascii_alphanumeric());
        let close = word.ends_with(|last: char| last.is_ascii_alphanumeric());
        let before = start.checked_sub(1).and_then(|index| bytes.get(index));
        !(open && is_name(before) || close && is_name(bytes.get(start + word.len())))
    };
    let found = |line: &str| line.match_indices(word).any(|(start, _)| whole(line, start));
    code.lines().enumerate().filter(|(_, line)| found(line)).map(|(index, _)| index + 1).collect()
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts here.
fn end_of_other(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return end_of_block_comment(bytes, at);
    }
    let after_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest.first() {
        Some(b'"') => end_of_string(bytes, at + 1),
        Some(b'\'') => end_of_character(bytes, at),
        Some(b'r' | b'b' | b'c') if !after_name => end_of_prefixed(bytes, at),
        _ => at,
    }
}

fn end_of_block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_u32);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A character literal, or nothing if the quote opens a lifetime.
fn end_of_character(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes.iter().skip(at + 3).position(|byte| *byte == b'\'');
        return close.map_or(bytes.len(), |offset| at + 3 + offset + 1);
    }
    // One character of up to four bytes, then the closing quote.
    let Ok(text) = std::str::from_utf8(&bytes[at + 1..bytes.len().min(at + 5)])
        .or_else(|error| std::str::from_utf8(&bytes[at + 1..at + 1 + error.valid_up_to()]))
    else {
        return at;
    };
    let length = text.chars().next().map_or(0, char::len_utf8);
    if length > 0 && bytes.get(at + 1 + length) == Some(&b'\'') { at + length + 2 } else { at }
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `b'…'`, `c"…"`; nothing if it is a name that starts with such a letter.
fn end_of_prefixed(bytes: &[u8], at: usize) -> usize {
    let letters = bytes[at..].iter().take(2).take_while(|byte| b"rbc".contains(byte)).count();
    let raw = bytes[at..at + letters].contains(&b'r');
    let hashes = bytes[at + letters..].iter().take_while(|byte| **byte == b'#').count();
    let quote = at + letters + hashes;
    match bytes.get(quote) {
        Some(b'"') if raw => {
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let found = bytes[quote + 1..].windows(close.len()).position(|window| window == close);
            found.map_or(bytes.len(), |offset| quote + 1 + offset + close.len())
        }
        Some(b'"') if hashes == 0 => end_of_string(bytes, quote + 1),
        Some(b'\'') if hashes == 0 && &bytes[at..quote] == b"b" => end_of_character(bytes, quote),
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::{code_only, lines_with};

    fn lines(text: &str, word: &str) -> Vec<usize> {
        lines_with(&code_only(text), word)
    }

    #[test]
    fn words_of_the_program_are_found() {
        assert_eq!(lines("fn a() {\n    unsafe { b() }\n}\n", "unsafe"), [2]);
        assert_eq!(lines("let a = 'x'; unsafe {}\nlet b = b'\\''; unsafe {}", "unsafe"), [1, 2]);
        assert_eq!(lines("fn a<'a>(b: &'a str) { unsafe {} }", "unsafe"), [1]);
        assert_eq!(lines("let s = \"\\\"\"; unsafe {}", "unsafe"), [1]);
    }

    #[test]
    fn words_of_comments_and_literals_are_not() {
        for text in [
            "// unsafe",
            "/* unsafe /* unsafe */ unsafe */",
            "\"unsafe\"",
            "r#\"a \" unsafe\"#",
            "b\"unsafe\"",
            "br\"unsafe\"",
            "#![deny(unsafe_code)]",
            "let not_unsafe = 1;",
        ] {
            assert!(lines(text, "unsafe").is_empty(), "{text}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(lines("/*\n\n*/ \"\n\" unsafe", "unsafe"), [4]);
        assert_eq!(lines("let é = 'é'; // é\nunsafe", "unsafe"), [2]);
    }

    #[test]
    fn paths_and_attributes_can_be_asked_for() {
        assert_eq!(lines("use std::fs;\nlet a = fs::read(b);\nlet c = vfs::read(b);", "fs::"), [2]);
        assert_eq!(lines("#[ignore = \"slow\"]\nfn a() {}", "#[ignore"), [1]);
    }
}
