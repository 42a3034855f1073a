//! `replay`: recorded flows against these policies.

use crate::session::Session;

const REPLAY: &str = "replay -f policy.yaml -c cluster.yaml --flows hubble.jsonl";

/// A line as Hubble writes it.
fn recorded(verdict: &str, source: &str, destination: &str, port: u16) -> String {
    let drop = if verdict == "DROPPED" { r#","drop_reason_desc":"POLICY_DENIED""# } else { "" };
    format!(
        r#"{{"flow":{{"time":"2026-11-28T03:00:00Z","verdict":"{verdict}"{drop},"IP":{{"source":"10.2.0.1","destination":"10.2.0.2","ipVersion":"IPv4"}},"l4":{{"TCP":{{"source_port":40000,"destination_port":{port},"flags":{{"SYN":true}}}}}},"source":{source},"destination":{destination},"Type":"L3_L4","node_name":"c/n1","event_type":{{"type":5}},"traffic_direction":"INGRESS","is_reply":false}},"node_name":"c/n1","time":"2026-11-28T03:00:00Z"}}
"#
    )
}

const WEB: &str = r#"{"ID":1,"identity":300,"namespace":"shop","labels":["k8s:app=web","k8s:io.kubernetes.pod.namespace=shop"],"pod_name":"web"}"#;
const GONE: &str = r#"{"identity":300,"namespace":"shop","labels":["k8s:app=web","k8s:io.cilium.k8s.policy.cluster=c"],"pod_name":"web-7f-x","workloads":[{"name":"web","kind":"Deployment"}]}"#;
const NOBODY: &str = r#"{"namespace":"shop","labels":["k8s:app=lost"],"pod_name":"lost-1"}"#;
const DB: &str = r#"{"ID":2,"identity":301,"namespace":"shop","labels":["k8s:app=db"],"pod_name":"db"}"#;

#[test]
fn what_would_break_and_open_is_told_by_pair() {
    let session = Session::shop();
    let lines = [
        recorded("FORWARDED", WEB, DB, 5432),
        recorded("FORWARDED", WEB, DB, 80),
        recorded("FORWARDED", GONE, DB, 80),
        recorded("FORWARDED", GONE, DB, 80),
        recorded("DROPPED", GONE, DB, 5432),
        recorded("DROPPED", WEB, DB, 81),
        recorded("FORWARDED", NOBODY, DB, 80),
        recorded("FORWARDED", DB, WEB, 40000).replace("\"is_reply\":false", "\"is_reply\":true"),
        recorded("DROPPED", WEB, DB, 80).replace("POLICY_DENIED", "CT_MAP_INSERTION_FAILED"),
        "{\"lost_events\":{\"source\":\"HUBBLE_RING_BUFFER\",\"num_events_lost\":\"2\"},\"node_name\":\"c/n1\"}\n".to_owned(),
        "\n".to_owned(),
    ];
    session.file("hubble.jsonl", lines.concat());
    let ran = session.run(REPLAY);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert_eq!(
        ran.out,
        "\
6 flows replayed: 2 as recorded, 3 would break, 1 would open
left out: 1 dropped for another reason than policy, 1 lost before they were recorded, 1 of a pod that the cluster has none like, 1 replies

would break
  3  shop/web -> shop/db 80/tcp ingress: default-deny, CiliumNetworkPolicy shop/db ingress[0].toPorts[0] policy.yaml:15

would open
  1  shop/web -> shop/db 5432/tcp ingress: allowed-by-rule, CiliumNetworkPolicy shop/db ingress[0].toPorts[0] policy.yaml:15
"
    );
    let told: serde_json::Value =
        serde_json::from_str(&session.run(&format!("{REPLAY} -o json")).out).unwrap();
    assert_eq!(told["breaks"][0]["count"], 3);
    assert_eq!(told["opens"][0]["by"][0]["line"], 15);
    assert_eq!(told["left_out"]["replies"], 1);
}

#[test]
fn requests_are_judged_where_hubble_saw_them() {
    let session = Session::shop();
    let policy = String::from_utf8(session.read("policy.yaml")).unwrap();
    session.file("policy.yaml", policy + "      rules:\n        http: [{method: GET, path: /api/.*}]\n");
    let request = |method: &str, url: &str| {
        let l7 = format!(
            r#""l7":{{"type":"REQUEST","http":{{"method":"{method}","url":"{url}","headers":[{{"key":"A","value":"b"}},{{"key":"a","value":"c"}}]}}}},"Type":"L7""#
        );
        recorded("FORWARDED", WEB, DB, 5432).replace("\"Type\":\"L3_L4\"", &l7)
    };
    let lines = [request("GET", "http://db:5432/api/x?y=z"), request("POST", "http://db:5432/api/x")];
    session.file("hubble.jsonl", lines.concat());
    let ran = session.run(REPLAY);
    assert!(
        ran.out.starts_with("2 flows replayed: 1 as recorded, 1 would break, 0 would open\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("denied-by-request"), "{}", ran.out);
    // What the proxy refused carries no reason; under a policy that lets it pass it opens.
    let refused = request("GET", "http://db:5432/api/x").replace("FORWARDED", "DROPPED");
    session.file("hubble.jsonl", refused);
    let ran = session.run(REPLAY);
    assert!(
        ran.out.starts_with("1 flow replayed: 0 as recorded, 0 would break, 1 would open\n"),
        "{}",
        ran.out
    );
}

#[test]
fn what_is_no_recording_is_a_finding_and_nothing_changes_is_fine() {
    let session = Session::shop();
    session.file("hubble.jsonl", format!("{}not a line\n{{}}\n", recorded("FORWARDED", WEB, DB, 5432)));
    let ran = session.run(REPLAY);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err.contains("--> hubble.jsonl:2:1") && ran.err.contains("--> hubble.jsonl:3:1"),
        "{}",
        ran.err
    );
    session.file("hubble.jsonl", recorded("FORWARDED", WEB, DB, 5432));
    let ran = session.run(REPLAY);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "1 flow replayed: 1 as recorded, 0 would break, 0 would open\n")
    );
}
