//! A cluster of three nodes in two zones, services in it, and questions to both voices.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use weir_abi::services::{Backend, Choice, Question, Scope, ServiceImage};
use weir_compiler::cluster::Cluster;
use weir_compiler::image::write::ImageBytes;
use weir_compiler::services::reference::{Reference, Target};
use weir_compiler::services::{Compiled, Input, Previous, Unfit, compile};
use weir_grammar::diagnostic::Severity;
use weir_grammar::source::Sources;
use weir_grammar::{Limits, Reading, read};

/// Nodes, zones and a pod of every case.
pub(crate) const CLUSTER: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/zone: a}}, status: {addresses: [
  {type: InternalIP, address: 172.18.0.1}, {type: ExternalIP, address: 203.0.113.1}, {type: InternalIP, address: "fd00:9::1"}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2, labels: {topology.kubernetes.io/zone: b}}, status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: n3, labels: {topology.kubernetes.io/zone: b}}, status: {addresses: [{type: InternalIP, address: 172.18.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop}, spec: {nodeName: n1}, status: {podIP: 10.1.0.9}}
"#;

/// A cluster that was read.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) sources: Sources,
    pub(crate) findings: Vec<String>,
    /// Further addresses of the machine.
    pub(crate) own: Vec<IpAddr>,
    /// Backends that failed their health checks.
    pub(crate) unfit: Unfit,
}

impl World {
    /// Reads manifests.
    pub(crate) fn read(text: &str) -> World {
        let mut reading = Reading::default();
        read(&mut reading, "cluster.yaml", text.as_bytes().to_vec(), &Limits::default());
        let mut found = std::mem::take(&mut reading.diagnostics);
        let cluster = Cluster::collect(&mut reading.objects, &mut found);
        let is_wrong = found.iter().any(|finding| finding.severity == Severity::Error);
        assert!(!is_wrong, "{found:?}\n{text}");
        let findings = found.iter().map(|finding| format!("{}: {}", finding.code.as_str(), finding.message));
        let findings = findings.collect();
        World { cluster, sources: reading.sources, findings, own: Vec::new(), unfit: Unfit::default() }
    }

    /// Takes a fact that no manifest tells: `own ADDRESS...` or `unfit SERVICE ADDRESS:PORT/PROTOCOL...`.
    pub(crate) fn learn(&mut self, fact: &str) {
        let (kind, rest) = fact.split_once(' ').unwrap();
        let mut words = rest.split_whitespace();
        if kind == "own" {
            self.own.extend(words.map(|address| address.parse::<IpAddr>().unwrap()));
            return;
        }
        assert_eq!(kind, "unfit");
        let service = words.next().unwrap();
        for (address, protocol) in words.map(endpoint) {
            self.unfit.insert("shop", service, (address.ip(), address.port(), protocol));
        }
    }

    pub(crate) fn node(&self, name: &str) -> Option<usize> {
        self.cluster.node_named(name)
    }

    pub(crate) fn compiled(&self, node: Option<usize>, previous: Option<Previous<'_>>) -> Compiled {
        let input = Input::new(&self.cluster, &self.sources);
        compile(&Input { node, previous, own: &self.own, unfit: &self.unfit, ..input }).unwrap()
    }

    pub(crate) fn image(&self, node: Option<usize>) -> ImageBytes {
        self.compiled(node, None).bytes
    }

    /// What the specification says.
    pub(crate) fn eligible(
        &self,
        node: Option<usize>,
        question: &Question,
    ) -> Result<BTreeSet<Target>, Choice> {
        Reference::new(&self.cluster, node).knowing(&self.own, &self.unfit).eligible(question)
    }
}

/// What an image says, of so many client ports and addresses near the question's.
pub(crate) fn chosen(
    image: &ServiceImage<'_>,
    question: &Question,
    clients: u16,
) -> Result<BTreeSet<Target>, Choice> {
    let mut chosen = BTreeSet::new();
    for number in 0..clients {
        // Under affinity another port is no other client.
        let client = match question.client {
            IpAddr::V4(client) if question.scope == Scope::Internal => {
                IpAddr::V4((client.to_bits().wrapping_add(u32::from(number) << 8)).into())
            }
            client => client,
        };
        let answer = image.ask(&Question { client, client_port: 1024 + number, ..*question });
        match answer.backend {
            Some(Backend { address, port, .. }) if answer.choice == Choice::Backend => {
                chosen.insert((address, port));
            }
            _ => return Err(answer.choice),
        }
    }
    Ok(chosen)
}

/// `in|out [CLIENT >] ADDRESS:PORT/PROTOCOL`.
pub(crate) fn question(text: &str) -> Question {
    let (scope, rest) = text.split_once(' ').unwrap();
    let scope = if scope == "out" { Scope::External } else { Scope::Internal };
    let (client, to) = match rest.split_once(" > ") {
        Some((client, to)) => (client, to),
        None => (if scope == Scope::External { "192.0.2.77" } else { "10.1.0.9" }, rest),
    };
    let (address, protocol) = endpoint(to.trim());
    Question {
        address: address.ip(),
        port: address.port(),
        protocol,
        scope,
        client: client.trim().parse().unwrap(),
        client_port: 4000,
    }
}

/// `ADDRESS:PORT/PROTOCOL`.
fn endpoint(text: &str) -> (SocketAddr, u8) {
    let (address, protocol) = text.split_once('/').unwrap();
    let protocol = match protocol {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        other => panic!("{other}"),
    };
    (address.parse().unwrap(), protocol)
}
