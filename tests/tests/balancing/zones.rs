//! Hints of slices: clients are led to backends for their zone, those from outside to the balancer's, as long as every backend has a hint and the
//! zone a backend.
//!
//! Not here: what hints mean in all their combinations (`compiler/tests/services`).

use super::stage::{EAST, PATIENCE, PORT, Stage, WEST, at, balanced, balancer_ips, cluster_ips, lab_of};
use super::table::{Hook, Mode, Setting};
use std::collections::BTreeSet;
use std::net::IpAddr;
use weir_lab::{Call, EndpointPlan, ServicePlan, Transport};

const SETTINGS: [Setting; 2] = [
    Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: false },
    Setting { mode: Mode::DsrIpip, hook: Hook::Xdp, sockets: true },
];

const NUMBER: u8 = 1;
/// Calls of each client, with each transport and family: more than a client of three backends would have luck with.
const MANY: usize = 16;

fn hinted(first: EndpointPlan) -> ServicePlan {
    let near = |pod: &str, zone: &str| EndpointPlan::new(pod).zone(zone).for_zone(zone);
    balanced("shop/web", NUMBER)
        .endpoint(first)
        .endpoint(near("shop/b2", WEST))
        .endpoint(near("shop/b3", WEST))
}

/// Who answers a client.
fn answer(
    stage: &Stage<'_>,
    client: &str,
    service: [IpAddr; 2],
    transports: &[Transport],
) -> BTreeSet<String> {
    let calls = service.into_iter().flat_map(|to| transports.iter().map(move |&transport| (to, transport)));
    let calls = calls.flat_map(|call| std::iter::repeat_n(call, MANY));
    let who = |(to, transport)| {
        let came = stage.peer(client).who(Call::to(at(to, PORT)).within(PATIENCE), transport, 1).unwrap();
        came.unwrap_or_else(|contact| panic!("{client} to {to}, {transport:?}: {contact}")).who
    };
    calls.map(who).collect()
}

#[test]
fn clients_stay_in_their_zone_while_it_has_a_backend() {
    for setting in SETTINGS {
        let Some(lab) = lab_of(setting) else { return };
        let first = || EndpointPlan::new("shop/b1").zone(EAST);
        let stage = Stage::set(&lab, setting, &[hinted(first().for_zone(EAST))]).unwrap();
        let all = [Transport::Tcp, Transport::Udp];
        let assert_answer = |transports: &[Transport], clients: &[&str], expected: &[&str], told: &str| {
            // A node's own processes are balanced at their sockets alone.
            let balanced = |client: &&&str| setting.sockets || !client.starts_with('n');
            for client in clients.iter().filter(balanced) {
                let service = if *client == "outside" { balancer_ips(NUMBER) } else { cluster_ips(NUMBER) };
                let found = answer(&stage, client, service, transports);
                assert!(found.iter().eq(expected), "{setting}, {told}, {client}: {found:?}");
            }
        };
        assert_answer(&all, &["shop/c1", "n1", "outside"], &["shop/b1"], "in the east");
        assert_answer(&all, &["shop/c2", "shop/c3", "n3"], &["shop/b2", "shop/b3"], "in the west");
        // Nobody is left in the east. Of datagrams some may be taken for a flow from before.
        let new = &all[..1];
        stage.change_services(&[hinted(first().for_zone(EAST).unready())]);
        assert_answer(new, &["shop/c1", "n1", "outside"], &["shop/b2", "shop/b3"], "without the east");
        // A backend without a hint is nobody's in particular, and then none is.
        stage.change_services(&[hinted(first())]);
        assert_answer(new, &["shop/c1", "shop/c2"], &["shop/b1", "shop/b2", "shop/b3"], "without a hint");
    }
}
