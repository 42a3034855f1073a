//! The node's ports under source NAT: no two flows to one backend's port have the same, and each comes back after its flow, with nobody there to
//! sweep.

use super::stage::{BRIEFLY, PATIENCE, PORT, Stage, at, balanced, balancer_ips, comes_true, lab_of};
use super::table::{Hook, Mode, Setting};
use std::collections::BTreeSet;
use std::time::Duration;
use weir_lab::{Call, Contact};

/// The configuration has no more.
const PORTS: &str = ", ports: {first: 61000, last: 61003}";
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
            let is_made = || outside.who(call(), weir_lab::Transport::Tcp, 1).unwrap().is_ok();
            assert!(comes_true(COME_BACK, is_made), "connection {number} to {address}");
        }
    }
}
