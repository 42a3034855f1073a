//! Flows from JSON, one object a line.
//!
//! Reading never stops at a bad line: each is one finding, in its place. Unknown fields, fields given
//! twice, and endpoints that do not exist are mistakes; `expect`, `accept` and `why` are known, so that
//! a list of expectations is also a list of flows. Empty lines say nothing.
//!
//! Not here: where the text comes from.

use super::{Enforced, Flow, Verdict, is_icmp, protocol_named};
use crate::cluster::{Cluster, Party};
use crate::json;
use crate::requests::{DnsRequest, HttpRequest};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::{FileId, Span};

/// Bytes of one line, at most.
pub const MAX_LINE: usize = 1 << 20;

/// Reads all lines of a file; what is wrong is appended to `diagnostics`.
pub fn read(file: FileId, text: &str, cluster: &Cluster, diagnostics: &mut Vec<Diagnostic>) -> Vec<Flow> {
    let mut flows = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        match read_line(file, start, line.trim_end_matches(['\n', '\r']), cluster) {
            Ok(flow) => flows.extend(flow),
            Err(finding) => diagnostics.push(*finding),
        }
        start += line.len();
    }
    flows
}

/// Reads one line that begins at byte `start` of its file; `None` if it is empty.
///
/// # Errors
/// The finding, if the line is not a flow.
pub fn read_line(
    file: FileId,
    start: usize,
    line: &str,
    cluster: &Cluster,
) -> Result<Option<Flow>, Box<Diagnostic>> {
    let offset = |at: usize| u32::try_from(start.saturating_add(at)).unwrap_or(u32::MAX);
    let span = Span { file, start: offset(0), end: offset(line.len()) };
    let wrong = |code, message: String| Box::new(Diagnostic::new(code, span, message));
    if line.trim().is_empty() {
        return Ok(None);
    }
    if line.len() > MAX_LINE {
        return Err(wrong(Code::TooLarge, format!("the line is longer than {MAX_LINE} bytes")));
    }
    let written: Written = serde_json::from_str(line).map_err(|error| {
        let code = if error.is_data() { Code::WrongType } else { Code::Syntax };
        let mut finding = wrong(code, format!("this is not a flow: {}", json::message(&error)));
        finding.span = json::place(file, start, line, &error);
        finding
    })?;
    written.resolve(span, cluster).map(Some).map_err(|message| wrong(Code::WrongType, message))
}

/// An end of a flow: `namespace/pod`, or an address, which may be that of a pod or node.
///
/// # Errors
/// What is wrong with the text, or that there is no such pod.
pub fn endpoint(text: &str, cluster: &Cluster) -> Result<Party, String> {
    let Some((namespace, name)) = text.split_once('/') else {
        return match text.parse::<IpAddr>() {
            Ok(address) => Ok(cluster.party(address)),
            Err(_) => Err(format!("`{text}` is neither `namespace/pod` nor an address")),
        };
    };
    cluster.party_named(namespace, name).ok_or_else(|| {
        let is_known = |pod: &weir_grammar::tree::Pod| {
            pod.meta.name == name && pod.meta.namespace.as_deref() == Some(namespace)
        };
        if cluster.pods.iter().any(is_known) {
            format!("pod {text} is on the network of its node, which is not in the cluster")
        } else {
            format!("there is no pod {text} in the cluster")
        }
    })
}

/// A flow as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    src: String,
    dst: String,
    proto: String,
    dport: Option<u16>,
    icmp_type: Option<u8>,
    direction: WrittenDirection,
    http: Option<WrittenHttp>,
    dns: Option<WrittenDns>,
    #[serde(default)]
    fqdn: Vec<String>,
    expect: Option<Verdict>,
    accept: Option<Vec<Verdict>>,
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenDirection {
    Ingress,
    Egress,
    Both,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHttp {
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDns {
    query: String,
}

impl Written {
    fn resolve(self, span: Span, cluster: &Cluster) -> Result<Flow, String> {
        let proto = &self.proto;
        let Some(protocol) = protocol_named(proto) else {
            return Err(format!("`{proto}` is not a protocol: TCP, UDP, SCTP, ICMP or ICMPv6"));
        };
        let port = match (is_icmp(protocol), self.icmp_type, self.dport) {
            (true, Some(icmp_type), _) => u16::from(icmp_type),
            (true, None, _) => return Err(format!("missing field `icmp_type`, the type of {proto}")),
            (false, Some(_), _) => return Err(format!("`icmp_type` has no place in a flow of {proto}")),
            (false, None, Some(port)) => port,
            (false, None, None) => return Err(format!("missing field `dport`, the port of {proto}")),
        };
        Ok(Flow {
            source: endpoint(&self.src, cluster).map_err(|message| format!("src: {message}"))?,
            destination: endpoint(&self.dst, cluster).map_err(|message| format!("dst: {message}"))?,
            id: self.id,
            span,
            protocol,
            port,
            enforced: match self.direction {
                WrittenDirection::Ingress => Enforced::Ingress,
                WrittenDirection::Egress => Enforced::Egress,
                WrittenDirection::Both => Enforced::Both,
            },
            http: self.http.map(WrittenHttp::request).transpose()?,
            dns: self.dns.map(|dns| DnsRequest { query: dns.query }),
            fqdn: self.fqdn,
            expected: self.accept.unwrap_or_else(|| self.expect.into_iter().collect()),
            why: self.why,
        })
    }
}

impl WrittenHttp {
    fn request(self) -> Result<HttpRequest, String> {
        let headers: Vec<(String, String)> = self.headers.into_iter().collect();
        let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the header `{}` is given twice", pair[0]));
        }
        Ok(HttpRequest { method: self.method, path: self.path, host: self.host, headers })
    }
}

#[cfg(test)]
mod tests;
