//! Random worlds from a small alphabet, so that rules meet often: few labels, ports and prefixes, all
//! fields. They are made as text and read like any other, through the grammar.
//!
//! Left out: what the grammar refuses, and HTTP and DNS rules on one port (no image can be).

mod cluster;
mod flow;
mod policy;

pub use policy::{deny_everything_somewhere, plain_allow};

use crate::world::World;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use weir_compiler::flow::Flow;

/// A world and flows in it, as text to be.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Objects of the cluster.
    pub cluster: Vec<Value>,
    /// Policies.
    pub policies: Vec<Value>,
    /// DNS names of addresses outside.
    pub names: Value,
    /// Flows, one for each line.
    pub flows: Vec<Value>,
}

/// Scenarios of a few policies and a few dozen flows.
pub fn scenario() -> impl Strategy<Value = Scenario> {
    let policies = prop::collection::vec(policy::policy(), 0..10);
    let flows = prop::collection::vec(flow::flow(), 24);
    (cluster::objects(), policies, cluster::names(), flows).prop_map(|(cluster, policies, names, flows)| {
        let policies =
            (0..).zip(policies).map(|(place, policy)| named(policy, &format!("p{place}"))).collect();
        Scenario { cluster, policies, names, flows }
    })
}

/// How the laws are run: from one seed, unless the environment asks for another.
pub fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x7765_6972);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.failure_persistence = None;
    config
}

/// The object under another name.
pub fn named(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = json!(name);
    object
}

impl Scenario {
    /// Reads it all. Findings of the grammar are a mistake of this module.
    pub fn read(&self) -> (World, Vec<Flow>) {
        let documents = |objects: &[Value]| -> Vec<u8> {
            objects.iter().flat_map(|object| format!("---\n{object}\n").into_bytes()).collect()
        };
        let mut world = World::read(vec![
            ("policies.yaml".to_owned(), documents(&self.policies)),
            ("cluster.yaml".to_owned(), documents(&self.cluster)),
        ]);
        world.read_lock("fqdn-lock.json", &self.names.to_string());
        let lines: String = (0..)
            .zip(&self.flows)
            .map(|(place, flow)| {
                let mut flow = flow.clone();
                flow["id"] = json!(format!("f{place}"));
                format!("{flow}\n")
            })
            .collect();
        let flows = world.read_flows("flows.jsonl", &lines);
        assert_eq!(world.errors(), [""; 0], "a scenario is well-formed");
        (world, flows)
    }
}
