//! Numbers of identities from compile to compile: stable, never reserved, and the same in every image
//! that is made with one lock.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use weir_abi::{Identity, Image};
use weir_compiler::compile::Options;
use weir_compiler::identity::IdentityLock;
use weir_compiler::image::write::ImageBytes;
use weir_tests::random::{Scenario, config, scenario};
use weir_tests::world::World;

fn compiled(world: &World, lock: &mut IdentityLock, node: Option<usize>) -> ImageBytes {
    world.compile_with(lock, &Options { node, ..Options::default() }).unwrap().bytes
}

/// Labels by number, reserved numbers left out.
fn numbers(bytes: &ImageBytes) -> BTreeMap<u32, String> {
    let image = Image::open(bytes.as_bytes()).unwrap();
    let given = image.identities().filter(|entry| entry.identity.0 >= Identity::FIRST_POD);
    given.map(|entry| (entry.identity.0, entry.labels.to_owned())).collect()
}

/// The scenario without some of its pods.
fn fewer(scenario: &Scenario, gone: &[bool]) -> Scenario {
    let mut gone = gone.iter().cycle();
    let mut other = scenario.clone();
    // Flows name pods that may be gone.
    other.flows.clear();
    other.cluster.retain(|object| object["kind"] != "Pod" || !gone.next().unwrap());
    other
}

proptest! {
    #![proptest_config(config(50))]

    #[test]
    fn numbers_stay_while_pods_come_and_go(scenario in scenario(), gone in prop::collection::vec(any::<bool>(), 6)) {
        let mut lock = IdentityLock::default();
        let all = numbers(&compiled(&scenario.read().0, &mut lock, None));
        let some = numbers(&compiled(&fewer(&scenario, &gone).read().0, &mut lock, None));
        for (number, labels) in &some {
            prop_assert_eq!(all.get(number), Some(labels));
        }
        // The lock goes through a file, as between two runs.
        let mut lock = IdentityLock::parse(&lock.to_json()).unwrap();
        prop_assert_eq!(all, numbers(&compiled(&scenario.read().0, &mut lock, None)), "idle numbers come back");
    }

    #[test]
    fn new_label_sets_take_numbers_that_nobody_had(scenario in scenario(), gone in prop::collection::vec(any::<bool>(), 6)) {
        let mut lock = IdentityLock::default();
        let some = numbers(&compiled(&fewer(&scenario, &gone).read().0, &mut lock, None));
        let all = numbers(&compiled(&scenario.read().0, &mut lock, None));
        for (number, labels) in &some {
            prop_assert_eq!(all.get(number), Some(labels));
        }
        prop_assert!(all.keys().all(|&number| Identity(number).pod_index().or(Identity(number).node_index()).is_some()));
    }

    /// Each node has an image of its own; a number must mean the same in all of them.
    #[test]
    fn every_image_made_with_one_lock_numbers_alike(scenario in scenario()) {
        let (world, _) = scenario.read();
        let mut lock = IdentityLock::default();
        let whole = numbers(&compiled(&world, &mut lock, None));
        for node in 0..world.cluster.nodes.len() {
            prop_assert_eq!(&whole, &numbers(&compiled(&world, &mut lock, Some(node))));
        }
    }
}

const CLUSTER: &str = r"
{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: a, labels: {app: web}}, spec: {containers: []}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-1, namespace: a, labels: {app: api}}, spec: {containers: []}, status: {podIP: 10.0.0.2}}
---
{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: p},
 spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]}}
";

fn world(more: &str) -> World {
    let world = World::read(vec![("all.yaml".to_owned(), format!("{CLUSTER}{more}").into_bytes())]);
    assert_eq!(world.errors(), [""; 0]);
    world
}

/// A rollout or a scale-up must not make a single node swap its image.
#[test]
fn another_pod_with_known_labels_changes_no_byte() {
    let mut lock = IdentityLock::default();
    let before = compiled(&world(""), &mut lock, None);
    for labels in
        ["{app: web}", "{app: web, pod-template-hash: '77'}", "{app: api, controller-revision-hash: x-5}"]
    {
        let pod = format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: a-2, namespace: a, labels: {labels}}}, \
             spec: {{containers: []}}, status: {{podIP: 10.0.0.9}}}}\n"
        );
        assert_eq!(before.as_bytes(), compiled(&world(&pod), &mut lock, None).as_bytes(), "{labels}");
    }
}

#[test]
fn numbers_of_a_lock_file_are_taken_as_they_are() {
    let mut lock = IdentityLock::default();
    let first = numbers(&compiled(&world(""), &mut lock, None));
    assert_eq!(
        first.keys().copied().collect::<Vec<_>>(),
        [256, 257],
        "the first numbers after the reserved ones"
    );
    // The highest number and one in between, by hand.
    let text = lock.to_json().replace("\"256\"", "\"1048575\"").replace("\"257\"", "\"70000\"");
    let mut lock = IdentityLock::parse(&text).unwrap();
    let moved = numbers(&compiled(&world(""), &mut lock, None));
    assert_eq!(moved.keys().copied().collect::<Vec<_>>(), [70000, 1_048_575]);
    assert_eq!(lock.to_json(), IdentityLock::parse(&text).unwrap().to_json(), "nothing was added");
}

/// Two pods that differ in a named port only are told apart by rules that name ports.
#[test]
fn named_ports_are_part_of_who_someone_is() {
    let pod = |name: &str, port: u16| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: a, labels: {{app: db}}}}, \
             spec: {{containers: [{{ports: [{{name: sql, containerPort: {port}}}]}}]}}}}\n"
        )
    };
    let world = world(&(pod("db-1", 5432) + &pod("db-2", 5433) + &pod("db-3", 5432)));
    let numbers = numbers(&compiled(&world, &mut IdentityLock::default(), None));
    assert_eq!(numbers.values().filter(|labels| labels.contains("app=db")).count(), 2);
}
