//! The suite: every case of the table, asked by real sockets, and all that is wrong told at the end.
//!
//! Cases of one setting share a lab, its daemons and its services. With `WEIR_BALANCING=TEXT` in the environment only the settings and cases
//! that have the text in their names are run.
//!
//! Not here: what is expected (`expectation.rs`).

use super::expectation::{Backend, Expected, Path, Sees};
use super::paths::{self, PATHS, Walk};
use super::stage::{
    BRIEFLY, NODE_PORTS, PORT, Stage, at, balancer_ips, cluster_ips, external_ips, lab_of, service,
};
use super::table::{Asked, Backends, Case, Client, Family, Front, Mode, PENDING, Policy, Setting, Way};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};
use weir_lab::wires::{Passed, Way as Sent, Wires};
use weir_lab::{Call, Contact, Identity, ServicePlan, Transport};

/// How many calls it takes at most until each of two backends has answered one.
const UNTIL_BOTH: usize = 40;
/// How many calls of one client must find the same backend.
const FAITHFUL: usize = 6;
/// How many are made where one backend can answer.
const TWICE: usize = 2;
/// Where clients' ports begin. No two calls of a setting have the same: one that led to a backend by another service before would not be the client's
/// own any more, and under source NAT SCTP could not have it.
const CLIENT_PORTS: u16 = 10_000;
/// What an answer may take while nearly all is well.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many that are wrong tell that a setting does not work; what follows is not waited for as long.
const MANY: usize = 15;
/// Settings at the same time.
const WORKERS: usize = 2;
/// What stands for a pod itself where it is the backend of its own call.
const ITSELF: [&str; 2] = ["169.254.42.1", "fd57:6569:7200::1"];

/// The services of the table, each with its number.
fn services() -> BTreeMap<Asked, u8> {
    Asked::all().into_iter().zip(1..).collect()
}

/// Services as manifests.
fn plan(asked: Asked, number: u8) -> ServicePlan {
    let policy = if asked.policy == Policy::Local { "Local" } else { "Cluster" };
    let node_port = node_port(number);
    let mut plan = service(&format!("shop/s{number}"), number);
    // SCTP is never given another port, so a port of nodes must be the backend's.
    let sctp = if asked.front == Front::NodePort { node_port } else { PORT };
    plan = plan.port("SCTP", sctp, sctp);
    plan = match asked.front {
        Front::ClusterIp => plan.internal_policy(policy),
        Front::ExternalIp => plan.external_ips(&external_ips(number)).external_policy(policy),
        Front::NodePort => plan.kind("NodePort").external_policy(policy),
        Front::LoadBalancer => {
            let [v4, v6] = balancer_ips(number);
            plan.kind("LoadBalancer").external_policy(policy).balancer_ip(v4).balancer_ip(v6)
        }
    };
    if matches!(asked.front, Front::NodePort | Front::LoadBalancer) {
        plan = plan.node_ports(node_port);
    }
    if asked.affinity {
        plan = plan.affinity(600);
    }
    let pods: &[&str] = match asked.backends {
        Backends::Here => &["shop/b1"],
        Backends::There => &["shop/b2"],
        Backends::Both => &["shop/b1", "shop/b2"],
    };
    pods.iter().fold(plan, |plan, pod| plan.endpoint(*pod))
}

fn node_port(number: u8) -> u16 {
    NODE_PORTS + u16::from(number)
}

#[test]
fn every_case_of_the_table_is_as_expected() {
    let only = env::var("WEIR_BALANCING").ok();
    let wanted = |case: &Case| only.as_ref().is_none_or(|only| case.to_string().contains(only.as_str()));
    let mut queue = VecDeque::new();
    for setting in Setting::all() {
        let cases: Vec<Case> = setting.cases().into_iter().filter(wanted).collect();
        if !cases.is_empty() {
            queue.push_back((setting, cases));
        }
    }
    if !weir_lab::available() {
        return;
    }
    let (queue, told) = (Mutex::new(queue), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((setting, cases)) = next else { return };
                    let outcome = run(setting, &cases);
                    println!("{outcome}");
                    told.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    let count = |of: fn(&Outcome) -> usize| told.iter().map(of).sum::<usize>();
    let wrong = count(|outcome| outcome.wrong.len());
    let (cases, right, pending) = (count(|o| o.cases), count(|o| o.right), count(|o| o.pending));
    println!("\n{cases} cases, {right} right, {wrong} wrong, {pending} pending");
    for (why, _) in PENDING.iter().filter(|_| pending > 0) {
        println!("PENDING {why}");
    }
    for wrong in told.iter().flat_map(|outcome| &outcome.wrong) {
        println!("\nWRONG {wrong}");
    }
    assert_eq!((wrong, cases), (0, right + pending), "what is wrong is told above");
}

/// What came of the cases of a setting.
struct Outcome {
    setting: Setting,
    cases: usize,
    right: usize,
    pending: usize,
    wrong: Vec<String>,
    took: [Duration; 2],
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { setting, cases, right, pending, took: [stage, all], .. } = self;
        write!(
            f,
            "{setting}: {cases} cases, {right} right, {pending} pending; {all:.1?}, {stage:.1?} of it to set the stage"
        )
    }
}

