//! Ports of nodes: reached at the node's addresses, and from the node's own network at loopback; and nobody else takes them there.

use crate::ground::{Ground, Way, cluster_ips, service};
use crate::server::{PORT, Server, connected_udp, datagram, datagrams, tcp};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use weir_lab::Place;

const NODE_PORT: u16 = 30080;
/// A port of nodes in IPv4, for TCP alone.
const V4_PORT: u16 = 30081;

fn lay() -> Option<Ground> {
    let mut ground = Ground::lay()?;
    let port = |name: &str, protocol: &str, node_port: u16| {
        format!("{{name: {name}, protocol: {protocol}, port: 80, nodePort: {node_port}}}")
    };
    let spec =
        format!("type: NodePort, ports: [{}, {}]", port("t", "TCP", NODE_PORT), port("u", "UDP", NODE_PORT));
    let web = service("web", 1, &spec, "n1", &[ground.pod("one")]);
    let narrow = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: narrow, namespace: shop}}\n\
         spec: {{type: NodePort, clusterIP: 10.96.0.2, ports: [{{protocol: TCP, port: 80, nodePort: {V4_PORT}}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: narrow-0, namespace: shop, labels: {{kubernetes.io/service-name: narrow}}}}\n\
         addressType: IPv4\nports: [{{protocol: TCP, port: {PORT}}}]\n\
         endpoints: [{{addresses: [{}], conditions: {{ready: true}}, nodeName: n1}}]\n",
        ground.pod("two").v4()
    );
    ground.install(&(web + &narrow));
    Some(ground)
}

fn every_socket_reaches(place: &Place, to: SocketAddr, by: &str) {
    let calls = place.inside(|| {
        let socket = datagrams(to).unwrap();
        [tcp(to), connected_udp(to), datagram(&socket, to)]
    });
    for call in calls.unwrap() {
        let call = call.unwrap_or_else(|error| panic!("{to} from {}: {error}", place.name()));
        assert_eq!((call.by.as_str(), call.peer), (by, to));
    }
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const EVERY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

#[test]
fn they_are_reached_from_pods_and_at_loopback_from_the_node() {
    let Some(ground) = lay() else { return };
    let (node, client) = (ground.node(), ground.pod("client"));
    for way in Way::ALL {
        every_socket_reaches(client, way.of(node.addresses(), NODE_PORT), "one");
        every_socket_reaches(client, way.of(cluster_ips(1), 80), "one");
        for addresses in [node.addresses(), LOOPBACK, EVERY] {
            every_socket_reaches(node, way.of(addresses, NODE_PORT), "one");
        }
    }
    every_socket_reaches(node, (Ipv4Addr::new(127, 7, 7, 7), NODE_PORT).into(), "one");
}

#[test]
fn a_pods_loopback_is_its_own() {
    let Some(ground) = lay() else { return };
    let client = ground.pod("client");
    // It may listen at what is a port of nodes elsewhere.
    let server = Server::start(client, (Ipv6Addr::UNSPECIFIED, NODE_PORT).into());
    for way in Way::ALL {
        every_socket_reaches(client, way.of(LOOPBACK, NODE_PORT), "client");
        every_socket_reaches(client, way.of(client.addresses(), NODE_PORT), "client");
    }
    drop(server);
}

#[test]
fn nobody_takes_them_on_the_node() {
    let Some(ground) = lay() else { return };
    let (node, client) = (ground.node(), ground.pod("client"));
    let taken = |place: &Place, at: SocketAddr| {
        let kind = |error: Option<std::io::Error>| error.map(|error| error.kind());
        let bound = place.inside(|| [kind(TcpListener::bind(at).err()), kind(UdpSocket::bind(at).err())]);
        bound.unwrap().map(|error| match error {
            None => false,
            Some(ErrorKind::AddrInUse) => true,
            Some(other) => panic!("{at} at {}: {other}", place.name()),
        })
    };
    let ways = || Way::ALL.into_iter();
    for addresses in [node.addresses(), LOOPBACK, EVERY] {
        for at in ways().map(|way| way.of(addresses, NODE_PORT)) {
            assert_eq!(taken(node, at), [true, true], "{at}");
        }
        // What IPv4 has alone, a socket of IPv6 has where it asks for every address.
        for way in ways() {
            let at = way.of(addresses, V4_PORT);
            let of_tcp = way != Way::V6 || addresses == EVERY;
            assert_eq!(taken(node, at), [of_tcp, false], "{at}");
        }
        for at in ways().map(|way| way.of(addresses, NODE_PORT + 7)) {
            assert_eq!(taken(node, at), [false, false], "{at}");
        }
    }
    for addresses in [client.addresses(), LOOPBACK, EVERY] {
        for at in ways().map(|way| way.of(addresses, NODE_PORT)) {
            assert_eq!(taken(client, at), [false, false], "{at} of a pod");
        }
    }
    // The kernel chooses.
    assert_eq!(taken(node, (Ipv4Addr::UNSPECIFIED, 0).into()), [false, false]);
}
