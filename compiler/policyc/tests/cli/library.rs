//! The policies and examples that are shipped: sound, laid out, tested whole, and the same in both forms.

use crate::session::Session;
use std::path::{Path, PathBuf};

const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");

fn policies() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(LIBRARY).unwrap().map(|entry| entry.unwrap().path());
    let mut policies: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "policy")).collect();
    policies.sort();
    policies
}

#[test]
fn every_policy_is_sound_and_does_what_it_says() {
    let session = Session::new();
    let cluster = format!("{LIBRARY}/cluster.yaml");
    for policy in policies() {
        let name = policy.file_stem().unwrap().to_str().unwrap();
        let policy = policy.to_str().unwrap();
        let manifest = format!("{LIBRARY}/yaml/{name}.yaml");
        for words in [
            vec!["fmt", "--check", policy],
            vec!["check", "--fail-on", "warning", "-f", policy, "-c", &cluster],
            vec!["test", "--fail-uncovered", policy, "-c", &cluster],
            vec!["test", "--fail-uncovered", &manifest, "-c", &cluster],
        ] {
            let ran = session.run_with(&words, "");
            assert_eq!(ran.code, 0, "{words:?}\n{}{}", ran.out, ran.err);
        }
        let ran = session.run_with(&["convert", "--to", "yaml", "-f", policy], "");
        let written = std::fs::read_to_string(&manifest).unwrap();
        assert_eq!(
            ran.out, written,
            "{manifest} is stale: policyc convert --to yaml -f policies/{name}.policy"
        );
    }
}

/// What the examples expect holds.
#[test]
fn the_examples_hold() {
    let session = Session::new();
    for (policies, cluster) in [
        ("shop/policies", "shop/cluster.yaml"),
        ("block-list/blocked.policy", "block-list/cluster.yaml"),
        ("ci/policies", "ci/cluster.yaml"),
    ] {
        let [policies, cluster] = [policies, cluster].map(|path| format!("{LIBRARY}/../examples/{path}"));
        for words in [vec!["fmt", "--check", &policies], vec!["test", &policies, "-c", &cluster]] {
            let ran = session.run_with(&words, "");
            assert_eq!(ran.code, 0, "{words:?}\n{}{}", ran.out, ran.err);
        }
    }
}

#[test]
fn every_policy_is_in_the_list() {
    let listed = std::fs::read_to_string(Path::new(LIBRARY).join("README.md")).unwrap();
    let names = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let known: Vec<String> = policies().iter().map(names).collect();
    assert!(known.len() >= 8);
    for name in &known {
        assert!(listed.contains(&format!("| [`{name}`]({name}) |")), "{name}");
    }
    assert_eq!(std::fs::read_dir(format!("{LIBRARY}/yaml")).unwrap().count(), known.len());
}
