//! Policies of every kind; names are given later.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

type Json = BoxedStrategy<Value>;

/// One of several values.
fn one_of(values: Vec<Value>) -> Json {
    select(values).boxed()
}

/// A policy.
pub(super) fn policy() -> Json {
    prop_oneof![2 => network_policy(), 4 => cilium(false), 2 => cilium(true), 1 => for_nodes()].boxed()
}

/// A policy that denies: somebody on some ports, isolating or not.
pub fn deny_everything_somewhere() -> impl Strategy<Value = Value> {
    let section = select(vec![("ingressDeny", true), ("egressDeny", false)]);
    (section, selector(), any::<bool>()).prop_flat_map(|((section, ingress), subject, isolates)| {
        let spec = move |rules: Vec<Value>| {
            json!({"endpointSelector": subject, section: rules,
                "enableDefaultDeny": {"ingress": isolates, "egress": isolates}})
        };
        vec(cilium_rule(ingress, true), 1..3).prop_map(move |rules| clusterwide(&spec(rules)))
    })
}

/// A policy of plain allow rules that isolates nobody.
pub fn plain_allow() -> impl Strategy<Value = Value> {
    let section = select(vec![("ingress", true), ("egress", false)]);
    (section, selector()).prop_flat_map(|((section, ingress), subject)| {
        let spec = move |rules: Vec<Value>| {
            json!({"endpointSelector": subject, section: rules,
                "enableDefaultDeny": {"ingress": false, "egress": false}})
        };
        // Deny rules have no request rules, so in an allow section they are plain.
        vec(cilium_rule(ingress, true), 1..3).prop_map(move |rules| clusterwide(&spec(rules)))
    })
}

