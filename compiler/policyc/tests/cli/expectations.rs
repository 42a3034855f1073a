//! `test`: expectations against policies, in every format.

use crate::session::{CLUSTER, POLICY, Session};
use serde_json::Value;

const GOOD: &str = "\
expect \"only the web reaches the database\" {
    shop/web -> shop/db tcp/5432 allow
    shop/web -> shop/db tcp/1-5431, tcp/5433-65535 deny
    world -> shop/db deny
}
";

const BAD: &str = "\
expect {
    shop/web -> shop/db tcp/5432 allow
    shop/web -> shop/db tcp/5000-6000 deny
    192.0.2.0/24 -> shop/db tcp/5432 allow
    shop/weg -> shop/db tcp/5432 allow
}
";

fn session(expectations: &str) -> Session {
    let session = Session::new();
    session
        .file("all/policy.yaml", POLICY)
        .file("cluster.yaml", CLUSTER)
        .file("all/shop.policy", expectations);
    session
}

/// Less the time, which is another each run.
fn timeless(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" judged, ") {
        Some((before, _)) => format!("{before} judged)\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn what_holds_is_one_line() {
    let ran = session(GOOD).run("test all -c cluster.yaml");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(timeless(&ran.out), "3 expectations hold (18 connections judged)\n");
}

/// As in the folder that policyd follows.
#[test]
fn the_cluster_may_stand_beside_the_policies() {
    let session = session(GOOD);
    session.file("all/cluster.yaml", CLUSTER);
    assert_eq!(session.run("test all").code, 0);
    let ran = session.run("test all/policy.yaml all/shop.policy");
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("the cluster has no pod; give one with -c"), "{}", ran.out);
}

#[test]
fn failures_name_who_and_which_rule() {
    let ran = session(BAD).run("test all -c cluster.yaml");
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert_eq!(
        timeless(&ran.out),
        "\
error[E701]: expected deny, but shop/web to shop/db on TCP 5432 is allowed
 --> all/shop.policy:3:5
  |
3 |     shop/web -> shop/db tcp/5000-6000 deny
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected deny

allowed: egress of shop/web, which no policy selects

allowed: ingress to shop/db
  --> all/policy.yaml:15:7
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

error[E701]: expected allow, but 192.0.2.1 to shop/db on TCP 5432 is denied
 --> all/shop.policy:4:5
  |
4 |     192.0.2.0/24 -> shop/db tcp/5432 allow
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected allow

denied: ingress to shop/db, by default
  --> all/policy.yaml:4:9
   |
 4 |   name: db
   |         ^^ CiliumNetworkPolicy shop/db isolates it
   |
   = note: no rule admits 192.0.2.1 on TCP 5432
nearly: ingress[0].toPorts[0] of CiliumNetworkPolicy shop/db admits TCP 5432, but not from 192.0.2.1
  --> all/policy.yaml:15:7
   |
11 |   - fromEndpoints:
12 |     - matchLabels:
13 |         app: web
14 |     toPorts:
15 |     - ports:
   |       ^^^^^^ other peers
16 |       - port: \"5432\"
17 |         protocol: TCP
   |

error[E702]: there is no pod and no workload shop/weg
 --> all/shop.policy:5:5
  |
5 |     shop/weg -> shop/db tcp/5432 allow
  |     ^^^^^^^^ about nobody, so that it says nothing
  |
  = help: did you mean shop/web?

1 expectation holds, 3 do not (4 connections judged)
"
    );
}

#[test]
fn what_no_policy_is_asked_about_is_told() {
    let ran =
        session("expect {\n    world -> world tcp/80 deny\n    192.0.2.7 -> shop/db icmpv6/128 deny\n}\n")
            .run("test all -c cluster.yaml");
    assert_eq!(ran.code, 1);
    for message in [
        "both sides are outside of the cluster, where no policy is asked",
        "the addresses have no protocol of their family here",
    ] {
        assert!(ran.out.contains(message), "{}", ran.out);
    }
}

