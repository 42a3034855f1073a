//! Backends that are gone at once, without being told as ending first: a pod that is killed, a set that is made smaller, an endpoint that its probe
//! takes out. TCP connections that they have go on as long as they answer, and nobody new comes.
//!
//! Not here: backends that end as Kubernetes has it, and everything that is not to a backend elsewhere (`survival.rs`).

use super::stage::{PATIENCE, PORT, Stage, at, balanced, balancer_ips, lab_of};
use super::table::{Hook, Mode, Setting};
use weir_lab::{Call, Connection, Contact, EndpointPlan, ServicePlan, Transport};

/// Every way to a backend elsewhere that keeps the client's address; with the node's, the way back is on record with the flow.
const SETTINGS: [Setting; 3] = [
    Setting { mode: Mode::DsrIpip, hook: Hook::Tc, sockets: false },
    Setting { mode: Mode::DsrIpip, hook: Hook::Xdp, sockets: false },
    Setting { mode: Mode::DsrOption, hook: Hook::Xdp, sockets: false },
];

const NUMBER: u8 = 1;
/// Connections of each family.
const MANY: usize = 12;

fn services(backends: &[EndpointPlan], other: u8) -> Vec<ServicePlan> {
    let web = backends.iter().cloned().fold(balanced("shop/web", NUMBER), ServicePlan::endpoint);
    // Something that differs each time, so that there is something to wait for.
    vec![web, super::stage::service("shop/other", 100 + other).endpoint("shop/c2")]
}

fn ready(pods: &[&str]) -> Vec<EndpointPlan> {
    pods.iter().map(|pod| EndpointPlan::new(pod)).collect()
}

fn call(family: usize) -> Call {
    Call::to(at(balancer_ips(NUMBER)[family], PORT))
}

/// Connections from outside, with who answers them.
type Established<'a> = Vec<(Connection<'a>, String)>;

fn establish<'a>(stage: &'a Stage<'_>) -> Established<'a> {
    let open = |family| {
        let connection = stage.peer("outside").open(call(family).within(PATIENCE)).unwrap().unwrap();
        let who = connection.who(1).unwrap().unwrap().who;
        (connection, who)
    };
    [0, 1].into_iter().flat_map(|family| (0..MANY).map(move |_| open(family))).collect()
}

/// Each is answered by who answered it first.
fn stayed(established: &Established<'_>, told: &str) {
    let mut wrong = Vec::new();
    for (connection, before) in established {
        let now = connection.who(1).unwrap().map_or_else(|contact| contact.to_string(), |now| now.who);
        if now != *before {
            wrong.push(format!("{} to {}: {before}, then {now}", connection.local, connection.remote));
        }
        if wrong.len() > 3 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{told}:\n{}", wrong.join("\n"));
}

/// Only these answer who comes anew; with none, nobody does.
fn assert_newcomers(stage: &Stage<'_>, backends: &[&str], told: &str) {
    for family in [0, 1] {
        for _ in 0..10 {
            let came = stage.peer("outside").who(call(family).within(PATIENCE), Transport::Tcp, 1).unwrap();
            match came {
                Ok(identity) => {
                    assert!(backends.contains(&identity.who.as_str()), "{told}: {}", identity.who);
                }
                Err(contact) => {
                    assert!(backends.is_empty() && contact == Contact::Refused, "{told}: {contact}");
                }
            }
        }
    }
}

#[test]
fn connections_of_a_backend_that_is_gone_at_once_go_on() {
    for setting in SETTINGS {
        let Some(lab) = lab_of(setting) else { return };
        let stage =
            Stage::set(&lab, setting, &services(&ready(&["shop/b1", "shop/b2", "shop/b3"]), 0)).unwrap();
        let established = establish(&stage);
        for backend in ["shop/b1", "shop/b2", "shop/b3"] {
            assert!(established.iter().any(|(_, who)| who == backend), "{backend} has no connection");
        }
        let mut number = 0;
        let mut change = |backends: &[EndpointPlan], left: &[&str], what: &str| {
            number += 1;
            let told = format!("{setting}: {what}");
            println!("{told}");
            stage.change_services(&services(backends, number));
            stayed(&established, &told);
            assert_newcomers(&stage, left, &told);
        };
        let unready = [ready(&["shop/b1", "shop/b3"]), vec![EndpointPlan::new("shop/b2").unready()]].concat();
        change(&unready, &["shop/b1", "shop/b3"], "a probe takes the second out");
        change(&ready(&["shop/b1", "shop/b2", "shop/b3"]), &["shop/b1", "shop/b2", "shop/b3"], "it is back");
        change(&ready(&["shop/b1", "shop/b3"]), &["shop/b1", "shop/b3"], "the second is gone");
        for _ in 0..2 {
            change(&ready(&["shop/b1", "shop/b3"]), &["shop/b1", "shop/b3"], "another service changes");
        }
        change(&ready(&["shop/b3"]), &["shop/b3"], "the balancer's own is gone");
        change(&ready(&[]), &[], "all are gone");
        change(&ready(&["shop/b1"]), &["shop/b1"], "one is back");
        // With a service goes what leads to it (0016).
        stage.change_services(&services(&[], 50)[1..]);
        for (connection, _) in established.iter().step_by(MANY / 2) {
            connection.who(1).unwrap().unwrap_err();
        }
    }
}
