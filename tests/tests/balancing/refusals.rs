//! What must not be answered, and how that is told; and the port that tells load balancers how many backends a node has.
//!
//! Not here: local policy in all its cases (`suite.rs`).

use super::stage::{
    BRIEFLY, ECHO_PORT, NODE_PORTS, PATIENCE, PORT, Stage, at, balanced, balancer_ips, cluster_ips,
    comes_true, lab_of,
};
use super::table::{Hook, Mode, Setting};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use weir_lab::{Call, Contact, EndpointPlan, ServicePlan, Transport};

const SETTINGS: [Setting; 2] = [
    Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: true },
    Setting { mode: Mode::DsrIpip, hook: Hook::Xdp, sockets: false },
];
const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Sctp];

/// Addresses of the outside that source ranges have in them, and others.
const LET_IN: [&str; 2] = ["203.0.113.7", "2001:db8::7"];
const KEPT_OUT: [&str; 2] = ["203.0.113.9", "2001:db8::9"];
const RANGES: [&str; 2] = ["203.0.113.0/29", "2001:db8::/125"];

/// The numbers of services.
const NOBODY: u8 = 1;
const PLAIN: u8 = 2;
const LOCAL: u8 = 3;
const RANGED: u8 = 4;
const BARRED: u8 = 5;
const HALF: u8 = 7;
const HEALTH_CHECK: u16 = 31_900;

fn services(health: &[&str]) -> Vec<ServicePlan> {
    let local = |name, number| balanced(name, number).external_policy("Local");
    let checked = local("shop/checked", 6).health_check_port(HEALTH_CHECK);
    vec![
        balanced("shop/nobody", NOBODY).endpoint(EndpointPlan::new("shop/b1").unready()).node_ports(31_000),
        balanced("shop/plain", PLAIN).endpoint("shop/b2").node_ports(31_010),
        local("shop/local", LOCAL).endpoint("shop/b2"),
        balanced("shop/ranged", RANGED)
            .endpoint("shop/b2")
            .source_ranges(&RANGES)
            .node_ports(31_020)
            .port("SCTP", NODE_PORTS, NODE_PORTS)
            .node_port(NODE_PORTS),
        balanced("shop/barred", BARRED)
            .endpoint("shop/b2")
            .source_ranges(&RANGES)
            .annotation("service.cilium.io/src-ranges-policy", "deny"),
        health.iter().fold(checked, |checked, pod| checked.endpoint(*pod)),
    ]
}

/// The port of nodes of the service with ranges.
fn port_of_nodes(transport: Transport) -> u16 {
    if transport == Transport::Sctp { NODE_PORTS } else { 31_020 }
}

/// A call from outside.
fn call(to: IpAddr, port: u16, from: &str) -> Call {
    Call::to(at(to, port)).from(at(from.parse().unwrap(), 0)).within(BRIEFLY)
}

#[test]
fn what_must_not_be_answered_is_not_and_the_rest_is() {
    for setting in SETTINGS {
        let Some(lab) = lab_of(setting) else { return };
        let stage = Stage::set(&lab, setting, &services(&[])).unwrap();
        what_nobody_serves_is_refused(&stage, setting);
        what_is_not_for_the_outside_is_silent(&stage, setting);
        if setting.sockets {
            a_port_of_nodes_is_nobody_elses(&stage);
        }
    }
}

fn what_nobody_serves_is_refused(stage: &Stage<'_>, setting: Setting) {
    let lab = stage.lab;
    for family in [0, 1] {
        for transport in TRANSPORTS {
            let node = at(lab.node("n1").addresses()[family], 31_000);
            for to in [at(balancer_ips(NOBODY)[family], PORT), node] {
                let call = call(to.ip(), to.port(), LET_IN[family]).within(PATIENCE);
                let came = stage.peer("outside").who(call, transport, 1).unwrap();
                assert_eq!(came, Err(Contact::Refused), "{setting}: {transport:?} to {to} from outside");
            }
            let inside = Call::to(at(cluster_ips(NOBODY)[family], PORT)).within(PATIENCE);
            let came = stage.peer("shop/c1").who(inside, transport, 1).unwrap();
            assert_eq!(came, Err(Contact::Refused), "{setting}: {transport:?} from a pod, family {family}");
        }
    }
}

#[test]
fn silence_is_kept_where_the_node_is_told_so_and_where_no_range_is_of_the_family() {
    let setting = SETTINGS[0];
    let Some(lab) = lab_of(setting) else { return };
    let ranged = balanced("shop/half", HALF).endpoint("shop/b1").source_ranges(&RANGES[..1]);
    let services = [services(&[]), vec![ranged]].concat();
    let stage = Stage::set_with(&lab, setting, &services, ", noBackend: drop").unwrap();
    for family in [0, 1] {
        for transport in TRANSPORTS {
            let call = call(balancer_ips(NOBODY)[family], PORT, LET_IN[family]);
            let came = stage.peer("outside").who(call, transport, 1).unwrap();
            assert_eq!(came, Err(Contact::TimedOut), "{transport:?}, family {family}");
        }
    }
    // An address of one family is closed where all ranges are of the other.
    let echo = |family: usize| {
        let call = call(balancer_ips(HALF)[family], ECHO_PORT, LET_IN[family]);
        stage.peer("outside").tcp(call.within(if family == 0 { PATIENCE } else { BRIEFLY })).unwrap()
    };
    assert!(echo(0).is_made());
    assert_eq!(echo(1), Contact::TimedOut);
}

