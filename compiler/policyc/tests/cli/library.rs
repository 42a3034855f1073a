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
        let [manifest, expected] =
            ["yaml", "expectations.yaml"].map(|ending| format!("{LIBRARY}/yaml/{name}.{ending}"));
        for words in [
            vec!["fmt", "--check", policy],
            vec!["check", "--fail-on", "warning", "-f", policy, "-c", &cluster],
            vec!["test", "--fail-uncovered", policy, "-c", &cluster],
            vec!["test", "--fail-uncovered", &manifest, &expected, "-c", &cluster],
        ] {
            let ran = session.run_with(&words, "");
            assert_eq!(ran.code, 0, "{words:?}\n{}{}", ran.out, ran.err);
        }
        let ran = session.run_with(&["convert", "--to", "yaml", "-f", policy], "");
        // A cluster takes the policies; what is expected of them it does not know.
        let is_expected = |document: &&str| document.contains("kind: Expectations\n");
        let (expectations, policies): (Vec<&str>, Vec<&str>) = ran.out.split("---\n").partition(is_expected);
        for (file, documents) in [(&manifest, policies), (&expected, expectations)] {
            let written = std::fs::read_to_string(file).unwrap();
            assert_eq!(documents.join("---\n"), written, "{file} is stale");
        }
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

/// The page of the balancer shows what is printed.
#[test]
fn the_balancer_does_what_its_page_shows() {
    let root = std::fs::canonicalize(format!("{LIBRARY}/..")).unwrap().display().to_string();
    let page = std::fs::read_to_string(format!("{root}/examples/balancer-box/README.md")).unwrap();
    let (_, shown) = page.split_once("$ policyc services -c examples/balancer-box\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let ran = Session::new().run_with(&["services", "-c", &format!("{root}/examples/balancer-box")], "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let printed = ran.out.replace(&format!("{root}/"), "");
    assert_eq!(printed.trim_end(), shown.trim_end());
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
    assert_eq!(std::fs::read_dir(format!("{LIBRARY}/yaml")).unwrap().count(), 2 * known.len());
}
