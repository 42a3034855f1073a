//! One port of a client that leads to one port of a backend by two services: two flows, each answered by the service that was asked.
//!
//! Not here: SCTP, whose port stays, and Direct Server Return by option, where all but the first packet come as they go on.

use super::stage::{PATIENCE, PORT, Stage, at, balanced, balancer_ips, cluster_ips, lab_of};
use super::table::{Hook, Mode, Setting};
use std::net::IpAddr;
use weir_lab::{Call, Transport};

const FROM: u16 = 23_000;
/// The services' numbers; all lead to one backend.
const SERVICES: [u8; 3] = [1, 2, 3];

/// Asks all services from one port, and all again: connections that are open, and datagrams.
fn ask_from_one_port(stage: &Stage<'_>, backend: &str, client: &str, services: fn(u8) -> [IpAddr; 2]) {
    for (family, own) in stage.place(client).addresses().into_iter().enumerate() {
        let call = |number: u8| {
            let to = at(services(number)[family], PORT);
            Call::to(to).from(at(own, FROM)).within(PATIENCE)
        };
        let told = |number: u8| format!("{client} of {backend} by service {number}, family {family}");
        let open = |number: u8| {
            let opened = stage.peer(client).open(call(number)).unwrap();
            opened.unwrap_or_else(|contact| panic!("{}: {contact}", told(number)))
        };
        let connections = SERVICES.map(open);
        for _ in 0..2 {
            for (number, connection) in SERVICES.into_iter().zip(&connections) {
                let answer =
                    connection.who(1).unwrap().unwrap_or_else(|came| panic!("{}: {came}", told(number)));
                assert_eq!((answer.who.as_str(), answer.saw.ip()), (backend, own), "{}", told(number));
            }
            for number in SERVICES {
                let came = stage.peer(client).who(call(number), Transport::Udp, 1).unwrap();
                let answer = came.unwrap_or_else(|came| panic!("datagrams, {}: {came}", told(number)));
                assert_eq!((answer.who.as_str(), answer.saw.ip()), (backend, own), "{}", told(number));
            }
        }
    }
}

#[test]
fn one_port_of_a_client_is_two_flows_by_two_services() {
    for (mode, backend) in [(Mode::Snat, "shop/b1"), (Mode::DsrIpip, "shop/b2")] {
        let setting = Setting { mode, hook: Hook::Tc, sockets: false };
        let Some(lab) = lab_of(setting) else { return };
        let services = SERVICES.map(|number| balanced(&format!("shop/s{number}"), number).endpoint(backend));
        let stage = Stage::set(&lab, setting, &services).unwrap();
        ask_from_one_port(&stage, backend, "outside", balancer_ips);
        ask_from_one_port(&stage, backend, "shop/c1", cluster_ips);
    }
}
