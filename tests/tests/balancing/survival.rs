//! What connections live through: services that change, daemons that restart or crash, backends that come, end and go.
//!
//! Backends of established connections are compared by what they say on the same connection; flows of the lab count what was lost. Which flows
//! move at all by hashing is held to its numbers elsewhere (`compiler/tests/services`).

use super::stage::{
    BRIEFLY, ECHO_PORT, NODES, PATIENCE, PORT, Stage, at, balanced, balancer_ips, cluster_ips, comes_true,
    lab_of, pods_of, service,
};
use super::table::{Hook, Mode, Setting};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};
use weir_lab::{
    Call, Connection, EndpointPlan, Flow, Identity, Kind, Policyd, Running, ServicePlan, Transport,
};
use weir_runtime::balancer::DeviceHook;
use weir_runtime::status::Status;

/// Between them: every mode, both hooks, with programs at sockets and without.
const FOR_CONNECTIONS: [Setting; 2] = [
    Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: false },
    Setting { mode: Mode::DsrIpip, hook: Hook::Xdp, sockets: true },
];
const FOR_REQUESTS: [Setting; 2] = [
    Setting { mode: Mode::Snat, hook: Hook::Xdp, sockets: true },
    Setting { mode: Mode::DsrOption, hook: Hook::Tc, sockets: false },
];

/// The number of the service that everything is about.
const KEPT: u8 = 1;
/// Connections and datagrams' sockets of each client.
const MANY: u16 = 40;
/// Where the ports of datagrams' sockets begin.
const FIRST: u16 = 20_000;
/// How often services change.
const EDITS: u8 = 50;
/// How often backends come and go under requests.
const ROUNDS: usize = 12;

/// The service with these backends, and another that differs each time.
fn services(backends: &[EndpointPlan], other: u8) -> Vec<ServicePlan> {
    let kept = backends.iter().cloned().fold(balanced("shop/kept", KEPT), ServicePlan::endpoint);
    vec![kept, service("shop/other", 100 + other).endpoint("shop/c2")]
}

fn ready(pods: &[&str]) -> Vec<EndpointPlan> {
    pods.iter().map(|pod| EndpointPlan::new(pod)).collect()
}

/// Clients: outside, a pod beside a backend, a pod on a node without one. Where each calls, by family.
fn clients() -> [(&'static str, [SocketAddr; 2]); 3] {
    let outside = balancer_ips(KEPT).map(|address| at(address, PORT));
    let inside = cluster_ips(KEPT).map(|address| at(address, PORT));
    [("outside", outside), ("shop/c1", inside), ("shop/c3", inside)]
}

/// Flows of every kind from every client.
fn flows<'a>(stage: &'a Stage<'_>) -> Vec<(String, Running<'a>)> {
    let mut flows = Vec::new();
    for (client, to) in clients() {
        for to in to.map(|service| at(service.ip(), ECHO_PORT)) {
            for kind in [Kind::Tcp, Kind::Udp, Kind::Connections] {
                let flow = Flow::new(kind, Call::to(to).within(PATIENCE)).rate(40);
                let flow = stage.peer(client).flow(flow.lasts(Duration::from_secs(120))).unwrap();
                flows.push((format!("{kind:?} from {client} to {to}"), flow));
            }
        }
    }
    flows
}

/// Says what comes now, and when, to be held against when messages were lost.
fn now(setting: Setting, since: Instant, what: &str) {
    println!("{setting}, {:.1} s: {what}", since.elapsed().as_secs_f64());
}

fn assert_nothing_lost(flows: Vec<(String, Running<'_>)>, setting: Setting, daemons: &[Policyd<'_>]) {
    let mut wrong = Vec::new();
    for (what, flow) in flows {
        let counts = flow.stop().unwrap();
        if counts.lost > 0 || counts.echoed < 20 {
            wrong.push(format!("{what}: {counts:?}"));
        }
    }
    if !wrong.is_empty() {
        wrong.extend(daemons.iter().map(|daemon| format!("{:#?}", daemon.status())));
    }
    assert!(wrong.is_empty(), "{setting}:\n{}", wrong.join("\n"));
}