fn run(setting: Setting, cases: &[Case]) -> Outcome {
    let began = Instant::now();
    let pending = cases.iter().filter(|case| case.is_pending()).count();
    let mut outcome = Outcome {
        setting,
        cases: cases.len(),
        right: 0,
        pending,
        wrong: Vec::new(),
        took: [Duration::ZERO; 2],
    };
    if pending == cases.len() {
        return outcome;
    }
    let services = services();
    let of_cases = services.iter().map(|(asked, number)| plan(*asked, *number));
    let plans: Vec<ServicePlan> = of_cases.chain(paths::services()).collect();
    let Some(lab) = lab_of(setting) else { return outcome };
    let stage = match Stage::set(&lab, setting, &plans) {
        Ok(stage) => stage,
        Err(error) => {
            outcome.wrong = vec![format!("{setting}: the stage cannot be set: {error}")];
            return outcome;
        }
    };
    let wires = Wires::watch(&lab).unwrap();
    outcome.took[0] = began.elapsed();
    let next_port = Cell::new(CLIENT_PORTS);
    for case in cases.iter().filter(|case| !case.is_pending()) {
        let patience = if outcome.wrong.len() < MANY { PATIENCE } else { PATIENCE / 4 };
        let (number, next_port) = (services[&case.asked], &next_port);
        let asking = Asking { stage: &stage, wires: &wires, case, number, next_port, patience };
        match asking.is_as_expected() {
            Ok(()) => outcome.right += 1,
            Err(why) => outcome.wrong.push(format!("{case}\n  {why}")),
        }
    }
    walk_paths(&stage, &wires, setting, &mut outcome);
    outcome.took[1] = began.elapsed();
    outcome
}

/// What `paths.rs` looks at, as cases of the setting.
fn walk_paths(stage: &Stage<'_>, wires: &Wires, setting: Setting, outcome: &mut Outcome) {
    for (what, path) in PATHS {
        for (number, backend) in paths::numbers() {
            for family in [0, 1] {
                let (mode, hook) = (setting.mode, setting.hook);
                outcome.cases += 1;
                match path(&Walk { stage, wires, mode, hook, family, number, backend }) {
                    Ok(()) => outcome.right += 1,
                    Err(why) => {
                        let family = if family == 0 { "V4" } else { "V6" };
                        outcome
                            .wrong
                            .push(format!("{setting}: {what}, {family}, backend {backend}\n  {why}"));
                    }
                }
            }
        }
    }
}

/// A case on its stage.
struct Asking<'a> {
    stage: &'a Stage<'a>,
    wires: &'a Wires,
    case: &'a Case,
    number: u8,
    /// The next one.
    next_port: &'a Cell<u16>,
    patience: Duration,
}

