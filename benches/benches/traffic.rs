//! What policy costs traffic between two pods of one node: bulk, request and response, and connections, through a router namespace.
//!
//! `cargo bench -p weir-benches --bench traffic` prints a table; `cargo xtask bench traffic` keeps it. The node forwards without any filter,
//! with Weir at both pods' interfaces, and with nftables that looks each packet up in a set and walks as many rules. A machine that others
//! share gives one stream 10 % more or less from one second to the next, so the first two take short turns, each first in every other
//! round, and the share is the mean over rounds, told with its standard error. Beside Weir's programs its events are read and its
//! connections swept, as the daemon does. Needs root, `iperf3` and `nft`; what is missing is said.
//!
//! Not here: what a verdict costs by itself (`kernel`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark whose parts fail has nothing to measure")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};
use weir_abi::Image;
use weir_benches::compiled::{image_of, parsed};
use weir_benches::prefixes;
use weir_compiler::cluster::Cluster;
use weir_compiler::parties::PartyIdentities;
use weir_lab::{self as lab, Call, Flow, Kind, Lab, Peer, Plan, PodPlan};
use weir_runtime::datapath::{Datapath, Endpoint, Options};
use weir_runtime::enforcer::Enforcer;
use weir_runtime::plan::{State, plan};

const PREFIXES: usize = 100_000;
const RULES: usize = 1000;
const SEED: u64 = 0x5eed_0007;
const ROUNDS: usize = 40;
/// Of so many rounds one has nftables too, which takes a second to load.
const NFTABLES_EVERY: usize = 5;
const BULK_SECONDS: u32 = 1;
const STEADY: Duration = Duration::from_millis(500);
const BULK_PORT: u16 = 5201;
const ECHO_PORT: u16 = 8080;
/// How often the daemon looks for events, and sweeps.
const POLL: Duration = Duration::from_millis(50);
const SWEEP: Duration = Duration::from_secs(5);
const PODS: [&str; 2] = ["shop/client", "shop/server"];

/// What the node has in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Filter {
    None,
    Weir,
    Nftables,
}

/// What is measured, a second.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    gigabits: f64,
    responses: f64,
    connections: f64,
}

fn main() -> ExitCode {
    if let Some(lacking) = lab::missing() {
        eprintln!("NOT MEASURED: {lacking}");
        return ExitCode::FAILURE;
    }
    let label = |name: &str| name.trim_start_matches("shop/").to_owned();
    let plan = PODS.iter().fold(Plan::new().node("n1"), |plan, pod| {
        plan.pod(PodPlan::new(pod, "n1").label("app", &label(pod)))
    });
    let lab = plan.build().unwrap();
    let weir = Weir::new(&lab);
    let (client, server) = (Peer::start(lab.pod(PODS[0])).unwrap(), Peer::start(lab.pod(PODS[1])).unwrap());
    let at = SocketAddr::from((lab.pod(PODS[1]).v4(), ECHO_PORT));
    server.listen_tcp(at).unwrap();
    let mut iperf = lab.pod(PODS[1]).command("iperf3");
    let mut iperf = iperf
        .args(["-s", "-p", &BULK_PORT.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(300));

    let mut swept = Instant::now();
    let mut rounds: BTreeMap<Filter, Vec<Rates>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut turns = vec![Filter::None, Filter::Weir];
        turns.rotate_left(round % 2);
        if round % NFTABLES_EVERY == 0 {
            turns.push(Filter::Nftables);
        }
        for filter in turns {
            weir.put(&lab, filter);
            let measuring = || measure(&lab, &client, at);
            let rates =
                if filter == Filter::Weir { beside_daemon(&lab, &mut swept, measuring) } else { measuring() };
            rounds.entry(filter).or_default().push(rates);
        }
    }
    weir.put(&lab, Filter::None);
    // It would go with the lab as well.
    _ = iperf.kill();
    _ = iperf.wait();
    tell(&rounds);
    ExitCode::SUCCESS
}

