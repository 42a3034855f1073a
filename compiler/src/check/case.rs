//! Cases for the checks: text in, findings as lines out.

use super::surprises;
use crate::cluster::Cluster;
use crate::ir::PolicySet;
use crate::translate::translate;
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::source::Sources;
use weir_grammar::{Limits, Reading, read};

/// A shop of four pods (one on its node's network), a prometheus in another namespace, two nodes.
pub(super) const CLUSTER: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {env: prod}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: ops}}
- apiVersion: v1
  kind: Node
  metadata: {name: node-a, labels: {rack: one}}
  status: {addresses: [{type: InternalIP, address: 172.20.0.1}]}
- apiVersion: v1
  kind: Node
  metadata: {name: node-b}
  status: {addresses: [{type: InternalIP, address: 172.20.0.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec:
    nodeName: node-a
    containers: [{name: main, ports: [{name: http, containerPort: 8080}]}]
  status: {podIP: 10.1.0.10}
- apiVersion: v1
  kind: Pod
  metadata: {name: checkout, namespace: shop, labels: {app: checkout}}
  spec:
    nodeName: node-a
    containers: [{name: main, ports: [{name: http, containerPort: 8443}]}]
  status: {podIP: 10.1.0.11}
- apiVersion: v1
  kind: Pod
  metadata: {name: db, namespace: shop, labels: {app: db}}
  spec:
    nodeName: node-b
    containers: [{name: main, ports: [{name: sql, containerPort: 5432}]}]
  status: {podIP: 10.2.0.10}
- apiVersion: v1
  kind: Pod
  metadata: {name: agent, namespace: shop, labels: {app: agent}}
  spec: {nodeName: node-a, hostNetwork: true, containers: [{name: main}]}
  status: {podIP: 172.20.0.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: prometheus, namespace: ops, labels: {app: prometheus}}
  spec: {nodeName: node-b, containers: [{name: main}]}
  status: {podIP: 10.2.0.20}
- {apiVersion: v1, kind: Secret, metadata: {name: token, namespace: shop}}
";

/// A CiliumNetworkPolicy `shop/case<suffix>`; the subject stands on line 5, the rules begin on line 6.
pub(super) fn cnp(suffix: &str, subject: &str, rules: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: case{suffix}, namespace: shop}}\nspec:\n  endpointSelector: {{matchLabels: {{{subject}}}}}\n  {rules}\n---\n"
    )
}

/// A NetworkPolicy `shop/case`, with the same lines.
pub(super) fn network(subject: &str, rules: &str) -> String {
    let types = if rules.starts_with("egress") { "[Egress]" } else { "[Ingress]" };
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: case, namespace: shop}}\nspec:\n  podSelector: {{matchLabels: {{{subject}}}}}\n  {rules}\n  policyTypes: {types}\n---\n"
    )
}

/// The findings as `code line:column message | label | help`.
pub(super) fn found(policies: &str, cluster: &str) -> Vec<String> {
    found_by(policies, cluster, surprises)
}

/// The same, by another check.
pub(super) fn found_by(
    policies: &str,
    cluster: &str,
    check: impl FnOnce(&PolicySet, &Cluster, &Sources) -> Vec<Diagnostic>,
) -> Vec<String> {
    let mut reading = Reading::default();
    read(&mut reading, "policies", policies.as_bytes().to_vec(), &Limits::default());
    read(&mut reading, "cluster.yaml", cluster.as_bytes().to_vec(), &Limits::default());
    let mut diagnostics = std::mem::take(&mut reading.diagnostics);
    let cluster = Cluster::collect(&mut reading.objects, &mut diagnostics);
    let set = translate(std::mem::take(&mut reading.objects), &cluster, &mut diagnostics);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let line = |finding: &Diagnostic| {
        assert!(finding.object.is_some(), "{finding:?}");
        let place = reading.sources.locate(finding.span);
        let help = finding.help.as_deref().unwrap_or_default();
        format!(
            "{} {}:{} {} | {} | {help}",
            finding.code.as_str(),
            place.line,
            place.column,
            finding.message,
            finding.label
        )
    };
    check(&set, &cluster, &reading.sources).iter().map(line).collect()
}
