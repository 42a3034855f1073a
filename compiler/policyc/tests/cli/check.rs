//! `check`: exit codes, where its words go, and what it reads.

use crate::session::{CLUSTER, POLICY, Session};

const WRONG: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x, namespace: shop}\nspec:\n  endpointSelector: {}\n  ingress:\n  - fromCIDR: [10.0.0.0/33]\n";

#[test]
fn sound_policies_are_fine() {
    let ran = Session::shop().run("check -f policy.yaml -c cluster.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert_eq!(ran.err, "no findings: 1 policy in 2 files\n");
}

#[test]
fn an_error_is_a_finding() {
    let session = Session::new();
    let ran = session.file("x.yaml", WRONG).run("check -f x.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("error[E308]") && ran.err.contains("x.yaml:7:16"), "{}", ran.err);
    assert!(ran.err.ends_with("1 error in 1 file\n"), "{}", ran.err);
}

#[test]
fn a_missing_file_is_a_failure_and_all_are_told() {
    let ran = Session::shop().run("check -f policy.yaml -f nope.yaml -c not/there");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("cannot read nope.yaml") && ran.err.contains("cannot read not/there"),
        "{}",
        ran.err
    );
}

#[test]
fn a_bad_flag_is_a_failure() {
    let session = Session::shop();
    for words in ["check", "check -f policy.yaml --format xml", "nothing", "check -f - -c -", "--frob"] {
        assert_eq!(session.run(words).code, 2, "{words}");
    }
    let ran = session.run("--help");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(session.run("--version").out.starts_with("policyc "));
}

#[test]
fn warnings_fail_only_if_asked_to() {
    let session = Session::shop();
    session.file("policy.yaml", POLICY.replace("app: db", "app: gone"));
    let ran = session.run("check -f policy.yaml -c cluster.yaml");
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("warning[W601]"), "{}", ran.err);
    assert_eq!(session.run("check -f policy.yaml -c cluster.yaml --fail-on warning").code, 1);
    // Without a cluster nobody knows.
    assert_eq!(session.run("check -f policy.yaml --fail-on warning").code, 0);
}

#[test]
fn folders_are_read_whole_and_in_order() {
    let session = Session::new();
    session.file("p/b/2.yml", WRONG).file("p/a.yaml", WRONG.replace("name: x", "name: why"));
    session.file("p/b/1.json", r#"{"apiVersion": "v1", "kind": "Pod", "spec": {}}"#);
    session.file("p/notes.txt", "not a manifest: [");
    let ran = session.run("check -f p");
    let places: Vec<&str> = ran.err.lines().filter_map(|line| line.trim().strip_prefix("--> ")).collect();
    assert_eq!(ran.code, 1);
    assert_eq!(places, ["p/a.yaml:7:16", "p/b/1.json:1:2", "p/b/2.yml:7:16"], "{}", ran.err);
}

#[test]
fn what_is_named_twice_is_read_once() {
    let session = Session::shop();
    let ran = session.run("check -f policy.yaml -f . -c cluster.yaml -f ./policy.yaml");
    assert_eq!((ran.code, ran.err.as_str()), (0, "no findings: 1 policy in 2 files\n"));
}

#[test]
fn stdin_is_a_file_too() {
    let session = Session::shop();
    let ran = session.run_with(&["check", "-f", "-", "-c", "cluster.yaml"], WRONG);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("--> <stdin>:7:16"), "{}", ran.err);
    let ran = session.run_with(&["check", "-f", "policy.yaml", "-c", "-"], CLUSTER);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn an_input_without_policies_is_told() {
    let session = Session::new();
    session.file("cluster.yaml", CLUSTER);
    std::fs::create_dir(session.path("empty")).unwrap();
    for words in ["check -f empty", "check -f cluster.yaml"] {
        let ran = session.run(words);
        assert_eq!(ran.code, 0);
        assert!(ran.err.contains("warning[W613]"), "{words}: {}", ran.err);
    }
}

#[test]
fn the_policy_language_is_read_beside_yaml() {
    let session = Session::shop();
    session.file("p/more.policy", "policy more in shop {\n    for app=web\n    alow ingress\n}\n");
    for words in ["check -f p/more.policy", "check -f p", "check -f policy.yaml -f p"] {
        let ran = session.run(words);
        assert_eq!(ran.code, 1, "{words}");
        assert!(ran.err.contains("--> p/more.policy:3:5"), "{}", ran.err);
        assert!(ran.err.contains("did you mean `allow`?"), "{}", ran.err);
    }
    session
        .file("p/more.policy", "policy more in shop {\n    for app=web\n    allow ingress from cluster\n}\n");
    assert_eq!(session.run("check -f p -c cluster.yaml").code, 0);
}

#[test]
fn colour_is_asked_for() {
    let session = Session::new();
    session.file("x.yaml", WRONG);
    assert!(!session.run("check -f x.yaml").err.contains('\u{1b}'));
    assert!(session.run("check -f x.yaml --color always").err.contains('\u{1b}'));
    assert!(!session.run("check -f x.yaml --color never").err.contains('\u{1b}'));
}

#[test]
fn completions_and_man_pages_come_out() {
    let session = Session::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = session.run(&format!("completions {shell}"));
        assert!(ran.code == 0 && ran.out.contains("policyc"), "{shell}");
    }
    assert!(session.run("man").out.contains(".TH policyc"));
    assert_eq!(session.run("man pages").code, 0);
    assert!(session.path("pages/policyc-explain.1").exists());
}

