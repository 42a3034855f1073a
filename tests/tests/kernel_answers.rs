//! `policyd verdict` as others run it: cases of the corpus through the binary, the verdicts held against those expected, and what it says
//! of what is wrong.
//!
//! Not here: all cases (`corpus.rs` asks the same voice in one process), flows asked of a daemon (`enforcement.rs`).

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use weir_lab::daemon::program;
use weir_tests::{case, kernel};

/// One case in so many.
const EVERY: usize = 12;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/cases")
}

fn verdicts(policies: &Path, cluster: &Path, flows: &Path) -> Output {
    let mut command = Command::new(program().unwrap());
    command.arg("verdict").arg("-f").arg(policies).arg("-c").arg(cluster).arg("--flows").arg(flows);
    let lock = policies.with_file_name("fqdn-lock.json");
    if lock.exists() {
        command.arg("--fqdn").arg(lock);
    }
    command.output().unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn cases_of_the_corpus_through_the_binary() {
    if !kernel::available() {
        return;
    }
    let mut asked = 0;
    for folder in case::folders(&cases()).iter().step_by(EVERY) {
        let cluster = folder.ancestors().map(|folder| folder.join("cluster.yaml")).find(|path| path.exists());
        let (policies, flows) = (folder.join("policies.yaml"), folder.join("flows.jsonl"));
        let output = verdicts(&policies, &cluster.unwrap(), &flows);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && told.is_empty(), "{}: {told}", folder.display());
        let answers = lines(&String::from_utf8(output.stdout).unwrap());
        let flows = lines(&std::fs::read_to_string(&flows).unwrap());
        assert_eq!(answers.len(), flows.len());
        for (flow, answer) in flows.iter().zip(&answers) {
            let accepted =
                flow["accept"].as_array().is_some_and(|accept| accept.contains(&answer["verdict"]));
            assert!(flow["expect"] == answer["verdict"] || accepted, "{}: {flow} {answer}", folder.display());
            assert_eq!(flow["id"], answer["id"]);
            asked += 1;
        }
    }
    println!("{asked} flows through `policyd verdict`");
    assert!(asked > 100);
}

#[test]
fn what_is_wrong_is_a_finding_and_no_verdict_is_printed() {
    if !kernel::available() {
        return;
    }
    let folder = case::folders(&cases()).remove(0);
    let [policies, cluster, flows] =
        ["policies.yaml", "cluster.yaml", "flows.jsonl"].map(|name| folder.join(name));
    let bad = tempfile::tempdir().unwrap();
    let bad = bad.path().join("bad.yaml");
    std::fs::write(
        &bad,
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\nspec: 7\n",
    )
    .unwrap();
    let code = |policies: &Path, cluster: &Path, flows: &Path| {
        let output = verdicts(policies, cluster, flows);
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (findings, told) = code(&bad, &cluster, &flows);
    assert_eq!(findings, Some(1), "{told}");
    assert!(told.contains("bad.yaml:4:7: error["), "{told}");
    let (missing, told) = code(Path::new("/nowhere.yaml"), &cluster, &flows);
    assert_eq!(missing, Some(2), "{told}");
    let (findings, told) = code(&policies, &cluster, &bad);
    assert_eq!(findings, Some(1), "{told}");
}
