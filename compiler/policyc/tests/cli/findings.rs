//! What findings look like. Few, and each read by a person before it was put here.

use crate::session::{CLUSTER, Session};

/// A policy with this spec.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: p\n  namespace: shop\nspec:\n{spec}"
    )
}

fn check(text: &str) -> String {
    let session = Session::new();
    session.file("p.yaml", text).file("cluster.yaml", CLUSTER);
    session.run("check -f p.yaml -c cluster.yaml").err
}

fn assert_told(text: &str, expected: &str) {
    let told = check(text);
    assert_eq!(told, expected, "\n--- told ---\n{told}\n--- expected ---\n{expected}");
}

#[test]
fn a_field_that_does_not_exist() {
    assert_told(
        &policy("  endpointSelector: {}\n  ingress:\n  - fromEntitys:\n    - world\n"),
        "\
error[E204]: an ingress rule has no field `fromEntitys`
 --> p.yaml:9:5
  |
9 |   - fromEntitys:
  |     ^^^^^^^^^^^ no such field
  |
  = note: in CiliumNetworkPolicy shop/p
  = help: did you mean `fromEntities`?

what a code means: policyc explain E204
1 error in 2 files
",
    );
}

#[test]
fn two_places_that_are_near_stand_together() {
    assert_told(
        &policy(
            "  endpointSelector: {}\n  egress:\n  - toFQDNs:\n    - matchName: a.test\n      matchPattern: '*.test'\n",
        ),
        "\
error[E323]: `matchName` and `matchPattern` exclude each other
  --> p.yaml:11:7
   |
10 |     - matchName: a.test
   |       --------- the first one
11 |       matchPattern: '*.test'
   |       ^^^^^^^^^^^^ a second choice
   |
   = note: in CiliumNetworkPolicy shop/p
   = help: write two items

what a code means: policyc explain E323
1 error in 2 files
",
    );
}

#[test]
fn two_policies_that_cannot_be_together() {
    let rules = |peer: &str, rules: &str| {
        policy(&format!(
            "  endpointSelector: {{}}\n  egress:\n  - {peer}\n    toPorts:\n    - ports: [{{port: \"80\", protocol: TCP}}]\n      rules:\n        {rules}\n"
        ))
    };
    let first = rules("toEntities: [world]", "http: [{method: GET}]");
    let second =
        rules("toCIDR: [192.0.2.0/24]", "dns: [{matchPattern: \"*\"}]").replace("name: p", "name: q");
    assert_told(
        &format!("{first}---\n{second}"),
        "\
error[E401]: HTTP and DNS rules meet on one peer and port
  --> p.yaml:25:7
   |
25 |     - ports: [{port: \"80\", protocol: TCP}]
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ DNS rules here
   |
  ::: p.yaml:11:7
   |
11 |     - ports: [{port: \"80\", protocol: TCP}]
   |       ------------------------------------ HTTP rules here
   |
   = note: in CiliumNetworkPolicy shop/q
   = help: a connection can be read as one protocol only; give the two rules other ports or other peers

what a code means: policyc explain E401
1 error in 2 files
",
    );
}

#[test]
fn two_files_that_define_one_object() {
    let session = Session::new();
    let text = policy("  endpointSelector: {}\n  ingress: [{}]\n");
    session.file("a.yaml", &text).file("b.yaml", &text);
    let told = session.run("check -f a.yaml -f b.yaml").err;
    let expected = "\
error[E208]: CiliumNetworkPolicy shop/p is defined twice
 --> b.yaml:4:9
  |
4 |   name: p
  |         ^ defined again here
  |
 ::: a.yaml:4:9
  |
4 |   name: p
  |         - first defined here
  |
  = help: keep one of the two, or give one another name

";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let list = (0..500).map(|i| format!("10.0.{}.{}/32", i / 256, i % 256)).collect::<Vec<_>>().join(", ");
    assert_told(
        &policy(&format!("  endpointSelector: {{}}\n  egress:\n  - toCIDR: [{list}, 10.0.0.1/33, {list}]\n")),
        "\
error[E308]: `10.0.0.1/33` is not a CIDR
 --> p.yaml:9:7294
  |
9 | …10.0.1.240/32, 10.0.1.241/32, 10.0.1.242/32, 10.0.1.243/32, 10.0.0.1/33, 10.0.0.0/32, 10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, 10.0.0…
  |                                                              ^^^^^^^^^^^ not an address block
  |
  = note: in CiliumNetworkPolicy shop/p
  = help: a prefix length is a number from 0 to 32, without leading zeros

what a code means: policyc explain E308
1 error in 2 files
",
    );
}

#[test]
fn text_that_would_steer_the_terminal_is_written_out() {
    assert_told(
        &policy("  endpointSelector: {}\n  ingress:\n  - fromEntities: [\"a\\e[31m\u{202e}b\", all]\n"),
        "\
error[E311]: `a�[31m\\u{202e}b` is not an entity
 --> p.yaml:9:20
  |
9 |   - fromEntities: [\"a\\e[31m\\u{202e}b\", all]
  |                    ^^^^^^^^^^^^^^^^^^ no such entity
  |
  = note: in CiliumNetworkPolicy shop/p
  = help: entities are `all`, `world`, `world-ipv4`, `world-ipv6`, `cluster`, `host`, `init`, `ingress`, `unmanaged`, `remote-node`, `health`, `none` and `kube-apiserver`

what a code means: policyc explain E311
1 error in 2 files
",
    );
}
