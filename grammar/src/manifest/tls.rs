//! `terminatingTLS`, `originatingTLS`, `serverNames`, and references to secrets.

use super::context::Context;
use super::decode::Shape;
use super::{hint, names};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{SecretName, TlsContext};
use crate::yaml::Value;

const TLS: Shape = Shape {
    what: "a TLS context",
    fields: &["secret", "trustedCA", "certificate", "privateKey"],
    elsewhere: &[],
};

const SECRET: Shape =
    Shape { what: "a reference to a secret", fields: &["namespace", "name"], elsewhere: &[] };

/// Reads a TLS context.
pub(crate) fn context(cx: &mut Context<'_>, value: Value<'_>, field: &str) -> Option<TlsContext> {
    let (mut secret, mut trusted_ca, mut certificate, mut private_key) = (None, None, None, None);
    let is_object = cx.fields(value, &TLS, |cx, field, value, _| match field {
        "secret" => secret = Some(self::secret(cx, value, Code::Tls)),
        "trustedCA" => trusted_ca = cx.string(value, field).map(|text| text.value),
        "certificate" => certificate = cx.string(value, field).map(|text| text.value),
        _ => private_key = cx.string(value, field).map(|text| text.value),
    });
    if is_object && secret.is_none() {
        cx.report(
            Diagnostic::new(Code::Tls, value.head(), format!("`{field}` names no secret"))
                .labelled("`secret` is missing here")
                .help("add `secret: {namespace: …, name: …}`"),
        );
    }
    Some(TlsContext { span: value.span(), secret: secret??, trusted_ca, certificate, private_key })
}

/// Reads a reference to a secret; its faults have the code of what refers to it.
pub(crate) fn secret(cx: &mut Context<'_>, value: Value<'_>, code: Code) -> Option<SecretName> {
    let (mut namespace, mut name) = (None, None);
    let is_object = cx.fields(value, &SECRET, |cx, field, value, _| match field {
        "namespace" => namespace = cx.string(value, field),
        _ => name = Some(cx.string(value, field)),
    });
    if !is_object {
        return None;
    }
    let Some(name) = name else {
        bad_secret(cx, value.head(), code, "the reference names no secret");
        return None;
    };
    let name = name?;
    if let Err(fault) = names::subdomain(&name.value) {
        bad_secret(
            cx,
            name.span,
            code,
            &format!("`{}` is not the name of a secret: it {fault}", hint::short(&name.value)),
        );
        return None;
    }
    let namespace = namespace.filter(|namespace| !namespace.value.is_empty());
    if let Some(namespace) = &namespace
        && let Err(fault) = names::dns_label(&namespace.value)
    {
        bad_secret(
            cx,
            namespace.span,
            code,
            &format!("`{}` is not a namespace: it {fault}", hint::short(&namespace.value)),
        );
        return None;
    }
    Some(SecretName { namespace: namespace.map(|namespace| namespace.value), name: name.value })
}

fn bad_secret(cx: &mut Context<'_>, at: Span, code: Code, message: &str) {
    cx.report(
        Diagnostic::new(code, at, message)
            .labelled("not a secret")
            .help("write `secret: {namespace: …, name: …}`"),
    );
}

/// Reads `serverNames`.
pub(crate) fn server_names(cx: &mut Context<'_>, value: Value<'_>) -> Vec<Spanned<String>> {
    if value.items().is_some_and(|items| items.len() == 0) {
        cx.report(
            Diagnostic::new(Code::Tls, value.span(), "`serverNames` is empty")
                .labelled("at least one name")
                .help("leave the field out to admit every name"),
        );
    }
    let mut seen: Vec<Spanned<String>> = Vec::new();
    cx.items(value, "serverNames", |cx, item| {
        let Some(mut name) = cx.string(item, "serverNames") else { return };
        if let Some(fault) = server_name_fault(&name.value) {
            cx.report(
                Diagnostic::new(
                    Code::Tls,
                    name.span,
                    format!("`{}` is not a server name: it {fault}", hint::short(&name.value)),
                )
                .labelled("not a server name")
                .help("write a DNS name, perhaps with `*.` or `**.` before it"),
            );
            return;
        }
        name.value.make_ascii_lowercase();
        if let Some(earlier) = seen.iter().find(|earlier| earlier.value == name.value) {
            cx.report(
                Diagnostic::new(
                    Code::Tls,
                    name.span,
                    format!("the server name `{}` is given twice", name.value),
                )
                .labelled("given again here")
                .also(earlier.span, "given first here"),
            );
            return;
        }
        seen.push(name);
    });
    seen
}

fn server_name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    if name.len() > 255 {
        return Some("has more than 255 characters");
    }
    if name.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*' | b'.'))) {
        return Some("may hold only letters, digits, `-`, `_`, `.` and `*`");
    }
    (name.starts_with('.') || name.contains("..")).then_some("has an empty part")
}
