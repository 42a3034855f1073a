//! Services that nobody serves, or nobody here.

use crate::ground::{Ground, PORTS, Way, cluster_ips, service};
use crate::server::{datagrams, tcp};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use weir_runtime::balancer::{BalancerOptions, NoBackend};

/// What each kind of socket is told, as the kernel numbers it.
fn told(to: SocketAddr) -> [Option<i32>; 3] {
    let number = |result: io::Result<()>| result.err().and_then(|error| error.raw_os_error());
    let udp = datagrams(to).unwrap();
    let sent = udp.send_to(b"who", to).map(drop);
    [number(tcp(to).map(drop)), number(udp.connect(to)), number(sent)]
}

#[test]
fn who_asks_for_what_nobody_serves_is_refused() {
    let Some(mut ground) = Ground::lay() else { return };
    let local = format!("internalTrafficPolicy: Local, {PORTS}");
    // The other node's pods serve, as far as this one is told.
    ground.install(
        &(service("none", 1, PORTS, "n1", &[]) + &service("far", 2, &local, "n2", &[ground.pod("one")])),
    );
    for place in [ground.pod("client"), ground.node()] {
        for way in Way::ALL {
            for (number, error) in [(1, libc_of::ECONNREFUSED), (2, libc_of::EHOSTUNREACH)] {
                let told = place.inside(|| told(way.of(cluster_ips(number), 80))).unwrap();
                assert_eq!(told, [Some(error); 3], "service {number}, {way:?} from {}", place.name());
            }
        }
    }
    // One that comes to serve it does.
    ground.install(&service("none", 1, PORTS, "n1", &[ground.pod("one")]));
    let call = ground.pod("client").inside(|| tcp(Way::V4.of(cluster_ips(1), 80))).unwrap().unwrap();
    assert_eq!(call.by, "one");
}

#[test]
fn where_nobody_is_answered_a_call_goes_on_as_it_is() {
    let options = BalancerOptions { no_backend: NoBackend::Drop, ..BalancerOptions::default() };
    let Some(mut ground) = Ground::lay_with(options) else { return };
    ground.install(&service("none", 1, PORTS, "n1", &[]));
    let to = Way::V4.of(cluster_ips(1), 80);
    // The world outside takes the packets and says nothing.
    let came = ground.pod("client").inside(|| TcpStream::connect_timeout(&to, Duration::from_millis(200)));
    assert_eq!(came.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    let udp = ground.pod("client").inside(|| datagrams(to).unwrap()).unwrap();
    assert!(udp.send_to(b"who", to).is_ok() && udp.connect(to).is_ok());
}

/// Numbers of errors.
mod libc_of {
    pub(super) const ECONNREFUSED: i32 = nix::errno::Errno::ECONNREFUSED as i32;
    pub(super) const EHOSTUNREACH: i32 = nix::errno::Errno::EHOSTUNREACH as i32;
}
