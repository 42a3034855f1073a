//! Packets that are several datagrams (UDP_SEGMENT), and packets that are too big for the next hop alone.
//!
//! Not here: the same of plain packets on the stage of each setting (`paths.rs`).

use super::stage::{PATIENCE, PORT, Stage, at, balanced, balancer_ips, lab_of};
use super::table::{Hook, Mode, Setting};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;
use weir_lab::wires::{Passed, Wires};
use weir_lab::{Call, Lab, Transport};

/// A service's port for datagrams in bulk, and where its backend hears them.
const BULK: (u16, u16) = (90, 9090);
/// Datagrams in a packet.
const DATAGRAMS: usize = 12;
/// Bytes of the largest datagram that, wrapped, is a packet of the wire.
const WRAPPED: [usize; 2] = [1500 - 20 - 20 - 8, 1500 - 40 - 40 - 8];
/// What the way to a backend takes, where it takes less than the wire.
const NARROW: usize = 1400;

/// Whether an address was told that something is too big.
fn was_told(passed: &[Passed], client: IpAddr) -> bool {
    let kind = if client.is_ipv4() { (3, 4) } else { (2, 0) };
    passed.iter().any(|one| one.packet.destination == client && one.packet.icmp == Some(kind))
}

/// Sends datagrams of a size in one packet. False where the kernel cannot.
fn send_in_bulk(lab: &Lab, to: IpAddr, size: usize) -> bool {
    let own = lab.outside().addresses()[usize::from(to.is_ipv6())];
    let bytes: Vec<u8> = (b'a'..).take(DATAGRAMS).flat_map(|letter| vec![letter; size]).collect();
    let send = || -> io::Result<usize> {
        let socket = UdpSocket::bind(at(own, 0))?;
        setsockopt(&socket, sockopt::UdpGsoSegment, &i32::try_from(size).map_err(io::Error::other)?)?;
        socket.send_to(&bytes, at(to, BULK.0))
    };
    match lab.outside().inside(send).unwrap() {
        Ok(sent) => sent == bytes.len(),
        Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => {
            println!("SKIPPED: this kernel sends no datagrams in bulk by a device that sums up nothing");
            false
        }
        Err(error) => panic!("{size} bytes to {to}: {error}"),
    }
}

#[test]
fn datagrams_in_bulk_reach_a_backend_by_dsr_each_as_it_was() {
    for hook in [Hook::Tc, Hook::Xdp] {
        let setting = Setting { mode: Mode::DsrIpip, hook, sockets: false };
        let Some(lab) = lab_of(setting) else { return };
        let service = balanced("shop/web", 1).port("UDP", BULK.0, BULK.1).endpoint("shop/b2");
        let _stage = Stage::set(&lab, setting, &[service]).unwrap();
        let wires = Wires::watch(&lab).unwrap();
        for (family, size) in WRAPPED.into_iter().enumerate() {
            let backend = lab.pod("shop/b2");
            let hears = backend.inside(|| UdpSocket::bind(at(backend.addresses()[family], BULK.1)));
            let hears = hears.unwrap().unwrap();
            hears.set_read_timeout(Some(PATIENCE)).unwrap();
            let to = balancer_ips(1)[family];
            if !send_in_bulk(&lab, to, size) {
                continue;
            }
            for letter in (b'a'..).take(DATAGRAMS) {
                let mut heard = vec![0; 2 * size];
                let read = hears.recv(&mut heard);
                let read =
                    read.unwrap_or_else(|error| panic!("{setting}: datagram {letter} to {to}: {error}"));
                assert_eq!(&heard[..read], vec![letter; size], "{setting}: {to}");
            }
            // One byte more is too much for each of them, and the sender learns it.
            wires.passed().unwrap();
            assert!(send_in_bulk(&lab, to, size + 1));
            hears.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
            assert!(hears.recv(&mut [0; 2048]).is_err(), "{setting}: {to}");
            let client = lab.outside().addresses()[family];
            assert!(was_told(&wires.passed().unwrap(), client), "{setting}: {client} was not told");
        }
    }
}

#[test]
fn source_nat_tells_who_sends_more_than_the_way_takes() {
    for hook in [Hook::Tc, Hook::Xdp] {
        let setting = Setting { mode: Mode::Snat, hook, sockets: false };
        let Some(lab) = lab_of(setting) else { return };
        for (pods, via) in ["10.2.0.0/24", "fd00:2::/64"].into_iter().zip(lab.node("n2").addresses()) {
            // Locked, so that who forwards minds it.
            let mut ip = lab.node("n1").command("ip");
            ip.args([
                "route",
                "replace",
                pods,
                "via",
                &via.to_string(),
                "dev",
                "eth0",
                "mtu",
                "lock",
                &NARROW.to_string(),
            ]);
            assert!(ip.status().unwrap().success());
        }
        let stage = Stage::set(&lab, setting, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
        let wires = Wires::watch(&lab).unwrap();
        for family in [0, 1] {
            let headers = if family == 0 { 28 } else { 48 };
            let client = lab.outside().addresses()[family];
            let ask = |size: usize, within: Duration| {
                let call = Call::to(at(balancer_ips(1)[family], PORT)).from(at(client, 0)).within(within);
                stage.peer("outside").who(call, Transport::Udp, size).unwrap()
            };
            // The way is known once it was asked for.
            assert!(ask(NARROW - headers, PATIENCE).is_ok(), "{setting}: family {family}");
            wires.passed().unwrap();
            assert!(
                ask(NARROW - headers + 1, Duration::from_millis(250)).is_err(),
                "{setting}: family {family}"
            );
            let passed = wires.passed().unwrap();
            assert!(was_told(&passed, client), "{setting}: {client} was not told");
            let (node, backend) =
                (lab.node("n1").addresses()[family], lab.pod("shop/b2").addresses()[family]);
            let went =
                passed.iter().find(|one| one.is_from("n1", node, backend) && one.packet.length > NARROW);
            assert!(went.is_none(), "{setting}: {went:?}");
            // Who was told sends less at a time.
            assert!(ask(NARROW - headers + 1, PATIENCE).is_ok(), "{setting}: family {family}");
        }
    }
}
