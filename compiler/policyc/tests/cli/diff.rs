//! `diff`: what changes from one policy set to another, from files and from git revisions.

use crate::schema::conforms;
use crate::session::{POLICY, Ran, Session};
use serde_json::Value;
use std::process::Command;

const DIFF: &str = "diff --from policy.yaml --to new.yaml -c cluster.yaml";

/// The shop with a second version of its policy.
fn shop(change: impl Fn(&str) -> String) -> Session {
    let session = Session::shop();
    session.file("new.yaml", change(POLICY));
    session
}

fn json(session: &Session, words: &str) -> Value {
    let ran = session.run(&format!("{words} -o json"));
    assert_eq!(ran.err, "");
    let told = serde_json::from_str(&ran.out).unwrap();
    conforms(&told, "diff.schema.json").unwrap();
    told
}

#[test]
fn what_opens_is_told_with_the_rules_of_both_sides() {
    let session = shop(|policy| {
        policy.replace(
            "        protocol: TCP\n",
            "        protocol: TCP\n      - {port: \"22\", protocol: TCP}\n",
        )
    });
    let ran = session.run(DIFF);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert_eq!(
        ran.out,
        "\
1 policy with 1 rule -> 1 policy with 1 rule
1 difference: 1 opened, 0 closed, 0 with other requests

opened
  shop/web -> shop/db  22/tcp  ingress
      was denied by default, isolated by: CiliumNetworkPolicy shop/db ingress[0].toPorts[0] policy.yaml:15
      now allowed: CiliumNetworkPolicy shop/db ingress[0].toPorts[0] new.yaml:15
"
    );
    let ran = session.run("diff --from new.yaml --to policy.yaml -c cluster.yaml --exit-zero");
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("1 difference: 0 opened, 1 closed, 0 with other requests\n"), "{}", ran.out);
}

#[test]
fn a_rule_written_otherwise_is_no_difference() {
    let session = shop(|policy| {
        let policy = policy.replace("name: db\n", "name: database\n");
        policy.replace(
            "app: web\n",
            "app: web\n    - matchExpressions: [{key: app, operator: In, values: [web, none]}]\n",
        )
    });
    let ran = session.run(DIFF);
    let told = "1 policy with 1 rule -> 1 policy with 1 rule\nno difference\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, told, ""));
    let told = json(&session, DIFF);
    assert_eq!(told["summary"], serde_json::json!({"opened": 0, "closed": 0, "requests": 0}));
    assert_eq!(told["differences"], serde_json::json!([]));
}

#[test]
fn isolation_and_its_end_are_told_for_everyone_it_concerns() {
    let session = Session::shop();
    session.file("none/README", "");
    let ran = session.run("diff --from none --to policy.yaml -c cluster.yaml");
    let lines: Vec<&str> = ran.out.lines().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(
        lines,
        [
            "0 policies with 0 rules -> 1 policy with 1 rule",
            "  anyone but shop/web, host -> shop/db  5432/tcp  ingress",
            "  anyone but host -> shop/db  every port but 5432/tcp  ingress",
        ]
    );
}

#[test]
fn requests_are_told_by_content() {
    let rules = |paths: &[&str]| {
        let rules: Vec<String> = paths.iter().map(|path| format!("{{method: GET, path: {path}}}")).collect();
        format!("{POLICY}      rules:\n        http: [{}]\n", rules.join(", "))
    };
    let session = Session::shop();
    session.file("policy.yaml", rules(&["/a", "/b"])).file("new.yaml", rules(&["/b", "/c", "/b"]));
    let ran = session.run(DIFF);
    let told = "      - http GET \"/a\"\n      + http GET \"/c\"\n";
    assert!(ran.code == 1 && ran.out.ends_with(told), "{}", ran.out);
    session.file("new.yaml", rules(&["/b", "/c", "/a"]));
    let told = json(&session, DIFF);
    assert_eq!(told["summary"]["requests"], 1);
    assert_eq!(told["differences"][0]["requests"], "wider");
    session.file("new.yaml", rules(&["/b", "/a"]));
    assert_eq!(session.run(DIFF).code, 0);
}