impl Asking<'_> {
    fn is_as_expected(&self) -> Result<(), String> {
        match self.case.expected() {
            Expected::Nobody => self.nobody_answers(),
            Expected::Answer(backends) => self.they_answer(&backends),
        }
    }

    fn nobody_answers(&self) -> Result<(), String> {
        let came = self.ask(BRIEFLY);
        match came {
            // At a socket the call may be refused at once; what comes by wire is dropped in silence.
            Err(Contact::TimedOut) => Ok(()),
            Err(_) if self.case.way() != Some(Way::Wire) => Ok(()),
            Err(other) => {
                Err(format!("nobody is to answer, and silently, but it was {other}{}", self.trail()))
            }
            Ok(identity) => Err(format!("nobody is to answer, but {} did{}", identity.who, self.trail())),
        }
    }

    fn they_answer(&self, backends: &[Backend]) -> Result<(), String> {
        let is_faithful = self.case.asked.affinity;
        let calls = match (is_faithful, backends.len()) {
            (true, _) => FAITHFUL,
            (false, 1) => TWICE,
            (false, _) => UNTIL_BOTH,
        };
        let mut answered = BTreeSet::new();
        for call in 1..=calls {
            let came = self.ask(self.patience);
            let identity = came.map_err(|contact| format!("call {call}: {contact}{}", self.trail()))?;
            let trail = self.wires.passed().unwrap();
            self.check(backends, &identity, &trail)
                .map_err(|why| format!("call {call}: {why}{}", told(&trail)))?;
            answered.insert(identity.who);
            if answered.len() == backends.len() && !is_faithful && call >= TWICE {
                return Ok(());
            }
        }
        match answered.len() {
            1 if is_faithful => Ok(()),
            _ if is_faithful => Err(format!("{calls} calls of one client were answered by {answered:?}")),
            _ => Err(format!("{calls} calls were answered by {answered:?} alone")),
        }
    }

    /// One call. What passed on the wires before it is forgotten.
    fn ask(&self, within: Duration) -> Result<Identity, Contact> {
        self.wires.passed().unwrap();
        let call = Call::to(self.called()).within(within);
        let port = self.next_port.replace(self.next_port.get() + 1);
        let from = match (self.case.family, self.client()) {
            (Family::V4InV6, IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            (_, client) => client,
        };
        self.stage.peer(self.name()).who(call.from((from, port).into()), self.case.transport, 1).unwrap()
    }

    /// Where the client calls.
    fn called(&self) -> SocketAddr {
        let service = at(self.service(), self.port());
        match (self.case.family, service) {
            (Family::V4InV6, SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            _ => service,
        }
    }

    fn port(&self) -> u16 {
        if self.case.asked.front == Front::NodePort { node_port(self.number) } else { PORT }
    }

    fn service(&self) -> IpAddr {
        let both = match self.case.asked.front {
            Front::ClusterIp => cluster_ips(self.number),
            Front::NodePort => self.stage.place("n1").addresses(),
            Front::LoadBalancer => balancer_ips(self.number),
            Front::ExternalIp => external_ips(self.number),
        };
        both[self.family()]
    }

    /// The family of packets, 0 for IPv4.
    fn family(&self) -> usize {
        usize::from(self.case.family == Family::V6)
    }

    fn name(&self) -> &'static str {
        match self.case.client {
            Client::Outside => "outside",
            Client::Elsewhere => "elsewhere",
            client => client.pod().or(client.node()).unwrap_or_default(),
        }
    }

    fn client(&self) -> IpAddr {
        self.stage.place(self.name()).addresses()[self.family()]
    }

    /// One answer.
    fn check(&self, backends: &[Backend], identity: &Identity, trail: &[Passed]) -> Result<(), String> {
        let who = identity.who.as_str();
        let Some(backend) = backends.iter().find(|backend| backend.pod == who) else {
            return Err(format!("{who} answered"));
        };
        let (service, client) = (at(self.service(), self.port()), self.client());
        if plain(identity.remote) != service {
            return Err(format!("{who} answered as {}, not {service}", plain(identity.remote)));
        }
        let saw = plain(identity.saw);
        let own_port = identity.local.port();
        let expected = match backend.sees {
            Sees::Client => client,
            Sees::Balancer => self.stage.place("n1").addresses()[self.family()],
            Sees::Itself => ITSELF[self.family()].parse().unwrap(),
        };
        let keeps_port = backend.sees == Sees::Client || self.case.transport == Transport::Sctp;
        if saw.ip() != expected || (keeps_port && saw.port() != own_port) {
            return Err(format!(
                "{who} saw {saw}; {:?} is {expected}, and the client's port {own_port}",
                backend.sees
            ));
        }
        let answered_by = |node: &str| {
            let ports = Some((service.port(), own_port));
            trail.iter().any(|one| one.is_from(node, service.ip(), client) && one.packet.ports == ports)
        };
        let backs_node_is_the_clients = self.case.client.node() == Some("n2");
        match (backend.path, answered_by("n1")) {
            (Path::Back, false) => return Err("the answer did not come through n1".to_owned()),
            (Path::Direct, true) => return Err("the answer came through n1".to_owned()),
            (Path::Direct, false) if !backs_node_is_the_clients && !answered_by("n2") => {
                return Err("the answer did not come from n2".to_owned());
            }
            _ => {}
        }
        if backend.path == Path::Direct && !trail.iter().any(|one| self.is_dispatched(one)) {
            return Err(format!("nothing was sent on by {}", self.case.setting));
        }
        Ok(())
    }

    /// Whether a packet is one that n1 sent on as the mode has it.
    fn is_dispatched(&self, passed: &Passed) -> bool {
        let is_from_n1 = passed.way == Sent::From && passed.place == "n1";
        let as_dispatched = match self.case.setting.mode {
            Mode::Snat => false,
            Mode::DsrOption => passed.packet.has_options,
            Mode::DsrIpip | Mode::Hybrid => passed
                .packet
                .inner
                .as_ref()
                .is_some_and(|inner| inner.is_between(self.client(), self.service())),
        };
        is_from_n1 && as_dispatched
    }

    /// What passed on the wires, for who reads why a case is wrong.
    fn trail(&self) -> String {
        told(&self.wires.passed().unwrap())
    }
}

/// The first packets that passed; neighbours' questions are left out.
pub(crate) fn told(trail: &[Passed]) -> String {
    let mut text = String::new();
    let is_told = |one: &&Passed| one.packet.icmp.is_none_or(|(kind, _)| !(133..=137).contains(&kind));
    for passed in trail.iter().filter(is_told).take(16) {
        let _ = write!(text, "\n    {passed}");
    }
    text
}

/// An address without its wrapping in IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}
