//! The formats that programs read.

use crate::session::{CLUSTER, Session};
use serde_json::Value;

const TWO: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a<b, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.7/8}
    ports:
    - {port: 70000}
";

fn checked(format: &str) -> String {
    let session = Session::new();
    session.file("dir/two.yaml", TWO).file("cluster.yaml", CLUSTER);
    let ran = session.run(&format!("check -f dir -c cluster.yaml --format {format}"));
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.starts_with("2 errors, 1 warning in 2 files"), "{}", ran.err);
    ran.out
}

#[test]
fn json_has_its_fields() {
    let findings: Value = serde_json::from_str(&checked("json")).unwrap();
    let findings = findings.as_array().unwrap();
    let codes: Vec<&str> = findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["E207", "W610", "E312"]);
    let fields: Vec<&String> = findings[2].as_object().unwrap().keys().collect();
    let expected = [
        "code",
        "column",
        "end_column",
        "end_line",
        "file",
        "help",
        "label",
        "line",
        "message",
        "object",
        "related",
        "severity",
    ];
    let mut sorted = fields.clone();
    sorted.sort();
    assert_eq!(sorted, expected.iter().collect::<Vec<_>>());
    assert_eq!(findings[2]["file"], "dir/two.yaml");
    assert_eq!((findings[2]["line"].as_u64(), findings[2]["column"].as_u64()), (Some(10), Some(14)));
    assert_eq!((findings[2]["end_line"].as_u64(), findings[2]["end_column"].as_u64()), (Some(10), Some(19)));
    assert_eq!(findings[1]["severity"], "warning");
}

#[test]
fn json_of_nothing_is_an_empty_array() {
    let ran = Session::shop().run("check -f policy.yaml -c cluster.yaml --format json");
    assert_eq!((ran.code, ran.out.trim()), (0, "[]"));
}

#[test]
fn sarif_names_rules_and_places() {
    let log: Value = serde_json::from_str(&checked("sarif")).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "policyc");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!((rules.len(), results.len()), (3, 3));
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let page = rules[index]["help"]["markdown"].as_str().unwrap();
        assert!(page.starts_with(&format!("# {} ", result["ruleId"].as_str().unwrap())), "{page}");
        assert!(!rules[index]["fullDescription"]["text"].as_str().unwrap().contains('\n'));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "dir/two.yaml");
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
    }
    assert_eq!(results[1]["level"], "warning");
}

#[test]
fn junit_is_well_formed() {
    let report = checked("junit");
    let mut open: Vec<&str> = Vec::new();
    for tag in report.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("every tag ends");
        assert!(!text.contains('<'));
        if tag.starts_with('?') || tag.ends_with('/') {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty());
    assert!(
        report.contains(r#"<testsuites name="policyc check" tests="4" failures="2" errors="0">"#),
        "{report}"
    );
    assert!(report.contains("a&lt;b") && !report.contains("a<b"), "{report}");
}

#[test]
fn github_has_one_command_a_line() {
    let commands = checked("github");
    let lines: Vec<&str> = commands.lines().collect();
    assert_eq!(lines.len(), 3, "{commands}");
    assert!(
        lines[2].starts_with(
            "::error file=dir/two.yaml,line=10,col=14,endColumn=18,endLine=10,title=E312%3A not a port::"
        ),
        "{}",
        lines[2]
    );
    assert!(lines[1].starts_with("::warning "), "{}", lines[1]);
}
