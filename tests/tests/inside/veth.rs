//! Packets that no socket was led with: given a backend at the pod's veth, and answered from the service.

use crate::ground::{Ground, PORTS, Way, cluster_ips, service};
use crate::server::{Call, PATIENCE, answer, connected_udp, datagram_of, datagrams, finish, tcp, tcp_of};
use aya::programs::{SchedClassifier, TcAttachType};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use weir_lab::Place;
use weir_runtime::balancer::{Balancer, BalancerOptions, NoBackend};
use weir_runtime::datapath::{Datapath, Options};

const WAYS: [Way; 2] = [Way::V4, Way::V6];
/// Flows that are tried where every backend must come up.
const FLOWS: usize = 24;
/// Who a pod is to itself.
const SELF: [&str; 2] = ["169.254.42.1", "fd57:6569:7200::1"];

fn lay() -> Option<Ground> {
    Ground::lay_veths(BalancerOptions::default())
}

fn serving(ground: &Ground, names: &[&str]) -> String {
    let serving: Vec<&Place> = names.iter().map(|name| ground.pod(name)).collect();
    service("web", 1, PORTS, "n1", &serving)
}

/// Whom a server sees: the client, or if it is itself, nobody.
fn sees(call: &Call, client: &Place) -> bool {
    let is_itself = client.name().ends_with(&call.by);
    let nobody = SELF.map(|own| SocketAddr::new(own.parse::<IpAddr>().unwrap(), call.own.port()));
    if is_itself {
        nobody.contains(&call.seen)
    } else {
        client.addresses().contains(&call.seen.ip()) && call.seen.port() == call.own.port()
    }
}

#[test]
fn a_pod_reaches_a_service_and_itself_through_it() {
    let Some(mut ground) = lay() else { return };
    ground.install(&serving(&ground, &["one", "two"]));
    let both = BTreeSet::from(["one".to_owned(), "two".to_owned()]);
    for client in [ground.pod("client"), ground.pod("one")] {
        for to in WAYS.map(|way| way.of(cluster_ips(1), 80)) {
            let calls: Vec<Call> = client
                .inside(|| {
                    let each = |_| [tcp(to), connected_udp(to), datagram_of(to, 3)];
                    (0..FLOWS).flat_map(each).map(|call| call.unwrap()).collect()
                })
                .unwrap();
            let by: BTreeSet<String> = calls.iter().map(|call| call.by.clone()).collect();
            assert_eq!(by, both, "{to} from {}", client.name());
            for call in calls {
                assert!(call.peer == to && call.heard == 3 && sees(&call, client), "{call:?}");
            }
        }
    }
}

#[test]
fn large_packets_and_pieces_come_whole() {
    let Some(mut ground) = lay() else { return };
    for serving_pod in ["one", "two"] {
        ground.install(&serving(&ground, &[serving_pod]));
        // From another pod, and to itself.
        for client in [ground.pod("client"), ground.pod("one")] {
            for to in WAYS.map(|way| way.of(cluster_ips(1), 80)) {
                let calls =
                    client.inside(|| [tcp_of(to, 1 << 20), datagram_of(to, 1472), datagram_of(to, 5000)]);
                let heard = calls.unwrap().map(|call| {
                    let call = call.unwrap_or_else(|error| panic!("{to} from {}: {error}", client.name()));
                    assert_eq!((call.by.as_str(), call.peer), (serving_pod, to));
                    call.heard
                });
                assert_eq!(heard, [1 << 20, 1472, 5000]);
            }
        }
    }
}

#[test]
fn flows_stay_while_backends_come_and_go() {
    let Some(mut ground) = lay() else { return };
    for to in WAYS.map(|way| way.of(cluster_ips(1), 80)) {
        ground.install(&serving(&ground, &["one", "two"]));
        let client = ground.pod("client");
        let made = client.inside(|| {
            let tcp: Vec<TcpStream> =
                (0..FLOWS).map(|_| TcpStream::connect_timeout(&to, PATIENCE).unwrap()).collect();
            let udp: Vec<UdpSocket> = (0..FLOWS).map(|_| datagrams(to).unwrap()).collect();
            (tcp, udp)
        });
        let (streams, sockets) = made.unwrap();
        let ask = |socket: &UdpSocket| {
            socket.send_to(b"who", to).unwrap();
            answer(socket).unwrap().by
        };
        let before: Vec<String> = sockets.iter().map(ask).collect();
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 2);
        ground.install(&serving(&ground, &["one", "two", "three"]));
        assert_eq!(sockets.iter().map(ask).collect::<Vec<_>>(), before);
        ground.install(&serving(&ground, &["two", "three"]));
        let after: Vec<String> = sockets.iter().map(ask).collect();
        assert!(before.iter().zip(&after).all(|(was, is)| is != "one" && (was == "one" || was == is)));
        // Connections end where they began, also with who serves no more.
        let by: BTreeSet<String> = streams.iter().map(|stream| finish(stream, 3).unwrap().by).collect();
        assert_eq!(by, BTreeSet::from(["one".to_owned(), "two".to_owned()]));
    }
}

fn kinds(to: SocketAddr, within: Duration) -> [ErrorKind; 2] {
    let udp = || -> io::Result<()> {
        let socket = datagrams(to)?;
        socket.set_read_timeout(Some(within))?;
        socket.connect(to)?;
        socket.send(b"who")?;
        answer(&socket).map(drop)
    };
    [TcpStream::connect_timeout(&to, within).unwrap_err().kind(), udp().unwrap_err().kind()]
}

