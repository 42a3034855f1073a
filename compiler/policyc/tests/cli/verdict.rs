//! `verdict`: answers in order, from every engine alike.

use crate::session::Session;
use std::io::Read;

const VERDICT: &str = "verdict -f policy.yaml -c cluster.yaml --flows flows.jsonl";

#[test]
fn one_line_for_each_flow_in_order() {
    let ran = Session::shop().run(VERDICT);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        ran.out,
        "\
{\"id\":\"a\",\"verdict\":\"allow\",\"by\":[{\"direction\":\"ingress\",\"kind\":\"CiliumNetworkPolicy\",\"policy\":\"shop/db\",\"rule\":\"ingress[0].toPorts[0]\",\"file\":\"policy.yaml\",\"line\":15}],\"reason\":\"allowed-by-rule\"}
{\"id\":\"b\",\"verdict\":\"deny\",\"by\":[{\"direction\":\"ingress\",\"kind\":\"CiliumNetworkPolicy\",\"policy\":\"shop/db\",\"rule\":\"ingress[0].toPorts[0]\",\"file\":\"policy.yaml\",\"line\":15}],\"reason\":\"default-deny\"}
"
    );
}

#[test]
fn engines_agree_to_the_byte() {
    let session = Session::shop();
    let answer = session.run(VERDICT).out;
    assert_eq!(session.run(&format!("{VERDICT} --engine reference")).out, answer);
    session.run("compile -f policy.yaml -c cluster.yaml --output a.wimg");
    assert_eq!(session.run("verdict --image a.wimg -c cluster.yaml --flows flows.jsonl").out, answer);
    let node = session.run(&format!("{VERDICT} --node n1")).out;
    assert_eq!(node, answer);
}

#[test]
fn a_node_leaves_other_nodes_endpoints_to_them() {
    let session = Session::shop();
    let cluster = String::from_utf8(session.read("cluster.yaml")).unwrap();
    let n2 = "- {apiVersion: v1, kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: 10.1.0.2}]}}\n";
    session.file("cluster.yaml", cluster + n2);
    let elsewhere = session.run(&format!("{VERDICT} --node n2"));
    assert!(elsewhere.out.lines().all(|line| line.contains("\"enforced-elsewhere\"")), "{}", elsewhere.out);
    assert_eq!(session.run(&format!("{VERDICT} --node n2 --engine reference")).out, elsewhere.out);
}

#[test]
fn bad_flows_are_findings_and_nothing_is_answered() {
    let session = Session::shop();
    let good = String::from_utf8(session.read("flows.jsonl")).unwrap();
    session
        .file("flows.jsonl", format!("{good}{{\"id\": \"c\"}}\n{}", good.replace("shop/web", "shop/gone")));
    let ran = session.run(VERDICT);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("--> flows.jsonl:3:") && ran.err.contains("--> flows.jsonl:4:"), "{}", ran.err);
    session.file("flows.jsonl", b"\xff\n");
    let ran = session.run(VERDICT);
    assert!(ran.code == 1 && ran.err.contains("E101"), "{}", ran.err);
}

#[test]
fn flows_come_from_stdin_too() {
    let session = Session::shop();
    let flows = String::from_utf8(session.read("flows.jsonl")).unwrap();
    let arguments = ["verdict", "-f", "policy.yaml", "-c", "cluster.yaml", "--flows", "-"];
    let ran = session.run_with(&arguments, &flows);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 2), "{}", ran.err);
}

#[test]
fn names_lead_to_addresses_by_the_lock() {
    let session = Session::shop();
    let policy = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: w, namespace: shop}\nspec:\n  endpointSelector: {matchLabels: {app: web}}\n  egress:\n  - toFQDNs: [{matchPattern: '*.example.com'}]\n";
    session.file("policy.yaml", policy);
    session.file("names.json", r#"{"version": 1, "names": {"api.example.com": ["192.0.2.7"]}}"#);
    session.file(
        "flows.jsonl",
        r#"{"id": "a", "src": "shop/web", "dst": "192.0.2.7", "proto": "TCP", "dport": 443, "direction": "egress"}"#,
    );
    assert!(session.run(VERDICT).out.contains(r#""verdict":"deny""#));
    for engine in ["image", "reference"] {
        let ran = session.run(&format!("{VERDICT} --fqdn names.json --engine {engine}"));
        assert!(ran.out.contains(r#""verdict":"allow""#), "{engine}: {}{}", ran.out, ran.err);
    }
    let compile = "compile -f policy.yaml -c cluster.yaml --fqdn names.json --output a.wimg";
    assert_eq!(session.run(compile).code, 0);
    let ran = session.run("verdict --image a.wimg -c cluster.yaml --flows flows.jsonl");
    assert!(ran.out.contains(r#""verdict":"allow""#), "{}", ran.out);
    session.file("names.json", r#"{"version": 2, "names": {}}"#);
    let ran = session.run(&format!("{VERDICT} --fqdn names.json"));
    assert!(ran.code == 1 && ran.err.contains("E403"), "{}", ran.err);
}

#[test]
fn flags_that_exclude_each_other() {
    let session = Session::shop();
    for words in [
        "verdict --image a.wimg -f policy.yaml -c cluster.yaml --flows flows.jsonl",
        "verdict --image a.wimg --engine reference -c cluster.yaml --flows flows.jsonl",
        "verdict -c cluster.yaml --flows flows.jsonl",
        "verdict -f policy.yaml -c cluster.yaml",
        "verdict -f policy.yaml -c - --flows -",
    ] {
        assert_eq!(session.run(words).code, 2, "{words}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let session = Session::shop();
    let flow = String::from_utf8(session.read("flows.jsonl")).unwrap();
    session.file("flows.jsonl", flow.repeat(20_000));
    let mut child = session.command(&VERDICT.split(' ').collect::<Vec<_>>()).spawn().unwrap();
    let mut begin = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut begin).unwrap();
    // The pipe is closed here, long before the last answer.
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));

    session.file("bad.yaml", "a: [");
    let mut child = session.command(&["check", "-f", "bad.yaml", "--format", "json"]).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
