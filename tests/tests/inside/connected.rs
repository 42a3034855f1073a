//! Sockets that connect: one backend each, and the service's name for it.

use crate::ground::{Ground, PORTS, Way, cluster_ips, service};
use crate::server::{Call, PORT, answer, connected_udp, datagrams, tcp};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use weir_lab::Place;

/// Sockets that are tried where every backend must come up.
const SOCKETS: usize = 32;

type Caller = fn(SocketAddr) -> io::Result<Call>;
const CALLERS: [(&str, Caller); 2] = [("tcp", tcp), ("udp", connected_udp)];

/// Who answers so many sockets. Each names the service as its peer, and its own address is seen by who serves it.
fn answering(place: &Place, caller: Caller, to: SocketAddr) -> BTreeSet<String> {
    let calls = place.inside(|| (0..SOCKETS).map(|_| caller(to).unwrap()).collect::<Vec<_>>()).unwrap();
    let told = |call: Call| {
        assert_eq!((call.peer, call.seen), (to, call.own));
        call.by
    };
    calls.into_iter().map(told).collect()
}

#[test]
fn a_socket_reaches_a_backend_and_is_told_the_services_name() {
    let Some(mut ground) = Ground::lay() else { return };
    ground.install(&service("web", 1, PORTS, "n1", &[ground.pod("one"), ground.pod("two")]));
    let both = BTreeSet::from(["one".to_owned(), "two".to_owned()]);
    // One of those that ask serves itself.
    for place in [ground.pod("client"), ground.pod("one"), ground.node()] {
        for way in Way::ALL {
            for (protocol, caller) in CALLERS {
                let answering = answering(place, caller, way.of(cluster_ips(1), 80));
                assert_eq!(answering, both, "{protocol} {way:?} from {}", place.name());
            }
        }
    }
}

#[test]
fn what_is_no_service_goes_on_as_it_is() {
    let Some(mut ground) = Ground::lay() else { return };
    let direct = |ground: &Ground| {
        let three = ground.pod("three").addresses();
        for way in Way::ALL {
            for (_, caller) in CALLERS {
                let only = BTreeSet::from(["three".to_owned()]);
                assert_eq!(answering(ground.pod("client"), caller, way.of(three, PORT)), only);
            }
        }
    };
    println!("before the first image");
    direct(&ground);
    ground.install(&service("web", 1, PORTS, "n1", &[ground.pod("one")]));
    direct(&ground);
    // Another port of a service's address is nobody's.
    let closed = ground.pod("client").inside(|| tcp(Way::V4.of(cluster_ips(1), 81))).unwrap();
    assert!(closed.is_err());
}

#[test]
fn under_affinity_a_network_has_one_backend() {
    let Some(mut ground) = Ground::lay() else { return };
    let spec = format!("sessionAffinity: ClientIP, {PORTS}");
    let three = |ground: &Ground| {
        service("web", 1, &spec, "n1", &["one", "two", "three"].map(|name| ground.pod(name)))
    };
    ground.install(&three(&ground));
    let mut stays = Vec::new();
    for place in [ground.pod("client"), ground.pod("one"), ground.node()] {
        for way in Way::ALL {
            for (protocol, caller) in CALLERS {
                let by = answering(place, caller, way.of(cluster_ips(1), 80));
                assert_eq!(by.len(), 1, "{protocol} {way:?} from {}", place.name());
                stays.push((place.name(), way, protocol, by));
            }
        }
    }
    // Families, protocols and networks do not all have the same.
    assert!(stays.iter().any(|(.., by)| *by != stays[0].3), "{stays:?}");
    let stays: Vec<_> =
        stays.iter().map(|(at, way, of, by)| (at.to_string(), *way, *of, by.clone())).collect();
    ground.install(&service("web", 1, &spec, "n1", &["one", "two"].map(|name| ground.pod(name))));
    ground.install(&three(&ground));
    for (at, way, protocol, before) in stays {
        let place = if at == "n1" { ground.node() } else { ground.lab.pod(&at) };
        let caller = CALLERS.iter().find(|(name, _)| *name == protocol).unwrap().1;
        let by = answering(place, caller, way.of(cluster_ips(1), 80));
        assert_eq!(by.len(), 1, "{protocol} {way:?} from {at}");
        if !before.contains("three") {
            assert_eq!(by, before, "{protocol} {way:?} from {at}");
        }
    }
}

#[test]
fn a_new_socket_has_the_present_choice_and_an_old_one_its_own() {
    let Some(mut ground) = Ground::lay() else { return };
    ground.install(&service("web", 1, PORTS, "n1", &[ground.pod("one")]));
    let to = Way::V4.of(cluster_ips(1), 80);
    let old = ground.pod("client").inside(|| datagrams(to).unwrap()).unwrap();
    old.connect(to).unwrap();
    ground.install(&service("web", 1, PORTS, "n1", &[ground.pod("two")]));
    for (_, caller) in CALLERS {
        let only = BTreeSet::from(["two".to_owned()]);
        assert_eq!(answering(ground.pod("client"), caller, to), only);
    }
    old.send(b"who").unwrap();
    let call = answer(&old).unwrap();
    assert_eq!((call.by.as_str(), call.peer, old.peer_addr().unwrap()), ("one", to, to));
}