/// Connections, and datagrams that leave the same port each time, with who answers them.
struct Established<'a> {
    stage: &'a Stage<'a>,
    connections: Vec<(Connection<'a>, String)>,
    datagrams: Vec<(&'static str, Call, String)>,
}

impl<'a> Established<'a> {
    fn new(stage: &'a Stage<'a>) -> Self {
        let mut made = Established { stage, connections: Vec::new(), datagrams: Vec::new() };
        for (client, to) in clients() {
            let own = stage.place(client).addresses();
            for (family, to) in to.into_iter().enumerate() {
                for number in 0..MANY {
                    let call = Call::to(to).within(PATIENCE);
                    let opened = stage.peer(client).open(call).unwrap();
                    let connection = opened.unwrap_or_else(|contact| panic!("{client} to {to}: {contact}"));
                    let who = who(connection.who(1).unwrap(), client, to);
                    made.connections.push((connection, who));
                    let call = call.from(at(own[family], FIRST + number));
                    let answer = stage.peer(client).who(call, Transport::Udp, 1).unwrap();
                    made.datagrams.push((client, call, self::who(answer, client, to)));
                }
            }
        }
        made
    }

    /// Who answers what is established.
    fn backends(&self) -> BTreeSet<&str> {
        self.connections.iter().map(|(_, who)| who.as_str()).collect()
    }

    /// Each is answered by who answered it first.
    fn stayed(&self, after: &str) {
        let wrong = [self.moved_connections(), self.moved_datagrams()].concat();
        let all = self.connections.len() + self.datagrams.len();
        assert!(wrong.is_empty(), "{} of {all} moved after {after}:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// Each connection is, and each datagram but those that a backend answered first, which others answer now.
    fn datagrams_left(&self, backend: &str, after: &str) {
        let mut wrong = self.moved_connections();
        let is_wrong =
            |(before, now): (&str, &str)| if before == backend { now == backend } else { now != before };
        wrong.extend(self.datagrams_now().filter(|(_, before, now)| is_wrong((before, now))).map(told));
        assert!(wrong.is_empty(), "{} are wrong after {after}:\n{}", wrong.len(), wrong.join("\n"));
    }

    fn moved_connections(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (connection, before) in &self.connections {
            let now = connection.who(1).unwrap().map_or_else(|contact| contact.to_string(), |now| now.who);
            if now != *before {
                wrong
                    .push(format!("TCP {} to {}: {before}, then {now}", connection.local, connection.remote));
            }
        }
        wrong
    }

    fn moved_datagrams(&self) -> Vec<String> {
        self.datagrams_now().filter(|(_, before, now)| before != now).map(told).collect()
    }

    /// Who answers datagrams, first and now. A socket at each call is another to programs at sockets, so those that were chosen there are left out.
    fn datagrams_now(&self) -> impl Iterator<Item = (Call, &str, String)> {
        self.datagrams.iter().filter(|(client, ..)| *client == "outside").map(|(client, call, before)| {
            let now = self.stage.peer(client).who(*call, Transport::Udp, 1).unwrap();
            (*call, before.as_str(), now.map_or_else(|contact| contact.to_string(), |now| now.who))
        })
    }
}

fn told((call, before, now): (Call, &str, String)) -> String {
    format!("UDP outside {call:?}: {before}, then {now}")
}

fn who(answer: Result<Identity, weir_lab::Contact>, client: &str, to: SocketAddr) -> String {
    match answer {
        Ok(identity) => identity.who,
        Err(contact) => panic!("{client} to {to}: {contact}"),
    }
}

/// Who answers new connections, or new sockets' datagrams, of all clients.
fn newcomers(stage: &Stage<'_>, transport: Transport) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (client, to) in clients() {
        for to in to {
            for _ in 0..20 {
                let answer = stage.peer(client).who(Call::to(to).within(PATIENCE), transport, 1).unwrap();
                found.insert(who(answer, client, to));
            }
        }
    }
    found
}

/// Exactly these answer new connections. Datagrams do not say that they are new: some go where those before them went, for a while.
fn assert_newcomers(stage: &Stage<'_>, backends: &[&str], after: &str) {
    let found = newcomers(stage, Transport::Tcp);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, backends, "after {after}");
    newcomers(stage, Transport::Udp);
}

#[test]
fn established_connections_stay_where_they_are() {
    for setting in FOR_CONNECTIONS {
        let Some(lab) = lab_of(setting) else { return };
        let two = ready(&["shop/b1", "shop/b2"]);
        let mut stage = Stage::set(&lab, setting, &services(&two, 0)).unwrap();
        let mut daemons = std::mem::take(&mut stage.daemons);
        let since = Instant::now();
        let flows = flows(&stage);
        let established = Established::new(&stage);
        assert_eq!(established.backends().len(), 2);

        now(setting, since, "daemons restart and crash");
        for daemon in &mut daemons {
            daemon.terminate().unwrap();
            daemon.restart().unwrap();
        }
        established.stayed("a restart");
        for daemon in &mut daemons {
            daemon.kill().unwrap();
        }
        established.stayed("a crash");
        for daemon in &mut daemons {
            daemon.restart().unwrap();
            daemon.until_services(None).unwrap();
        }
        established.stayed("the daemons' return");

        now(setting, since, "a backend comes");
        let change = |backends: &[EndpointPlan], other: u8| {
            super::stage::change(&lab, &daemons, &services(backends, other));
        };
        change(&ready(&["shop/b1", "shop/b2", "shop/b3"]), 0);
        established.stayed("a third backend");
        assert_newcomers(&stage, &["shop/b1", "shop/b2", "shop/b3"], "a third backend");

        now(setting, since, "a backend ends");
        let ending =
            [ready(&["shop/b2", "shop/b3"]), vec![EndpointPlan::new("shop/b1").terminating()]].concat();
        change(&ending, 0);
        established.stayed("the first backend's ending");
        assert_newcomers(&stage, &["shop/b2", "shop/b3"], "the first backend's ending");

        now(setting, since, "other services change");
        for edit in 1..=EDITS {
            change(&ending, edit);
            if edit % 10 == 0 {
                // On a slow machine datagrams would be idle for too long else.
                established.stayed("changes of others");
            }
        }
        established.stayed("fifty changes");
        now(setting, since, "the third backend ends and goes");
        // Before a pod goes it is said that it ends, and what it still has is done meanwhile.
        let leaving = [two.clone(), vec![EndpointPlan::new("shop/b3").terminating()]].concat();
        change(&leaving, 0);
        established.stayed("the third backend's ending");
        change(&two, 0);
        established.stayed("the return to how it began");
        assert_nothing_lost(flows, setting, &daemons);
    }
}

/// What daemons left in the kernel and on disk becomes that of a version which the next cannot read, but for what is on record of flows.
#[test]
fn another_version_takes_over_once_it_has_an_image() {
    for setting in FOR_CONNECTIONS {
        let Some(lab) = lab_of(setting) else { return };
        let services = services(&ready(&["shop/b1", "shop/b2"]), 0);
        let mut stage = Stage::set(&lab, setting, &services).unwrap();
        let mut daemons = std::mem::take(&mut stage.daemons);
        let since = Instant::now();
        let flows = flows(&stage);
        let established = Established::new(&stage);
        for (daemon, node) in daemons.iter_mut().zip(NODES) {
            now(setting, since, &format!("another version is begun on {node}"));
            daemon.kill().unwrap();
            let pins = lab.node(node).path("/sys/fs/bpf/weir/balancing");
            let left = versions_in(&pins);
            assert_eq!(left.len(), 1, "{left:?}");
            fs::rename(&left[0], pins.join("state-0-image-0")).unwrap();
            let image = lab.node(node).path("/var/lib/weir/services.weir");
            fs::write(image, "an image of another version").unwrap();
            daemon.write_file("services.yaml", "spec: [").unwrap();
            daemon.restart().unwrap();
            daemon.until("a daemon that reads nothing", |status| status.source.read.is_some()).unwrap();
            established.stayed("a daemon of another version without an image");
            daemon.write_file("services.yaml", &lab.services_yaml(&services)).unwrap();
            let status = daemon.until_balanced(pods_of(node)).unwrap();
            let devices = status.balancing.unwrap().devices;
            let by = if setting.hook == Hook::Xdp { DeviceHook::Xdp } else { DeviceHook::Tc };
            assert!(devices.iter().all(|device| device.by == by && device.trouble.is_none()), "{devices:?}");
            let is_gone = || versions_in(&pins) == left;
            assert!(comes_true(PATIENCE, is_gone), "{:?}", versions_in(&pins));
        }
        established.stayed("another version took over");
        assert_newcomers(&stage, &["shop/b1", "shop/b2"], "another version took over");
        assert_nothing_lost(flows, setting, &daemons);
    }
}

/// Who switches balancing off is left with policy alone, and services as they would be without us.
#[test]
fn what_is_balanced_no_more_is_in_no_packets_way() {
    for setting in FOR_CONNECTIONS {
        let Some(lab) = lab_of(setting) else { return };
        let mut stage = Stage::set(&lab, setting, &services(&ready(&["shop/b1"]), 0)).unwrap();
        let to = at(cluster_ips(KEPT)[0], PORT);
        let ask = |stage: &Stage<'_>, within| stage.peer("shop/c1").tcp(Call::to(to).within(within)).unwrap();
        assert!(ask(&stage, PATIENCE).is_made());
        let daemon = &mut stage.daemons[0];
        daemon.terminate().unwrap();
        daemon.write_config("balancing: {enabled: false}").unwrap();
        daemon.restart().unwrap();
        let is_back = |status: &Status| status.source.read.is_some() && status.problems.is_empty();
        let status = daemon.until("a daemon that does not balance", is_back).unwrap();
        assert!(status.balancing.is_none() && status.endpoints.len() == pods_of("n1"));
        assert!(!lab.node("n1").path("/sys/fs/bpf/weir/balancing").exists());
        assert!(!ask(&stage, BRIEFLY).is_made());
    }
}

/// The folders of versions that have something in the kernel.
fn versions_in(pins: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(pins).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("state-")).collect()
}

