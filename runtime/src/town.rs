//! A town for tests: two nodes, three pods and policies, in a folder of its own; and a datapath that only remembers.

use crate::datapath::{Answer, DatapathError, Installation, Question};
use crate::enforcer::{ConntrackReport, Counters, Enforcer, EventSource, Features, Sizes};
use crate::plan::{State, Step};
use crate::snapshot::{Snapshot, Taken, take};
use crate::source::Source;
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use weir_abi::state::{EventRecord, Hook};
use weir_abi::{Identity, Image, Outcome, PeerClass, Table};

/// The cluster: `web` and `db` on n1, `job` on n2.
pub(crate) const CLUSTER: &str = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- apiVersion: v1
  kind: Node
  metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 10.1.0.1}, {type: InternalIP, address: \"fd00:1::1\"}]}
- apiVersion: v1
  kind: Node
  metadata: {name: n2}
  status: {addresses: [{type: InternalIP, address: 10.1.0.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec: {nodeName: n1}
  status: {podIPs: [{ip: 10.2.0.1}, {ip: \"fd00:2::1\"}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: db, namespace: shop, labels: {app: db}}
  spec: {nodeName: n1}
  status: {podIPs: [{ip: 10.2.0.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: job, namespace: shop, labels: {app: job}}
  spec: {nodeName: n2}
  status: {podIPs: [{ip: 10.2.1.1}]}
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

/// The folder, removed at the end.
pub(crate) struct Town {
    folder: TempDir,
}

impl Town {
    pub(crate) fn new() -> Self {
        let town = Town { folder: tempfile::tempdir().unwrap() };
        town.file("source/policies/db.yaml", POLICY).file("source/cluster.yaml", CLUSTER);
        town
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn source(&self) -> Source {
        Source::Directory(self.path("source"))
    }

    /// What the source says to n1.
    pub(crate) fn take(&self) -> Taken {
        take(&self.source(), "n1", &self.path("identities.json"), None, &mut |_| ())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        match self.take() {
            Taken::Good(snapshot) => snapshot,
            Taken::Bad(refusal) => panic!("{refusal:?}"),
        }
    }
}

/// What a datapath was told, seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) state: State,
    pub(crate) image: Vec<u8>,
    pub(crate) steps: Vec<Step>,
    pub(crate) events: VecDeque<EventRecord>,
    pub(crate) counters: Counters,
    /// Steps that fail.
    pub(crate) refuses: Vec<Step>,
}

/// A datapath that remembers what it was told, and judges like the image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) memory: Arc<Mutex<Memory>>,
}

impl Model {
    pub(crate) fn look(&self) -> Memory {
        self.memory.lock().unwrap().clone()
    }
}

impl Enforcer for Model {
    fn features(&self) -> Features {
        Features { kernel: "a model".to_owned(), attach: "tcx".to_owned(), is_upgrade: false }
    }

    fn installed(&mut self) -> Result<State, DatapathError> {
        Ok(self.look().state)
    }

    fn take(&mut self, step: &Step, image: &[u8]) -> Result<Option<Installation>, DatapathError> {
        let mut memory = self.memory.lock().unwrap();
        if memory.refuses.contains(step) {
            return Err(DatapathError::Question("the model was told to refuse"));
        }
        memory.steps.push(step.clone());
        if !matches!(step, Step::InstallImage(_)) {
            memory.state.take(step, None);
            return Ok(None);
        }
        let checksum = Image::open(image)?.header().checksum;
        memory.state.take(step, Some(checksum));
        memory.image = image.to_vec();
        memory.counters = Counters { image: Some(checksum), ..Counters::default() };
        let (bytes, took) = (image.len(), Duration::ZERO);
        Ok(Some(Installation { checksum, bytes, class: bytes, grown: false, in_force: took, settled: took }))
    }

    fn all_told(&mut self) -> Result<(), DatapathError> {
        Ok(())
    }

    fn counters(&self) -> Result<Counters, DatapathError> {
        Ok(self.look().counters)
    }

    fn sweep(&mut self, _: usize) -> Result<ConntrackReport, DatapathError> {
        Ok(ConntrackReport::default())
    }

    fn forget_connections(&mut self, _: u32) -> Result<(), DatapathError> {
        Ok(())
    }

    fn events(&mut self) -> Result<Box<dyn EventSource>, DatapathError> {
        Ok(Box::new(self.clone()))
    }

    fn sizes(&self) -> Result<Sizes, DatapathError> {
        Ok(Sizes::default())
    }

    fn ask(&self, question: &Question) -> Result<Answer, DatapathError> {
        let memory = self.look();
        let image = Image::open(&memory.image)?;
        let pod = memory.state.endpoints.get(&question.interface);
        let known = pod.and_then(|pod| image.endpoint(pod.identity));
        let outcome = known.map_or(Outcome::UNKNOWN, |endpoint| {
            let (table, peer) = match question.hook {
                Hook::FromPod => (endpoint.egress, question.destination),
                Hook::ToPod => (endpoint.ingress, question.source),
            };
            let class = match memory.state.addresses.get(&peer) {
                Some(identity) => image.endpoint(*identity).map(|endpoint| endpoint.class),
                None => Some(image.address_class(peer)),
            };
            judge(&image, table, class, question)
        });
        let rule_or_set = outcome.requests.map_or(outcome.rule, |(_, set)| Some(set));
        let (action, requests) = (outcome.action, outcome.requests.map(|(kind, _)| kind));
        Ok(Answer { action, reason: outcome.reason, rule_or_set, requests })
    }
}

fn judge(image: &Image<'_>, table: Table, class: Option<PeerClass>, question: &Question) -> Outcome {
    match class {
        _ if table == Table::NO_POLICY => Outcome::NO_POLICY,
        Some(class) => image.judge(table, class, image.port_class(question.protocol, question.port)),
        None => Outcome::UNKNOWN,
    }
}

impl EventSource for Model {
    fn next(&mut self) -> Option<EventRecord> {
        self.memory.lock().unwrap().events.pop_front()
    }
}

/// The identity of a pod or node, by name.
pub(crate) fn identity_of(snapshot: &Snapshot, name: &str) -> Identity {
    let member = snapshot.roster.members.iter().find(|member| member.name == name).unwrap();
    assert_ne!(Identity(member.identity), Identity::UNKNOWN, "{name}");
    Identity(member.identity)
}
