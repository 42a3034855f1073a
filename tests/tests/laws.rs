//! Laws that hold in every world: engines agree, order means nothing, denies only take away.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use weir_compiler::flow::{Flow, Judgement, Verdict, judge};
use weir_tests::engines::{MakeEngine, NamedEngine, PURE, in_kernel, reference};
use weir_tests::kernel::tally;
use weir_tests::random::{Scenario, config, deny_everything_somewhere, named, plain_allow, scenario};
use weir_tests::world::World;

fn judgements(world: &World, flows: &[Flow], make: MakeEngine) -> Vec<Judgement> {
    let engine = make(world).unwrap();
    flows.iter().map(|flow| judge(&*engine, flow)).collect()
}

fn specified(scenario: &Scenario) -> Vec<Judgement> {
    let (world, flows) = scenario.read();
    judgements(&world, &flows, reference)
}

fn passes(judgement: &Judgement) -> bool {
    matches!(judgement.verdict, Verdict::Allow | Verdict::RedirectAllow)
}

fn agree_with_the_specification(scenario: &Scenario, engines: &[NamedEngine]) -> Result<(), TestCaseError> {
    let (world, flows) = scenario.read();
    let right = judgements(&world, &flows, reference);
    for &(name, make) in engines {
        let given = judgements(&world, &flows, make);
        for ((flow, right), given) in scenario.flows.iter().zip(&right).zip(&given) {
            prop_assert_eq!(right, given, "{} on {}", name, flow);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn engines_agree_with_the_specification(scenario in scenario()) {
        agree_with_the_specification(&scenario, &PURE[1..])?;
    }

    #[test]
    fn the_order_of_objects_means_nothing(scenario in scenario(), turn in 0..7usize) {
        let mut other = scenario.clone();
        other.policies.reverse();
        let turn = turn.min(other.cluster.len());
        other.cluster.rotate_left(turn);
        prop_assert_eq!(specified(&scenario), specified(&other));
    }

    #[test]
    fn another_deny_never_lets_more_pass(scenario in scenario(), deny in deny_everything_somewhere()) {
        let mut more = scenario.clone();
        more.policies.push(named(deny, "z-deny"));
        for (before, after) in specified(&scenario).iter().zip(specified(&more)) {
            prop_assert!(passes(before) || !passes(&after), "{:?} became {:?}", before, after);
        }
    }

    #[test]
    fn another_plain_allow_that_isolates_nobody_never_lets_less_pass(
        scenario in scenario(),
        allow in plain_allow(),
    ) {
        let mut more = scenario.clone();
        more.policies.push(named(allow, "z-allow"));
        for (before, after) in specified(&scenario).iter().zip(specified(&more)) {
            prop_assert!(!passes(before) || passes(&after), "{:?} became {:?}", before, after);
        }
    }

    #[test]
    fn the_same_world_gives_the_same_bytes(scenario in scenario()) {
        let ((one, _), (two, _)) = (scenario.read(), scenario.read());
        prop_assert_eq!(one.image().unwrap().as_bytes(), two.image().unwrap().as_bytes());
    }
}

/// A swap of images waits for the kernel, so it is asked about fewer worlds than the other engines.
#[test]
fn the_kernel_agrees_with_the_specification() {
    let Some(kernel) = in_kernel() else { return };
    let mut runner = TestRunner::new(config(64));
    runner.run(&scenario(), |scenario| agree_with_the_specification(&scenario, &[kernel])).unwrap();
    println!("{}", tally());
}

/// Laws say nothing if nothing happens in the worlds they are held against.
#[test]
fn random_worlds_have_everything_in_them() {
    let mut runner = TestRunner::new(config(1));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..200 {
        let scenario = scenario().new_tree(&mut runner).unwrap().current();
        for judgement in specified(&scenario) {
            *counts.entry(judgement.verdict.to_string()).or_default() += 1;
            *counts.entry(judgement.reason().to_owned()).or_default() += 1;
        }
    }
    let all = [
        "allow",
        "deny",
        "redirect-allow",
        "redirect-deny",
        "no-policy",
        "allowed-by-rule",
        "denied-by-rule",
        "default-deny",
        "default-allow",
        "own-node",
        "denied-by-request",
    ];
    for name in all {
        assert!(counts.get(name).is_some_and(|&count| count >= 10), "{name}: {counts:?}");
    }
}