fn measure(lab: &Lab, client: &Peer, at: SocketAddr) -> Rates {
    let server = lab.pod(PODS[1]).v4().to_string();
    let mut iperf = lab.pod(PODS[0]).command("iperf3");
    iperf.args([
        "-c",
        &server,
        "-p",
        &BULK_PORT.to_string(),
        "-t",
        &BULK_SECONDS.to_string(),
        "-A",
        "0,1",
        "-J",
    ]);
    let output = iperf.output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bits = told["end"]["sum_received"]["bits_per_second"].as_f64();
    let gigabits = bits.unwrap_or_else(|| panic!("{told}")) / 1e9;
    let per_second = |kind| {
        let flow = Flow::new(kind, Call::to(at).within(Duration::from_secs(2))).size(1).lasts(STEADY);
        let counts = client.flow(flow).unwrap().finish().unwrap();
        assert_eq!(counts.lost, 0, "{counts:?}");
        counts.echoed as f64 / counts.took.as_secs_f64()
    };
    Rates { gigabits, responses: per_second(Kind::Tcp), connections: per_second(Kind::Connections) }
}

/// Does what a daemon does to its datapath on the node while something is measured.
fn beside_daemon<T>(lab: &Lab, swept: &mut Instant, measuring: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    // What a start costs is no traffic's.
    let (tell, ready) = channel();
    let daemon = || {
        let mut datapath = Datapath::open(&Options::default()).unwrap();
        let mut events = datapath.events().unwrap();
        tell.send(()).unwrap();
        while !done.load(Ordering::Relaxed) {
            while events.next().is_some() {}
            if swept.elapsed() > SWEEP {
                datapath.sweep(1 << 16).unwrap();
                *swept = Instant::now();
            }
            thread::sleep(POLL);
        }
    };
    thread::scope(|scope| {
        let daemon = scope.spawn(|| lab.node("n1").inside(daemon).unwrap());
        ready.recv().unwrap();
        let measured = measuring();
        done.store(true, Ordering::Relaxed);
        daemon.join().unwrap();
        measured
    })
}

/// A datapath with its image, for the one node.
struct Weir {
    image: Vec<u8>,
    wanted: State,
    nothing: State,
}

impl Weir {
    fn new(lab: &Lab) -> Self {
        let (compiled, _) = image_of(parsed(policies(), lab.cluster_yaml()), Some("n1"));
        let image = compiled.bytes.as_bytes().to_vec();
        let mut known = parsed(String::new(), lab.cluster_yaml());
        let cluster = Cluster::collect(&mut known.objects, &mut known.diagnostics);
        let opened = Image::open(&image).unwrap();
        let identities = PartyIdentities::new(&opened, &cluster);
        let addresses = cluster.addresses();
        let addresses: BTreeMap<IpAddr, _> =
            addresses.map(|(address, party)| (address, identities.identity(party, Some(0)))).collect();
        let endpoint = |pod: &&str| {
            let place = lab.pod(pod);
            let (IpAddr::V4(v4), IpAddr::V6(v6)) = (place.v4(), place.v6()) else { panic!("{pod}") };
            let endpoint = Endpoint { identity: addresses[&place.v4()], v4: Some(v4), v6: Some(v6) };
            (lab.host_interface(pod).unwrap().index, endpoint)
        };
        let endpoints: BTreeMap<_, _> = PODS.iter().map(endpoint).collect();
        let attached = endpoints.keys().copied().collect();
        let wanted = State { image: Some(opened.header().checksum), addresses, endpoints, attached };
        let nothing = State { attached: Default::default(), endpoints: BTreeMap::new(), ..wanted.clone() };
        Weir { image, wanted, nothing }
    }

    /// Has the node filter like that, and not otherwise.
    fn put(&self, lab: &Lab, filter: Filter) {
        let node = lab.node("n1");
        let nft = |text: &str| {
            let mut nft = node.command("nft");
            let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            assert!(nft.wait().unwrap().success());
        };
        nft(if filter == Filter::Nftables { nftables() } else { "flush ruleset\n".to_owned() }.as_str());
        let wanted = if filter == Filter::Weir { &self.wanted } else { &self.nothing };
        let put = || {
            let mut datapath = Datapath::open(&Options::default()).unwrap();
            for step in plan(&datapath.installed().unwrap(), wanted) {
                datapath.take(&step, &self.image).unwrap();
            }
        };
        node.inside(put).unwrap();
    }
}

