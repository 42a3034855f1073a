//! A folder of its own for each test, and the program run in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A small cluster: two pods with addresses, one node.
pub(crate) const CLUSTER: &str = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- apiVersion: v1
  kind: Node
  metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 10.1.0.1}]}
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

/// A policy: only the web reaches the database, on its port.
pub(crate) const POLICY: &str = "\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: db
  namespace: shop
spec:
  endpointSelector:
    matchLabels:
      app: db
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: web
    toPorts:
    - ports:
      - port: \"5432\"
        protocol: TCP
";

/// Flows for them.
pub(crate) const FLOWS: &str = r#"{"id": "a", "src": "shop/web", "dst": "shop/db", "proto": "TCP", "dport": 5432, "direction": "both"}
{"id": "b", "src": "192.0.2.1", "dst": "shop/db", "proto": "TCP", "dport": 5432, "direction": "ingress"}
"#;

/// A folder, removed at the end.
pub(crate) struct Session {
    folder: TempDir,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Session {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Session { folder: tempfile::tempdir().unwrap() }
    }

    /// The shop's policy, cluster and flows.
    pub(crate) fn shop() -> Self {
        let session = Session::new();
        session.file("policy.yaml", POLICY).file("cluster.yaml", CLUSTER).file("flows.jsonl", FLOWS);
        session
    }

    /// Adds a file, and the folders it is in.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// The path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file's bytes.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs the program with words that have no spaces in them.
    pub(crate) fn run(&self, words: &str) -> Ran {
        self.run_with(&words.split(' ').collect::<Vec<_>>(), "")
    }

    /// Runs the program with arguments and stdin.
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // A program that does not read its stdin closes it early.
        _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The program, not run yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path());
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_policyc"));
    command.current_dir(folder);
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command
}
