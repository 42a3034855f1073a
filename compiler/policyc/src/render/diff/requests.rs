//! A request rule in the words of the policy language.

use weir_compiler::diff::{HeaderRule, HttpRequestRule, Request};
use weir_grammar::tree::Mismatch;
use weir_project::visible::visible;

pub(super) fn words(request: &Request) -> String {
    match request {
        Request::Http(rule) => format!("http {}", http(rule)),
        Request::Dns { name, is_pattern: false } => format!("dns name {}", quoted(name)),
        Request::Dns { name, is_pattern: true } => format!("dns {}", quoted(name)),
        Request::Tls { contexts, server_names } => {
            let contexts = contexts.iter().map(|context| format!("secret {}", visible(context)));
            let names = server_names.iter().map(|name| format!("server name {}", quoted(name)));
            format!("tls {}", contexts.chain(names).collect::<Vec<_>>().join(", "))
        }
    }
}

fn http(rule: &HttpRequestRule) -> String {
    let HttpRequestRule { method, path, host, headers } = rule;
    let mut parts = Vec::new();
    parts.extend(method.as_deref().map(|method| visible(method).into_owned()));
    parts.extend(path.as_deref().map(quoted));
    parts.extend(host.as_deref().map(|host| format!("host {}", quoted(host))));
    parts.extend(headers.iter().map(header));
    if parts.is_empty() { "any".to_owned() } else { parts.join(" ") }
}

fn header(rule: &HeaderRule) -> String {
    let mut text = format!("header {}", quoted(&rule.name));
    if let Some(value) = &rule.value {
        text.push_str(&format!(" value {}", quoted(value)));
    }
    if let Some(secret) = &rule.secret {
        text.push_str(&format!(" secret {}", visible(secret)));
    }
    text.push_str(match rule.mismatch {
        Mismatch::Fail => "",
        Mismatch::Log => " else log",
        Mismatch::Add => " else add",
        Mismatch::Delete => " else delete",
        Mismatch::Replace => " else replace",
    });
    text
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(text))
}