#[test]
fn who_asks_for_what_nobody_serves_is_told() {
    let Some(mut ground) = lay() else { return };
    let local = format!("internalTrafficPolicy: Local, {PORTS}");
    ground.install(
        &(service("none", 1, PORTS, "n1", &[]) + &service("far", 2, &local, "n2", &[ground.pod("one")])),
    );
    for number in [1, 2] {
        for to in WAYS.map(|way| way.of(cluster_ips(number), 80)) {
            let told = ground.pod("client").inside(|| kinds(to, PATIENCE)).unwrap();
            assert_eq!(told, [ErrorKind::ConnectionRefused; 2], "{to}");
        }
    }
}

#[test]
fn or_is_not_told() {
    let options = BalancerOptions { no_backend: NoBackend::Drop, ..BalancerOptions::default() };
    let Some(mut ground) = Ground::lay_veths(options) else { return };
    ground.install(&service("none", 1, PORTS, "n1", &[]));
    for to in WAYS.map(|way| way.of(cluster_ips(1), 80)) {
        let told = ground.pod("client").inside(|| kinds(to, Duration::from_millis(200))).unwrap();
        assert_eq!(told, [ErrorKind::TimedOut, ErrorKind::WouldBlock], "{to}");
    }
}

#[test]
fn an_error_about_a_packet_reaches_its_sender() {
    let Some(mut ground) = lay() else { return };
    // Nobody listens there, which the pod's own kernel says of datagrams by ICMP, and of connections by a reset.
    ground.install(&serving(&ground, &["client"]));
    for client in [ground.pod("one"), ground.pod("client")] {
        for to in WAYS.map(|way| way.of(cluster_ips(1), 80)) {
            let told = client.inside(|| kinds(to, PATIENCE)).unwrap();
            assert_eq!(told, [ErrorKind::ConnectionRefused; 2], "{to} from {}", client.name());
        }
    }
}

#[test]
fn a_pod_that_takes_no_more_says_so_to_the_backend() {
    let Some(mut ground) = lay() else { return };
    ground.install(&serving(&ground, &["client"]));
    for to in WAYS.map(|way| way.of(cluster_ips(1), 80)) {
        // The backend is told that its answer found nobody: its socket is connected, so it hears of it.
        let any = if to.is_ipv4() { "0.0.0.0:8080" } else { "[::]:8080" };
        let backend = ground.pod("client").inside(|| UdpSocket::bind(any).unwrap()).unwrap();
        backend.set_read_timeout(Some(PATIENCE)).unwrap();
        let asking = ground.pod("one").inside(|| datagrams(to).unwrap()).unwrap();
        asking.send_to(b"who", to).unwrap();
        let (_, from) = backend.recv_from(&mut [0; 8]).unwrap();
        drop(asking);
        backend.connect(from).unwrap();
        backend.send(b"you").unwrap();
        let told = backend.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(told.kind(), ErrorKind::ConnectionRefused, "{to}");
    }
}

#[test]
fn ports_of_nodes_are_reached_by_packets_too() {
    let Some(mut ground) = lay() else { return };
    let spec = "type: NodePort, ports: [{name: t, protocol: TCP, port: 80, nodePort: 30080}]";
    ground.install(&service("web", 1, spec, "n1", &[ground.pod("one")]));
    for to in WAYS.map(|way| way.of(ground.node().addresses(), 30080)) {
        let call = ground.pod("client").inside(|| tcp(to)).unwrap().unwrap();
        assert_eq!((call.by.as_str(), call.peer), ("one", to));
    }
}

/// The names of the programs at the host's side of a veth, cut as the kernel cuts them.
fn chain(ground: &Ground, interface: &str, side: TcAttachType) -> Vec<String> {
    let (_, there) = ground.node().inside(|| SchedClassifier::query_tcx(interface, side)).unwrap().unwrap();
    there.iter().map(|info| info.name_as_str().unwrap().to_owned()).collect()
}

#[test]
fn they_stand_around_policys_whoever_came_first() {
    let Some(mut ground) = lay() else { return };
    let interface = ground.lab.host_interface("shop/client").unwrap();
    let options = Options { pin_root: ground.options.pin_root.clone(), ..Options::default() };
    let mut policy = ground.node().inside(|| Datapath::open(&options)).unwrap().unwrap();
    if !policy.has_tcx() {
        return;
    }
    let around = |ground: &Ground| {
        let both = [TcAttachType::Ingress, TcAttachType::Egress];
        let [from, to] = both.map(|side| chain(ground, &interface.name, side));
        assert_eq!(from, ["from_pod_balanc", "from_pod", "to_node_balance"]);
        assert_eq!(to, ["to_pod", "to_pod_balanced"]);
    };
    ground.node().inside(|| policy.attach(interface.index).unwrap()).unwrap();
    around(&ground);
    let balancer = ground.balancer.as_mut().unwrap();
    ground
        .lab
        .node("n1")
        .inside(|| {
            balancer.set_pods(&BTreeSet::new()).unwrap();
            balancer.set_pods(&BTreeSet::from([interface.index])).unwrap();
        })
        .unwrap();
    around(&ground);
    // The next process finds them there.
    ground.open();
    around(&ground);
    let balancer = ground.balancer.as_mut().unwrap();
    ground.lab.node("n1").inside(|| balancer.set_pods(&BTreeSet::new()).unwrap()).unwrap();
    assert_eq!(chain(&ground, &interface.name, TcAttachType::Ingress), ["from_pod"]);
}
