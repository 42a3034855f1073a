//! Rosters of a small town.

use super::*;
use crate::town::{CLUSTER, Town, identity_of};

fn names(roster: &Roster) -> Vec<(&str, bool)> {
    roster.members.iter().map(|member| (member.name.as_str(), member.here)).collect()
}

#[test]
fn everyone_has_a_place_and_an_identity() {
    let snapshot = Town::new().snapshot();
    let roster = &snapshot.roster;
    assert_eq!(
        names(roster),
        [("shop/db", true), ("shop/job", false), ("shop/web", true), ("n1", true), ("n2", false)]
    );
    let own = roster.own_identity().0;
    assert!((Identity::FIRST_HOST..Identity::FIRST_HOST + Identity::NODES).contains(&own), "{own}");
    let other = identity_of(&snapshot, "n2").0;
    assert!((Identity::FIRST_NODE..Identity::FIRST_NODE + Identity::NODES).contains(&other), "{other}");
    assert!(identity_of(&snapshot, "shop/web").0 >= Identity::FIRST_POD);
    assert_eq!(roster.members[2].addresses.len(), 2);
}

#[test]
fn pods_on_the_nodes_network_and_finished_ones_are_nobody() {
    let town = Town::new();
    let more = "\
- apiVersion: v1
  kind: Pod
  metadata: {name: agent, namespace: shop}
  spec: {nodeName: n1, hostNetwork: true}
  status: {podIPs: [{ip: 10.1.0.1}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: done, namespace: shop}
  spec: {nodeName: n1}
  status: {phase: Succeeded, podIPs: [{ip: 10.2.0.9}]}
";
    town.file("source/cluster.yaml", format!("{CLUSTER}{more}"));
    assert_eq!(town.snapshot().roster.members.len(), 5);
}

#[test]
fn who_is_left_out_stays_and_keeps_his_identity() {
    let member = |name: &str, identity, address: &str| Member {
        name: name.to_owned(),
        kind: Kind::Pod,
        here: true,
        identity,
        addresses: vec![address.parse().unwrap()],
    };
    let roster = |members: Vec<Member>| Roster { node: "n1".to_owned(), members };
    let last = roster(vec![member("a/gone", 256, "10.0.0.1"), member("a/known", 257, "10.0.0.2")]);
    let now = roster(vec![
        // Its namespace could not be read, so its labels seem to be others.
        member("a/known", 0, "10.0.0.2"),
        member("a/new", 258, "10.0.0.3"),
    ]);
    assert_eq!(
        now.joined(&last).members,
        [
            member("a/gone", 256, "10.0.0.1"),
            member("a/known", 257, "10.0.0.2"),
            member("a/new", 258, "10.0.0.3")
        ]
    );
}

#[test]
fn an_address_goes_to_whoever_has_it_now() {
    let member = |name: &str, identity| Member {
        name: name.to_owned(),
        kind: Kind::Pod,
        here: true,
        identity,
        addresses: vec!["10.0.0.1".parse().unwrap()],
    };
    let last = Roster { node: "n1".to_owned(), members: vec![member("a/old", 256)] };
    let now = Roster { node: "n1".to_owned(), members: vec![member("a/new", 257)] };
    assert_eq!(now.clone().joined(&last), now);
}
