//! Every policy of the corpus and of the conformance cases says the same when it is written again, in the policy
//! language or as YAML.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use std::path::{Path, PathBuf};
use weir_tests::rewriting::{Way, keeps, objects};

/// Folders with manifests that are right.
const FOLDERS: &[&str] = &["corpus/cases", "corpus/controls", "cases", "../examples", "../grammar/testdata"];

fn manifests() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        FOLDERS.iter().map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "policy") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn what_is_written_again_says_the_same() {
    let (mut policies, mut wrong) = (0, Vec::new());
    for path in manifests() {
        // Some files of the examples and of the test data are there to be refused.
        let Ok(given) = objects(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap()) else {
            continue;
        };
        policies += given.iter().filter(|object| weir_grammar::write::yaml(object).is_some()).count();
        wrong.extend(
            Way::ALL
                .iter()
                .filter_map(|&way| keeps(way, &given).err().map(|why| format!("{}: {why}", path.display()))),
        );
    }
    assert!(policies > 400, "only {policies} policies were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
