//! Expectations to the language.

use super::escape::{string, word_or_string};
use super::expect::UNNAMED;
use super::print::head;
use super::print_rule::{blocks, icmp_type, port};
use super::print_selector::{Keys, pods, selected};
use crate::manifest::entity_name;
use crate::tree::{End, EndKind, Expectation, Expectations, ExpectedRequest};
use std::fmt::Write as _;

/// A block of expectations.
pub(super) fn expectations(expectations: &Expectations) -> String {
    let Expectations { meta, description, list } = expectations;
    let mut text = String::from("expect");
    if meta.name != UNNAMED || !meta.labels.is_empty() {
        let _ = write!(text, " {}", head(meta));
    }
    if let Some(description) = description {
        let _ = write!(text, " {}", string(description));
    }
    text.push_str(" {\n");
    for expectation in list {
        let _ = writeln!(text, "    {}", line(expectation));
    }
    text.push_str("}\n");
    text
}

fn line(expectation: &Expectation) -> String {
    let Expectation { from, to, ports, icmps, request, verdict, direction, .. } = expectation;
    let mut text = format!("{} -> {}", ends(from), ends(to));
    let ports: Vec<String> = ports.iter().map(port).chain(icmps.iter().map(icmp_type)).collect();
    if !ports.is_empty() {
        let _ = write!(text, " {}", ports.join(", "));
    }
    match request {
        None => {}
        Some(ExpectedRequest::Dns(name)) => {
            let _ = write!(text, " dns {}", string(name));
        }
        Some(ExpectedRequest::Http { method, path, host, headers }) => {
            let is_capital = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
            let method = if is_capital { method.clone() } else { format!("method {}", string(method)) };
            let _ = write!(text, " {method} {}", word_or_string(path));
            if !host.is_empty() {
                let _ = write!(text, " host {}", word_or_string(host));
            }
            for (name, value) in headers {
                let header = if value.is_empty() { name.clone() } else { format!("{name}: {value}") };
                let _ = write!(text, " header {}", word_or_string(&header));
            }
        }
    }
    let _ = write!(text, " {}", verdict.value.as_str());
    if let Some(direction) = direction {
        let _ = write!(text, " by {}", direction.as_str());
    }
    text
}

/// `or` goes between pods, between whose labels a comma would narrow.
fn ends(ends: &[End]) -> String {
    let ends: Vec<String> = ends.iter().map(end).collect();
    ends.join(" or ")
}

fn end(end: &End) -> String {
    match &end.who {
        EndKind::Workload { namespace, name } => format!("{namespace}/{name}"),
        EndKind::Pods(selector) => pods(selector, Keys::Cilium),
        EndKind::Nodes(selector) => selected("nodes", selector, Keys::Cilium),
        EndKind::Entity(entity) => entity_name(*entity).to_owned(),
        EndKind::Address(address) => address.to_string(),
        EndKind::Blocks(set) => blocks(set).join(" or "),
        EndKind::Fqdn(name) => format!("fqdn {}", string(name)),
    }
}
