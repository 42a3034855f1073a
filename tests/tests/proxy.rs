//! Connections that policy hands to a request proxy, on a node of the lab: a stand-in proxy listens, and is given what is its own with the
//! addresses of both ends, where it leaves a pod and where it comes to one.
//!
//! The daemon puts policy in force and ends; the node's settings and the proxy's port, which are the business of whoever runs a proxy, are
//! made by the test. Needs root. Not here: a proxy that reads requests.

#![expect(clippy::unwrap_used, reason = "a lab in which something fails has failed")]

use nix::cmsg_space;
use nix::libc::sockaddr_in6;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
    SockaddrIn6, SockaddrStorage, bind, listen, recvmsg, sendto, setsockopt, socket, sockopt,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use weir_abi::state::{Counter, Hook};
use weir_abi::{Reason, RequestKind};
use weir_lab::{self as lab, Call, Contact, Lab, Peer, Place, Plan, PodPlan, Policyd};
use weir_runtime::datapath::{Datapath, Options};
use weir_runtime::enforcer::{Counted, Enforcer};
use weir_tests::kernel::packet::{Ip, sctp};

/// Where requests are read.
const HTTP: u16 = 8080;
/// Where policy allows plainly.
const PLAIN: u16 = 9090;
/// Where names are asked for, by datagrams.
const DNS: u16 = 53;
/// Where requests are read, and the node itself has a service.
const OTHER: u16 = 7070;
const PROXY: u16 = 15_001;
/// What must come gets this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// What must not, this long.
const BRIEF: Duration = Duration::from_millis(300);