#[test]
fn blocks_are_merged_and_long_lists_cut_short() {
    let policy = |blocks: &[String]| {
        POLICY.replace(
            "  - fromEndpoints:\n    - matchLabels:\n        app: web\n",
            &format!("  - fromCIDR: [{}]\n", blocks.join(", ")),
        )
    };
    let session = Session::shop();
    let some: Vec<String> = (0..40).map(|at| format!("198.51.{}.0/24", at * 2)).collect();
    let more: Vec<String> =
        (0..40).map(|at| format!("198.51.{at}.0/24")).chain(["\"2001:db8::/32\"".to_owned()]).collect();
    session.file("policy.yaml", policy(&some[..1])).file("new.yaml", policy(&more));
    let ran = session.run(DIFF);
    let listed = "      blocks:\n        198.51.1.0/24, 198.51.2.0/23, 198.51.4.0/22, 198.51.8.0/21, 198.51.16.0/20, 198.51.32.0/21, 2001:db8::/32\n";
    assert!(
        ran.out.contains("  7 blocks -> shop/db  5432/tcp  ingress\n") && ran.out.contains(listed),
        "{}",
        ran.out
    );
    let told = json(&session, DIFF);
    let blocks = told["differences"][0]["peers"]["outside"][0]["blocks"].as_array().unwrap();
    assert_eq!((blocks.len(), &blocks[6]), (7, &Value::from("2001:db8::/32")));
    session.file("new.yaml", policy(&some));
    assert!(session.run(DIFF).out.contains("  39 blocks -> "), "{}", session.run(DIFF).out);
}

#[test]
fn names_are_peers_and_a_lock_makes_them_addresses() {
    let policy = |names: &str| {
        format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: out, namespace: shop}}\nspec:\n  \
             endpointSelector: {{matchLabels: {{app: web}}}}\n  egress:\n  - toFQDNs: [{names}]\n"
        )
    };
    let session = Session::shop();
    session
        .file("policy.yaml", policy("{matchName: a.test}"))
        .file("new.yaml", policy("{matchPattern: \"*.test\"}"));
    let ran = session.run(DIFF);
    assert!(
        ran.out.contains("opened\n  shop/web -> fqdn \"*.test\" but not \"a.test\"  every port  egress\n"),
        "{}",
        ran.out
    );
    session
        .file("names.json", r#"{"version": 1, "names": {"b.test": ["192.0.2.1"], "a.test": ["192.0.2.2"]}}"#);
    let ran = session.run(&format!("{DIFF} --fqdn names.json"));
    let told = "  shop/web -> 192.0.2.1/32 unless known as fqdn \"a.test\", fqdn \"*.test\" but not \"a.test\" at world but 192.0.2.2/32  every port";
    assert!(ran.out.contains(told), "{}", ran.out);
}