fn clusterwide(spec: &Value) -> Value {
    json!({"apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "later"}, "spec": spec})
}

/// A selector over the labels of pods.
fn selector() -> Json {
    let expression = (
        select(vec!["app", "tier"]),
        select(vec![
            json!({"operator": "In", "values": ["x", "p"]}),
            json!({"operator": "NotIn", "values": ["x"]}),
            json!({"operator": "Exists"}),
            json!({"operator": "DoesNotExist"}),
        ]),
    )
        .prop_map(|(key, mut expression)| {
            expression["key"] = json!(key);
            json!({"matchExpressions": [expression]})
        });
    prop_oneof![
        6 => Just(json!({})),
        4 => select(vec!["x", "x", "y", "z"]).prop_map(|app| json!({"matchLabels": {"app": app}})),
        1 => Just(json!({"matchLabels": {"app": "x", "tier": "p"}})),
        2 => expression,
    ]
    .boxed()
}

/// A peer selector of a Cilium policy: pods, namespaces, entities.
fn cilium_peer() -> Json {
    let wider = one_of(vec![
        json!({"matchLabels": {"k8s:io.kubernetes.pod.namespace": "b"}}),
        json!({"matchLabels": {"io.cilium.k8s.namespace.labels.team": "red", "app": "x"}}),
        json!({"matchLabels": {"reserved:remote-node": ""}}),
        json!({"matchExpressions": [
            {"key": "io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["a"]}]}),
        json!({"matchExpressions": [{"key": "io.kubernetes.pod.namespace", "operator": "Exists"}]}),
        json!({"matchExpressions": [
            {"key": "io.cilium.k8s.namespace.labels.team", "operator": "NotIn", "values": ["red"]}]}),
    ]);
    prop_oneof![2 => selector(), 1 => wider].boxed()
}

fn cidr() -> Json {
    one_of(vec![
        json!("198.51.0.0/16"),
        json!("198.51.100.0/24"),
        json!("198.51.100.7/32"),
        json!("0.0.0.0/0"),
        json!("10.1.0.0/16"),
        json!("2001:db8::/32"),
        json!("::/0"),
    ])
}

fn cidr_block() -> Json {
    one_of(vec![
        json!({"cidr": "198.51.0.0/16", "except": ["198.51.100.0/24"]}),
        json!({"cidr": "0.0.0.0/0", "except": ["198.51.100.8/32", "203.0.113.0/24"]}),
        json!({"cidr": "2001:db8::/32", "except": ["2001:db8::/112"]}),
    ])
}

fn cilium(wide: bool) -> Json {
    let sections = (
        vec(cilium_rule(true, false), 0..4),
        vec(cilium_rule(true, true), 0..2),
        vec(cilium_rule(false, false), 0..4),
        vec(cilium_rule(false, true), 0..2),
    );
    let default_deny = one_of(vec![
        json!({}),
        json!({}),
        json!({}),
        json!({}),
        json!({"ingress": false}),
        json!({"egress": false}),
        json!({"ingress": false, "egress": false}),
        json!({"ingress": true, "egress": false}),
    ]);
    let namespace = select(vec!["a", "b"]);
    (selector(), sections, default_deny, namespace)
        .prop_map(move |(subject, sections, default_deny, namespace)| {
            let mut spec = sections_of(sections);
            spec.insert("endpointSelector".into(), subject);
            spec.insert("enableDefaultDeny".into(), default_deny);
            if wide {
                return clusterwide(&Value::Object(spec));
            }
            json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
                "metadata": {"name": "later", "namespace": namespace}, "spec": spec})
        })
        .boxed()
}

/// A policy for nodes; request rules have no place there.
fn for_nodes() -> Json {
    let sections = (
        vec(cilium_rule(true, true), 0..2),
        vec(cilium_rule(true, true), 0..2),
        vec(cilium_rule(false, true), 0..2),
        vec(cilium_rule(false, true), 0..2),
    );
    let subject = one_of(vec![json!({}), json!({"matchLabels": {"zone": "one"}})]);
    (subject, sections)
        .prop_map(|(subject, sections)| {
            let mut spec = sections_of(sections);
            spec.insert("nodeSelector".into(), subject);
            clusterwide(&Value::Object(spec))
        })
        .boxed()
}

type Sections = (Vec<Value>, Vec<Value>, Vec<Value>, Vec<Value>);

/// The sections that hold anything; one that isolates where none does.
fn sections_of((ingress, ingress_deny, egress, egress_deny): Sections) -> Map<String, Value> {
    let all = [
        ("ingress", ingress),
        ("ingressDeny", ingress_deny),
        ("egress", egress),
        ("egressDeny", egress_deny),
    ];
    let mut sections: Map<String, Value> = all
        .into_iter()
        .filter(|(_, rules)| !rules.is_empty())
        .map(|(name, rules)| (name.to_owned(), Value::Array(rules)))
        .collect();
    if sections.is_empty() {
        sections.insert("ingress".to_owned(), json!([{}]));
    }
    sections
}

/// A rule of a section; a plain one has neither request rules nor DNS names.
fn cilium_rule(ingress: bool, plain: bool) -> Json {
    let way = if ingress { "from" } else { "to" };
    let list = move |kind: &str, items: Json| {
        let field = format!("{way}{kind}");
        let items = prop_oneof![1 => Just(Vec::new()), 15 => vec(items, 1..4)];
        items.prop_map(move |items| json!({field.clone(): items})).boxed()
    };
    let entities = [
        "all",
        "world",
        "cluster",
        "all",
        "world",
        "cluster",
        "host",
        "remote-node",
        "kube-apiserver",
        "none",
    ];
    let entities = one_of(entities.iter().map(|name| json!(name)).collect());
    let groups = one_of(vec![
        json!({"cidrGroupRef": "partners", "except": ["198.51.100.8/32"]}),
        json!({"cidrGroupSelector": {"matchLabels": {"kind": "partner"}}}),
    ]);
    let nodes = one_of(vec![json!({}), json!({"matchLabels": {"zone": "one"}})]);
    let mut peers = vec![
        (5, Just(json!({})).boxed()),
        (5, list("Endpoints", cilium_peer())),
        (3, list("Entities", entities)),
        (2, list("CIDR", cidr())),
        (2, list("CIDRSet", prop_oneof![cidr_block(), groups].boxed())),
        (1, list("Nodes", nodes)),
    ];
    if !ingress {
        let services = one_of(vec![
            json!({"k8sService": {"serviceName": "picked", "namespace": "a"}}),
            json!({"k8sService": {"serviceName": "listed", "namespace": "a"}}),
            json!({"k8sServiceSelector": {"selector": {"matchLabels": {"name": "listed"}}}}),
        ]);
        peers.push((2, list("Services", services)));
    }
    if !ingress && !plain {
        let names = one_of(vec![
            json!({"matchName": "a.test"}),
            json!({"matchPattern": "*.test"}),
            json!({"matchPattern": "**.test"}),
            json!({"matchPattern": "*"}),
        ]);
        peers.push((3, list("FQDNs", names)));
    }
    let peers = proptest::strategy::Union::new_weighted(peers);
    (peers, ports(ingress, plain))
        .prop_map(|(mut peers, ports)| {
            if let (Value::Object(peers), Value::Object(ports)) = (&mut peers, ports) {
                peers.extend(ports);
            }
            peers
        })
        .boxed()
}

/// The ports of a rule, with request rules on some unless it is plain.
fn ports(ingress: bool, plain: bool) -> Json {
    let any_port = one_of(vec![
        json!({"port": "80", "protocol": "TCP"}),
        json!({"port": "80"}),
        json!({"port": "53", "protocol": "UDP"}),
        json!({"port": "53"}),
        json!({"port": "0", "protocol": "TCP"}),
        json!({"port": "50", "endPort": 90, "protocol": "ANY"}),
        json!({"port": "web", "protocol": "TCP"}),
        json!({"port": "look"}),
    ]);
    let icmps = one_of(vec![
        json!({"icmps": [{"fields": [{"type": 8}, {"family": "IPv6", "type": 128}]}]}),
        json!({"icmps": [{"fields": [{"type": 0}]}]}),
    ]);
    let list = vec(any_port, 1..3).prop_map(|ports| json!({"ports": ports})).boxed();
    let mut lists = vec![(4, list)];
    if !plain {
        let http_port = one_of(vec![
            json!({"port": "80", "protocol": "TCP"}),
            json!({"port": "80", "endPort": 90, "protocol": "TCP"}),
            json!({"port": "web", "protocol": "TCP"}),
        ]);
        let http = (vec(http_port, 1..3), vec(http_rule(), 1..3))
            .prop_map(|(ports, rules)| json!({"ports": ports, "rules": {"http": rules}}));
        lists.push((6, http.boxed()));
    }
    if !plain && !ingress {
        let dns = select(vec!["UDP", "ANY"]).prop_map(|protocol| {
            json!({"ports": [{"port": "53", "protocol": protocol}],
                "rules": {"dns": [{"matchPattern": "*.test"}, {"matchName": "b.a.test"}]}})
        });
        let tls = select(vec!["80", "443"]).prop_map(
            |port| json!({"ports": [{"port": port, "protocol": "TCP"}], "serverNames": ["pay.test"]}),
        );
        lists.push((6, dns.boxed()));
        lists.push((1, tls.boxed()));
    }
    let lists = vec(proptest::strategy::Union::new_weighted(lists), 1..3);
    prop_oneof![
        2 => Just(json!({})),
        9 => lists.prop_map(|lists| json!({"toPorts": lists})),
        1 => icmps,
    ]
    .boxed()
}

fn http_rule() -> Json {
    one_of(vec![
        json!({}),
        json!({"method": "GET"}),
        json!({"method": "GET", "path": "/a"}),
        json!({"path": "/a"}),
        json!({"method": "GET", "path": "/ab|/a", "headers": ["X-Role: reader"]}),
        json!({"headers": ["X-Role"]}),
        json!({"headerMatches": [{"name": "X-Key", "value": "w", "secret": {"namespace": "a", "name": "key"}}]}),
        json!({"headerMatches": [{"name": "X-Role", "value": "reader", "mismatch": "LOG"}]}),
    ])
}

fn network_policy() -> Json {
    let peer = prop_oneof![
        3 => selector().prop_map(|pods| json!({"podSelector": pods})),
        2 => one_of(vec![
            json!({"namespaceSelector": {}}),
            json!({"namespaceSelector": {"matchLabels": {"team": "red"}}}),
            json!({"namespaceSelector": {"matchExpressions": [
                {"key": "team", "operator": "NotIn", "values": ["red"]}]}, "podSelector": {"matchLabels": {"app": "x"}}}),
        ]),
        2 => cidr_block().prop_map(|block| json!({"ipBlock": block})),
        1 => cidr().prop_map(|cidr| json!({"ipBlock": {"cidr": cidr}})),
    ];
    let port = one_of(vec![
        json!({"port": 80}),
        json!({"port": "web"}),
        json!({"port": 53, "protocol": "UDP"}),
        json!({"port": 50, "endPort": 90, "protocol": "TCP"}),
        json!({"protocol": "SCTP"}),
    ]);
    let rule = move |way: &'static str| {
        (vec(peer.clone(), 0..4), vec(port.clone(), 0..3))
            .prop_map(move |(peers, ports)| json!({way: peers, "ports": ports}))
    };
    let types = one_of(vec![json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
    let rules = (vec(rule("from"), 0..3), vec(rule("to"), 0..3));
    (selector(), types, rules, select(vec!["a", "b"]))
        .prop_map(|(pods, types, (ingress, egress), namespace)| {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": "later", "namespace": namespace},
                "spec": {"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress}})
        })
        .boxed()
}
