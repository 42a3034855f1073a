//! Rules that are covered, and rules that only look so.

use crate::check::case::{CLUSTER, cnp, found, network};

/// What is found of `shop/case` with these rules, in a cluster and without one.
fn both(rules: &str) -> Vec<String> {
    let text = cnp("", "app: db", rules);
    let without = found(&text, "");
    assert_eq!(found(&text, CLUSTER), without, "{text}");
    without
}

#[test]
fn an_allow_that_is_denied() {
    let lines = both(
        "ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]\n  ingressDeny: [{fromEndpoints: [{}]}]",
    );
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("W606 6:13 all that this rule allows is denied by a rule of this policy |"),
        "{lines:?}"
    );
}

#[test]
fn a_deny_that_leaves_something() {
    for rules in [
        "ingress: [{fromEndpoints: [{}]}]\n  ingressDeny: [{fromEndpoints: [{matchLabels: {app: web}}]}]",
        "ingress: [{fromEndpoints: [{}]}]\n  ingressDeny: [{fromEndpoints: [{}], toPorts: [{ports: [{port: '80'}]}]}]",
        "ingress: [{fromEntities: [all]}]\n  ingressDeny: [{fromEntities: [cluster]}]",
        "egress: [{toCIDR: [192.0.2.0/24]}]\n  egressDeny: [{toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.1/32]}]}]",
        "egress: [{toEntities: [world]}]\n  egressDeny: [{toCIDR: [192.0.2.0/24]}]",
        "egress: [{toEndpoints: [{}]}]\n  ingressDeny: [{fromEndpoints: [{}]}]",
    ] {
        assert_eq!(both(rules), [""; 0], "{rules}");
    }
}

#[test]
fn denied_in_this_cluster() {
    let rules = "ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]\n  ingressDeny: [{fromEndpoints: [{matchExpressions: [{key: tier, operator: DoesNotExist}]}]}]";
    let text = cnp("", "app: db", rules);
    let lines = found(&text, CLUSTER);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("(in this cluster)"), "{lines:?}");
    assert_eq!(found(&text, ""), [""; 0]);
}

#[test]
fn the_same_twice() {
    let one = cnp(
        "-1",
        "app: db",
        "ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '80', protocol: TCP}]}]}]",
    );
    let two = one.replace("case-1", "case-2");
    let lines = found(&(one.clone() + &two), CLUSTER);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("W606 13:"), "{lines:?}");
    assert!(lines[0].contains("a rule of CiliumNetworkPolicy shop/case-1 already allows"), "{lines:?}");

    let wide =
        cnp("-2", "", "ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: '1', endPort: 100}]}]}]");
    let lines = found(&(one.clone() + &wide), CLUSTER);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("W606 6:"), "{lines:?}");
    // Whom selectors select today is not enough for a repetition.
    let likely = cnp(
        "-2",
        "app: db",
        "ingress: [{fromEndpoints: [{matchExpressions: [{key: tier, operator: DoesNotExist}]}]}]",
    );
    assert_eq!(found(&(one + &likely), CLUSTER), [""; 0]);
}

#[test]
fn a_rule_that_isolates_is_needed() {
    let rule = "ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]";
    let loose = format!("enableDefaultDeny: {{ingress: false}}\n  {rule}");
    let lines = found(&(cnp("-1", "app: db", rule) + &cnp("-2", "app: db", &loose)), CLUSTER);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("a rule of CiliumNetworkPolicy shop/case-1"), "{lines:?}");
}

#[test]
fn policies_of_both_families() {
    let cilium = cnp("", "app: db", "ingress: [{fromEntities: [cluster]}]");
    let text = cilium + &network("app: db", "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]");
    let lines = found(&text, CLUSTER);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("a rule of CiliumNetworkPolicy shop/case already allows"), "{lines:?}");
}

#[test]
fn addresses_outside() {
    let egress = |first: &str, second: &str| both(&format!("egress: [{{{first}}}, {{{second}}}]"));
    for (first, second, place) in [
        ("toCIDR: [192.0.2.0/25]", "toCIDR: [192.0.2.128/25, 192.0.2.0/25]", "6:12"),
        ("toCIDR: [192.0.2.0/25]", "toEntities: [world]", "6:12"),
        ("toCIDR: ['2001:db8::/32']", "toEntities: [all]", "6:12"),
        ("toEntities: [world]", "toCIDRSet: [{cidr: 192.0.2.0/25}]", "6:35"),
    ] {
        let lines = egress(first, second);
        assert_eq!(lines.len(), 1, "{first} {second} {lines:?}");
        assert!(lines[0].starts_with(&format!("W606 {place} ")), "{lines:?}");
    }
    for (first, second) in [
        ("toCIDR: [192.0.2.0/24]", "toCIDR: [192.0.2.0/25]"),
        ("toCIDR: ['2001:db8::/32']", "toCIDR: [0.0.0.0/0]"),
        ("toCIDR: [10.0.0.0/30]", "toEntities: [remote-node]"),
    ] {
        let lines: Vec<String> =
            egress(first, second).into_iter().filter(|line| line.contains("6:12")).collect();
        assert_eq!(lines, [""; 0], "{first} {second}");
    }
}

#[test]
fn requests_that_nobody_looks_at() {
    let http = "{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{method: GET}]}}]}";
    let lines = both(&format!("ingress: [{http}, {{fromEndpoints: [{{}}]}}]"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("allows the same traffic without looking at requests | refuses no request"),
        "{lines:?}"
    );
    // A plain rule is not covered by one that looks at requests.
    let plain =
        http.replace(", rules: {http: [{method: GET}]}", "").replace("{}", "{matchLabels: {app: web}}");
    let lines = both(&format!("ingress: [{plain}, {http}]"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("refuses no request"), "{lines:?}");
}

#[test]
fn dns_requests_pass_by_a_plain_rule_for_the_very_port() {
    let dns = "{toEntities: [world], toPorts: [{ports: [{port: '53', protocol: UDP}], rules: {dns: [{matchName: a.test}]}}]}";
    assert_eq!(both(&format!("egress: [{dns}, {{toEntities: [world]}}]")), [""; 0]);
    let plain = "{toEntities: [world], toPorts: [{ports: [{port: '53', protocol: UDP}]}]}";
    let lines = both(&format!("egress: [{dns}, {plain}]"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    // Without the plain rule for port 53 the requests would be filtered, so it is not a repetition.
    assert_eq!(both(&format!("egress: [{plain}, {{toEntities: [world]}}]")).len(), 1);
    let three = both(&format!("egress: [{dns}, {plain}, {{toEntities: [world]}}]"));
    assert_eq!(three.len(), 1, "{three:?}");
    assert!(three[0].contains("refuses no request"), "{three:?}");
}
