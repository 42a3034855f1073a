//! One line of `hubble observe -o jsonpb`: who, to whom, on which port, and whether policy let it pass.
//!
//! Fields are those of `flow.Flow` (cilium/api/v1/flow/flow.proto), in the names of the proto file; what is not needed is not looked at.
//! Hubble also writes lines that are no flows (lost events, the state of nodes); they are left out by name, and so is what says nothing
//! of policy.

use serde::Deserialize;
use std::net::IpAddr;
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::flow::{Enforced, protocol_named};
use weir_compiler::requests::{DnsRequest, HttpRequest};
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::{FileId, Span};

/// What Hubble says where there is no reason.
const UNKNOWN: &str = "DROP_REASON_UNKNOWN";

/// Drops that are policy's; `AUTH_REQUIRED` is a rule that admits once authenticated.
const BY_POLICY: [&str; 2] = ["POLICY_DENIED", "POLICY_DENY"];
/// Labels of an identity that say where a pod is, not what it is.
const OF_PLACE: [&str; 3] = ["io.kubernetes.", "io.cilium.", "topology."];

/// What a line is.
pub(super) enum Record {
    /// A flow that policy had a say in.
    Flow(Box<Recorded>),
    /// Something else, by name.
    LeftOut(&'static str),
    /// Nothing.
    Empty,
}

/// A flow.
pub(super) struct Recorded {
    pub(super) source: End,
    pub(super) destination: End,
    pub(super) protocol: u8,
    /// Destination port; for ICMP the type.
    pub(super) port: u16,
    pub(super) enforced: Enforced,
    pub(super) passed: bool,
    pub(super) http: Option<HttpRequest>,
    pub(super) dns: Option<DnsRequest>,
}

/// One end of a flow.
#[derive(Debug)]
pub(super) struct End {
    address: IpAddr,
    /// Namespace and name.
    pod: Option<(String, String)>,
    workload: Option<String>,
    labels: Vec<(String, String)>,
    /// DNS names of the address.
    pub(super) names: Vec<String>,
}

impl End {
    /// Who that is in a cluster; `None` for a pod that is gone and has no like.
    pub(super) fn party(&self, cluster: &Cluster) -> Option<Party> {
        let Some((namespace, name)) = &self.pod else { return Some(cluster.party(self.address)) };
        let alike = || {
            let place = cluster.pods.iter().position(|pod| {
                let has = |label: &(String, String)| pod.meta.labels.contains(label);
                pod.meta.namespace.as_ref() == Some(namespace)
                    && !pod.host_network
                    && !self.labels.is_empty()
                    && self.labels.iter().all(has)
            });
            place.map(Party::Pod)
        };
        cluster.party_named(namespace, name).or_else(alike)
    }