/// Blocks and ports that make more entries than Cilium's policy maps hold.
fn too_many_entries() -> String {
    let blocks: String = (0..=255).map(|number| format!("    - 10.{number}.0.0/16\n")).collect();
    let ports: String = (0..40)
        .map(|port| {
            format!(
                "      - {{port: \"{}\", endPort: {}, protocol: TCP}}\n",
                1000 * port + 1,
                1000 * port + 6
            )
        })
        .collect();
    format!("  egress:\n  - toCIDR:\n{blocks}    toPorts:\n    - ports:\n{ports}")
}

#[test]
fn a_map_of_cilium_that_would_overflow_is_a_warning() {
    let session = Session::shop();
    let policy = String::from_utf8(session.read("policy.yaml")).unwrap();
    session.file("policy.yaml", policy + &too_many_entries());
    let ran = session.run("check -f policy.yaml -c cluster.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "what it costs is told where asked");
    assert!(!ran.err.contains("W618"), "{}", ran.err);
    let ran = session.run("check -f policy.yaml -c cluster.yaml --cost");
    assert_eq!(ran.code, 0);
    assert!(
        ran.err.contains(
            "warning[W618]: on Cilium the policy map of shop/db would need 40962 entries, and holds 16384"
        ),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("CiliumCIDRGroup"), "{}", ran.err);
}

#[test]
fn the_cost_is_told_as_text_and_json() {
    let session = Session::shop();
    let ran = session.run("check -f policy.yaml -c cluster.yaml --cost");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let told = ran.out.split_once("\ncostliest policies\n").unwrap();
    assert!(told.0.starts_with("image of the whole cluster: "), "{}", ran.out);
    assert_eq!(
        told.1,
        "  CiliumNetworkPolicy shop/db: 0 prefixes, 1 rule, 1 port range (policy.yaml:4)\n\n\
         on Cilium, entries of policy maps (16,384 fit by default)\n  \
         3  shop/db: 2 to it, 1 from it\n  2  shop/web: 1 to it, 1 from it\n"
    );

    let ran = session.run("check -f policy.yaml -c cluster.yaml --cost --format json");
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["findings"], serde_json::json!([]));
    let map = &told["cost"]["cilium"]["maps"][0];
    assert_eq!((&map["endpoint"], &map["entries"]), (&"shop/db".into(), &3.into()));
    assert_eq!((&map["rules"][0]["line"], &map["rules"][0]["entries"]), (&15.into(), &1.into()));
    assert!(told["cost"]["image"]["sections"]["rows"].is_u64());
    let plain = session.run("check -f policy.yaml -c cluster.yaml --format json");
    assert_eq!(plain.out, "[]\n", "an array, as ever");

    assert_eq!(session.run("check -f policy.yaml --cost").code, 2, "nobody is known without a cluster");
    assert_eq!(session.run("check -f policy.yaml -c cluster.yaml --cost --format junit").code, 2);
    session.file("policy.yaml", "kind: Nothing\n");
    let ran = session.run("check -f policy.yaml -c cluster.yaml --cost --format json");
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &told["cost"]), (1, &serde_json::Value::Null));
}
