//! Sequences of changes under a datapath as it is meant to be: no flow that sends a packet between two images moves.
//!
//! The datapath: a settled slot has every flow at its backend, and no record is looked for. In an unsettled one a flow goes where its record says; without one
//! to the previous backend if it was there before, to the present one if it is new; and that is recorded.

use crate::cases::manifest;
use crate::random::{endpoints, text};
use crate::world::World;
use proptest::prelude::*;
use std::collections::BTreeMap;
use weir_abi::services::{Choice, Question, Scope, ServiceImage, address_bytes, flow_hash};
use weir_compiler::services::reference::Target;
use weir_compiler::services::{KEEP_ALL, Previous};

/// What the cluster is in one generation.
#[derive(Clone, Debug)]
struct Generation {
    endpoints: Vec<String>,
    weights: bool,
    /// How many flows begin.
    begin: u16,
    /// Every how many of the old ones end.
    end: usize,
}

fn generations() -> impl Strategy<Value = Vec<Generation>> {
    let generation = (endpoints(true, 14), any::<bool>(), 0u16..60, 2usize..6)
        .prop_map(|(endpoints, weights, begin, end)| Generation { endpoints, weights, begin, end });
    prop::collection::vec(generation, 2..9)
}

fn world(generation: &Generation, policy: &str) -> World {
    let (first, second) = generation.endpoints.split_at(generation.endpoints.len() / 2);
    let weight = if generation.weights { 3 } else { 1 };
    let lines = [
        format!(
            "service web {{{policy}clusterIP: 10.96.0.1, externalIPs: [198.51.100.7], ports: [{{name: a, port: 80}}, {{name: b, port: 81}}]}}"
        ),
        format!("slice web [{{name: a, port: 8080}}, {{name: b, port: 9090}}] {}", first.join(" ")),
        format!(
            "slice web [{{name: a, port: 8080}}, {{name: b, port: 9090}}] {} | weight \"{weight}\"",
            second.join(" ")
        ),
    ];
    let lines: Vec<String> = lines.iter().enumerate().map(|(number, line)| manifest(line, number)).collect();
    World::read(&text(&lines))
}

/// Flows and where they were first sent.
#[derive(Default)]
struct Datapath {
    flows: Vec<(Question, Target)>,
    records: BTreeMap<u16, Target>,
    lookups: usize,
    packets: usize,
}

impl Datapath {
    /// Where a packet goes.
    fn send(&mut self, image: &ServiceImage<'_>, flow: &Question, is_new: bool) -> Option<Target> {
        let answer = image.ask(flow);
        let target = |backend: weir_abi::services::Backend| (backend.address, backend.port);
        self.packets += 1;
        let Some(previous) = answer.previous.map(target) else { return answer.backend.map(target) };
        self.lookups += 1;
        let chosen = match self.records.get(&flow.client_port) {
            Some(&recorded) => recorded,
            None if is_new => answer.backend.map(target)?,
            None => previous,
        };
        self.records.insert(flow.client_port, chosen);
        Some(chosen)
    }

    /// Slots in which a flow is on record with another backend than the present one.
    fn kept(&self, image: &ServiceImage<'_>) -> Vec<(u32, u32)> {
        let mut kept = Vec::new();
        for (flow, _) in &self.flows {
            let Some(frontend) = image.find(flow.address, flow.port, flow.protocol) else { continue };
            let Some((number, table)) = frontend.table(flow.scope) else { continue };
            let port = if frontend.affinity().is_some() { 0 } else { flow.client_port };
            let [client, address] = [flow.client, flow.address].map(address_bytes);
            let slot = table.slot_of(flow_hash(client, port, address, flow.port, flow.protocol));
            let present = table.slot(slot).and_then(|(backend, _)| frontend.backends().nth(backend as usize));
            let present = present.map(|backend| (backend.address, backend.port));
            if self.records.get(&flow.client_port).copied() != present
                && self.records.contains_key(&flow.client_port)
            {
                kept.push((number, slot));
            }
        }
        kept
    }
}

