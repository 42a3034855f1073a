//! A shop for tests: two pods on one node, another node, and a policy, in a folder of its own.

use crate::project::Project;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const CLUSTER: &str = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- apiVersion: v1
  kind: Node
  metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 10.1.0.1}]}
- apiVersion: v1
  kind: Node
  metadata: {name: n2}
  status: {addresses: [{type: InternalIP, address: 10.1.0.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec: {nodeName: n1}
  status: {podIPs: [{ip: 10.2.0.1}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: db, namespace: shop, labels: {app: db}}
  spec: {nodeName: n1}
  status: {podIPs: [{ip: 10.2.0.2}]}
";

/// Only the web reaches the database, on its port.
pub(crate) const POLICY: &str = "\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: \"5432\", protocol: TCP}]}]
";

/// One that passes, one that does not.
pub(crate) const FLOWS: &str = r#"{"id": "a", "src": "shop/web", "dst": "shop/db", "proto": "TCP", "dport": 5432, "direction": "both"}
{"id": "b", "src": "192.0.2.1", "dst": "shop/db", "proto": "TCP", "dport": 5432, "direction": "ingress"}
"#;

/// The folder, removed at the end.
pub(crate) struct Shop {
    folder: TempDir,
}

impl Shop {
    /// With `policy.yaml`, `cluster.yaml` and `flows.jsonl`.
    pub(crate) fn new() -> Self {
        let shop = Shop { folder: tempfile::tempdir().unwrap() };
        shop.file("policy.yaml", POLICY).file("cluster.yaml", CLUSTER).file("flows.jsonl", FLOWS);
        shop
    }

    /// Adds a file, and the folders it is in.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// The path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is in the folder.
    pub(crate) fn project(&self) -> Project {
        Project::read(&[self.path("policy.yaml")], &[self.path("cluster.yaml")], &mut |_| ()).unwrap()
    }
}
