//! The product as a whole, in the lab: `policyd` on nodes, real sockets in pods, and what it tells of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a lab in which something fails has failed")]

use std::net::SocketAddr;
use std::time::Duration;
use weir_runtime::event::Fate;
use weir_tests::lab::{self, Call, Contact, Lab, Peer, Place, Plan, PodPlan, Policyd};

/// Where peers listen, and where policy lets them be reached.
const PORT: u16 = 8080;
/// Where they listen too.
const OTHER_PORT: u16 = 9090;
/// What must come gets this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who may talk to whom in the shop: the web is reached by the cache and by some of the outside, and reaches the database.
const SHOP: &str = "\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: cache}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}, {port: \"8080\", protocol: UDP}]}]
  - fromCIDR: [203.0.113.7/32, \"2001:db8::7/128\"]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]
  egress:
  - toEndpoints: [{matchLabels: {app: db}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}, {port: \"8080\", protocol: UDP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}, {port: \"8080\", protocol: UDP}]}]
";

/// Two nodes: web and cache on the one, the database on the other.
fn shop() -> Option<Lab> {
    if !lab::available() {
        return None;
    }
    let plan = Plan::new().node("n1").node("n2");
    let plan = plan.pod(PodPlan::new("shop/web", "n1").label("app", "web"));
    let plan = plan.pod(PodPlan::new("shop/cache", "n1").label("app", "cache"));
    Some(plan.pod(PodPlan::new("shop/db", "n2").label("app", "db")).build().unwrap())
}

/// A peer that listens on both addresses of its place, at both ports.
fn listening(place: &Place) -> Peer {
    let peer = Peer::start(place).unwrap();
    for address in place.addresses() {
        for port in [PORT, OTHER_PORT] {
            peer.listen_tcp((address, port).into()).unwrap();
            peer.listen_udp((address, port).into()).unwrap();
        }
    }
    peer
}

fn reaches(peer: &Peer, to: SocketAddr) -> bool {
    matches!(peer.tcp(Call::to(to).within(PATIENCE)).unwrap(), Contact::Made { .. })
}

fn is_dropped(peer: &Peer, to: SocketAddr) -> bool {
    peer.tcp(Call::to(to).within(Duration::from_millis(300))).unwrap() == Contact::TimedOut
}

#[test]
fn policy_is_enforced_in_both_directions_on_two_nodes_and_told() {
    let Some(lab) = shop() else { return };
    let n1 = Policyd::start(&lab, "n1", SHOP).unwrap();
    let n2 = Policyd::start(&lab, "n2", SHOP).unwrap();
    let monitors = [n1.monitor(&["--drops"]).unwrap(), n2.monitor(&["--drops"]).unwrap()];
    let [web, cache, db, outside] =
        [lab.pod("shop/web"), lab.pod("shop/cache"), lab.pod("shop/db"), lab.outside()];
    let peers = [web, cache, db, outside].map(listening);
    let [web_peer, cache_peer, db_peer, outside_peer] = &peers;

    for family in 0..2 {
        let at = |place: &Place, port| SocketAddr::from((place.addresses()[family], port));
        // Allowed: on one node, across nodes, datagrams; replies need no rule.
        assert!(reaches(cache_peer, at(web, PORT)));
        assert!(reaches(web_peer, at(db, PORT)));
        for (peer, to) in [(cache_peer, web), (web_peer, db)] {
            assert!(peer.udp(Call::to(at(to, PORT)).within(PATIENCE), 100).unwrap().is_made());
        }
        // A pod that no policy selects reaches the outside, and is reached.
        assert!(reaches(cache_peer, at(outside, PORT)));
        assert!(reaches(outside_peer, at(cache, PORT)));
        // Denied where it leaves: the web has no business outside, nor at other ports.
        assert!(is_dropped(web_peer, at(outside, PORT)));
        assert!(is_dropped(web_peer, at(db, OTHER_PORT)));
        // Denied where it arrives: on the node of the sender, and on another.
        assert!(is_dropped(cache_peer, at(web, OTHER_PORT)));
        assert!(is_dropped(cache_peer, at(db, PORT)));
        assert!(is_dropped(outside_peer, at(web, PORT)));
        assert!(is_dropped(db_peer, at(web, PORT)));
        // But for one address.
        let seven: std::net::IpAddr = ["203.0.113.7", "2001:db8::7"][family].parse().unwrap();
        let call = Call::to(at(web, PORT)).from((seven, 0).into()).within(PATIENCE);
        assert!(outside_peer.tcp(call).unwrap().is_made());
    }

    // Every drop says which policy, rule and line caused it.
    for (monitor, source, destination, direction, policy) in [
        (&monitors[0], Some("shop/web"), None, "egress", "shop/web"),
        (&monitors[0], Some("shop/cache"), Some("shop/web"), "ingress", "shop/web"),
        (&monitors[1], Some("shop/cache"), Some("shop/db"), "ingress", "shop/db"),
    ] {
        let event = monitor
            .await_event(|event| {
                (event.source.name.as_deref(), event.destination.name.as_deref()) == (source, destination)
            })
            .unwrap();
        assert_eq!((event.verdict, event.direction.as_str()), (Fate::Dropped, direction));
        assert_eq!(event.reason, "default-deny");
        let by = event.by.unwrap();
        assert_eq!((by.policy.as_str(), by.kind.as_str()), (policy, "CiliumNetworkPolicy"));
        assert!(by.file.ends_with("policies.yaml") && by.line > 1, "{by:?}");
    }
}
