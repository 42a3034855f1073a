//! Packets that somebody wrapped who can write any address on what it sends: what a backend's node makes of them.
//!
//! Not here: what balancers wrap (`suite.rs`, `gone.rs`).

use super::stage::{BRIEFLY, PATIENCE, PORT, Stage, at, balanced, balancer_ips, comes_true, lab_of};
use super::table::{Hook, Mode, Setting};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::thread;
use weir_lab::ServicePlan;
use weir_tests::kernel::packet::{Ip, Transport, tcp, udp};

const SETTING: Setting = Setting { mode: Mode::DsrIpip, hook: Hook::Tc, sockets: false };
/// The client's port. On the node there is a socket of datagrams at it, which is connected to nobody.
const FROM: u16 = 22_000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const WEB: u8 = 1;
const OTHER: u8 = 2;

/// Sends a client's packet to a service, wrapped by n1 for a backend.
fn send(stage: &Stage<'_>, client: IpAddr, service: IpAddr, transport: &Transport, backend: &str) {
    let family = usize::from(client.is_ipv6());
    let [from, to] = ["n1", backend].map(|name| stage.place(name).addresses()[family]);
    let (kind, protocol) = [(AddressFamily::Inet, 4), (AddressFamily::Inet6, 41)][family];
    let packet = Ip::new(from, to).with(protocol, &Ip::new(client, service).carrying(transport));
    let to = SockaddrStorage::from(SocketAddr::from((to, 0)));
    let send = || {
        let raw = socket(kind, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty())
    };
    assert_eq!(stage.place("n1").inside(send).unwrap(), Ok(packet.len()));
}

/// What n2 counted.
fn counted(stage: &Stage<'_>, name: &str) -> u64 {
    let status = stage.daemons[1].status().unwrap().balancing.unwrap();
    status.counters.iter().find(|(counter, _)| counter == name).map_or(0, |(_, count)| *count)
}

#[test]
fn a_nodes_own_address_is_believed_of_its_own_sockets_alone() {
    let Some(lab) = lab_of(SETTING) else { return };
    let stage = Stage::set(&lab, SETTING, &[balanced("shop/web", WEB).endpoint("shop/b2")]).unwrap();
    for (family, service) in balancer_ips(WEB).into_iter().enumerate() {
        let [node, outside] = ["n2", "outside"].map(|name| stage.place(name).addresses()[family]);
        stage.peer("n2").listen_udp(at(node, FROM)).unwrap();
        for (client, counter) in [(outside, "delivered"), (node, "source-refused")] {
            let before = counted(&stage, counter);
            send(&stage, client, service, &udp(FROM, PORT, 1), "shop/b2");
            assert!(comes_true(PATIENCE, || counted(&stage, counter) > before), "{client}: {counter}");
        }
    }
}

#[test]
fn nothing_new_is_unwrapped_for_a_backend_that_is_gone() {
    let Some(lab) = lab_of(SETTING) else { return };
    let services = |backend: &str| -> [ServicePlan; 2] {
        let other = balanced("shop/other", OTHER).endpoint("shop/c2");
        [balanced("shop/web", WEB).endpoint(backend), other]
    };
    let stage = Stage::set(&lab, SETTING, &services("shop/b2")).unwrap();
    stage.change_services(&services("shop/b3"));
    for (family, service) in balancer_ips(WEB).into_iter().enumerate() {
        let client = stage.place("outside").addresses()[family];
        let before = counted(&stage, "unwrapped");
        for new in [tcp(FROM, PORT, SYN), tcp(FROM, PORT, ACK), udp(FROM, PORT, 1)] {
            send(&stage, client, service, &new, "shop/b2");
        }
        send(&stage, client, balancer_ips(OTHER)[family], &udp(FROM, PORT, 1), "shop/c2");
        assert!(comes_true(PATIENCE, || counted(&stage, "unwrapped") > before), "family {family}");
        thread::sleep(BRIEFLY);
        assert_eq!(counted(&stage, "unwrapped") - before, 1, "family {family}");
    }
}
