//! `compile` and `inspect`: images and locks on disk.

use crate::session::{POLICY, Session};
use serde_json::Value;

const COMPILE: &str = "compile -f policy.yaml -c cluster.yaml --output a.wimg";

#[test]
fn the_same_input_gives_the_same_bytes() {
    let session = Session::shop();
    let ran = session.run(COMPILE);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("image        a.wimg for the whole cluster\n"), "{}", ran.out);
    session.run("compile -f policy.yaml -c cluster.yaml --output b.wimg");
    assert_eq!(session.read("a.wimg"), session.read("b.wimg"));
    let left: Vec<_> =
        std::fs::read_dir(session.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "no temporary file is left: {left:?}");
}

#[test]
fn json_tells_what_the_image_holds() {
    let session = Session::shop();
    let told: Value = serde_json::from_str(&session.run(&format!("{COMPILE} -o json")).out).unwrap();
    assert_eq!((told["policies"].as_u64(), told["rules"].as_u64()), (Some(1), Some(1)));
    assert_eq!(told["bytes"]["image"].as_u64(), Some(session.read("a.wimg").len() as u64));
    for stage in ["read", "translate", "resolve", "classify", "compact", "write", "save"] {
        assert!(told["times_ms"][stage].is_number(), "{stage}");
    }
    let seen: Value = serde_json::from_str(&session.run("inspect a.wimg -o json").out).unwrap();
    assert_eq!(seen["bytes"], told["bytes"]);
    assert_eq!(seen["classes"], told["classes"]);
    assert_eq!(seen["tables"], told["tables"]);
    assert_eq!(seen["policies"][0]["name"], "db");
    assert_eq!(seen["policies"][0]["rules"].as_u64(), Some(1));
    assert_eq!(seen["node"], Value::Null);
}

#[test]
fn a_node_gets_an_image_of_its_own() {
    let session = Session::shop();
    assert_eq!(session.run(&format!("{COMPILE} --node n1")).code, 0);
    assert!(session.run("inspect a.wimg").out.contains("for node n1"));
    let ran = session.run("compile -f policy.yaml -c cluster.yaml --node n2 --output c.wimg");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("the cluster has no node `n2`; it has n1"), "{}", ran.err);
    assert!(!session.path("c.wimg").exists());
}

#[test]
fn identities_are_kept_and_the_lock_written_only_when_it_changes() {
    let session = Session::shop();
    let compile = format!("{COMPILE} --identities ids.json");
    assert_eq!(session.run(&compile).code, 0);
    let lock = session.read("ids.json");
    let written = || std::fs::metadata(session.path("ids.json")).unwrap().modified().unwrap();
    let first = written();
    assert_eq!(session.run(&compile).code, 0);
    assert_eq!((session.read("ids.json"), written()), (lock, first));
    session.file("ids.json", "{\"version\": 1,\n \"pods\": {\"1\": [\"a\"]}}");
    let ran = session.run(&compile);
    assert!(ran.code == 1 && ran.err.contains("E403"), "{}", ran.err);
    session.file("ids.json", "{\"version\": 1,\n \"pods\": }");
    let ran = session.run(&compile);
    assert!(ran.code == 1 && ran.err.contains("--> ids.json:2:10"), "{}", ran.err);
}

#[test]
fn findings_leave_the_old_image_alone() {
    let session = Session::shop();
    session.file("a.wimg", "old").file("policy.yaml", POLICY.replace("5432", "543210"));
    let ran = session.run(COMPILE);
    assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("E312"), "{}", ran.err);
    assert_eq!(session.read("a.wimg"), b"old");
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let session = Session::shop();
    for output in ["no/such/folder/x", "."] {
        let ran = session.run(&format!("compile -f policy.yaml -c cluster.yaml --output {output}"));
        assert!(ran.code == 2 && ran.err.contains("cannot write"), "{output}: {}", ran.err);
    }
}

#[cfg(unix)]
#[test]
fn links_and_devices_stay_what_they_are() {
    let session = Session::shop();
    session.file("real.wimg", "old");
    std::os::unix::fs::symlink("real.wimg", session.path("a.wimg")).unwrap();
    assert_eq!(session.run(COMPILE).code, 0);
    assert!(std::fs::symlink_metadata(session.path("a.wimg")).unwrap().is_symlink());
    assert!(session.read("real.wimg").len() > 1000);
    assert_eq!(session.run("compile -f policy.yaml -c cluster.yaml --output /dev/null").code, 0);
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn a_damaged_image_is_a_finding() {
    let session = Session::shop();
    session.run(COMPILE);
    let image = session.read("a.wimg");
    let mut flipped = image.clone();
    flipped[image.len() / 2] ^= 1;
    let mut newer = image.clone();
    newer[8] = 99;
    for (name, bytes, says) in [
        ("flipped", &flipped[..], "damaged"),
        ("newer", &newer[..], "layout version 99"),
        ("short", &image[..image.len() - 8], "cut off"),
        ("head", &image[..20], "cut off"),
        ("text", b"apiVersion: v1".as_slice(), "not a Weir image"),
        ("empty", b"".as_slice(), "not a Weir image"),
    ] {
        session.file("bad.wimg", bytes);
        for words in ["inspect bad.wimg", "verdict --image bad.wimg -c cluster.yaml --flows flows.jsonl"] {
            let ran = session.run(words);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{name}: {words}");
            assert!(ran.err.contains("bad.wimg: ") && ran.err.contains(says), "{name}: {}", ran.err);
        }
    }
    assert_eq!(session.run("inspect not-there.wimg").code, 2);
}
