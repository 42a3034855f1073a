//! `explain`: why a connection passes or not.

use crate::session::Session;
use serde_json::Value;

const EXPLAIN: &str = "explain -f policy.yaml -c cluster.yaml";

#[test]
fn an_allow_names_its_rule() {
    let ran = Session::shop().run(&format!("{EXPLAIN} --from shop/web --to shop/db --port 5432/tcp"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        ran.out,
        "\
shop/web to shop/db on TCP 5432: allowed (allowed-by-rule)

allowed: egress of shop/web, which no policy selects

allowed: ingress to shop/db
  --> policy.yaml:15:7
   |
11 |   - fromEndpoints:
12 |     - matchLabels:
13 |         app: web
14 |     toPorts:
15 |     - ports:
   |       ^^^^^^ by ingress[0].toPorts[0] of CiliumNetworkPolicy shop/db
16 |       - port: \"5432\"
17 |         protocol: TCP
   |
"
    );
}

#[test]
fn a_default_deny_names_who_isolates_and_what_comes_close() {
    let session = Session::shop();
    let ran = session.run(&format!("{EXPLAIN} --from shop/web --to shop/db --port 80 --direction ingress"));
    assert_eq!(
        ran.out,
        "\
shop/web to shop/db on TCP 80: denied (default-deny)

denied: ingress to shop/db, by default
  --> policy.yaml:4:9
   |
 4 |   name: db
   |         ^^ CiliumNetworkPolicy shop/db isolates it
   |
   = note: no rule admits shop/web on TCP 80
nearly: ingress[0].toPorts[0] of CiliumNetworkPolicy shop/db admits shop/web, but on TCP 5432
  --> policy.yaml:15:7
   |
11 |   - fromEndpoints:
12 |     - matchLabels:
13 |         app: web
14 |     toPorts:
15 |     - ports:
   |       ^^^^^^ other ports
16 |       - port: \"5432\"
17 |         protocol: TCP
   |
"
    );
    let other = session.run(&format!("{EXPLAIN} --from 192.0.2.1 --to shop/db --port 5432"));
    assert!(other.out.contains("admits TCP 5432, but not from 192.0.2.1"), "{}", other.out);
}

#[test]
fn a_pods_own_node_may_reach_it() {
    let ran = Session::shop().run(&format!("{EXPLAIN} --from n1 --to shop/db --port icmp/8"));
    assert!(ran.out.starts_with("node n1 to shop/db on ICMP type 8: allowed (own-node)"), "{}", ran.out);
}

#[test]
fn a_redirect_names_the_request_rule() {
    let session = Session::shop();
    let policy = String::from_utf8(session.read("policy.yaml")).unwrap();
    let rules =
        "      rules:\n        http:\n        - {method: PUT}\n        - {method: GET, path: \"/v[0-9]+\"}\n";
    session.file("policy.yaml", policy + rules);
    let explain = |request: &str| {
        let mut words: Vec<&str> = EXPLAIN.split(' ').collect();
        words.extend([
            "--from", "shop/web", "--to", "shop/db", "--port", "5432/tcp", "-o", "json", "--http", request,
        ]);
        let ran = session.run_with(&words, "");
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    let told = explain("GET /v1");
    assert_eq!(told["verdict"], "redirect-allow");
    let side = &told["sides"][1];
    assert_eq!(
        (side["request"]["rule"].as_str(), side["request"]["line"].as_u64()),
        (Some("rules.http[1]"), Some(21))
    );
    assert_eq!(side["by"]["rule"], "ingress[0].toPorts[0]");
    let told = explain("DELETE /v1");
    assert_eq!((&told["verdict"], &told["reason"]), (&"redirect-deny".into(), &"denied-by-request".into()));
    assert_eq!(told["sides"][1]["request"], Value::Null);
}

#[test]
fn who_does_not_exist_is_a_failure() {
    let session = Session::shop();
    let ran = session.run(&format!("{EXPLAIN} --from shop/wbe --to shop/db --port 1"));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("there is no pod shop/wbe") && ran.err.contains("db, web"), "{}", ran.err);
    for words in [
        "--from web --to shop/db --port 1",
        "--from shop/web --to shop/db --port x/tcp",
        "--from shop/web --to shop/db",
    ] {
        assert_eq!(session.run(&format!("{EXPLAIN} {words}")).code, 2, "{words}");
    }
}
