//! Packets that a node hears and does not balance: frames for another host, wrapped packets from who is no node, and what anybody could wrap who
//! writes a node's address on what it sends.
//!
//! Each is held against the same packet where it is one to balance. Not here: services that refuse who asks (`refusals.rs`).

use super::stage::{
    BRIEFLY, ECHO_PORT, PATIENCE, PORT, Stage, TELLS, at, balanced, balancer_ips, comes_true, lab_of,
};
use super::table::{Hook, Mode, Setting};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::thread;
use weir_lab::wires::{Way, Wires};
use weir_lab::{Call, Contact, Place, ServicePlan};
use weir_tests::kernel::packet::{Ip, Transport, number, tcp, udp};

/// tc's alone: XDP unwraps nothing.
const SETTING: Setting = Setting { mode: Mode::DsrIpip, hook: Hook::Tc, sockets: false };
/// Nobody's.
const OTHER_MAC: &str = "02:00:00:00:00:63";

/// The port of a client. On a node there may be a socket of datagrams at it, which is connected to nobody.
const FROM: u16 = 22_000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// The numbers of services.
const WEB: u8 = 1;
const OTHER: u8 = 2;

/// An address of the outside.
fn client(number: u8, family: usize) -> IpAddr {
    let text = if family == 0 { format!("203.0.113.{number}") } else { format!("2001:db8::{number}") };
    text.parse().unwrap()
}

#[test]
fn a_frame_for_another_host_is_left_alone() {
    for (mode, hook) in [(Mode::DsrIpip, Hook::Tc), (Mode::DsrIpip, Hook::Xdp), (Mode::Snat, Hook::Xdp)] {
        let setting = Setting { mode, hook, sockets: false };
        let Some(lab) = lab_of(setting) else { return };
        let stage = Stage::set(&lab, setting, &[balanced("shop/web", WEB).endpoint("shop/b2")]).unwrap();
        let wires = Wires::watch(&lab).unwrap();
        let neighbour = |arguments: &[&str]| {
            assert!(lab.outside().command("ip").arg("neigh").args(arguments).status().unwrap().success());
        };
        for (family, service) in balancer_ips(WEB).into_iter().enumerate() {
            let told = format!("{setting}, family {family}");
            let node = lab.node("n1").addresses()[family].to_string();
            let client = client(20, family);
            // One flow, so that it is on record where flows are.
            let call = Call::to(at(service, ECHO_PORT)).from(at(client, FROM));
            let ask = |within| stage.peer("outside").udp(call.within(within), 8).unwrap();
            assert!(ask(PATIENCE).is_made(), "{told}");
            // The wire hands every port a frame for who is not known, so the node hears it.
            neighbour(&["replace", &node, "lladdr", OTHER_MAC, "dev", "eth0", "nud", "permanent"]);
            wires.passed().unwrap();
            assert_eq!(ask(BRIEFLY), Contact::TimedOut, "{told}");
            let trail = wires.passed().unwrap();
            let at_n1 = |way| trail.iter().filter(move |one| one.place == "n1" && one.way == way);
            assert!(
                at_n1(Way::To).any(|one| one.packet.is_between(client, service)),
                "{told}: it hears nothing"
            );
            let sent = at_n1(Way::From).find(|one| one.packet.ports.is_some() || one.packet.inner.is_some());
            assert!(sent.is_none(), "{told}{}", super::suite::told(&trail));
            neighbour(&["del", &node, "dev", "eth0"]);
            assert!(ask(PATIENCE).is_made(), "{told}");
        }
    }
}

/// The Internet's checksum.
pub(crate) fn sum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let folded = (folded & 0xFFFF) + (folded >> 16);
    let [_, _, high, low] = (!folded).to_be_bytes();
    [high, low]
}

/// A datagram that a kernel takes: with its checksums.
fn datagram(from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
    summed(from, to, udp(40_000, port, 8))
}

/// What a transport's checksum is over.
pub(crate) fn summed_up(from: IpAddr, to: IpAddr, protocol: u8, bytes: &[u8]) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    if protocol == number::ICMP {
        return bytes.to_vec();
    }
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    [octets(from), octets(to), vec![0, protocol], length, bytes.to_vec()].concat()
}