/// Every kind of rule in the other set, so that JSON has something of everything.
#[test]
fn json_is_as_its_schema_says() {
    let session = Session::shop();
    let rich = "\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: rich}
spec:
  endpointSelector: {}
  egressDeny:
  - toCIDR: [169.254.169.254/32]
  egress:
  - toFQDNs: [{matchName: a.test}, {matchPattern: \"*.b.test\"}]
    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]
  - toEntities: [cluster]
    toPorts:
    - ports: [{port: \"53\", protocol: UDP}]
      rules: {dns: [{matchPattern: \"*.test\"}, {matchName: a.test}]}
    - ports: [{port: \"8443\", protocol: TCP}]
      serverNames: [a.test]
  - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]
  - icmps: [{fields: [{type: 8}]}]
  ingress:
  - fromNodes: [{}]
    toPorts:
    - ports: [{port: \"80\", endPort: 90, protocol: TCP}, {protocol: VRRP}]
  - fromEntities: [world]
    toPorts:
    - ports: [{port: \"8080\", protocol: TCP}]
      rules:
        http:
        - {method: GET, path: /, host: a, headers: [\"X-A: b\", X-B]}
        - headerMatches: [{name: X-C, value: d, mismatch: LOG}, {name: X-D, secret: {namespace: shop, name: s}}]
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: host}
spec:
  nodeSelector: {}
  ingressDeny: [{fromEntities: [world], toPorts: [{ports: [{port: \"22\", protocol: TCP}]}]}]
";
    let poor = "\n---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: poor, namespace: shop}\nspec:\n  \
                endpointSelector: {matchLabels: {app: web}}\n  egress: [{toCIDR: [192.0.2.1/32]}]\n";
    session.file("rich.yaml", rich).file("policy.yaml", POLICY.to_owned() + poor);
    let told = json(&session, "diff --from policy.yaml --to rich.yaml -c cluster.yaml");
    let all = told.to_string();
    for part in [
        "\"closed\"",
        "\"opened\"",
        "\"requests\"",
        "narrower",
        "\"own_nodes\":[\"n1\"]",
        "none_of\":[{",
        "{\"of\":[{",
        "ICMP",
        "\"112\"",
        "\"tls\":{",
        "\"dns\":{\"pattern\"",
        "\"mismatch\":\"log\"",
        "\"secret\":\"shop/s\"",
        "\"nodes\":[\"n1\"]",
    ] {
        assert!(all.contains(part), "no {part} in {told:#}");
    }
    let session = Session::shop();
    session.file("policy.yaml", rich).file("rich.yaml", rich.replace("GET", "PUT"));
    let ran = session.run("diff --from policy.yaml --to rich.yaml -c cluster.yaml");
    assert!(ran.out.contains("0 opened, 0 closed, 1 with other requests"), "{}", ran.out);
}

#[test]
fn groups_of_either_side_are_its_own() {
    let group = |block: &str| {
        format!(
            "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {{name: office}}\nspec: {{externalCIDRs: [{block}]}}\n"
        )
    };
    let policy = POLICY.replace(
        "  - fromEndpoints:\n    - matchLabels:\n        app: web\n",
        "  - fromCIDRSet: [{cidrGroupRef: office}]\n",
    );
    let session = Session::shop();
    session.file("a/policy.yaml", &policy).file("a/group.yaml", group("192.0.2.0/25"));
    session.file("b/policy.yaml", &policy).file("b/group.yaml", group("192.0.2.0/24"));
    let ran = session.run("diff --from a --to b -c cluster.yaml");
    assert!(ran.out.contains("  192.0.2.128/25 -> shop/db  5432/tcp  ingress\n"), "{}", ran.out);
    session.file("b/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: else}\n");
    let ran = session.run("diff --from a --to a --to b/namespace.yaml -c cluster.yaml");
    let told = "1 object of --from and --to left out: no policy and no CIDR group\n";
    assert_eq!((ran.code, ran.err.as_str()), (0, told));
}

#[test]
fn findings_of_either_side_end_it() {
    let session = shop(|policy| policy.replace("5432", "543200"));
    let ran = session.run(DIFF);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("--> new.yaml:16:15"), "{}", ran.err);
    let ran = session.run("diff --from policy.yaml --to nowhere.yaml -c cluster.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let ran = session.run("diff --from - --to - -c cluster.yaml");
    assert_eq!(ran.code, 2);
}

/// Runs git in the session's folder, whatever the machine's configuration is.
fn git(session: &Session, words: &str) {
    let mut command = Command::new("git");
    command
        .current_dir(session.path(""))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b.test", "-c", "init.defaultBranch=main"]);
    let output = command.args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn repository() -> Session {
    let session = Session::shop();
    session.file("policies/deep/db.yaml", POLICY).file("policies/README", "no manifest");
    for words in ["init -q", "add .", "commit -q -m first"] {
        git(&session, words);
    }
    session
}

fn between(session: &Session, from: &str, to: &str) -> Ran {
    session.run_with(&["diff", "--from", from, "--to", to, "-c", "cluster.yaml"], "")
}

#[test]
fn a_revision_is_read_without_the_work_tree() {
    let session = repository();
    session.file("policies/deep/db.yaml", POLICY.replace("5432", "5433"));
    let ran = between(&session, "git:main:policies/", "policies");
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let was =
        "was allowed: CiliumNetworkPolicy shop/db ingress[0].toPorts[0] main:policies/deep/db.yaml:15\n";
    let now = "now allowed: CiliumNetworkPolicy shop/db ingress[0].toPorts[0] policies/deep/db.yaml:15\n";
    assert!(ran.out.contains(was) && ran.out.contains(now), "{}", ran.out);
    for same in
        ["git:HEAD:policies", "git:main^{/fir}:policies/deep/db.yaml", "git:@:./policies", "policy.yaml"]
    {
        let ran = between(&session, "git:main:policies/", same);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{same}");
    }
}

/// The session in the guide is what is printed.
#[test]
fn the_guide_tells_what_is_printed() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let text = |name: &str| std::fs::read_to_string(format!("{root}/{name}")).unwrap();
    let session = Session::new();
    session.file("cluster.yaml", text("examples/shop/cluster.yaml"));
    let policies = ["banks", "checkout", "database", "everyone", "web"];
    for name in policies {
        session.file(&format!("policies/{name}.yaml"), text(&format!("examples/shop/policies/{name}.yaml")));
    }
    for words in ["init -q", "add .", "commit -q -m first"] {
        git(&session, words);
    }
    let changes = [
        ("banks", "2001:db8:ba::/48", "203.0.113.128/26"),
        ("checkout", "method: POST\n", "method: POST|PUT\n"),
        ("database", "port: sql\n", "port: sql\n    - protocol: TCP\n      port: 22\n"),
    ];
    for (name, was, is) in changes {
        let given = text(&format!("examples/shop/policies/{name}.yaml"));
        assert_eq!(given.matches(was).count(), 1);
        session.file(&format!("policies/{name}.yaml"), given.replace(was, is));
    }
    let ran = between(&session, "git:main:policies", "policies");
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let command = "$ policyc diff --from git:main:policies --to policies -c cluster.yaml\n";
    let told = format!("{command}{}```\n", ran.out);
    assert!(text("docs/guide/diff.md").contains(&told), "docs/guide/diff.md does not have\n{told}");
}

#[test]
fn a_revision_that_cannot_be_read_is_a_failure_that_says_why() {
    let session = repository();
    let cases = [
        ("git:none:policies", "there is no revision `none` here"),
        ("git:main:none", "revision `main` has no `none`"),
        ("git:main", "a revision is written `git:REVISION:PATH`, such as `git:main:policies/`"),
        ("git:--help:policies", "there is no revision `--help` here"),
        ("git:main:--help", "revision `main` has no `--help`"),
        ("git:main:../policies", "git: '../policies' is outside repository at"),
    ];
    for (source, why) in cases {
        let ran = between(&session, source, "policies");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{source}");
        assert!(ran.err.starts_with(&format!("error: cannot read {source}: {why}")), "{}", ran.err);
    }
    let elsewhere = Session::shop();
    let ran = between(&elsewhere, "git:main:policies", "policy.yaml");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("git: not a git repository"), "{}", ran.err);
    let mut command =
        elsewhere.command(&["diff", "--from", "git:main:p", "--to", "policy.yaml", "-c", "cluster.yaml"]);
    let output = command.env("PATH", "").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && told.contains("the `git` program cannot be run"), "{told}");
}

#[cfg(unix)]
#[test]
fn links_of_a_revision_are_not_followed_in_silence() {
    let session = repository();
    std::os::unix::fs::symlink("deep/db.yaml", session.path("policies/link.yaml")).unwrap();
    git(&session, "add .");
    git(&session, "commit -q -m link");
    let ran = between(&session, "git:main:policies", "policies");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`link.yaml` is a link, which is not followed in a revision"), "{}", ran.err);
    assert_eq!(between(&session, "git:main~1:policies", "policies").code, 0);
    let ran = between(&session, "git:main:policies/link.yaml", "policies");
    assert!(ran.code == 2 && ran.err.contains("`policies/link.yaml` is a link"), "{}", ran.err);
}

/// Files of a revision include those of the same revision, not what lies in the work tree.
#[test]
fn includes_of_a_revision_are_read_from_it() {
    let session = repository();
    session.file("common/office.policy", "set office = { 192.0.2.0/24 }\n");
    session.file(
        "policies/web.policy",
        "include \"../common/office.policy\"\npolicy web in shop { for app=web; allow ingress from office }\n",
    );
    git(&session, "add .");
    git(&session, "commit -q -m include");
    session.file("common/office.policy", "set office = { 192.0.2.0/25 }\n");
    for source in ["git:main:policies", "git:main:./policies", "git:main:policies/"] {
        let ran = between(&session, source, "policies");
        assert!(
            ran.code == 1 && ran.out.contains("\nclosed\n  192.0.2.128/25 -> shop/web"),
            "{source} {ran:?}"
        );
    }
    session.file("policies/web.policy", "include \"../none.policy\"\n");
    git(&session, "add .");
    git(&session, "commit -q -m none");
    let ran = between(&session, "git:main:policies", "policies");
    assert!(
        ran.code == 1 && ran.err.contains("cannot be included: the revision has no such file"),
        "{}",
        ran.err
    );
}
