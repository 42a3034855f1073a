//! `authentication`: Weir does none, so only `disabled` is accepted.

use super::context::Context;
use super::decode::Shape;
use super::hint;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Spanned;
use crate::tree::AuthenticationMode;
use crate::yaml::Value;

const AUTHENTICATION: Shape = Shape { what: "`authentication`", fields: &["mode"], elsewhere: &[] };

/// Reads the mode.
pub(crate) fn mode(cx: &mut Context<'_>, value: Value<'_>) -> Option<Spanned<AuthenticationMode>> {
    let mut mode = None;
    let is_object =
        cx.fields(value, &AUTHENTICATION, |cx, field, value, _| mode = Some(cx.text(value, field)));
    if is_object && mode.is_none() {
        cx.missing(value.head(), "`authentication`", "mode", "the mode that Weir knows is `disabled`");
    }
    let text = mode??;
    let finding = match text.value {
        "disabled" => return Some(text.map(|_| AuthenticationMode::Disabled)),
        "required" | "test-always-fail" => Diagnostic::new(
            Code::UnsupportedField,
            text.span,
            format!("Weir does not implement mutual authentication (`{}`)", text.value),
        )
        .labelled("not implemented")
        .help("remove `authentication`, or leave it to a service mesh"),
        other => Diagnostic::new(
            Code::Authentication,
            text.span,
            format!("`{}` is not an authentication mode", hint::short(other)),
        )
        .labelled("no such mode")
        .help("modes are `disabled`, `required` and `test-always-fail`"),
    };
    cx.report(finding);
    None
}
