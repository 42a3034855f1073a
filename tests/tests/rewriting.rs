//! Every policy of the corpus and of the conformance cases says the same when it is written again, in the policy
//! language or as YAML; and random ones are laid out in one way, whatever is strewn between their words.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use proptest::prelude::*;
use std::path::{Path, PathBuf};
use weir_tests::random::{config, scenario};
use weir_tests::rewriting::{Strewn, Way, keeps, laid_out, objects, strewn};

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

proptest! {
    #![proptest_config(config(60))]

    /// Comments are kept, nothing else is, and what is laid out stays as it is.
    #[test]
    fn layout_means_nothing_and_keeps_comments(
        scenario in scenario(),
        edits in prop::collection::vec((any::<usize>(), prop::sample::select(&Strewn::ALL[..])), 1..20),
    ) {
        let policies: Vec<String> = scenario.policies.iter().map(|policy| format!("---\n{policy}\n")).collect();
        let given = objects("policies.yaml", &policies.concat()).unwrap();
        let tidy = Way::Policy.written(&given);
        let text = strewn(&tidy, &edits);
        let once = laid_out(&text).unwrap();
        prop_assert_eq!(laid_out(&once).unwrap(), once.as_str());
        let comments = |text: &str| text.matches('#').count();
        prop_assert_eq!(comments(&once), comments(&text));
        // Without comments and lines of its own, a text comes back as it was.
        let edits: Vec<_> = edits.into_iter().filter(|&(_, what)| what == Strewn::Spaces).collect();
        prop_assert_eq!(laid_out(&strewn(&tidy, &edits)).unwrap(), tidy);
    }
}
