//! The laws of numbering, on a range small enough to be used up.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const FIRST: u32 = 10;
const END: u32 = 16;

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn give(given: &mut BTreeMap<String, u32>, names: &[&str]) -> Vec<u32> {
    assign(given, keys(names).iter(), FIRST, END, "pods").unwrap()
}

#[test]
fn a_number_stays_with_its_set_while_others_come_and_go() {
    let mut given = BTreeMap::new();
    assert_eq!(give(&mut given, &["b", "c"]), [10, 11]);
    assert_eq!(give(&mut given, &["a", "c"]), [12, 11], "the new one takes the lowest never given");
    assert_eq!(give(&mut given, &["d"]), [13], "numbers of sets that are gone are not given away");
    assert_eq!(
        give(&mut given, &["b", "a", "d", "c"]),
        [10, 12, 13, 11],
        "and those that come back have theirs"
    );
}

#[test]
fn used_up_numbers_go_to_new_sets_the_lowest_idle_first() {
    let mut given = BTreeMap::new();
    give(&mut given, &["a", "b", "c", "d", "e", "f"]);
    // Five numbers are idle, two are needed: those of `a` and `b`.
    assert_eq!(give(&mut given, &["c", "x", "y"]), [12, 10, 11]);
    assert_eq!(give(&mut given, &["d", "e", "f"]), [13, 14, 15], "the other idle ones kept theirs");
    assert_eq!(give(&mut given, &["a"]), [10], "what was recycled is new again");
}

#[test]
fn more_sets_than_numbers_are_refused() {
    let mut given = BTreeMap::new();
    give(&mut given, &["a", "b", "c", "d", "e", "f"]);
    let seven = keys(&["1", "2", "3", "4", "5", "6", "7"]);
    let error = assign(&mut given, seven.iter(), FIRST, END, "pods").unwrap_err();
    assert_eq!(error.to_string(), "7 pods need a number, there are 6");
}

#[test]
fn what_is_no_lock_file_is_refused_for_its_reason() {
    let many = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let refused = [
        ("", "EOF"),
        ("[]", "an object with `version`, `pods` and `nodes`"),
        ("{}", "missing field `version`"),
        (&*many, "invalid type"),
        (r#"{"version":1,"pods":[]}"#, "an object with numbers as keys"),
        (r#"{"version":1,"pods":{"256":"app=x"}}"#, "expected a sequence"),
        (r#"{"version":1,"pods":{"256":[1]}}"#, "expected a string"),
        (r#"{"version":1,"pods":{"x":["app=x"]}}"#, "invalid"),
        (r#"{"version":1,"pods":{"-256":["app=x"]}}"#, "invalid"),
        (r#"{"version":1,"pods":{"0256":["app=x"]}}"#, "invalid"),
        (r#"{"version":1,"pods":{"4294967296":["app=x"]}}"#, "invalid"),
        (r#"{"version":1,"extra":{}}"#, "unknown field `extra`"),
        (r#"{"version":1,"version":1}"#, "duplicate field `version`"),
        (r#"{"version":2}"#, "version 2"),
        (r#"{"version":1,"pods":{"0":["app=x"]}}"#, "number 0 is outside 256..1048576"),
        (r#"{"version":1,"pods":{"1":["app=x"]}}"#, "number 1 is outside 256..1048576"),
        (r#"{"version":1,"pods":{"255":["app=x"]}}"#, "number 255 is outside 256..1048576"),
        (r#"{"version":1,"pods":{"1048576":["app=x"]}}"#, "number 1048576 is outside"),
        (r#"{"version":1,"pods":{"4294967295":["app=x"]}}"#, "number 4294967295 is outside"),
        (r#"{"version":1,"nodes":{"65536":"n1"}}"#, "number 65536 is outside 0..65536"),
        (r#"{"version":1,"pods":{"256":["a","b"],"257":["a","b"]}}"#, "256 and 257 stand for the same pods"),
        (r#"{"version":1,"nodes":{"0":"n1","7":"n1"}}"#, "0 and 7 stand for the same nodes"),
        (r#"{"version":1,"pods":{"256":["a"],"256":["b"]}}"#, "number 256 is there twice"),
        (r#"{"version":1,"nodes":{"3":"a","3":"a"}}"#, "number 3 is there twice"),
    ];
    for (text, why) in refused {
        let shown = &text[..text.len().min(80)];
        let error = IdentityLock::parse(text).expect_err(shown).to_string();
        assert!(error.contains(why), "{shown}: {error}");
    }
}

/// Keys as pods have them: lines of printable text.
fn lock() -> impl Strategy<Value = IdentityLock> {
    let key = prop::collection::vec("[ -~äλ]{0,6}", 1..4).prop_map(|lines| lines.join("\n"));
    let pods = prop::collection::btree_map(Identity::FIRST_POD..Identity::END_POD, key, 0..20);
    let nodes = prop::collection::btree_map(0..Identity::NODES, "[a-z.-]{0,6}", 0..10);
    (pods, nodes).prop_map(|(pods, nodes)| {
        let flip = |map: BTreeMap<u32, String>| map.into_iter().map(|(number, key)| (key, number)).collect();
        IdentityLock { pods: flip(pods), nodes: flip(nodes) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(0x7765_6972), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read_again(lock in lock()) {
        let text = lock.to_json();
        let read = IdentityLock::parse(&text).unwrap();
        prop_assert_eq!(&read, &lock);
        prop_assert_eq!(read.to_json(), text);
    }

    /// Sets come and go at random: numbers are within bounds, one for each, those wanted twice in a row
    /// keep theirs, and nothing is taken from a set while numbers were never given.
    #[test]
    fn numbers_are_stable_and_distinct(rounds in prop::collection::vec(prop::collection::btree_set(0..12u8, 0..6), 1..12)) {
        let mut given: BTreeMap<String, u32> = BTreeMap::new();
        for round in rounds {
            let names: Vec<String> = round.iter().map(ToString::to_string).collect();
            let before = given.clone();
            let numbers = assign(&mut given, names.iter(), FIRST, END, "pods").unwrap();
            let distinct: BTreeSet<u32> = numbers.iter().copied().collect();
            prop_assert_eq!(distinct.len(), names.len());
            prop_assert!(distinct.iter().all(|number| (FIRST..END).contains(number)));
            for (name, number) in names.iter().zip(&numbers) {
                prop_assert!(before.get(name).is_none_or(|known| known == number), "{} had another number", name);
            }
            let lost: Vec<_> = before.keys().filter(|key| !given.contains_key(*key)).collect();
            prop_assert!(lost.is_empty() || given.len() == (END - FIRST) as usize, "{:?} lost theirs", lost);
        }
    }
}
