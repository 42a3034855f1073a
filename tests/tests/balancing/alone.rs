//! A balancer without a cluster: `policyd` on a machine between a client and others, which are addresses in plain manifests, and packets that
//! show whom it sends to.
//!
//! Two services: one whose servers are asked for a page, one whose servers are called. A server that fails its checks gets no new connection;
//! who is connected stays; it is back once as many checks as were asked for have passed; where all fail, all serve.
//!
//! Not here: how checks are done and counted (`runtime/src/probes`), who is behind a service (`compiler/tests/services`).

use super::stage::{PATIENCE, at, comes_true, external_ips};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use weir_lab::http::{HEALTH, HttpServer, ask};
use weir_lab::wires::Wires;
use weir_lab::{Lab, Plan, Policyd, available};

const MACHINES: [&str; 2] = ["m1", "m2"];
/// Ports of the services, by number, and those of the servers.
const PORTS: [(u16, u16); 2] = [(80, 8080), (25, 2525)];
/// So many checks in a row.
const UNHEALTHY: u64 = 2;
const HEALTHY: u64 = 4;
/// New connections at a time: more than go to one of two by chance.
const MANY: usize = 24;
/// The ports that a box takes for those that it sends on; its own checks come from others.
const TAKEN: std::ops::RangeInclusive<u16> = 61_000..=65_535;

/// What is in the folder: services with addresses, and endpoints with theirs.
fn manifests(lab: &Lab) -> String {
    let mut text = String::new();
    for (number, (name, check)) in
        [("web", format!("http-path: {HEALTH}")), ("mail", "probe-timeout: 10s".to_owned())]
            .into_iter()
            .enumerate()
    {
        let ([v4, v6], (port, target)) = (services(number), PORTS[number]);
        let own = "service.cilium.io/health-check";
        text += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  annotations:\n    {own}-probe-interval: 100ms\n    \
             {own}-threshold-unhealthy: '{UNHEALTHY}'\n    {own}-threshold-healthy: '{HEALTHY}'\n    {own}-{check}\n\
             spec: {{externalIPs: [{v4}, \"{v6}\"], ports: [{{port: {port}}}]}}\n"
        );
        for (family, kind) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let endpoints = MACHINES
                .map(|machine| format!("{{addresses: [\"{}\"]}}", lab.node(machine).addresses()[family]))
                .join(", ");
            text += &format!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: {name}-{family}, labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: {kind}\n\
                 ports: [{{port: {target}}}]\nendpoints: [{endpoints}]\n"
            );
        }
    }
    text
}

fn services(number: usize) -> [IpAddr; 2] {
    external_ips(if number == 0 { 10 } else { 25 })
}

/// The client, the wire and the box.
struct Yard<'a> {
    lab: &'a Lab,
    wires: Wires,
    daemon: Policyd<'a>,
}

