//! Frames that a device hears though they are for another host, as a bridge floods them: nothing is made of them.
//!
//! Not here: what is for the node (`suite.rs`).

use super::stage::{BRIEFLY, PATIENCE, PORT, Stage, at, balanced, balancer_ips, lab_of};
use super::suite::told;
use super::table::{Hook, Mode, Setting};
use std::process::Stdio;
use weir_lab::wires::{Passed, Way, Wires};
use weir_lab::{Call, Contact, Transport};

/// Nobody's link-layer address.
const NOBODY: &str = "02:00:00:00:00:99";
/// The client's port, so that its flow is on record where flows are.
const FROM: u16 = 21_000;

#[test]
fn frames_for_another_host_are_left_alone() {
    for (mode, hook) in [(Mode::DsrIpip, Hook::Xdp), (Mode::Snat, Hook::Xdp), (Mode::DsrIpip, Hook::Tc)] {
        let setting = Setting { mode, hook, sockets: false };
        let Some(lab) = lab_of(setting) else { return };
        let stage = Stage::set(&lab, setting, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
        let wires = Wires::watch(&lab).unwrap();
        for family in [0, 1] {
            let client = lab.outside().addresses()[family];
            let service = balancer_ips(1)[family];
            let call = Call::to(at(service, PORT)).from(at(client, FROM));
            let ask = |call| stage.peer("outside").who(call, Transport::Udp, 1).unwrap();
            for _ in 0..2 {
                let came = ask(call.within(PATIENCE));
                assert!(came.as_ref().is_ok_and(|who| who.who == "shop/b2"), "{setting}: {came:?}");
            }
            let node = lab.node("n1").addresses()[family].to_string();
            let arguments = ["neigh", "replace", &node, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent"];
            let changed = lab.outside().command("ip").args(arguments).stdin(Stdio::null()).status().unwrap();
            assert!(changed.success());
            wires.passed().unwrap();
            let came = ask(call.within(BRIEFLY));
            let trail = wires.passed().unwrap();
            assert_eq!(came, Err(Contact::TimedOut), "{setting}, family {family}{}", told(&trail));
            let heard = |way| trail.iter().filter(move |one| one.place == "n1" && one.way == way);
            let is_asked = |one: &Passed| one.packet.is_between(client, service);
            assert!(heard(Way::To).any(is_asked), "{setting}, family {family}: n1 did not hear it");
            let is_made = |one: &Passed| one.packet.ports.is_some() || one.packet.inner.is_some();
            assert!(!heard(Way::From).any(is_made), "{setting}, family {family}{}", told(&trail));
        }
    }
}
