//! Sockets that send without connecting: they keep their backend from datagram to datagram, and hear from the service.

use crate::ground::{Ground, PORTS, Way, cluster_ips, service};
use crate::server::{Call, datagram, datagrams};
use std::collections::BTreeSet;
use std::net::UdpSocket;

const SOCKETS: usize = 24;

fn sockets(ground: &Ground, way: Way) -> Vec<UdpSocket> {
    let to = way.of(cluster_ips(1), 80);
    let made = ground.pod("client").inside(|| (0..SOCKETS).map(|_| datagrams(to).unwrap()).collect());
    made.unwrap()
}

/// Who answers each socket, thrice the same, in the service's name.
fn answering(sockets: &[UdpSocket], way: Way) -> Vec<String> {
    let to = way.of(cluster_ips(1), 80);
    let each = |socket: &UdpSocket| {
        let calls: Vec<Call> = (0..3).map(|_| datagram(socket, to).unwrap()).collect();
        assert!(calls.iter().all(|call| call.peer == to && call.by == calls[0].by), "{calls:?}");
        calls[0].by.clone()
    };
    sockets.iter().map(each).collect()
}

fn serving(ground: &Ground, names: &[&str]) -> String {
    let serving: Vec<_> = names.iter().map(|name| ground.pod(name)).collect();
    service("web", 1, PORTS, "n1", &serving)
}

#[test]
fn a_socket_keeps_its_backend_while_backends_come_and_go() {
    let Some(mut ground) = Ground::lay() else { return };
    for way in Way::ALL {
        ground.install(&serving(&ground, &["one", "two"]));
        let old = sockets(&ground, way);
        let first = answering(&old, way);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 2);

        ground.install(&serving(&ground, &["one", "two", "three"]));
        assert_eq!(answering(&old, way), first, "{way:?}, when another came");
        let new = answering(&sockets(&ground, way), way);
        assert!(new.iter().any(|by| by == "three"), "{new:?}");

        ground.install(&serving(&ground, &["two", "three"]));
        let last = answering(&old, way);
        for (before, now) in first.iter().zip(&last) {
            assert!(now != "one" && (before == "one" || before == now), "{way:?}: {before} is now {now}");
        }
    }
}

#[test]
fn one_socket_speaks_to_a_service_and_to_others() {
    let Some(mut ground) = Ground::lay() else { return };
    ground.install(&serving(&ground, &["one"]));
    for way in Way::ALL {
        let socket = &sockets(&ground, way)[0];
        let (service, other) =
            (way.of(cluster_ips(1), 80), way.of(ground.pod("two").addresses(), crate::server::PORT));
        for to in [service, other, service] {
            let call = datagram(socket, to).unwrap();
            assert_eq!((call.peer, call.by.as_str()), (to, if to == service { "one" } else { "two" }));
        }
    }
}