fn what_is_not_for_the_outside_is_silent(stage: &Stage<'_>, setting: Setting) {
    let lab = stage.lab;
    let ask = |to: SocketAddr, from: &str, transport| {
        stage.peer("outside").who(call(to.ip(), to.port(), from), transport, 1).unwrap()
    };
    for family in [0, 1] {
        let (node, [in_range, out]) =
            (lab.node("n1").addresses()[family], [LET_IN[family], KEPT_OUT[family]]);
        for transport in TRANSPORTS {
            // What would have to be given another port is not passed on with it, nor without.
            if transport == Transport::Sctp {
                let came = ask(at(node, 31_020), in_range, transport);
                assert_eq!(
                    came,
                    Err(Contact::TimedOut),
                    "{setting}: a port of nodes that is not the backend's"
                );
            }
            for (what, to, from) in [
                ("a port that the service lacks", at(balancer_ips(PLAIN)[family], 81), out),
                ("a cluster address", at(cluster_ips(PLAIN)[family], PORT), out),
                ("no backend on the node", at(balancer_ips(LOCAL)[family], PORT), out),
                ("out of range", at(balancer_ips(RANGED)[family], PORT), out),
                ("in a range that is kept out", at(balancer_ips(BARRED)[family], PORT), in_range),
            ] {
                let came = ask(to, from, transport);
                assert_eq!(came, Err(Contact::TimedOut), "{setting}: {what}, {transport:?}, family {family}");
            }
            for (what, to, from) in [
                ("nothing is against it", at(balancer_ips(PLAIN)[family], PORT), out),
                ("in range", at(balancer_ips(RANGED)[family], PORT), in_range),
                ("ranges are not for ports of nodes", at(node, port_of_nodes(transport)), out),
                ("out of the range that is kept out", at(balancer_ips(BARRED)[family], PORT), out),
            ] {
                let call = call(to.ip(), to.port(), from).within(PATIENCE);
                let came = stage.peer("outside").who(call, transport, 1).unwrap();
                let told = format!("{setting}: {what}, {transport:?}, family {family}: {came:?}");
                assert!(came.is_ok_and(|identity| identity.who == "shop/b2"), "{told}");
            }
        }
    }
    // Who balances has not stopped being a host: what is no service's is its own.
    for address in lab.node("n1").addresses() {
        assert!(lab.outside().ping(address).unwrap(), "{setting}: {address}");
    }
}

/// What a node says at its health-check port: the status and the body.
fn health(stage: &Stage<'_>, node: IpAddr) -> Option<(u16, String)> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&at(node, HEALTH_CHECK), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = stage.lab.outside().inside(ask).unwrap().ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ").or(head.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[test]
fn load_balancers_are_told_how_many_backends_a_node_has() {
    let setting = SETTINGS[0];
    let Some(lab) = lab_of(setting) else { return };
    let stage = Stage::set(&lab, setting, &services(&["shop/b1", "shop/c1", "shop/b2"])).unwrap();
    let says = |node: &str, status: u16, count: u64| {
        let is_so = || {
            lab.node(node).addresses().into_iter().all(|address| {
                let Some((told, body)) = health(&stage, address) else { return false };
                let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
                let of = body["service"]["namespace"] == "shop" && body["service"]["name"] == "checked";
                told == status && of && body["localEndpoints"] == count
            })
        };
        let told = format!("{node}: {:?}", health(&stage, lab.node(node).v4()));
        assert!(comes_true(PATIENCE, is_so), "{count} wanted, but {told}");
    };
    says("n1", 200, 2);
    says("n2", 200, 1);
    says("n3", 503, 0);
    stage.change_services(&services(&["shop/b2"]));
    says("n1", 503, 0);
    says("n2", 200, 1);
}

fn a_port_of_nodes_is_nobody_elses(stage: &Stage<'_>) {
    let lab = stage.lab;
    let node = stage.peer("n1");
    for address in lab.node("n1").addresses() {
        let refused = node.listen_tcp(at(address, 31_010)).unwrap_err().to_string();
        assert!(refused.contains("in use"), "{refused}");
        assert!(node.listen_udp(at(address, 31_010)).is_err());
        node.listen_tcp(at(address, 32_000)).unwrap();
    }
    // A pod's ports are its own.
    stage.peer("shop/c1").listen_tcp(at(lab.pod("shop/c1").v4(), 31_010)).unwrap();
}
