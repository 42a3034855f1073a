//! What is wanted in a small town.

use super::*;
use crate::interfaces::Link;
use crate::town::{Town, identity_of};

fn veth(name: &str, routes: &[&str]) -> Link {
    Link {
        name: name.to_owned(),
        is_veth: true,
        routes: routes.iter().map(|address| address.parse().unwrap()).collect(),
        ..Link::default()
    }
}

fn interfaces(links: &[(u32, Link)]) -> Interfaces {
    Interfaces { links: links.iter().cloned().collect(), own: BTreeSet::new() }
}

fn placed(wanted: &Wanted) -> Vec<(u32, &str, Because)> {
    let placements = wanted.placements.iter();
    placements.map(|(&index, placement)| (index, placement.pod.as_str(), placement.by)).collect()
}

#[test]
fn a_route_to_a_pod_says_where_it_is() {
    let snapshot = Town::new().snapshot();
    let found = interfaces(&[
        (1, Link { name: "lo".to_owned(), ..Link::default() }),
        (5, veth("veth-web", &["10.2.0.1", "fd00:2::1"])),
        // A pod elsewhere and an address of nobody.
        (6, veth("veth-x", &["10.2.1.1"])),
        (7, veth("veth-y", &["10.9.9.9"])),
    ]);
    let wanted = wanted(
        snapshot.legend.checksum,
        &snapshot.roster,
        &found,
        &Registrations::default(),
        &BTreeMap::new(),
        &BTreeSet::new(),
    );
    assert_eq!(placed(&wanted), [(5, "shop/web", Because::Route)]);
    assert_eq!(wanted.unplaced, ["shop/db"]);
    let endpoint = Endpoint {
        identity: identity_of(&snapshot, "shop/web"),
        v4: Some("10.2.0.1".parse().unwrap()),
        v6: Some("fd00:2::1".parse().unwrap()),
    };
    assert_eq!(wanted.state.endpoints, [(5, endpoint)].into());
    assert_eq!(wanted.state.attached, [5].into());
    assert_eq!(wanted.state.image, Some(snapshot.legend.checksum));
}

#[test]
fn everyone_has_an_address_and_the_own_node_is_the_host() {
    let snapshot = Town::new().snapshot();
    let bridge: IpAddr = "10.2.0.254".parse().unwrap();
    // A bridge's address is the node's, unless the cluster says otherwise.
    let own = [bridge, "10.2.0.2".parse().unwrap()].into();
    let found = Interfaces { own, ..Interfaces::default() };
    let wanted =
        wanted(1, &snapshot.roster, &found, &Registrations::default(), &BTreeMap::new(), &BTreeSet::new());
    let of = |address: &str| wanted.state.addresses.get(&address.parse().unwrap()).copied();
    let host = identity_of(&snapshot, "n1");
    assert_eq!((of("10.1.0.1"), of("fd00:1::1"), of("10.2.0.254")), (Some(host), Some(host), Some(host)));
    assert_eq!(of("10.1.0.2"), Some(identity_of(&snapshot, "n2")));
    assert_eq!(of("10.2.0.2"), Some(identity_of(&snapshot, "shop/db")));
    assert_eq!(of("10.2.1.1"), Some(identity_of(&snapshot, "shop/job")));
    assert_eq!(wanted.state.addresses.len(), 8);
    assert!(wanted.state.endpoints.is_empty());
}

#[test]
fn a_registration_wins_over_routes() {
    let snapshot = Town::new().snapshot();
    let found = interfaces(&[
        (5, veth("veth-a", &["10.2.0.1"])),
        (6, veth("veth-b", &["10.2.0.2"])),
        (7, veth("veth-c", &[])),
    ]);
    let mut registrations = Registrations::default();
    // The route says that the web is behind veth-a; the registration says who is.
    registrations.register("shop/db", "veth-a").unwrap();
    registrations.register("shop/web", "veth-c").unwrap();
    registrations.register("shop/job", "veth-b").unwrap();
    let wanted = wanted(1, &snapshot.roster, &found, &registrations, &BTreeMap::new(), &BTreeSet::new());
    let by = Because::Registration;
    // A registration may be out of date, so what a route says of an interface that nobody registered counts too.
    assert_eq!(placed(&wanted), [(5, "shop/db", by), (6, "shop/db", Because::Route), (7, "shop/web", by)]);
    assert!(wanted.unplaced.is_empty());
}

#[test]
fn a_registration_of_an_interface_that_is_gone_counts_for_nothing() {
    let snapshot = Town::new().snapshot();
    let mut registrations = Registrations::default();
    registrations.register("shop/web", "gone").unwrap();
    registrations.register("shop/nobody", "veth-a").unwrap();
    let found = interfaces(&[(5, veth("veth-a", &["10.2.0.1"]))]);
    let wanted = wanted(1, &snapshot.roster, &found, &registrations, &BTreeMap::new(), &BTreeSet::new());
    assert_eq!(placed(&wanted), [(5, "shop/web", Because::Route)]);
}

#[test]
fn only_a_veth_is_a_pods() {
    let snapshot = Town::new().snapshot();
    let mut found = interfaces(&[(2, Link { is_veth: false, ..veth("eth0", &[]) })]);
    found.add_route("10.2.0.1".parse().unwrap(), 2);
    found.add_route("10.2.0.2".parse().unwrap(), 3);
    let wanted =
        wanted(1, &snapshot.roster, &found, &Registrations::default(), &BTreeMap::new(), &BTreeSet::new());
    assert!(wanted.placements.is_empty());
}

#[test]
fn a_pod_whose_route_goes_stays_where_it_was() {
    let snapshot = Town::new().snapshot();
    let none = Registrations::default();
    let with_route = interfaces(&[(5, veth("veth-a", &["10.2.0.1"])), (6, veth("veth-b", &[]))]);
    let before = wanted(1, &snapshot.roster, &with_route, &none, &BTreeMap::new(), &BTreeSet::new());
    let without = interfaces(&[(5, veth("veth-a", &[])), (6, veth("veth-b", &[]))]);
    let after = wanted(1, &snapshot.roster, &without, &none, &before.placements, &BTreeSet::new());
    assert_eq!(after, before);
    // But not once its route leads elsewhere, or the interface is another's.
    let moved = interfaces(&[(5, veth("veth-a", &[])), (6, veth("veth-b", &["10.2.0.1"]))]);
    let moved = wanted(1, &snapshot.roster, &moved, &none, &before.placements, &BTreeSet::new());
    assert_eq!(placed(&moved), [(6, "shop/web", Because::Route)]);
    let renamed = interfaces(&[(5, veth("veth-z", &[]))]);
    assert!(
        wanted(1, &snapshot.roster, &renamed, &none, &before.placements, &BTreeSet::new())
            .placements
            .is_empty()
    );
}

#[test]
fn what_was_a_pods_stays_closed_until_it_goes() {
    let snapshot = Town::new().snapshot();
    let none = Registrations::default();
    let found = interfaces(&[(5, veth("veth-web", &["10.2.0.1"])), (6, veth("veth-x", &[]))]);
    let nobody = wanted(1, &snapshot.roster, &found, &none, &BTreeMap::new(), &[5, 6, 7].into());
    assert_eq!(placed(&nobody), [(5, "shop/web", Because::Route)]);
    assert_eq!(nobody.state.attached, [5, 6].into());
    assert_eq!(nobody.state.endpoints.keys().collect::<Vec<_>>(), [&5]);
}