const POLICIES: &str = "\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: server, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}], rules: {http: [{method: GET}]}}]
  - fromCIDR: [203.0.113.0/24, \"2001:db8::/64\"]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}], rules: {http: [{method: GET}]}}]
  - fromEndpoints: [{matchLabels: {app: client}}, {matchLabels: {app: caller}}]
    toPorts: [{ports: [{port: \"9090\", protocol: TCP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: caller, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: caller}}
  egress:
  - toEndpoints: [{matchLabels: {app: server}}]
    toPorts:
    - {ports: [{port: \"8080\", protocol: TCP}], rules: {http: [{method: GET}]}}
    - {ports: [{port: \"7070\", protocol: TCP}], rules: {http: [{method: GET}]}}
    - {ports: [{port: \"9090\", protocol: TCP}]}
    - {ports: [{port: \"53\", protocol: ANY}], rules: {dns: [{matchPattern: \"*\"}]}}
  - toCIDR: [203.0.113.0/24, \"2001:db8::/64\"]
    toPorts:
    - {ports: [{port: \"8080\", protocol: TCP}], rules: {http: [{method: GET}]}}
    - {ports: [{port: \"7070\", protocol: TCP}], rules: {http: [{method: GET}]}}
    - {ports: [{port: \"9090\", protocol: TCP}]}
    - {ports: [{port: \"53\", protocol: ANY}], rules: {dns: [{matchPattern: \"*\"}]}}
";

/// A node with three pods: requests to the server are read, those from the caller, and none of the client's as such.
fn shop() -> Option<Lab> {
    let plan = ["server", "client", "caller"].iter().fold(Plan::new().node("n1"), |plan, name| {
        plan.pod(PodPlan::new(&format!("shop/{name}"), "n1").label("app", name))
    });
    lab::available().then(|| plan.build().unwrap())
}

/// The datapath of the lab's node, with policy in force and packets for a proxy routed to the node.
fn enforced(lab: &Lab) -> Datapath {
    let node = lab.node("n1");
    Policyd::start(lab, "n1", POLICIES).unwrap().kill().unwrap();
    for (family, everything) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
        for arguments in [
            &["rule", "add", "fwmark", "0x4000000/0x4000000", "lookup", "2004"][..],
            &["route", "add", "local", everything, "dev", "lo", "table", "2004"],
        ] {
            assert!(node.command("ip").arg(family).args(arguments).status().unwrap().success());
        }
    }
    let open = || {
        fs::write("/proc/sys/net/ipv4/ip_early_demux", "0").unwrap();
        Datapath::open(&Options::default()).unwrap()
    };
    node.inside(open).unwrap()
}

/// What came to a proxy: the address that its client asked for, and the client's own.
type Came = Receiver<(SocketAddr, SocketAddr)>;

const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// A proxy that reads nothing: it tells of each connection, then echoes what comes on it.
fn stand_in(node: &Place) -> Came {
    let (tell, came) = channel();
    for any in ANY {
        let listener = node.inside(|| proxy_listener(any).unwrap()).unwrap();
        let tell = tell.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || echo(stream, &tell));
            }
        });
    }
    came
}

fn proxy_listener(any: IpAddr) -> nix::Result<TcpListener> {
    let socket = transparent((any, PROXY).into(), SockType::Stream)?;
    listen(&socket, Backlog::new(16)?)?;
    Ok(socket.into())
}

/// The same for datagrams.
fn datagram_stand_in(node: &Place) -> Came {
    let (tell, came) = channel();
    for any in ANY {
        let start = || {
            let socket = transparent((any, PROXY).into(), SockType::Datagram).unwrap();
            if any.is_ipv4() {
                setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true).unwrap();
            } else {
                setsockopt(&socket, sockopt::Ipv6OrigDstAddr, &true).unwrap();
            }
            let tell = tell.clone();
            // It answers from sockets that it opens, so it stays on the node.
            thread::spawn(move || while echo_datagram(&socket, &tell).is_ok() {});
        };
        node.inside(start).unwrap();
    }
    came
}

/// A socket that takes what is for addresses which are not the node's, and sends from them.
fn transparent(at: SocketAddr, kind: SockType) -> nix::Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::IpTransparent, &true)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if at.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
    Ok(socket)
}

fn echo(mut stream: TcpStream, tell: &Sender<(SocketAddr, SocketAddr)>) -> io::Result<()> {
    // The test may be over.
    _ = tell.send((stream.local_addr()?, stream.peer_addr()?));
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read])?,
        }
    }
}

fn echo_datagram(socket: &OwnedFd, tell: &Sender<(SocketAddr, SocketAddr)>) -> io::Result<()> {
    let (mut buffer, mut control) = ([0; 65_535], cmsg_space!(sockaddr_in6));
    let mut pieces = [IoSliceMut::new(&mut buffer)];
    let came =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())?;
    let asked_for = came.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4OrigDstAddr(at) => Some(SocketAddr::V4(SockaddrIn::from(at).into())),
        ControlMessageOwned::Ipv6OrigDstAddr(at) => Some(SocketAddr::V6(SockaddrIn6::from(at).into())),
        _ => None,
    });
    let client = came.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|&address| SocketAddr::V4(address.into()));
        v4.or(address.as_sockaddr_in6().map(|&address| SocketAddr::V6(address.into())))
    });
    let (Some(asked_for), Some(client), read) = (asked_for, client, came.bytes) else {
        return Err(io::Error::other("a datagram that tells no addresses"));
    };
    UdpSocket::from(transparent(asked_for, SockType::Datagram)?).send_to(&buffer[..read], client)?;
    _ = tell.send((asked_for, client));
    Ok(())
}

fn listening(place: &Place) -> Peer {
    let peer = Peer::start(place).unwrap();
    for address in place.addresses() {
        for port in [HTTP, PLAIN] {
            peer.listen_tcp((address, port).into()).unwrap();
        }
    }
    peer
}

/// Everybody, listening at both ports; by the name without its namespace.
fn peers(lab: &Lab) -> BTreeMap<&'static str, (&Place, Peer)> {
    let pods = ["server", "client", "caller"].map(|name| (name, lab.pod(&format!("shop/{name}"))));
    let others = [("outside", lab.outside()), ("node", lab.node("n1"))];
    pods.into_iter().chain(others).map(|(name, place)| (name, (place, listening(place)))).collect()
}

/// Whose requests to whom are read, and at which hook.
const READ: [(&str, &str, Hook); 4] = [
    ("caller", "server", Hook::FromPod),
    ("caller", "outside", Hook::FromPod),
    ("client", "server", Hook::ToPod),
    ("outside", "server", Hook::ToPod),
];

fn dropped_without_proxy(datapath: &Datapath, at: Hook) -> u64 {
    let counters = datapath.counters().unwrap();
    let of = counters
        .reasons
        .iter()
        .filter(|(hook, reason, _)| (*hook, *reason) == (at, Reason::ProxyUnavailable));
    of.map(|(_, _, count)| count.packets).sum()
}

fn handed_over(datapath: &Datapath) -> u64 {
    let counters = datapath.counters().unwrap();
    counters
        .named
        .iter()
        .filter(|(counter, _)| *counter == Counter::ProxyPackets)
        .map(|(_, count)| count)
        .sum()
}

#[test]
fn where_no_proxy_listens_its_connections_are_dropped_for_that_reason() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let peers = peers(&lab);
    for port in [None, Some(PROXY)] {
        datapath.set_proxy_port(RequestKind::Http, port);
        for (from, to, hook) in READ {
            for to in peers[to].0.addresses() {
                let before = dropped_without_proxy(&datapath, hook);
                let call = Call::to((to, HTTP).into()).within(BRIEF);
                assert_eq!(peers[from].1.tcp(call).unwrap(), Contact::TimedOut, "{from} to {to}, {port:?}");
                assert!(dropped_without_proxy(&datapath, hook) > before, "{from} to {to}, {port:?}");
            }
        }
    }
    assert_eq!(handed_over(&datapath), 0);
}

#[test]
fn a_proxy_is_given_its_connections_with_the_addresses_of_both_ends() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let peers = peers(&lab);
    let came = stand_in(lab.node("n1"));
    datapath.set_proxy_port(RequestKind::Http, Some(PROXY));
    for (from, to, hook) in READ {
        for address in peers[to].0.addresses() {
            let asked_for = SocketAddr::from((address, HTTP));
            let before = handed_over(&datapath);
            let call = Call::to(asked_for).within(PATIENCE);
            let connection = peers[from].1.open(call).unwrap();
            let connection =
                connection.unwrap_or_else(|why| panic!("{from} to {asked_for}, {hook:?}: {why:?}"));
            assert!(connection.say(100_000).unwrap().is_made(), "{from} to {asked_for}");
            assert_eq!(came.recv_timeout(PATIENCE), Ok((asked_for, connection.local)), "{from}");
            assert!(handed_over(&datapath) > before + 2);
        }
    }
    assert_eq!(came.try_recv().ok(), None);
}

#[test]
fn a_proxy_is_given_datagrams_with_the_addresses_of_both_ends() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let peers = peers(&lab);
    let came = datagram_stand_in(lab.node("n1"));
    datapath.set_proxy_port(RequestKind::Dns, Some(PROXY));
    for to in ["server", "outside"] {
        for address in peers[to].0.addresses() {
            let asked_for = SocketAddr::from((address, DNS));
            let told = peers["caller"].1.udp(Call::to(asked_for).within(PATIENCE), 100).unwrap();
            let Contact::Made { local, .. } = told else { panic!("{asked_for}: {told:?}") };
            assert_eq!(came.recv_timeout(PATIENCE), Ok((asked_for, local)));
        }
    }
}

/// Put together, pieces belong to no socket any more, and whoever listens on the node at the port asked for would have them.
#[test]
fn a_datagram_in_pieces_is_dropped_rather_than_handed_to_whoever_listens_on_the_node() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let peers = peers(&lab);
    let came = datagram_stand_in(lab.node("n1"));
    datapath.set_proxy_port(RequestKind::Dns, Some(PROXY));
    for (any, address) in ANY.iter().zip(peers["server"].0.addresses()) {
        let service = lab.node("n1").inside(|| UdpSocket::bind((*any, DNS)).unwrap()).unwrap();
        let before = dropped_without_proxy(&datapath, Hook::FromPod);
        let told = peers["caller"].1.udp(Call::to((address, DNS).into()).within(BRIEF), 4000).unwrap();
        assert_eq!(told, Contact::TimedOut);
        assert_eq!(came.try_recv().ok(), None);
        service.set_read_timeout(Some(BRIEF)).unwrap();
        let heard = service.recv_from(&mut [0; 8]).ok();
        assert_eq!(heard, None, "the node's own service has a datagram that is for a proxy");
        assert!(dropped_without_proxy(&datapath, Hook::FromPod) > before);
    }
}

/// A rule on any protocol is on SCTP too, which no proxy speaks.
#[test]
fn what_a_proxy_does_not_speak_is_dropped() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let (caller, server) = (lab.pod("shop/caller"), lab.pod("shop/server"));
    let _came = datagram_stand_in(lab.node("n1"));
    datapath.set_proxy_port(RequestKind::Dns, Some(PROXY));
    for (family, (from, to)) in [AddressFamily::Inet, AddressFamily::Inet6]
        .into_iter()
        .zip(caller.addresses().into_iter().zip(server.addresses()))
    {
        let packet = Ip::new(from, to).carrying(&sctp(40_000, DNS, 1));
        let send = || {
            let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
            sendto(
                raw.as_raw_fd(),
                &packet,
                &SockaddrStorage::from(SocketAddr::from((to, 0))),
                MsgFlags::empty(),
            )
        };
        assert_eq!(caller.inside(send).unwrap(), Ok(packet.len()));
        let end = Instant::now() + PATIENCE;
        while dropped_without_proxy(&datapath, Hook::FromPod) == 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(handed_over(&datapath), 0, "{from}");
    }
    assert_eq!(dropped_without_proxy(&datapath, Hook::FromPod), 2);
}

/// A client may take a port again while the proxy's end of the connection before waits for its last packets. The kernel would then look
/// for whoever listens at the address asked for, which on the node is somebody else.
#[test]
fn a_connection_in_the_place_of_a_finished_one_goes_to_the_proxy_or_nowhere() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let (peers, node) = (peers(&lab), lab.node("n1"));
    datapath.set_proxy_port(RequestKind::Http, Some(PROXY));
    for (at, any) in ANY.into_iter().enumerate() {
        let proxy = node.inside(|| proxy_listener(any).unwrap()).unwrap();
        let asked_for = SocketAddr::from((peers["server"].0.addresses()[at], OTHER));
        let from = SocketAddr::from((peers["caller"].0.addresses()[at], 40_000));
        let open = |within| peers["caller"].1.open(Call::to(asked_for).from(from).within(within)).unwrap();
        for _ in 0..2 {
            let connection = open(PATIENCE).unwrap();
            let (stream, client) = proxy.accept().unwrap();
            assert_eq!((stream.local_addr().unwrap(), client), (asked_for, from));
            // The proxy is done first, so its end is the one that waits.
            drop(stream);
            thread::sleep(Duration::from_millis(50));
            drop(connection);
            thread::sleep(Duration::from_millis(50));
        }
        let service = node.inside(|| TcpListener::bind((any, OTHER)).unwrap()).unwrap();
        let again = open(Duration::from_millis(1500));
        service.set_nonblocking(true).unwrap();
        let heard = service.accept().ok().map(|(_, client)| client);
        assert_eq!(heard, None, "the node's own service has a connection that is for a proxy");
        if again.is_ok() {
            proxy.accept().unwrap();
        }
    }
}

#[test]
fn beside_a_proxy_what_is_not_its_own_goes_straight() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let peers = peers(&lab);
    let came = stand_in(lab.node("n1"));
    datapath.set_proxy_port(RequestKind::Http, Some(PROXY));
    let straight = [
        ("caller", "server", PLAIN),
        ("caller", "outside", PLAIN),
        ("client", "server", PLAIN),
        // No policy selects the client.
        ("client", "outside", HTTP),
        ("outside", "client", HTTP),
        // As a proxy's own connection would be: the pod's node may always reach it.
        ("node", "server", HTTP),
    ];
    for (from, to, port) in straight {
        for address in peers[to].0.addresses() {
            let call = Call::to((address, port).into()).within(PATIENCE);
            let connection = peers[from].1.open(call).unwrap().unwrap();
            assert!(connection.say(10_000).unwrap().is_made(), "{from} to {address} {port}");
        }
    }
    let denied = Call::to((peers["server"].0.v4(), PLAIN).into()).within(BRIEF);
    assert_eq!(peers["outside"].1.tcp(denied).unwrap(), Contact::TimedOut);
    assert_eq!((came.try_recv().ok(), handed_over(&datapath)), (None, 0));
}

#[test]
fn a_packet_of_a_connection_whose_proxy_has_gone_is_counted_once() {
    let Some(lab) = shop() else { return };
    let mut datapath = enforced(&lab);
    let peers = peers(&lab);
    let _came = datagram_stand_in(lab.node("n1"));
    datapath.set_proxy_port(RequestKind::Dns, Some(PROXY));
    let counted = |datapath: &Datapath| -> u64 {
        let of_sets = |(counted, _): &&(Counted, _)| matches!(counted, Counted::RequestSet(_));
        datapath.counters().unwrap().rules.iter().filter(of_sets).map(|(_, count)| count.packets).sum()
    };
    let (place, caller) = &peers["caller"];
    let call = Call::to((peers["server"].0.v4(), DNS).into()).from((place.v4(), 40_001).into());
    assert!(caller.udp(call.within(PATIENCE), 100).unwrap().is_made());
    datapath.set_proxy_port(RequestKind::Dns, None);
    let before = (counted(&datapath), dropped_without_proxy(&datapath, Hook::FromPod));
    assert_eq!(caller.udp(call.within(BRIEF), 100).unwrap(), Contact::TimedOut);
    let after = (counted(&datapath), dropped_without_proxy(&datapath, Hook::FromPod));
    assert_eq!(after, (before.0 + 1, before.1 + 1));
}