    /// As people know it: `namespace/workload`, a DNS name, or the address.
    pub(super) fn name(&self) -> String {
        match (&self.pod, &self.workload) {
            (Some((namespace, _)), Some(workload)) => format!("{namespace}/{workload}"),
            (Some((namespace, name)), None) => format!("{namespace}/{name}"),
            (None, _) => self.names.first().cloned().unwrap_or_else(|| self.address.to_string()),
        }
    }
}

/// Reads a line that begins at byte `start` of its file.
pub(super) fn read(file: FileId, start: usize, line: &str) -> Result<Record, Box<Diagnostic>> {
    if line.trim().is_empty() {
        return Ok(Record::Empty);
    }
    let wrong = |what: String| {
        let at = |offset: usize| u32::try_from(start.saturating_add(offset)).unwrap_or(u32::MAX);
        let span = Span { file, start: at(0), end: at(line.len()) };
        let finding = Diagnostic::new(Code::WrongType, span, format!("this is no line of Hubble's: {what}"));
        Box::new(finding.help("record flows with `hubble observe -o jsonpb`"))
    };
    let line: Line = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
    let Some(flow) = line.flow else {
        return match (line.lost_events, line.node_status) {
            (Some(_), _) => Ok(Record::LeftOut("lost before they were recorded")),
            (_, Some(_)) => Ok(Record::LeftOut("of the state of nodes")),
            _ => Err(wrong("it has no `flow`".to_owned())),
        };
    };
    Ok(flow.record())
}

#[derive(Deserialize)]
struct Line {
    flow: Option<Flow>,
    lost_events: Option<serde::de::IgnoredAny>,
    node_status: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Flow {
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    drop_reason_desc: String,
    #[serde(rename = "IP")]
    ip: Option<Ip>,
    l4: Option<Transport>,
    #[serde(default)]
    source: Endpoint,
    #[serde(default)]
    destination: Endpoint,
    #[serde(default, rename = "Type")]
    kind: String,
    #[serde(default)]
    source_names: Vec<String>,
    #[serde(default)]
    destination_names: Vec<String>,
    l7: Option<Request>,
    is_reply: Option<bool>,
    #[serde(default)]
    traffic_direction: String,
}

#[derive(Deserialize)]
struct Ip {
    source: IpAddr,
    destination: IpAddr,
}

#[derive(Deserialize)]
struct Transport {
    #[serde(rename = "TCP")]
    tcp: Option<Ports>,
    #[serde(rename = "UDP")]
    udp: Option<Ports>,
    #[serde(rename = "SCTP")]
    sctp: Option<Ports>,
    #[serde(rename = "ICMPv4")]
    icmp_v4: Option<Icmp>,
    #[serde(rename = "ICMPv6")]
    icmp_v6: Option<Icmp>,
}

#[derive(Deserialize)]
struct Ports {
    #[serde(default)]
    destination_port: u16,
}

#[derive(Deserialize)]
struct Icmp {
    #[serde(default, rename = "type")]
    kind: u8,
}

#[derive(Default, Deserialize)]
struct Endpoint {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    pod_name: String,
    #[serde(default)]
    workloads: Vec<Workload>,
}

#[derive(Deserialize)]
struct Workload {
    name: String,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default, rename = "type")]
    kind: String,
    dns: Option<Dns>,
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Dns {
    #[serde(default)]
    query: String,
}

#[derive(Deserialize)]
struct Http {
    #[serde(default)]
    method: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    key: String,
    #[serde(default)]
    value: String,
}

impl Flow {
    fn record(self) -> Record {
        if self.is_reply == Some(true) || self.l7.as_ref().is_some_and(|l7| l7.kind == "RESPONSE") {
            return Record::LeftOut("replies");
        }
        if self.kind == "SOCK" {
            return Record::LeftOut("of sockets, before translation");
        }
        let passed = match self.verdict.as_str() {
            "FORWARDED" | "REDIRECTED" | "AUDIT" => true,
            "DROPPED" if BY_POLICY.contains(&self.drop_reason_desc.as_str()) => false,
            // The proxy drops for no other reason, and gives none.
            "DROPPED" if self.l7.is_some() && matches!(self.drop_reason_desc.as_str(), "" | UNKNOWN) => false,
            "DROPPED" => return Record::LeftOut("dropped for another reason than policy"),
            _ => return Record::LeftOut("without a verdict"),
        };
        let Some((protocol, port)) = self.l4.as_ref().and_then(Transport::port) else {
            return Record::LeftOut("without a port");
        };
        let Some(ip) = self.ip else { return Record::LeftOut("without addresses") };
        let (http, dns) = self.l7.map_or((None, None), |l7| (l7.http.map(Http::request), l7.dns));
        Record::Flow(Box::new(Recorded {
            source: self.source.end(ip.source, self.source_names),
            destination: self.destination.end(ip.destination, self.destination_names),
            protocol,
            port,
            enforced: match self.traffic_direction.as_str() {
                "INGRESS" => Enforced::Ingress,
                "EGRESS" => Enforced::Egress,
                _ => Enforced::Both,
            },
            passed,
            http,
            dns: dns.map(|dns| DnsRequest { query: dns.query }),
        }))
    }
}

impl Transport {
    fn port(&self) -> Option<(u8, u16)> {
        let ports = [("TCP", &self.tcp), ("UDP", &self.udp), ("SCTP", &self.sctp)];
        let types = [("ICMP", &self.icmp_v4), ("ICMPv6", &self.icmp_v6)];
        let ports = ports.iter().filter_map(|(name, ports)| Some((*name, ports.as_ref()?.destination_port)));
        let types = types.iter().filter_map(|(name, icmp)| Some((*name, u16::from(icmp.as_ref()?.kind))));
        let (name, port) = ports.chain(types).next()?;
        Some((protocol_named(name)?, port))
    }
}

impl Endpoint {
    fn end(self, address: IpAddr, names: Vec<String>) -> End {
        let label = |label: &String| {
            let (key, value) = label.strip_prefix("k8s:")?.split_once('=')?;
            let is_of_place = OF_PLACE.iter().any(|place| key.starts_with(place));
            (!is_of_place).then(|| (key.to_owned(), value.to_owned()))
        };
        End {
            address,
            labels: self.labels.iter().filter_map(label).collect(),
            workload: self.workloads.into_iter().next().map(|workload| workload.name),
            pod: (!self.pod_name.is_empty()).then_some((self.namespace, self.pod_name)),
            names,
        }
    }
}

impl Http {
    /// Hubble tells the whole URL; policy knows path and host apart.
    fn request(self) -> HttpRequest {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        let mut headers: Vec<(String, String)> = Vec::new();
        for Header { key, value } in self.headers {
            // A name that comes twice would be two headers in one request, which policy does not know.
            if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
                headers.push((key, value));
            }
        }
        HttpRequest { method: self.method, path: path.to_owned(), host: host.to_owned(), headers }
    }
}
