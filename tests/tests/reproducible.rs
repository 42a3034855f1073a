//! The same inputs give the same bytes, whatever order they come in; where policies are written is
//! told by the user part alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use proptest::prelude::*;
use serde_json::Value;
use std::mem::offset_of;
use weir_abi::Image;
use weir_abi::layout::{Extent, Header, KERNEL_SECTIONS};
use weir_compiler::compile::Options;
use weir_compiler::identity::IdentityLock;
use weir_tests::random::{Scenario, config, scenario};
use weir_tests::rewriting::{Way, keeps, objects};
use weir_tests::world::World;

type Files = Vec<(String, Vec<u8>)>;

/// Every object in a file of its own, named after its place in the scenario.
fn one_by_one(scenario: &Scenario, folder: &str) -> Files {
    let objects = scenario.cluster.iter().chain(&scenario.policies);
    objects
        .zip(0..)
        .map(|(object, at)| (format!("{folder}{at}.yaml"), object.to_string().into_bytes()))
        .collect()
}

/// All objects in one file.
fn together<'v>(objects: impl Iterator<Item = &'v Value>, between: &str) -> Files {
    let text: String = objects.map(|object| format!("{between}---\n{object}\n")).collect();
    vec![("all.yaml".to_owned(), text.into_bytes())]
}

fn compiled(scenario: &Scenario, files: Files) -> Vec<u8> {
    let mut world = World::read(files);
    world.read_lock("names.json", &scenario.names.to_string());
    assert_eq!(world.errors(), [""; 0]);
    world.image().unwrap().as_bytes().to_vec()
}

/// Header and kernel part, with the header's words that depend on the size of the user part blanked.
fn kernel_part(bytes: &[u8]) -> Vec<u8> {
    let image = Image::open(bytes).unwrap();
    let mut part = bytes[..image.header().kernel_bytes as usize].to_vec();
    let user = offset_of!(Header, sections) + KERNEL_SECTIONS * size_of::<Extent>();
    let sum = offset_of!(Header, checksum);
    let size = offset_of!(Header, image_bytes);
    for blank in [sum..sum + 8, size..size + 4, user..size_of::<Header>()] {
        part[blank].fill(0);
    }
    part
}

proptest! {
    #![proptest_config(config(50))]

    #[test]
    fn files_in_any_order_give_the_same_bytes(
        scenario in scenario(),
        keys in prop::collection::vec(any::<u32>(), 40),
    ) {
        let files = one_by_one(&scenario, "");
        let mut shuffled: Vec<_> = files.iter().cloned().zip(keys.iter().cycle()).collect();
        shuffled.sort_by_key(|&(_, key)| key);
        let shuffled = shuffled.into_iter().map(|(file, _)| file).collect();
        prop_assert!(compiled(&scenario, files) == compiled(&scenario, shuffled), "other bytes");
    }

    #[test]
    fn moving_policies_changes_the_user_part_alone(scenario in scenario(), comments in 0..9usize) {
        let apart = compiled(&scenario, one_by_one(&scenario, "some/folder/"));
        let objects = || scenario.policies.iter().chain(&scenario.cluster);
        let comments = "# moved\n".repeat(comments);
        let others = [
            compiled(&scenario, one_by_one(&scenario, "")),
            compiled(&scenario, together(objects(), "")),
            compiled(&scenario, together(objects().rev(), &comments)),
        ];
        for other in others {
            prop_assert!(kernel_part(&apart) == kernel_part(&other), "the kernel part is another");
        }
    }

    /// Written in the policy language, or as YAML again: the same objects, and the same image but for the places.
    #[test]
    fn either_way_of_writing_gives_the_same_kernel_part(scenario in scenario()) {
        let files = together(scenario.policies.iter(), "");
        let cluster = together(scenario.cluster.iter(), "");
        let text = std::str::from_utf8(&files[0].1).unwrap();
        let policies = objects("policies.yaml", text).map_err(TestCaseError::fail)?;
        let given = compiled(&scenario, [files.clone(), cluster.clone()].concat());
        for way in Way::ALL {
            keeps(way, &policies).map_err(TestCaseError::fail)?;
            let written = (way.file("written"), way.written(&policies).into_bytes());
            let other = compiled(&scenario, [vec![written], cluster.clone()].concat());
            prop_assert!(kernel_part(&given) == kernel_part(&other), "the kernel part is another");
        }
    }

    /// Also with the numbers of earlier days in the lock.
    #[test]
    fn the_same_lock_gives_the_same_bytes(scenario in scenario()) {
        let (world, _) = scenario.read();
        let mut lock = IdentityLock::default();
        let (one, other) = (
            world.compile_with(&mut lock, &Options::default()).unwrap().bytes,
            world.compile_with(&mut lock, &Options::default()).unwrap().bytes,
        );
        prop_assert!(one == other, "other bytes");
    }
}

/// What the checksum says is that nothing else differs: one line further down, one place of one rule.
#[test]
fn a_line_further_down_changes_places_and_checksum_alone() {
    let policy = "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\n\
                  spec: {endpointSelector: {}, egress: [{toCIDR: [198.51.100.0/24]}]}\n";
    let image = |before: &str| {
        let world = World::read(vec![("p.yaml".to_owned(), format!("{before}{policy}").into_bytes())]);
        world.image().unwrap().as_bytes().to_vec()
    };
    let (one, other) = (image(""), image("# a line\n"));
    let places = Image::open(&one).unwrap().header().sections[weir_abi::layout::Section::Places as usize];
    let places = places.offset as usize..(places.offset + places.len) as usize;
    let sum = offset_of!(Header, checksum)..offset_of!(Header, checksum) + 8;
    assert_eq!(one.len(), other.len());
    let elsewhere: Vec<usize> = (0..one.len())
        .filter(|at| one[*at] != other[*at] && !places.contains(at) && !sum.contains(at))
        .collect();
    assert_eq!(elsewhere, [0; 0]);
    assert_ne!(one[places.clone()], other[places]);
}