#[test]
fn json_has_each_expectation_with_its_counterexample() {
    let ran = session(BAD).run("test all -c cluster.yaml --format json --coverage");
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("1 expectation holds, 3 do not"), "{}", ran.err);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((told["held"].as_u64(), told["failed"].as_u64()), (Some(1), Some(3)));
    let outcomes: Vec<&str> = told["expectations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|expectation| expectation["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["holds", "fails", "fails", "nobody"]);
    let second = &told["expectations"][1];
    assert_eq!(second["text"], "shop/web -> shop/db tcp/5000-6000 deny");
    assert_eq!((second["file"].as_str(), second["line"].as_u64()), (Some("all/shop.policy"), Some(3)));
    let found = &second["counterexample"];
    assert_eq!((found["from"].as_str(), found["port"].as_u64()), (Some("shop/web"), Some(5432)));
    assert_eq!(found["by"][0]["rule"], "ingress[0].toPorts[0]");
    assert_eq!(told["coverage"]["exercised"], 1);
}

#[test]
fn junit_has_a_case_for_each_expectation() {
    let ran = session(BAD).run("test all -c cluster.yaml --format junit");
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains(r#"<testsuites name="policyc test" tests="4" failures="3" errors="0">"#),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains(
            r#"<testcase name="shop/web -&gt; shop/db tcp/5432 allow" classname="all/shop.policy" file="all/shop.policy" line="2"/>"#
        ),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains(
            "all/policy.yaml:15: ingress[0].toPorts[0] of CiliumNetworkPolicy shop/db decides ingress"
        ),
        "{}",
        ran.out
    );
}

/// A pull request that changes a policy has no line of the expectations in it: the rule is marked as well.
#[test]
fn github_marks_the_expectation_and_the_rule() {
    let ran = session(BAD).run("test all -c cluster.yaml --format github");
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", ran.out);
    assert!(lines[0].starts_with("::error file=all/shop.policy,line=3,"), "{}", lines[0]);
    assert!(lines[1].starts_with("::error file=all/policy.yaml,line=15,"), "{}", lines[1]);
    assert!(
        lines[1].ends_with("expected in all/shop.policy:3: shop/web -> shop/db tcp/5000-6000 deny"),
        "{}",
        lines[1]
    );
    assert!(lines[3].starts_with("::error file=all/policy.yaml,line=4,"), "{}", lines[3]);
}

#[test]
fn rules_that_nothing_exercises_are_told() {
    let session = session("expect {\n    world -> shop/db deny\n}\n");
    let ran = session.run("test all -c cluster.yaml --coverage");
    assert_eq!(ran.code, 0);
    let told = "\
0 of 1 rule exercised (0 %)
    0 %  0 of 1  CiliumNetworkPolicy shop/db
         not: ingress[0].toPorts[0] all/policy.yaml:15

1 expectation holds (";
    assert!(ran.out.starts_with(told), "{}", ran.out);
    assert_eq!(session.run("test all -c cluster.yaml --fail-uncovered").code, 1);
    let ran = session.run("test all -c cluster.yaml --fail-uncovered --format github");
    assert!(ran.out.starts_with("::error file=all/policy.yaml,line=15,"), "{}", ran.out);
    session.file("all/shop.policy", GOOD);
    assert_eq!(session.run("test all -c cluster.yaml --fail-uncovered").code, 0);
}

/// A policy without rules has nothing to do but to isolate.
#[test]
fn a_rule_that_only_isolates_is_exercised_by_who_is_kept_out() {
    let session = session("expect {\n    world -> shop/web deny\n}\n");
    session.file(
        "all/closed.policy",
        "network policy closed in shop {\n    for all pods\n    types ingress, egress\n}\n",
    );
    let ran = session.run("test all -c cluster.yaml --coverage");
    assert!(ran.out.contains("1 of 2  NetworkPolicy shop/closed"), "{}", ran.out);
    assert!(ran.out.contains("not: egress "), "{}", ran.out);
}

#[test]
fn nothing_expected_is_a_finding() {
    let session = Session::shop();
    for format in ["text", "json", "junit", "github"] {
        let ran = session.run(&format!("test policy.yaml -c cluster.yaml --format {format}"));
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("error[E703]: nothing is expected of these policies"), "{}", ran.err);
        assert!(ran.err.contains("kind Expectations"), "{}", ran.err);
    }
    assert_eq!(session.run("test policy.yaml -c cluster.yaml --allow-none").code, 0);
    assert_eq!(session.run("test nobody.yaml").code, 2);
    assert_eq!(session.run("test - -").code, 2);
}

