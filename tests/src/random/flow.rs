//! Flows between anyone and anyone, mostly on ports that policies name.

use super::cluster::{NAMES, OUTSIDE};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// A flow; its id is given later.
pub(super) fn flow() -> impl Strategy<Value = Value> {
    let direction = select(vec!["ingress", "egress", "both"]);
    let fqdn = prop::collection::vec(select(NAMES), 0..2);
    let request = prop_oneof![
        4 => parts(select(vec![80u16, 80, 80, 81, 85]).prop_map(tcp), http()),
        2 => parts(select(vec![tcp(53), udp(53), udp(53)]), dns()),
        1 => parts(port(), prop_oneof![http(), dns()]),
        3 => port(),
    ];
    (end(), end(), request, direction, fqdn).prop_map(|(src, dst, request, direction, fqdn)| {
        merged(json!({"src": src, "dst": dst, "direction": direction, "fqdn": fqdn}), request)
    })
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

fn parts(
    one: impl Strategy<Value = Value>,
    other: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Value> {
    (one, other).prop_map(|(one, other)| merged(one, other))
}

fn tcp(port: u16) -> Value {
    json!({"proto": "TCP", "dport": port})
}

fn udp(port: u16) -> Value {
    json!({"proto": "UDP", "dport": port})
}

fn end() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => select(vec!["a/p0", "a/p1", "a/p2", "b/p3", "b/p4", "b/p5"]),
        1 => select(vec!["172.18.0.0", "172.18.0.1", "10.1.0.4"]),
        2 => select(OUTSIDE),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    let rest = select(vec![
        json!({"proto": "SCTP", "dport": 80}),
        json!({"proto": "ICMP", "icmp_type": 0}),
        json!({"proto": "ICMP", "icmp_type": 8}),
        json!({"proto": "ICMPv6", "icmp_type": 128}),
    ]);
    prop_oneof![
        4 => select(vec![53u16, 80, 80, 81, 91, 443, 443, 0]).prop_map(tcp),
        2 => select(vec![53u16, 80, 1]).prop_map(udp),
        1 => rest,
    ]
}

fn http() -> impl Strategy<Value = Value> {
    let headers = select(vec![
        json!({}),
        json!({"X-Role": "reader"}),
        json!({"x-role": "writer"}),
        json!({"X-Key": "v"}),
    ]);
    (select(vec!["GET", "POST"]), select(vec!["/a", "/ab"]), headers).prop_map(
        |(method, path, headers)| json!({"http": {"method": method, "path": path, "headers": headers}}),
    )
}

fn dns() -> impl Strategy<Value = Value> {
    select(NAMES).prop_map(|query| json!({"dns": {"query": query}}))
}
