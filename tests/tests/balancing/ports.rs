//! The node's ports under source NAT: no two flows to one backend's port have the same, and each comes back after its flow, with nobody there to
//! sweep. Of SCTP the client's port is the node's.

use super::stage::{BRIEFLY, PATIENCE, PORT, Stage, at, balanced, balancer_ips, comes_true, lab_of};
use super::table::{Hook, Mode, Setting};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use weir_lab::{Call, Contact, Transport};

/// The configuration has no more.
const PORTS: &str = ", ports: {first: 61000, last: 61003}";
/// Two clients of the outside, which have the same port.
const CLIENTS: [[&str; 2]; 2] = [["203.0.113.7", "203.0.113.9"], ["2001:db8::7", "2001:db8::9"]];
const ONE_PORT: u16 = 5000;
/// In less time than this after a flow ended its port is not there yet.
const STILL_TAKEN: Duration = Duration::from_secs(8);
/// A closed flow keeps its port for ten seconds (`bpf/services/options.h`); a busy machine may need more.
const COME_BACK: Duration = Duration::from_secs(60);

#[test]
fn ports_are_given_once_and_come_back() {
    let setting = Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: false };
    let Some(lab) = lab_of(setting) else { return };
    let services = [balanced("shop/web", 1).endpoint("shop/b2")];
    let mut stage = Stage::set_with(&lab, setting, &services, PORTS).unwrap();
    let mut daemons = std::mem::take(&mut stage.daemons);
    let outside = stage.peer("outside");
    for (family, address) in balancer_ips(1).into_iter().enumerate() {
        let call = |within| Call::to(at(address, PORT)).within(within);
        let open = || outside.open(call(PATIENCE)).unwrap().unwrap();
        let connections = [open(), open(), open(), open()];
        let saw = connections.each_ref().map(|connection| connection.who(1).unwrap().unwrap().saw.port());
        assert_eq!(BTreeSet::from(saw), (61_000..=61_003).collect(), "family {family}");
        let came = outside.open(call(BRIEFLY)).unwrap().map(|_| ());
        assert_eq!(came, Err(Contact::TimedOut), "family {family}: a fifth where there is no port");
        for connection in &connections {
            assert!(connection.who(1).unwrap().is_ok(), "family {family}: those that are there stay");
        }
    }
    // Both families' connections are closed by now, and nobody removes entries.
    for daemon in &mut daemons {
        daemon.kill().unwrap();
    }
    for address in balancer_ips(1) {
        let call = || Call::to(at(address, PORT)).within(BRIEFLY);
        for number in 1..=4 {
            let is_made = || outside.who(call(), Transport::Tcp, 1).unwrap().is_ok();
            assert!(comes_true(COME_BACK, is_made), "connection {number} to {address}");
        }
    }
}

#[test]
fn a_port_of_sctp_is_one_clients_until_its_association_ends() {
    let setting = Setting { mode: Mode::Snat, hook: Hook::Xdp, sockets: false };
    let Some(lab) = lab_of(setting) else { return };
    let services =
        [balanced("shop/web", 1).endpoint("shop/b2"), balanced("shop/near", 2).endpoint("shop/b1")];
    let stage = Stage::set(&lab, setting, &services).unwrap();
    let outside = stage.peer("outside");
    let ask = |number: u8, family: usize, client: &str, within| {
        let from = at(client.parse().unwrap(), ONE_PORT);
        let call = Call::to(at(balancer_ips(number)[family], PORT)).from(from).within(within);
        outside.who(call, Transport::Sctp, 1).unwrap()
    };
    for (family, [first, second]) in CLIENTS.into_iter().enumerate() {
        let began = Instant::now();
        let seen = ask(1, family, first, PATIENCE).unwrap().saw;
        assert_eq!(seen, at(stage.place("n1").addresses()[family], ONE_PORT));
        let came = ask(1, family, second, BRIEFLY);
        if began.elapsed() < STILL_TAKEN {
            assert_eq!(came, Err(Contact::TimedOut), "the port is the first client's, family {family}");
        }
        // A backend of the node itself sees the client, so nobody has to share.
        assert_eq!(ask(2, family, second, PATIENCE).unwrap().saw, at(second.parse().unwrap(), ONE_PORT));
        assert!(
            ask(1, family, first, PATIENCE).is_ok(),
            "the first client has its port again, family {family}"
        );
    }
    // Each association ended with ABORT, and nobody says anything until its port is there again.
    for (family, [_, second]) in CLIENTS.into_iter().enumerate() {
        let is_free = || ask(1, family, second, BRIEFLY).is_ok();
        assert!(comes_true(COME_BACK, is_free), "the port is there again, family {family}");
    }
}
