//! Regular expressions of HTTP rules.
//!
//! The proxy reads them as RE2 does; Weir matches them with Rust's engine. The two agree on nearly
//! everything, so an expression is taken if Rust's engine compiles it within bounds and it holds
//! none of the forms that RE2 refuses or reads in another way.

use super::context::Context;
use super::hint;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Spanned;
use crate::yaml::Value;
use regex_automata::nfa::thompson::NFA;

/// Memory that one expression may take when compiled.
const REGEX_BYTES: usize = 1 << 20;

/// RE2's bound on a counted repetition.
const MOST_REPEATS: u32 = 1000;

/// Expressions of a file that are remembered as good, since policies repeat them.
const REMEMBERED: usize = 10_000;

/// Reads an expression over the whole string; an empty one is left out, as in the API.
pub(crate) fn expression(cx: &mut Context<'_>, value: Value<'_>, name: &str) -> Option<Spanned<String>> {
    let text = cx.string(value, name)?;
    if text.value.is_empty() {
        return None;
    }
    if is_literal(&text.value) || cx.expressions.contains(&text.value) {
        return Some(text);
    }
    if let Err((message, help)) = check(&text.value) {
        cx.report(
            Diagnostic::new(Code::Regex, text.span, message)
                .labelled("not an expression that can be used")
                .help(help),
        );
        return None;
    }
    if cx.expressions.len() < REMEMBERED {
        cx.expressions.insert(text.value.clone());
    }
    Some(text)
}

/// Whether the text has no character with a meaning of its own, so that nothing can be wrong.
fn is_literal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.:=%".contains(&byte))
}

fn check(text: &str) -> Result<(), (String, &'static str)> {
    let shown = hint::short(text);
    let not_one = |help| (format!("`{shown}` is not a regular expression"), help);
    // The automaton is built to learn whether it can be, and how large it is; it is not kept.
    let config = NFA::config().nfa_size_limit(Some(REGEX_BYTES));
    if let Err(error) = NFA::compiler().configure(config).build(text) {
        if error.size_limit().is_some() {
            return Err((
                format!("the expression `{shown}` is too large"),
                "use fewer or smaller repetitions",
            ));
        }
        return Err(not_one(match text {
            "*" => "to match everything leave the field out, or write `.*`",
            _ if text.starts_with('*') => "a star repeats what stands before it; for anything write `.*`",
            _ if ["(?=", "(?!", "(?<"].iter().any(|look| text.contains(look)) => {
                "the proxy's expressions know no look-around"
            }
            _ if text.contains('{') => "write `\\{` for a brace that is meant literally",
            _ => "paths, methods and hosts are regular expressions over the whole string",
        }));
    }
    match foreign_form(text) {
        Some(help) => Err(not_one(help)),
        None => Ok(()),
    }
}

/// A form that Rust's engine takes and RE2 refuses or reads otherwise.
fn foreign_form(text: &str) -> Option<&'static str> {
    const SETS: &str =
        "`[`, `&&`, `--` and `~~` inside brackets are read in two ways; write `\\[`, `&`, `\\-`, `~`";
    let mut rest = text;
    // What the last character was: a repetition, and whether it has its `?`.
    let (mut repeated, mut lazy) = (false, false);
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let mut next = after;
        let repeats = match c {
            '\\' => {
                let escaped = after.chars().next();
                if matches!(escaped, Some('<' | '>')) {
                    return Some("word boundaries are written `\\b`");
                }
                next = &after[escaped.map_or(0, char::len_utf8)..];
                false
            }
            '[' => {
                let body = class(after)?;
                let inner = &after[..body];
                if ["&&", "--", "~~"].iter().any(|set| inner.contains(set)) || nests(inner) {
                    return Some(SETS);
                }
                next = after.get(body + 1..).unwrap_or("");
                false
            }
            '(' if after.starts_with("?") => {
                let flags = after[1..].bytes().take_while(u8::is_ascii_alphabetic);
                // `(?P<name>` is a group, not a flag.
                if !after.starts_with("?P") && flags.clone().any(|flag| matches!(flag, b'x' | b'u' | b'R')) {
                    return Some("the proxy's expressions know only the flags i, m, s and U");
                }
                next = after[1..].trim_start_matches(|c: char| c.is_ascii_alphabetic());
                false
            }
            '*' | '+' => true,
            '?' if repeated && !lazy => {
                lazy = true;
                rest = after;
                continue;
            }
            '?' => true,
            '{' => {
                let end = after.find('}')?;
                let counts = after[..end].split(',').filter_map(|count| count.parse::<u32>().ok());
                if counts.max().is_some_and(|most| most > MOST_REPEATS) {
                    return Some("a repetition counts to 1000 at most");
                }
                next = &after[end + 1..];
                true
            }
            _ => false,
        };
        if repeats && repeated {
            return Some("a repetition cannot be repeated; for anything write `.*`");
        }
        (repeated, lazy) = (repeats, false);
        rest = next;
    }
    None
}

/// Length of a bracket expression's inside, up to its `]`.
fn class(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = usize::from(bytes.first() == Some(&b'^'));
    // A `]` in the first place is itself.
    at += usize::from(bytes.get(at) == Some(&b']'));
    loop {
        match bytes.get(at)? {
            b']' => return Some(at),
            b'\\' => at += 2,
            b'[' if bytes.get(at + 1) == Some(&b':') => at += text.get(at..)?.find(":]")? + 2,
            _ => at += 1,
        }
    }
}

/// Whether a bracket expression holds a bracket that opens no named class.
fn nests(inner: &str) -> bool {
    let bytes = inner.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' if bytes.get(at + 1) != Some(&b':') => return true,
            b'[' => at += 1,
            _ => {}
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_engines_read_alike() {
        for text in [
            "/api/v[0-9]+/.*",
            "GET|HEAD",
            ".*\\.example\\.com",
            "(?i)abc",
            "a*?",
            "a+?",
            "a??",
            "[[:alpha:]]+",
            "a{2,3}",
            "[]a]",
            "\\*\\*",
            "[*+]+",
            "(a*)*",
            "(?:a)+",
            "(?P<name>x)",
            "^/$",
            "\\d+",
            "[^/]+",
            "/a\\{b\\}",
            "[\\[\\]]",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_the_proxy_would_refuse_or_read_otherwise() {
        for text in [
            "*", "/api/**", "a++", "a+*", "a{2}*", "a*{2}", "a???", "(", "[a", "(?=a)", "a{1001}", "[a&&b]",
            "[[a]b]", "\\<a", "(?x)a", "a{", "\\", "+",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
