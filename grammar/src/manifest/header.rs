//! HTTP headers: `headers` and `headerMatches`.

use super::context::Context;
use super::decode::Shape;
use super::{hint, tls};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{HeaderMatch, Mismatch};
use crate::yaml::Value;

const HEADER_MATCH: Shape =
    Shape { what: "a header match", fields: &["name", "value", "secret", "mismatch"], elsewhere: &[] };

/// Reads one item of `headers` as `Name` or `Name: value`. Cilium takes the first space for the
/// separator, with or without a colon before it.
pub(crate) fn line(cx: &mut Context<'_>, item: Value<'_>) -> Option<Spanned<String>> {
    let text = cx.text(item, "headers")?;
    let (name, value) = match text.value.split_once(' ') {
        Some((name, value)) => (name.trim_end_matches(':'), Some(value)),
        None => (text.value, None),
    };
    if !is_token(name) {
        let help = if value.is_none() && name.contains(':') {
            "put a space after the colon: `Name: value`"
        } else {
            "write `Name` to ask for the header, `Name: value` to ask for its value"
        };
        bad(cx, text.span, &format!("`{}` is not a header", hint::short(text.value)), help);
        return None;
    }
    Some(text.map(|_| match value {
        Some(value) => format!("{name}: {value}"),
        None => name.to_owned(),
    }))
}

/// Reads one item of `headerMatches`.
pub(crate) fn header_match(cx: &mut Context<'_>, item: Value<'_>) -> Option<HeaderMatch> {
    let (mut name, mut value, mut secret, mut mismatch) = (None, None, None, Mismatch::Fail);
    let is_object = cx.fields(item, &HEADER_MATCH, |cx, field, field_value, _| match field {
        "name" => name = Some(cx.text(field_value, field)),
        "value" => {
            value = cx.string(field_value, field).map(|text| text.value).filter(|text| !text.is_empty());
        }
        "secret" => secret = tls::secret(cx, field_value, Code::Header),
        _ => mismatch = self::mismatch(cx, field_value).unwrap_or(Mismatch::Fail),
    });
    if !is_object {
        return None;
    }
    let Some(name) = name else {
        bad(cx, item.head(), "the header match names no header", "add `name`");
        return None;
    };
    let name = name?;
    if !is_token(name.value) {
        bad(
            cx,
            name.span,
            &format!("`{}` is not the name of a header", hint::short(name.value)),
            "header names have letters, digits and `-`",
        );
        return None;
    }
    Some(HeaderMatch { span: item.span(), name: name.value.to_owned(), value, secret, mismatch })
}

fn mismatch(cx: &mut Context<'_>, value: Value<'_>) -> Option<Mismatch> {
    let text = cx.text(value, "mismatch")?;
    match text.value {
        "" => Some(Mismatch::Fail),
        "LOG" => Some(Mismatch::Log),
        "ADD" => Some(Mismatch::Add),
        "DELETE" => Some(Mismatch::Delete),
        "REPLACE" => Some(Mismatch::Replace),
        other => {
            bad(
                cx,
                text.span,
                &format!("`{}` is not what may happen on a mismatch", hint::short(other)),
                "write LOG, ADD, DELETE or REPLACE, or leave the field out to refuse the request",
            );
            None
        }
    }
}

fn bad(cx: &mut Context<'_>, at: Span, message: &str, help: &str) {
    cx.report(Diagnostic::new(Code::Header, at, message).labelled("not a header match").help(help));
}

/// A token of RFC 9110.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