/// The server lets the client in on two ports, and a long list on a thousand others; the client is held to as much.
fn policies() -> String {
    let listed = prefixes::disjoint(SEED, PREFIXES);
    let mut text = String::new();
    for (pod, other, direction, peers, cidrs) in [
        ("server", "client", "ingress", "fromEndpoints", "fromCIDR"),
        ("client", "server", "egress", "toEndpoints", "toCIDR"),
    ] {
        _ = write!(
            text,
            "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: {pod}, namespace: shop}}\nspec:\n  \
             endpointSelector: {{matchLabels: {{app: {pod}}}}}\n  {direction}:\n  - {peers}: [{{matchLabels: {{app: {other}}}}}]\n    \
             toPorts: [{{ports: [{{port: \"{BULK_PORT}\", protocol: TCP}}, {{port: \"{ECHO_PORT}\", protocol: TCP}}]}}]\n"
        );
        for (rule, some) in listed.chunks(PREFIXES / RULES).enumerate() {
            let some: Vec<String> = some.iter().map(|prefix| format!("\"{prefix}\"")).collect();
            let port = 10_000 + rule;
            _ = write!(
                text,
                "  - {cidrs}: [{}]\n    toPorts: [{{ports: [{{port: \"{port}\", protocol: TCP}}]}}]\n",
                some.join(", ")
            );
        }
    }
    text
}

/// The same list as a set of which nothing may pass, and as many rules, each walked by every packet.
fn nftables() -> String {
    let mut text = String::from(
        "flush ruleset\ntable ip bench {\n set s {\n type ipv4_addr; flags interval;\n elements = {\n",
    );
    for prefix in prefixes::disjoint(SEED, PREFIXES) {
        _ = writeln!(text, "{prefix},");
    }
    text += "}\n }\n chain forward {\n type filter hook forward priority 0; policy accept;\n ip saddr @s drop\n ip daddr @s drop\n";
    for rule in 0..RULES {
        _ = writeln!(text, " ip daddr 198.18.{}.{} tcp dport {} drop", rule / 250, rule % 250, 10_000 + rule);
    }
    text + " }\n}\n"
}

fn tell(rounds: &BTreeMap<Filter, Vec<Rates>>) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let of = |filter: Filter, pick: fn(&Rates) -> f64| rounds[&filter].iter().map(pick).collect::<Vec<_>>();
    println!(
        "| traffic, a second | no filter | Weir | nftables, set and rules walked | Weir of no filter | goal |\n|---|---|---|---|---|---|"
    );
    type Pick = fn(&Rates) -> f64;
    let rows: [(&str, Pick, usize); 3] = [
        ("bulk, one TCP stream, Gbit", |rates| rates.gigabits, 1),
        ("requests and responses of one byte, TCP", |rates| rates.responses, 0),
        ("connections with a byte each way", |rates| rates.connections, 0),
    ];
    for (name, pick, digits) in rows {
        let [none, weir, nftables] =
            [Filter::None, Filter::Weir, Filter::Nftables].map(|filter| median(of(filter, pick)));
        let pairs = of(Filter::Weir, pick).into_iter().zip(of(Filter::None, pick));
        let (share, error) = mean(&pairs.map(|(weir, none)| weir / none * 100.0).collect::<Vec<_>>());
        println!(
            "| {name} | {none:.digits$} | **{weir:.digits$}** | {nftables:.digits$} | {share:.1} ± {error:.1} % | ≥ 95 % |"
        );
    }
}

/// The geometric mean, and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let logarithm = values.iter().map(|value| value.ln()).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value.ln() - logarithm).powi(2)).sum();
    let mean = logarithm.exp();
    (mean, mean * (squares / (count - 1.0) / count).sqrt())
}