#[test]
fn yaml_says_the_same() {
    let session = session(BAD);
    let given = timeless(&session.run("test all -c cluster.yaml --format json").out);
    let yaml = session.run("convert -f all/shop.policy --to yaml");
    assert_eq!(yaml.code, 0, "{}", yaml.err);
    std::fs::remove_file(session.path("all/shop.policy")).unwrap();
    session.file("all/shop.yaml", &yaml.out);
    let ran = session.run("test all -c cluster.yaml --format json");
    let outcomes = |text: &str| -> Vec<Value> {
        let told: Value = serde_json::from_str(text).unwrap();
        let all = told["expectations"].as_array().unwrap();
        all.iter()
            .map(|one| [one["outcome"].clone(), one["message"].clone(), one["counterexample"].clone()].into())
            .collect()
    };
    assert_eq!(outcomes(&ran.out), outcomes(&given));
    let back = session.run("convert -f all/shop.yaml --to policy");
    assert!(back.out.contains("    shop/web     -> shop/db tcp/5000-6000 deny\n"), "{}", back.out);
}

/// Expectations may lie beside policies: nothing else changes, and what is wrong in them is told.
#[test]
fn other_commands_read_expectations_and_go_on() {
    let session = session(BAD);
    session.file("flows.jsonl", crate::session::FLOWS);
    for command in [
        "check -f all -c cluster.yaml --fail-on warning",
        "compile -f all -c cluster.yaml --output image",
        "verdict -f all -c cluster.yaml --flows flows.jsonl",
    ] {
        let ran = session.run(command);
        assert_eq!(ran.code, 0, "{command}: {}", ran.err);
    }
    session.file("all/more.yaml", "apiVersion: weir.dev/v1\nkind: Expectations\nmetadata: {name: x}\nspec:\n  expectations:\n  - {form: [], to: [{workload: web}], verdict: alow}\n");
    let ran = session.run("check -f all -c cluster.yaml");
    assert_eq!(ran.code, 1);
    for told in [
        "an expectation has no field `form`",
        "did you mean `from`?",
        "`web` names no namespace",
        "`alow` is no `verdict`",
    ] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
}

#[test]
fn workloads_and_many_pods_are_all_looked_at() {
    let session = session(
        "expect {\n    shop/web -> shop/db tcp/5432 allow\n    app=web -> shop/db tcp/5432 allow\n}\n",
    );
    let pod = |name: &str, labels: &str, place: u32| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{pod-template-hash: 7f9c, {labels}}},\n  ownerReferences: [{{kind: ReplicaSet, name: web-7f9c, controller: true}}]}}\nspec: {{nodeName: n1}}\nstatus: {{podIPs: [{{ip: 10.2.1.{place}}}]}}\n"
        )
    };
    let cluster = CLUSTER.replace("name: web,", "name: other,");
    session.file(
        "cluster.yaml",
        format!("{cluster}{}{}", pod("web-7f9c-aaaaa", "app: web", 1), pod("web-7f9c-bbbbb", "app: webb", 2)),
    );
    let ran = session.run("test all -c cluster.yaml");
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("expected allow, but shop/web-7f9c-bbbbb to shop/db on TCP 5432 is denied"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("1 expectation holds, 1 does not"), "{}", ran.out);
}

#[test]
fn sets_of_included_files_are_known() {
    let session = session("include \"../common/nets.policy\"\nexpect {\n    office -> shop/db deny\n}\n");
    session.file("common/nets.policy", "set office = { 192.0.2.0/24 }\n");
    assert_eq!(session.run("test all -c cluster.yaml").code, 0);
    session.file("all/shop.policy", "include \"nets.policy\"\nexpect { office -> shop/db deny }\n");
    let ran = session.run("test all -c cluster.yaml");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("error[E114]: `nets.policy` cannot be included"), "{}", ran.err);
}