/// Plays the generations; how many slots were unsettled at the end.
fn play(generations: &[Generation], policy: &str, settles: bool) -> Result<(), TestCaseError> {
    let mut datapath = Datapath::default();
    let mut before: Option<weir_compiler::image::write::ImageBytes> = None;
    let mut next_port = 1000u16;
    for generation in generations {
        let world = world(generation, policy);
        let kept = before.as_ref().map(|image| datapath.kept(&ServiceImage::open(image.as_bytes()).unwrap()));
        let keeps = |table, slot| kept.as_ref().is_some_and(|kept| kept.contains(&(table, slot)));
        let previous = before.as_ref().map(|image| Previous {
            image: ServiceImage::open(image.as_bytes()).unwrap(),
            keeps: if settles { &keeps } else { KEEP_ALL },
        });
        let bytes = world.compiled(Some(0), previous).bytes;
        let image = ServiceImage::open(bytes.as_bytes()).unwrap();
        for (flow, target) in std::mem::take(&mut datapath.flows) {
            let sent = datapath.send(&image, &flow, false);
            prop_assert_eq!(sent, Some(target), "{:?} moved", flow);
            datapath.flows.push((flow, target));
        }
        for _ in 0..generation.begin {
            next_port += 1;
            let flow = Question {
                address: if next_port.is_multiple_of(3) { "198.51.100.7" } else { "10.96.0.1" }
                    .parse()
                    .unwrap(),
                port: 80 + next_port % 2,
                protocol: 6,
                scope: if next_port.is_multiple_of(6) { Scope::External } else { Scope::Internal },
                client: "10.1.0.9".parse().unwrap(),
                client_port: next_port,
            };
            let eligible = world.eligible(Some(0), &flow);
            match datapath.send(&image, &flow, true) {
                // What begins goes where the cluster as it is allows, whatever was before.
                Some(target) => {
                    prop_assert!(
                        eligible.as_ref().is_ok_and(|all| all.contains(&target)),
                        "{target:?} of {eligible:?}"
                    );
                    datapath.flows.push((flow, target));
                }
                None => prop_assert!(
                    matches!(eligible, Err(Choice::NoBackend | Choice::NoLocalBackend)),
                    "{eligible:?}"
                ),
            }
        }
        let mut ended = Vec::new();
        let mut count = 0;
        datapath.flows.retain(|(flow, _)| {
            count += 1;
            let ends = count % generation.end == 0;
            ended.extend(ends.then_some(flow.client_port));
            !ends
        });
        ended.iter().for_each(|port| _ = datapath.records.remove(port));
        before = Some(bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn no_flow_moves_while_all_is_kept(generations in generations()) {
        play(&generations, "", false)?;
    }

    #[test]
    fn no_flow_moves_when_slots_settle_by_the_records(generations in generations()) {
        play(&generations, "", true)?;
    }

    #[test]
    fn no_flow_moves_under_local_policies(generations in generations()) {
        play(&generations, "externalTrafficPolicy: Local, internalTrafficPolicy: Local, ", true)?;
    }
}

/// A generation of so many backends that are ready.
fn ready(backends: std::ops::RangeInclusive<u8>) -> Generation {
    let endpoints = backends.map(|number| format!("10.1.1.{number}@n1")).collect();
    Generation { endpoints, weights: false, begin: 0, end: 1 }
}

#[test]
fn what_does_not_change_is_not_looked_up() {
    let before = world(&ready(1..=8), "").image(Some(0));
    let image = ServiceImage::open(before.as_bytes()).unwrap();
    let after = |generation: &Generation, keeps| {
        world(generation, "").compiled(Some(0), Some(Previous { image, keeps }))
    };
    let same = after(&ready(1..=8), KEEP_ALL);
    assert_eq!((same.contents.unsettled, same.bytes == before), (0, true));
    // A ninth of 10,007 slots is the new one's; few others move.
    let grown = after(&ready(1..=9), KEEP_ALL);
    assert_eq!(grown.contents.tables, 1);
    assert!((1111..1230).contains(&grown.contents.unsettled), "{:?}", grown.contents);
    let image = ServiceImage::open(grown.bytes.as_bytes()).unwrap();
    let later = |keeps| {
        world(&ready(1..=9), "").compiled(Some(0), Some(Previous { image, keeps })).contents.unsettled
    };
    assert_eq!(later(KEEP_ALL), grown.contents.unsettled);
    assert!((1..grown.contents.unsettled).contains(&later(&|_, slot| slot < 2000)));
    assert_eq!(later(&|_, _| false), 0);
}

#[test]
fn one_backend_more_than_one_keeps_what_was_there() {
    let before = world(&ready(1..=1), "").image(Some(0));
    let image = ServiceImage::open(before.as_bytes()).unwrap();
    let grown = world(&ready(1..=2), "").compiled(Some(0), Some(Previous { image, keeps: KEEP_ALL }));
    // Half of 10,007.
    assert!((5003..=5004).contains(&grown.contents.unsettled), "{:?}", grown.contents);
}

/// Tables of 66 and of 67 backends differ in size.
#[test]
fn no_flow_moves_when_a_table_changes_its_size() {
    let sizes = [1, 67, 66, 2, 90, 64, 70, 1, 68];
    let flows = |ready| Generation { begin: 300, end: 3, ..ready };
    let generations: Vec<Generation> = sizes.map(|most| flows(ready(1..=most))).into();
    for settles in [false, true] {
        play(&generations, "", settles).unwrap();
    }
}

#[test]
fn a_change_of_size_unsettles_few_slots() {
    let before = world(&ready(1..=66), "").image(Some(0));
    let image = ServiceImage::open(before.as_bytes()).unwrap();
    let grown = world(&ready(1..=67), "").compiled(Some(0), Some(Previous { image, keeps: KEEP_ALL }));
    // The new one has 597 of 40,028.
    let contents = grown.contents;
    assert!(contents.slots == 40_028 && (597..1000).contains(&contents.unsettled), "{contents:?}");
    let image = ServiceImage::open(grown.bytes.as_bytes()).unwrap();
    let again = world(&ready(1..=66), "").compiled(Some(0), Some(Previous { image, keeps: KEEP_ALL }));
    let contents = again.contents;
    assert!(contents.slots == 10_007 && (149..500).contains(&contents.unsettled), "{contents:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_over_is_what_would_be_made(
        before in crate::random::objects(),
        change in prop::sample::select(vec![("10.1.1.3\"", "10.1.1.99\""), ("\"5\"", "\"2\""), ("ready: true", "ready: false"), ("", "")]),
    ) {
        let after: Vec<String> = before.iter().map(|object| object.replacen(change.0, change.1, 1)).collect();
        let (before, after) = (World::read(&text(&before)), World::read(&text(&after)));
        let image = before.image(Some(0));
        let image = ServiceImage::open(image.as_bytes()).unwrap();
        let next = after.compiled(Some(0), Some(Previous { image, keeps: KEEP_ALL })).bytes;
        // Once settled, nothing tells of what was before.
        let next = ServiceImage::open(next.as_bytes()).unwrap();
        let settled = after.compiled(Some(0), Some(Previous { image: next, keeps: &|_, _| false })).bytes;
        let settled = ServiceImage::open(settled.as_bytes()).unwrap();
        let again = after.compiled(Some(0), Some(Previous { image: settled, keeps: &|_, _| false })).bytes;
        let fresh = after.image(Some(0));
        let again = ServiceImage::open(again.as_bytes()).unwrap();
        let fresh = ServiceImage::open(fresh.as_bytes()).unwrap();
        for frontend in fresh.frontends() {
            let same = again.find(frontend.address(), frontend.port(), frontend.protocol()).unwrap();
            for scope in [Scope::External, Scope::Internal] {
                prop_assert_eq!(frontend.choice(scope), same.choice(scope));
                if frontend.choice(scope) == Choice::Backend {
                    let slots = |frontend: &weir_abi::services::Frontend<'_>| {
                        let (_, table) = frontend.table(scope).unwrap();
                        (table.previous_len(), table.bytes().to_vec())
                    };
                    prop_assert_eq!(slots(&frontend), slots(&same));
                }
            }
        }
    }
}