#[test]
fn no_request_fails_while_services_churn() {
    for setting in FOR_REQUESTS {
        let Some(lab) = lab_of(setting) else { return };
        let stage = Stage::set(&lab, setting, &services(&ready(&["shop/b1", "shop/b2"]), 0)).unwrap();
        let mut flows = Vec::new();
        for (client, to) in clients() {
            for to in to.map(|service| at(service.ip(), ECHO_PORT)) {
                let flow = Flow::new(Kind::Connections, Call::to(to).within(PATIENCE)).rate(200);
                let flow = stage.peer(client).flow(flow.lasts(Duration::from_secs(60))).unwrap();
                flows.push((format!("requests from {client} to {to}"), flow));
            }
        }
        let sets: [&[&str]; 4] = [
            &["shop/b2", "shop/b3"],
            &["shop/b3", "shop/b1"],
            &["shop/b1", "shop/b2", "shop/b3"],
            &["shop/b1", "shop/b2"],
        ];
        for (round, set) in sets.iter().cycle().take(ROUNDS).enumerate() {
            stage.write_services(&services(&ready(set), u8::try_from(round % 100).unwrap_or(0)));
            thread::sleep(Duration::from_millis(if round % 3 == 0 { 30 } else { 300 }));
        }
        assert_nothing_lost(flows, setting, &stage.daemons);
    }
}

