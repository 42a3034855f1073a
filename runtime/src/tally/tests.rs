//! Counts that outlive images.

use super::*;
use crate::town::{POLICY, Town};

fn counters(legend: &Legend, packets: &[(u32, u64)]) -> Counters {
    let count = |&(rule, packets)| (Counted::Rule(rule), CounterRecord { packets, bytes: packets * 100 });
    Counters {
        image: Some(legend.checksum),
        rules: packets.iter().map(count).collect(),
        ..Counters::default()
    }
}

fn told(tally: &Tally) -> Vec<(String, u64, u64)> {
    let counts = tally.counts().into_iter();
    counts.map(|count| (count.rule.policy, count.packets, count.bytes)).collect()
}

/// The policy under another name, which sorts before or after the other.
fn named(name: &str) -> String {
    POLICY.replace("name: db", &format!("name: {name}"))
}

#[test]
fn a_rule_keeps_its_count_under_another_number() {
    let town = Town::new();
    let first = town.snapshot().legend;
    let mut tally = Tally::default();
    tally.harvest(&first, &counters(&first, &[(0, 5)]));
    tally.harvest(&first, &counters(&first, &[(0, 7)]));
    assert_eq!(told(&tally), [("shop/db".to_owned(), 7, 700)]);

    // Another policy comes before it, in text and in number.
    town.file("source/policies/a.yaml", named("a"));
    let second = town.snapshot().legend;
    assert_eq!(second.rule(0).unwrap().policy, "shop/a");
    tally.harvest(&second, &counters(&second, &[(0, 1), (1, 2)]));
    assert_eq!(told(&tally), [("shop/a".to_owned(), 1, 100), ("shop/db".to_owned(), 9, 900)]);
}

#[test]
fn a_rule_that_moves_is_the_same_rule() {
    let town = Town::new();
    let first = town.snapshot().legend;
    let mut tally = Tally::default();
    tally.harvest(&first, &counters(&first, &[(0, 5)]));
    town.file("source/policies/db.yaml", format!("# A comment.\n{POLICY}"));
    let second = town.snapshot().legend;
    tally.harvest(&second, &counters(&second, &[]));
    let [count] = &tally.counts()[..] else { panic!("{tally:?}") };
    assert_eq!((count.packets, count.rule.line), (5, first.rule(0).unwrap().line + 1));
}

#[test]
fn counters_of_another_image_are_left_out() {
    let legend = Town::new().snapshot().legend;
    let mut tally = Tally::default();
    tally.harvest(&legend, &Counters { image: Some(1), ..counters(&legend, &[(0, 5)]) });
    tally.harvest(&legend, &Counters { image: None, ..counters(&legend, &[(0, 5)]) });
    assert_eq!(told(&tally), []);
}

#[test]
fn an_image_that_comes_again_counts_on() {
    let legend = Town::new().snapshot().legend;
    let mut tally = Tally::default();
    tally.harvest(&legend, &counters(&legend, &[(0, 5)]));
    tally.harvest(&legend, &counters(&legend, &[(0, 2)]));
    assert_eq!(told(&tally), [("shop/db".to_owned(), 7, 700)]);
}

#[test]
fn a_rule_that_is_gone_is_forgotten_in_the_end() {
    let town = Town::new();
    let first = town.snapshot().legend;
    let mut tally = Tally::default();
    tally.harvest(&first, &counters(&first, &[(0, 5)]));
    for (name, kept) in [("b", true), ("c", false)] {
        town.file("source/policies/db.yaml", named(name));
        let next = town.snapshot().legend;
        tally.harvest(&next, &counters(&next, &[]));
        assert_eq!(told(&tally).len(), usize::from(kept), "{name}");
    }
}
