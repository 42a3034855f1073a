//! Events as people and programs see them.

use super::*;
use crate::town::{Town, identity_of};
use crate::wanted::{Because, Placement};
use std::net::Ipv4Addr;
use weir_abi::layout::NO_RULE;
use weir_abi::state::{EventKind, EventRecord, Hook};
use weir_abi::{Action, Reason};

const WEB: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
const DB: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);

struct Case {
    naming: Naming,
    record: EventRecord,
}

/// The web knocks at the database, which lets it in.
fn case() -> Case {
    let snapshot = Town::new().snapshot();
    let mut naming = Naming::new("n1");
    naming.add_legend(snapshot.legend.clone());
    naming.set_roster(&snapshot.roster);
    let placement =
        Placement { pod: "shop/db".to_owned(), interface: "veth-db".to_owned(), by: Because::Route };
    naming.set_placements([(7, placement)].into());
    let record = EventRecord {
        time: 1_000_000_000,
        image: snapshot.legend.checksum,
        source: WEB.to_ipv6_mapped().octets(),
        destination: DB.to_ipv6_mapped().octets(),
        rule_or_set: 0,
        pod: identity_of(&snapshot, "shop/db").0,
        peer: identity_of(&snapshot, "shop/web").0,
        interface: 7,
        length: 60,
        source_port: 40000,
        destination_port: 5432,
        protocol: 6,
        flags: 2,
        kind: EventKind::Connection as u8,
        hook: Hook::ToPod as u8,
        action: Action::Allow as u8,
        reason: Reason::AllowedByRule as u8,
        ..EventRecord::default()
    };
    Case { naming, record }
}

/// The line without its time, and without the folder of the test.
fn line(naming: &Naming, record: &EventRecord) -> String {
    let line = naming.event(record).to_string();
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.len() == "2026-11-25T13:38:32.123Z".len() && time.ends_with('Z'), "{time}");
    match rest.rsplit_once(' ') {
        Some((rest, place)) if place.contains('/') && place.starts_with('/') => {
            format!("{rest} {}", place.rsplit('/').next().unwrap())
        }
        _ => rest.to_owned(),
    }
}

#[test]
fn a_connection_is_told_with_names_policy_and_line() {
    let Case { naming, record } = case();
    assert_eq!(
        line(&naming, &record),
        "shop/web:40000 -> shop/db:5432 TCP SYN FORWARDED ingress allowed-by-rule \
         CiliumNetworkPolicy shop/db ingress[0].toPorts[0] db.yaml:8"
    );
}

/// The file and line of the rule that decided.
fn place(naming: &Naming, record: &EventRecord) -> String {
    let by = naming.event(record).by.unwrap();
    format!("{}:{}", by.file, by.line)
}

#[test]
fn a_drop_from_outside_is_told() {
    let Case { naming, record } = case();
    let outside = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
    let record = EventRecord {
        source: outside,
        peer: 0,
        kind: EventKind::Drop as u8,
        action: Action::Deny as u8,
        reason: Reason::DefaultDeny as u8,
        left_out: 3,
        ..record
    };
    assert_eq!(
        line(&naming, &record),
        "192.0.2.1:40000 (world) -> shop/db:5432 TCP SYN DROPPED ingress default-deny, isolated by \
         CiliumNetworkPolicy shop/db ingress[0].toPorts[0] db.yaml:8 (3 drops before it not told)"
            .replace("db.yaml:8", &place(&naming, &record))
    );
}

#[test]
fn an_address_of_a_node_that_nobody_listed_is_a_nodes() {
    let Case { naming, record } = case();
    let bridge = Ipv4Addr::new(10, 2, 0, 254).to_ipv6_mapped().octets();
    let snapshot = Town::new().snapshot();
    for (node, entity) in [("n1", "host"), ("n2", "remote-node")] {
        let record = EventRecord { source: bridge, peer: identity_of(&snapshot, node).0, ..record };
        let told = line(&naming, &record);
        assert!(told.starts_with(&format!("10.2.0.254:40000 ({entity}) -> shop/db:5432")), "{told}");
    }
}

#[test]
fn a_reply_points_back_and_icmp_has_types() {
    let Case { naming, record } = case();
    let reply = EventRecord {
        source: record.destination,
        destination: record.source,
        hook: Hook::FromPod as u8,
        source_port: 0,
        destination_port: 0,
        protocol: 1,
        is_reply: 1,
        rule_or_set: NO_RULE,
        reason: Reason::Reply as u8,
        kind: EventKind::Packet as u8,
        ..record
    };
    assert_eq!(line(&naming, &reply), "shop/web <- shop/db ICMP type 0 FORWARDED egress reply");
}

#[test]
fn what_has_no_name_is_told_by_number() {
    let Case { naming, record } = case();
    let v6 = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let unknown = EventRecord {
        image: 1,
        source: v6,
        destination: v6,
        interface: 99,
        peer: 300,
        pod: 301,
        reason: 200,
        kind: 77,
        protocol: 47,
        ..record
    };
    assert_eq!(
        line(&naming, &unknown),
        "[2001:db8::7]:40000 (ID:300) -> [2001:db8::7]:5432 (ID:301) IP-47 FORWARDED ingress reason-200"
    );
    assert_eq!(naming.event(&unknown).kind, "kind-77");
}

#[test]
fn a_forged_address_is_told_as_it_is() {
    let Case { naming, record } = case();
    let forged = EventRecord {
        hook: Hook::FromPod as u8,
        source: record.destination,
        destination: record.source,
        kind: EventKind::Drop as u8,
        reason: Reason::SpoofedSource as u8,
        rule_or_set: NO_RULE,
        protocol: 17,
        ..record
    };
    let event = naming.event(&forged);
    assert_eq!((event.source.name, event.source.identity), (None, Some(record.pod)));
    assert_eq!(event.interface.name.as_deref(), Some("veth-db"));
    assert_eq!(event.verdict, Fate::Dropped);
}

#[test]
fn late_events_have_the_names_of_their_image() {
    let Case { mut naming, record } = case();
    let other = Town::new();
    for (number, is_known) in [(1, true), (2, true), (3, false)] {
        other.file("source/policies/db.yaml", crate::town::POLICY.replace("5432", &format!("{number}")));
        naming.add_legend(other.snapshot().legend);
        assert_eq!(naming.event(&record).by.is_some(), is_known, "after {number} other images");
    }
}

#[test]
fn json_has_the_same_facts_and_comes_back() {
    let Case { naming, record } = case();
    let event = naming.event(&record);
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!(json["verdict"], "FORWARDED");
    assert_eq!(json["source"]["name"], "shop/web");
    assert_eq!(json["source"]["port"], 40000);
    assert_eq!(json["destination"]["labels"][0], "k8s:app=db");
    assert_eq!(json["by"]["policy"], "shop/db");
    assert_eq!(json["by"]["line"], 8);
    assert_eq!(json["interface"]["name"], "veth-db");
    assert!(json.get("left_out").is_none() && json.get("icmp_type").is_none());
    assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
}
