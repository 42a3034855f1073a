//! Clients that others wrote, while services churn: `wrk` counts no request that failed, `iperf3` ends well and its streams never stall.
//!
//! They call from outside, at a port of nodes and at a load balancer's address, and from a pod, at a cluster address. Meanwhile backends of the
//! service come, and end as Kubernetes ends them: first nobody new is sent there, then the server says so to who is connected, then it closes.
//! Other services change, one daemon restarts, another crashes.
//!
//! Of datagrams none may be lost on the way; what the server's socket has no room for, because the machine is busy with other things, its kernel
//! counts, and so much is allowed. A connection of `wrk` stalls when nothing is answered on it for whole seconds: more than one packet was lost.
//!
//! Not here: that connections stay with whom they began with (`survival.rs`), how fast any of this is (`benches`).

use super::stage::{Stage, at, balancer_ips, cluster_ips, lab_of, service};
use super::table::{Hook, Mode, Setting};
use std::net::{IpAddr, SocketAddr};
use weir_lab::http::HttpServer;
use weir_lab::load::{Carried, Iperf, IperfServer, PROGRAMS, Wrk};
use weir_lab::{EndpointPlan, Lab, Policyd, ServicePlan, available_with};

const SETTINGS: [Setting; 2] = [
    Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: true },
    Setting { mode: Mode::DsrIpip, hook: Hook::Xdp, sockets: false },
];
/// More ports for source NAT than connections can be made meanwhile: one that is closed keeps its port for some seconds.
const PORTS: &str = ", ports: {first: 2000, last: 29999}";

/// The services by number.
const WEB: u8 = 1;
const STREAM: u8 = 2;
/// Where the web is at addresses of its own, where its servers listen, and at which port of nodes it is.
const HTTP: (u16, u16, u16) = (80, 8088, 31_000);
/// One for each test of a stream, at the service as at the server, and the first port of nodes.
const STREAMS: [u16; 4] = [5201, 5202, 5203, 5204];
const STREAM_NODE_PORT: u16 = 31_100;
/// Connections of each `wrk`, and how many milliseconds each pauses before a request: so it never outruns the ports.
const CONNECTIONS: u32 = 4;
const PAUSE: u32 = 2;
/// So many seconds streams last, and so many megabits a second they carry.
const SECONDS: u32 = 10;
const MEGABITS: [u32; 2] = [80, 8];
/// From so many seconds on a silence is a stall, by a clock of whole ones; a machine that does other things too is silent for one or two.
const STALL: usize = 4;

/// Who serves.
#[derive(Clone, Copy)]
struct Backends<'a> {
    web: &'a [&'a str],
    /// They end.
    leaving: &'a [&'a str],
    stream: &'a [&'a str],
    stream_leaving: &'a [&'a str],
}

const BEGIN: Backends<'_> =
    Backends { web: &["shop/b1", "shop/b2"], leaving: &[], stream: &["shop/b2"], stream_leaving: &[] };

fn services(backends: Backends<'_>, other: u8) -> Vec<ServicePlan> {
    let plan = |name, number| {
        let ([v4, v6], [balancer_v4, balancer_v6]) = (cluster_ips(number), balancer_ips(number));
        let plan = ServicePlan::new(name).kind("LoadBalancer").cluster_ip(v4).cluster_ip(v6);
        plan.balancer_ip(balancer_v4).balancer_ip(balancer_v6)
    };
    let served = |plan, active: &[&str], leaving: &[&str]| -> ServicePlan {
        let active = active.iter().map(|pod| EndpointPlan::new(pod));
        let leaving = leaving.iter().map(|pod| EndpointPlan::new(pod).terminating());
        active.chain(leaving).fold(plan, ServicePlan::endpoint)
    };
    let (port, target, node_port) = HTTP;
    let web = plan("shop/web", WEB).port("TCP", port, target).node_ports(node_port);
    let both = |plan: ServicePlan, port: u16| plan.port("TCP", port, port).port("UDP", port, port);
    let stream = STREAMS.into_iter().fold(plan("shop/stream", STREAM), both).node_ports(STREAM_NODE_PORT);
    vec![
        served(web, backends.web, backends.leaving),
        served(stream, backends.stream, backends.stream_leaving),
        service("shop/other", 100 + other % 100).endpoint("shop/c2"),
    ]
}

/// What changes, and who serves.
struct Churn<'a> {
    lab: &'a Lab,
    daemons: Vec<Policyd<'a>>,
    /// Of `shop/b1`, `b2` and `b3`.
    servers: [Option<HttpServer>; 3],
    edits: u8,
}

