//! Packets that a node hears and does not balance: frames for another host, and wrapped packets from who is no node.
//!
//! Each is held against the same packet where it is one to balance. Not here: services that refuse who asks (`refusals.rs`).

use super::stage::{BRIEFLY, ECHO_PORT, PATIENCE, Stage, at, balanced, balancer_ips, comes_true, lab_of};
use super::table::{Hook, Mode, Setting};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use weir_lab::{Call, Contact, Place};
use weir_tests::kernel::packet::{Ip, Transport, udp};

/// tc's alone: XDP stands before anybody says whom a frame is for, and unwraps nothing.
const SETTING: Setting = Setting { mode: Mode::DsrIpip, hook: Hook::Tc, sockets: false };
/// Nobody's.
const OTHER_MAC: &str = "02:00:00:00:00:63";

/// An address of the outside.
fn client(number: u8, family: usize) -> IpAddr {
    let text = if family == 0 { format!("203.0.113.{number}") } else { format!("2001:db8::{number}") };
    text.parse().unwrap()
}

#[test]
fn a_frame_for_another_host_is_left_alone() {
    let Some(lab) = lab_of(SETTING) else { return };
    let stage = Stage::set(&lab, SETTING, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
    let outside = stage.peer("outside");
    let neighbour = |arguments: &[&str]| {
        assert!(lab.outside().command("ip").arg("neigh").args(arguments).status().unwrap().success());
    };
    for family in [0, 1] {
        let to = at(balancer_ips(1)[family], ECHO_PORT);
        let node = lab.node("n1").addresses()[family].to_string();
        let ask = |number: u8, within| {
            outside.udp(Call::to(to).from(at(client(number, family), 0)).within(within), 8).unwrap()
        };
        // The wire hands every port a frame for who is not known, so the node hears it.
        neighbour(&["replace", &node, "lladdr", OTHER_MAC, "dev", "eth0", "nud", "permanent"]);
        assert_eq!(ask(20, BRIEFLY), Contact::TimedOut, "family {family}");
        neighbour(&["del", &node, "dev", "eth0"]);
        assert!(ask(21, PATIENCE).is_made(), "family {family}");
        let heard = |number| stage.peer("shop/b2").heard_from(client(number, family)).unwrap();
        assert_eq!([heard(20), heard(21)], [0, 1], "family {family}");
    }
}

/// The Internet's checksum.
fn sum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let folded = (folded & 0xFFFF) + (folded >> 16);
    let [_, _, high, low] = (!folded).to_be_bytes();
    [high, low]
}

/// A datagram that a kernel takes: with its checksums.
fn datagram(from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
    let Transport { protocol, mut bytes } = udp(40_000, port, 8);
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u8::try_from(bytes.len()).unwrap();
    let pseudo = [octets(from), octets(to), vec![0, protocol, 0, length], bytes.clone()].concat();
    bytes[6..8].copy_from_slice(&sum(&pseudo));
    let mut packet = Ip::new(from, to).carrying(&Transport { protocol, bytes });
    if from.is_ipv4() {
        let own = sum(&packet[..20]);
        packet[10..12].copy_from_slice(&own);
    }
    packet
}

/// Sends a packet from a place, wrapped, from an address of the place to another.
fn send_wrapped(place: &Place, family: usize, to: IpAddr, inner: &[u8]) {
    let from = place.addresses()[family];
    let (own, protocol) = if family == 0 { (AddressFamily::Inet, 4) } else { (AddressFamily::Inet6, 41) };
    let packet = Ip::new(from, to).with(protocol, inner);
    let send = || -> nix::Result<usize> {
        let socket = socket(own, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        sendto(socket.as_raw_fd(), &packet, &SockaddrStorage::from(at(to, 0)), MsgFlags::empty())
    };
    assert_eq!(place.inside(send).unwrap().unwrap(), packet.len());
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
