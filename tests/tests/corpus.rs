//! The conformance corpus: every verdict right, every bad input refused, every good one accepted.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use std::path::{Path, PathBuf};
use weir_tests::case;
use weir_tests::engines::engines;
use weir_tests::kernel::tally;
use weir_tests::world::World;

fn corpus(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(part)
}

#[test]
fn every_verdict_is_right() {
    for (name, make) in engines() {
        let right = case::run(&corpus("cases"), make).unwrap_or_else(|report| panic!("{name}:\n{report}"));
        // A run that found no flows would also be without failures.
        assert_eq!(right, 2666, "{name}");
    }
    println!("{}", tally());
}

/// The inputs that `expect.tsv` of a part lists, with the reason it gives.
fn inputs(part: &str) -> Vec<(PathBuf, String)> {
    let folder = corpus(part);
    let list = std::fs::read_to_string(folder.join("expect.tsv")).unwrap();
    let inputs: Vec<_> = list
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(file, why)| (folder.join(file), why.to_owned()))
        .collect();
    let yaml = std::fs::read_dir(&folder).unwrap().count() - 1;
    assert_eq!(inputs.len(), yaml, "every file of {part} is listed");
    inputs
}

/// `../invalid-places.tsv` has for every bad input the code and place of its first error, each held
/// against the corpus's own reason by a reader.
#[test]
fn every_bad_input_is_refused_for_its_reason_in_its_place() {
    let places = Path::new(env!("CARGO_MANIFEST_DIR")).join("invalid-places.tsv");
    let places = std::fs::read_to_string(places).unwrap();
    let mut wrong = Vec::new();
    let inputs = inputs("invalid");
    assert_eq!(places.lines().count(), inputs.len(), "every bad input has a place");
    for ((path, why), line) in inputs.into_iter().zip(places.lines()) {
        let (file, expected) = line.split_once('\t').unwrap();
        assert!(path.ends_with(file), "{file} stands where {} should", path.display());
        let (code, place) = expected.split_once('\t').unwrap();
        let errors = World::load(&[&path]).unwrap().errors();
        let fits = |error: &String| error.contains(&format!(":{place}: {code} "));
        if !errors.first().is_some_and(fits) {
            wrong.push(format!("{file} ({why}): expected {code} at {place}, got {errors:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_good_twin_is_accepted() {
    for (path, why) in inputs("controls") {
        let errors = World::load(&[&path]).unwrap().errors();
        assert!(errors.is_empty(), "refused, though {why}:\n{}", errors.join("\n"));
    }
}
