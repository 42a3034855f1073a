//! `matchName` and `matchPattern`, in `toFQDNs` and in `rules.dns`.

use super::context::Context;
use super::decode::Shape;
use super::hint;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Spanned;
use crate::tree::FqdnSelector;
use crate::yaml::Value;

const FQDN: Shape = Shape {
    what: "a DNS name selector",
    fields: &["matchName", "matchPattern"],
    elsewhere: &[("name", "did you mean `matchName`?"), ("pattern", "did you mean `matchPattern`?")],
};

/// Reads a list of selectors.
pub(crate) fn selectors(cx: &mut Context<'_>, value: Value<'_>, name: &str) -> Option<Vec<FqdnSelector>> {
    cx.list_of(value, name, selector)
}

fn selector(cx: &mut Context<'_>, value: Value<'_>) -> Option<FqdnSelector> {
    let (mut name, mut pattern) = (None, None);
    let mut keys = Vec::new();
    let is_object = cx.fields(value, &FQDN, |cx, field, value, key| {
        let text = cx.text(value, field);
        // An empty string is a field left out.
        if text.is_some_and(|text| text.value.is_empty()) {
            return;
        }
        keys.push(key);
        match field {
            "matchName" => name = Some(text),
            _ => pattern = Some(text),
        }
    });
    if !is_object {
        return None;
    }
    let (text, is_pattern) = match (name, pattern) {
        (Some(name), None) => (name?, false),
        (None, Some(pattern)) => (pattern?, true),
        (given, _) => {
            let finding = match (given, keys.as_slice()) {
                (Some(_), [first, second, ..]) => Diagnostic::new(
                    Code::FqdnChoice,
                    *second,
                    "`matchName` and `matchPattern` exclude each other",
                )
                .labelled("a second choice")
                .also(*first, "the first one")
                .help("write two items"),
                _ => Diagnostic::new(
                    Code::FqdnChoice,
                    value.head(),
                    "the selector has neither `matchName` nor `matchPattern`",
                )
                .labelled("selects no name")
                .help("to mean every name write `matchPattern: \"*\"`"),
            };
            cx.report(finding);
            return None;
        }
    };
    check(cx, text, is_pattern)?;
    Some(FqdnSelector { span: text.span, is_pattern, text: plain(text.value) })
}

/// Reads one name.
pub(crate) fn name(cx: &mut Context<'_>, text: Spanned<&str>) -> Option<String> {
    check(cx, text, false)?;
    Some(plain(text.value))
}

/// In lower case, without the last dot.
fn plain(text: &str) -> String {
    let mut lower = text.to_ascii_lowercase();
    let stars_only = lower.bytes().all(|byte| matches!(byte, b'*' | b'.'));
    if !stars_only && lower.ends_with('.') {
        lower.pop();
    }
    lower
}

/// `([-a-zA-Z0-9_*]+[.]?)+`, the star in patterns alone, at most 255 characters.
fn check(cx: &mut Context<'_>, text: Spanned<&str>, is_pattern: bool) -> Option<()> {
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') || (is_pattern && byte == b'*')
    };
    let fault = if text.value.len() > 255 {
        "it has more than 255 characters"
    } else if text.value.contains('*') && !is_pattern {
        "it holds a star"
    } else if !text.value.bytes().all(allowed) {
        "it holds a character that no DNS name has"
    } else if text.value.starts_with('.') || text.value.contains("..") {
        "it has an empty part"
    } else {
        return Some(());
    };
    let kind = if is_pattern { "DNS name pattern" } else { "DNS name" };
    let help = if text.value.contains('*') && !is_pattern {
        "write `matchPattern` instead of `matchName`"
    } else if text.value.contains("://") || text.value.contains('/') {
        "give the name alone, without scheme, port and path"
    } else {
        "a name has letters, digits, `-`, `_` and dots between its parts"
    };
    cx.report(
        Diagnostic::new(
            Code::Fqdn,
            text.span,
            format!("`{}` is not a {kind}: {fault}", hint::short(text.value)),
        )
        .labelled(format!("not a {kind}"))
        .help(help),
    );
    None
}