impl Yard<'_> {
    fn connect(&self, number: usize, family: usize) -> io::Result<TcpStream> {
        let to: SocketAddr = at(services(number)[family], PORTS[number].0);
        self.lab.outside().inside(|| TcpStream::connect_timeout(&to, PATIENCE))?
    }

    /// Who answers new connections; and the wire says the same: whom the box sent packets of its clients to. Until checks say so, a port may be
    /// asked that nobody listens at.
    fn served(&self, number: usize, family: usize) -> io::Result<BTreeSet<String>> {
        self.wires.passed().unwrap();
        let found = (0..MANY).map(|_| ask(&self.connect(number, family)?)).collect::<io::Result<_>>()?;
        let source = self.lab.node("box").addresses()[family];
        let is_sent = |machine: &&str| {
            let to = self.lab.node(machine).addresses()[family];
            self.passed(source, to, PORTS[number].1)
        };
        let passed = self.wires.passed().unwrap();
        let sent: BTreeSet<String> =
            MACHINES.into_iter().filter(|machine| is_sent(machine)(&passed)).map(str::to_owned).collect();
        // A late packet of an earlier connection is on the wire too.
        if sent == found {
            Ok(found)
        } else {
            Err(io::Error::other(format!("answered by {found:?}, sent to {sent:?}")))
        }
    }

    fn passed(
        &self,
        source: IpAddr,
        to: IpAddr,
        port: u16,
    ) -> impl Fn(&[weir_lab::wires::Passed]) -> bool + use<> {
        move |passed| {
            passed.iter().any(|one| {
                let taken = one.packet.ports.is_some_and(|(from, to)| to == port && TAKEN.contains(&from));
                one.is_from("box", source, to) && taken
            })
        }
    }

    /// Waits until exactly these serve.
    fn until(&self, number: usize, machines: &[&str], when: &str) {
        let wanted: BTreeSet<String> = machines.iter().map(|&machine| machine.to_owned()).collect();
        for family in [0, 1] {
            let is_so = || self.served(number, family).is_ok_and(|served| served == wanted);
            assert!(
                comes_true(PATIENCE * 4, is_so),
                "{when}: {:?}\n{}",
                self.served(number, family),
                self.daemon.log()
            );
        }
    }

    /// Connections to every machine, in both families, by who answers them.
    fn connections(&self, number: usize) -> Vec<(TcpStream, String)> {
        let all = [0, 1].into_iter().flat_map(|family| (0..MANY / 2).map(move |_| family));
        let made: Vec<_> = all
            .map(|family| {
                let stream = self.connect(number, family).unwrap();
                let who = ask(&stream).unwrap();
                (stream, who)
            })
            .collect();
        let by: BTreeSet<&str> = made.iter().map(|(_, who)| who.as_str()).collect();
        assert_eq!(by, BTreeSet::from(MACHINES));
        made
    }
}

fn stay(connections: &[(TcpStream, String)], when: &str) {
    for (stream, who) in connections {
        assert_eq!(ask(stream).map_err(|error| error.to_string()), Ok(who.clone()), "{when}");
    }
}

#[test]
fn a_box_sends_nobody_new_to_who_fails_its_checks() {
    if !available() {
        return;
    }
    let lab =
        Plan::new().node("box").node("m1").node("m2").led("box", &["198.51.100.0/24", "2001:db8:51::/64"]);
    let lab = lab.build().unwrap();
    let start = |port: u16| MACHINES.map(|machine| HttpServer::start(lab.node(machine), port).unwrap());
    let [[first, second], [mail, mut closing]] = PORTS.map(|(_, port)| start(port));
    let config = "balancing: {sockets: {enabled: false}}\n";
    let daemon =
        Policyd::begin_alone(lab.node("box"), &[("balancer.yaml", &manifests(&lab))], config).unwrap();
    daemon.until_services(None).unwrap();
    let yard = Yard { lab: &lab, wires: Wires::watch(&lab).unwrap(), daemon };
    yard.until(0, &MACHINES, "at first");
    yard.until(1, &MACHINES, "at first");
    let connections = [yard.connections(0), yard.connections(1)];

    // A page that says it fails.
    let before = first.set_health(503);
    yard.until(0, &["m2"], "the first fails");
    assert!(first.health_asked() >= before + UNHEALTHY, "it was judged by fewer checks than asked for");
    stay(&connections[0], "the first fails");
    yard.until(1, &MACHINES, "the first fails in another service");

    // Nobody is left.
    second.set_health(500);
    yard.until(0, &MACHINES, "all fail");
    stay(&connections[0], "all fail");
    second.set_health(200);
    yard.until(0, &["m2"], "the second is back");
    let before = first.set_health(204);
    yard.until(0, &MACHINES, "the first is back");
    assert!(first.health_asked() >= before + HEALTHY, "it was back after fewer checks than asked for");

    // A port that nobody listens at any more.
    closing.close();
    yard.until(1, &["m1"], "the second does not listen");
    stay(&connections[1], "the second does not listen");
    let _back = HttpServer::start(lab.node("m2"), PORTS[1].1).unwrap();
    yard.until(1, &MACHINES, "the second listens again");
    connections.iter().for_each(|connections| stay(connections, "in the end"));
    drop((mail, closing));
}