impl Churn<'_> {
    fn change(&mut self, backends: Backends<'_>) {
        self.edits = self.edits.wrapping_add(1);
        super::stage::change(self.lab, &self.daemons, &services(backends, self.edits));
    }

    fn serve(&mut self, number: usize) {
        let pod = self.lab.pod(["shop/b1", "shop/b2", "shop/b3"][number]);
        self.servers[number] = Some(HttpServer::start(pod, HTTP.1).unwrap());
    }

    fn end(&mut self, number: usize) {
        self.servers[number].take().unwrap().drain().unwrap();
    }

    /// From where it begins, and back.
    fn round(&mut self) {
        self.serve(2);
        let all = Backends {
            web: &["shop/b1", "shop/b2", "shop/b3"],
            stream: &["shop/b2", "shop/b1", "shop/b3"],
            ..BEGIN
        };
        self.change(all);
        let without_first = Backends {
            web: &["shop/b2", "shop/b3"],
            stream: &["shop/b1", "shop/b3"],
            stream_leaving: &["shop/b2"],
            ..BEGIN
        };
        self.change(Backends { leaving: &["shop/b1"], ..without_first });
        self.end(0);
        self.change(without_first);
        self.daemons[0].terminate().unwrap();
        self.daemons[0].restart().unwrap();
        self.daemons[2].kill().unwrap();
        self.daemons[2].restart().unwrap();
        for daemon in &self.daemons {
            daemon.until_services(None).unwrap();
        }
        self.serve(0);
        self.change(all);
        self.change(Backends {
            leaving: &["shop/b3"],
            stream: &["shop/b2"],
            stream_leaving: &["shop/b1"],
            ..BEGIN
        });
        self.end(2);
        self.change(BEGIN);
    }
}

/// A client's name, and where it asks: requests on new connections, on kept ones, a stream, datagrams.
fn clients(lab: &Lab, turn: usize) -> [(&'static str, [SocketAddr; 4]); 2] {
    // Each is asked in one family under the one setting and in the other under the other.
    let (one, other) = (turn % 2, (turn + 1) % 2);
    let node = |family: usize, port: u16| at(lab.node("n1").addresses()[family], port);
    let of = |ips: fn(u8) -> [IpAddr; 2], number: u8, family: usize, port: u16| at(ips(number)[family], port);
    let outside = [
        node(one, HTTP.2),
        of(balancer_ips, WEB, other, HTTP.0),
        of(balancer_ips, STREAM, one, STREAMS[0]),
        node(other, STREAM_NODE_PORT + 1),
    ];
    let inside = [
        of(cluster_ips, WEB, one, HTTP.0),
        of(cluster_ips, WEB, other, HTTP.0),
        of(cluster_ips, STREAM, one, STREAMS[2]),
        of(cluster_ips, STREAM, other, STREAMS[3]),
    ];
    [("outside", outside), ("shop/c3", inside)]
}

#[test]
fn no_request_fails_and_no_stream_stalls_while_services_churn() {
    if !available_with(PROGRAMS) {
        return;
    }
    for (turn, setting) in SETTINGS.into_iter().enumerate() {
        let Some(lab) = lab_of(setting) else { return };
        let streams = STREAMS.map(|port| IperfServer::start(lab.pod("shop/b2"), port).unwrap());
        let mut stage = Stage::set_with(&lab, setting, &services(BEGIN, 0), PORTS).unwrap();
        let daemons = std::mem::take(&mut stage.daemons);
        let mut churn = Churn { lab: &lab, daemons, servers: [None, None, None], edits: 0 };
        churn.serve(0);
        churn.serve(1);

        let (mut requests, mut carried) = (Vec::new(), Vec::new());
        for (client, [anew, kept, stream, datagrams]) in clients(&lab, turn) {
            let place = stage.place(client);
            for (to, is_kept) in [(anew, false), (kept, true)] {
                let wrk = Wrk::start(place, to, CONNECTIONS, is_kept, PAUSE).unwrap();
                let what = if is_kept { "kept connections" } else { "new connections" };
                requests.push((format!("{what} from {client} to {to}"), wrk));
            }
            for (to, what, megabits) in
                [(stream, Carried::Stream, MEGABITS[0]), (datagrams, Carried::Datagrams, MEGABITS[1])]
            {
                let iperf = Iperf::start(place, to, what, megabits, SECONDS).unwrap();
                carried.push((format!("{what:?} from {client} to {to}"), what, iperf));
            }
        }
        // In the order of their ports, a stream and then datagrams from each client.
        for (server, (_, what, _)) in streams.iter().zip(&carried) {
            server.until_begun(*what).unwrap();
        }
        let is_over = |(_, _, iperf): &mut (String, Carried, Iperf)| iperf.has_ended().unwrap();
        let mut rounds = 0;
        while rounds == 0 || !carried.iter_mut().all(is_over) {
            churn.round();
            rounds += 1;
        }

        let mut wrong = Vec::new();
        for (what, wrk) in requests {
            let told = wrk.stop().unwrap_or_else(|error| panic!("{setting}: {what}: {error}"));
            println!("{setting}, {rounds} rounds: {what}: {told:?}");
            if told.failed() > 0 || told.least == 0 || told.longest_gap >= STALL as u64 {
                wrong.push(format!("{what}: {told:?}"));
            }
        }
        let mut lost = 0;
        for (what, kind, iperf) in carried {
            let told = iperf.finish().unwrap_or_else(|error| panic!("{setting}: {what}: {error}"));
            println!("{setting}, {rounds} rounds: {what}: {told:?}");
            lost += told.lost;
            let is_short = told.seconds.len() + 1 < SECONDS as usize;
            let is_stalled =
                told.seconds.windows(STALL).any(|silence| silence.iter().all(|&bytes| bytes == 0));
            if is_short || is_stalled || (kind == Carried::Datagrams) != (told.datagrams > 0) {
                wrong.push(format!("{what}: {told:?}"));
            }
        }
        let overflowed = streams[0].overflowed().unwrap();
        if lost > overflowed {
            wrong.push(format!(
                "{lost} datagrams were lost, of which the server's sockets had no room for {overflowed}"
            ));
        }
        assert!(wrong.is_empty(), "{setting}:\n{}", wrong.join("\n"));
    }
}