/// A packet of TCP, UDP or ICMP that a kernel takes: with its checksums.
pub(crate) fn summed(from: IpAddr, to: IpAddr, transport: Transport) -> Vec<u8> {
    let Transport { protocol, mut bytes } = transport;
    let at = match protocol {
        number::TCP => 16,
        number::UDP => 6,
        _ => 2,
    };
    let own = sum(&summed_up(from, to, protocol, &bytes));
    bytes[at..at + 2].copy_from_slice(&own);
    let mut packet = Ip::new(from, to).carrying(&Transport { protocol, bytes });
    if from.is_ipv4() {
        let own = sum(&packet[..20]);
        packet[10..12].copy_from_slice(&own);
    }
    packet
}

/// Sends a packet from a place, whatever its source.
pub(crate) fn send(place: &Place, to: IpAddr, packet: &[u8]) {
    let own = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let send = || -> nix::Result<usize> {
        let socket = socket(own, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        sendto(socket.as_raw_fd(), packet, &SockaddrStorage::from(at(to, 0)), MsgFlags::empty())
    };
    assert_eq!(place.inside(send).unwrap().unwrap(), packet.len());
}

/// Sends a packet from a place, wrapped, from an address of the place to another.
fn send_wrapped(place: &Place, family: usize, to: IpAddr, inner: &[u8]) {
    let protocol = if family == 0 { 4 } else { 41 };
    send(place, to, &Ip::new(place.addresses()[family], to).with(protocol, inner));
}

#[test]
fn what_is_wrapped_by_who_is_no_node_stays_wrapped() {
    let Some(lab) = lab_of(SETTING) else { return };
    let stage = Stage::set(&lab, SETTING, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
    for family in [0, 1] {
        let (service, backend) = (balancer_ips(1)[family], lab.pod("shop/b2").addresses()[family]);
        let send = |place: &str, number: u8| {
            let inner = datagram(client(number, family), service, ECHO_PORT);
            send_wrapped(stage.place(place), family, backend, &inner);
        };
        let heard = |number| stage.peer("shop/b2").heard_from(client(number, family)).unwrap();
        for (stranger, number) in [("outside", 30), ("elsewhere", 31), ("shop/c1", 32), ("shop/c3", 33)] {
            send(stranger, number);
        }
        for (node, number) in [("n1", 40), ("n3", 41)] {
            send(node, number);
            assert!(comes_true(PATIENCE, || heard(number) == 1), "{node} is a node, family {family}");
        }
        assert_eq!([30, 31, 32, 33].map(heard), [0; 4], "family {family}");
    }
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
        let [node, backend] = ["n2", "shop/b2"].map(|name| stage.place(name).addresses()[family]);
        stage.peer("n2").listen_udp(at(node, FROM)).unwrap();
        for (from, counter) in [(client(50, family), "delivered"), (node, "source-refused")] {
            let before = counted(&stage, counter);
            let inner = Ip::new(from, service).carrying(&udp(FROM, PORT, 1));
            send_wrapped(stage.place("n1"), family, backend, &inner);
            assert!(comes_true(PATIENCE, || counted(&stage, counter) > before), "{from}: {counter}");
        }
        // Nothing is on record of what is not believed: the node's own connection from that port is nobody else's.
        let before = counted(&stage, "source-refused");
        let inner = Ip::new(node, service).carrying(&tcp(FROM, PORT, SYN));
        send_wrapped(stage.place("n1"), family, backend, &inner);
        assert!(comes_true(PATIENCE, || counted(&stage, "source-refused") > before));
        let call = Call::to(at(backend, TELLS)).from(at(node, FROM)).within(PATIENCE);
        let came = stage.peer("n2").who(call, weir_lab::Transport::Tcp, 1).unwrap();
        assert!(came.is_ok(), "family {family}: {came:?}");
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
    for family in [0, 1] {
        let before = counted(&stage, "unwrapped");
        let send = |number: u8, transport: &Transport, backend: &str| {
            let inner = Ip::new(client(60, family), balancer_ips(number)[family]).carrying(transport);
            send_wrapped(stage.place("n1"), family, stage.place(backend).addresses()[family], &inner);
        };
        for new in [tcp(FROM, PORT, SYN), tcp(FROM, PORT, ACK), udp(FROM, PORT, 1)] {
            send(WEB, &new, "shop/b2");
        }
        send(OTHER, &udp(FROM, PORT, 1), "shop/c2");
        assert!(comes_true(PATIENCE, || counted(&stage, "unwrapped") > before), "family {family}");
        thread::sleep(BRIEFLY);
        assert_eq!(counted(&stage, "unwrapped") - before, 1, "family {family}");
    }
}
