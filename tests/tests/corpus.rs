//! The conformance corpus: every verdict right, every bad input refused, every good one accepted.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use std::path::{Path, PathBuf};
use weir_tests::case;
use weir_tests::engines::ENGINES;
use weir_tests::world::World;

fn corpus(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(part)
}

#[test]
fn every_verdict_is_right() {
    for &(name, make) in ENGINES {
        let right = case::run(&corpus("cases"), make).unwrap_or_else(|report| panic!("{name}:\n{report}"));
        // A run that found no flows would also be without failures.
        assert_eq!(right, 2666, "{name}");
    }
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

#[test]
fn every_bad_input_is_refused_for_its_reason() {
    let accepted: Vec<String> = inputs("invalid")
        .into_iter()
        .filter(|(path, _)| World::load(&[path]).unwrap().errors().is_empty())
        .map(|(path, why)| format!("{}: {why}", path.display()))
        .collect();
    assert!(accepted.is_empty(), "accepted, though:\n{}", accepted.join("\n"));
}

#[test]
fn every_good_twin_is_accepted() {
    for (path, why) in inputs("controls") {
        let errors = World::load(&[&path]).unwrap().errors();
        assert!(errors.is_empty(), "refused, though {why}:\n{}", errors.join("\n"));
    }
}