/// A datagram does not say that it is new, so for a minute all that are on no record may be old (0015). Then they are new, however many come.
#[test]
fn new_datagrams_leave_a_backend_that_ends() {
    let setting = FOR_CONNECTIONS[0];
    let Some(lab) = lab_of(setting) else { return };
    let stage = Stage::set(&lab, setting, &services(&ready(&["shop/b1", "shop/b2"]), 0)).unwrap();
    let ask = || -> BTreeSet<String> {
        let call = Call::to(at(balancer_ips(KEPT)[0], PORT)).within(PATIENCE);
        let answer = |_| stage.peer("outside").who(call, Transport::Udp, 1).unwrap();
        (0..30).map(answer).map(|answer| who(answer, "outside", at(balancer_ips(KEPT)[0], PORT))).collect()
    };
    let both = |found: &BTreeSet<String>| found.len() == 2;
    assert!(comes_true(PATIENCE, || both(&ask())));
    stage.change_services(&services(&[EndpointPlan::new("shop/b1").terminating(), "shop/b2".into()], 0));
    let left = || {
        thread::sleep(Duration::from_millis(500));
        !ask().contains("shop/b1")
    };
    assert!(comes_true(Duration::from_secs(120), left), "{:?}", ask());
}

/// Flows that began with a backend after the last change but one are on record with it, and no slot tells of it once it ends.
#[test]
fn who_came_to_a_new_backend_stays_when_it_ends_and_connections_when_it_is_not_ready() {
    for setting in FOR_CONNECTIONS {
        let Some(lab) = lab_of(setting) else { return };
        let two = ready(&["shop/b1", "shop/b2"]);
        let stage = Stage::set(&lab, setting, &services(&two, 0)).unwrap();
        stage.change_services(&services(&ready(&["shop/b1", "shop/b2", "shop/b3"]), 0));
        let established = Established::new(&stage);
        assert_eq!(established.backends().len(), 3);
        let change = |third| stage.change_services(&services(&[two.clone(), vec![third]].concat(), 0));
        change(EndpointPlan::new("shop/b3").terminating());
        established.stayed("the third backend's ending");
        change(EndpointPlan::new("shop/b3").unready());
        established.datagrams_left("shop/b3", "its not being ready");
    }
}
