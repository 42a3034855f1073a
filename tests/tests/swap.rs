//! Swaps under fire: images change while packets pass, and no packet meets a mixture of two.
//!
//! The two images agree on what `shared` and `office` may do, and disagree on the numbers of every class, so the class of
//! the one in the table of the other gives a verdict that neither gives. Between two pods of the node each denies at one side what
//! the other allows there: a packet judged by one where it leaves and by the other where it arrives would pass. The pods have other labels
//! under the second, and with them other identities.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a lab in which something fails has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_abi::state::Aggregation;
use weir_abi::{Action, Image};
use weir_compiler::compile::Options as CompileOptions;
use weir_compiler::identity::IdentityLock;
use weir_compiler::parties::PartyIdentities;
use weir_lab::{self as lab, Call, Counts, Flow, Kind, Lab, Peer, Place, Plan, PodPlan, Policyd};
use weir_runtime::datapath::{Datapath, Endpoint, Installation, Options};
use weir_runtime::enforcer::Enforcer;
use weir_runtime::plan::{State, plan};
use weir_runtime::status::Status;
use weir_tests::world::World;

const PORT: u16 = 8080;
/// Who may reach the server under both images, and who under none.
const OFFICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
/// Messages a second of a steady flow.
const RATE: u32 = 1000;
/// Swaps in a row.
const SWAPS: usize = 1000;
/// Ends of the daemon in a row.
const KILLS: u64 = 24;
/// A message that must be echoed gets so long, far beyond what a busy machine adds.
const WITHIN: Duration = Duration::from_secs(3);
/// Datagrams a second that must not arrive. Nobody waits for their echo: a mixture lives as long as a packet is under way, some
/// microseconds, so many must be.
const FLOOD: u32 = 10_000;

/// One of the two images' policies. `first` tells which side of the crossing pair denies.
fn policies(first: bool, filler: u32) -> String {
    let allowed = |pod: &str, direction: &str, peers: &str, other: &str, allows: bool| {
        let port = if allows { PORT } else { 1 };
        format!(
            "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: {pod}, namespace: shop}}\nspec:\n  \
             endpointSelector: {{matchLabels: {{app: {pod}}}}}\n  {direction}:\n  - {peers}: [{{matchLabels: {{app: {other}}}}}]\n    \
             toPorts: [{{ports: [{{port: \"{port}\", protocol: UDP}}]}}]\n"
        )
    };
    let mut text = allowed("crossing", "egress", "toEndpoints", "crossed", first);
    text += "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: versions, namespace: shop}\nspec:\n  \
             endpointSelector: {matchLabels: {app: server}}\n  ingress:\n  - fromEndpoints: [{matchLabels: {version: one}}]\n    \
             toPorts: [{ports: [{port: \"3\", protocol: TCP}]}]\n";
    text += &allowed("crossed", "ingress", "fromEndpoints", "crossing", !first);
    text += "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: server, namespace: shop}\nspec:\n  \
             endpointSelector: {matchLabels: {app: server}}\n  ingress:\n  - fromEndpoints: [{matchLabels: {app: shared}}]\n";
    text += "  - fromCIDR: [203.0.113.20/32]\n    toPorts: [{ports: [{port: \"1\", protocol: TCP}]}]\n";
    _ = write!(
        text,
        "  - fromCIDR: [203.0.113.10/32]\n    toPorts: [{{ports: [{{port: \"{PORT}\", protocol: UDP}}, {{port: \"{PORT}\", protocol: TCP}}]}}]\n"
    );
    if filler > 0 {
        text += "  - fromCIDR:\n";
        for number in 0..filler {
            _ = writeln!(text, "    - {}/24", Ipv4Addr::from(0x2000_0000 + number * 512));
        }
        text += "    toPorts: [{ports: [{port: \"2\", protocol: TCP}]}]\n";
    }
    text
}

/// A lab of one node, and what is wanted there with each image.
struct Scene {
    lab: Lab,
    images: Vec<(Vec<u8>, State)>,
    /// Each scene fills the machine.
    _turn: MutexGuard<'static, ()>,
}

const PODS: [&str; 4] = ["shop/server", "shop/shared", "shop/crossing", "shop/crossed"];

impl Scene {
    fn new() -> Option<Scene> {
        if !lab::available() {
            return None;
        }
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let label = |name: &str| name.trim_start_matches("shop/").to_owned();
        let plan = PODS.iter().fold(Plan::new().node("n1"), |plan, pod| {
            plan.pod(PodPlan::new(pod, "n1").label("app", &label(pod)).label("version", "one"))
        });
        let mut scene = Scene { lab: plan.build().unwrap(), images: Vec::new(), _turn: turn };
        let mut lock = IdentityLock::default();
        for (first, filler) in [(true, 0), (false, 0), (true, 60_000)] {
            let files = [("cluster.yaml", scene.cluster(first)), ("policies.yaml", policies(first, filler))];
            let world = World::read(files.map(|(name, text)| (name.to_owned(), text.into_bytes())).into());
            assert!(world.errors().is_empty(), "{:?}", world.errors());
            let options = CompileOptions { node: Some(0), ..Default::default() };
            let compiled = world.compile_with(&mut lock, &options).unwrap();
            let bytes = compiled.bytes.as_bytes().to_vec();
            let state = scene.wanted(&Image::open(&bytes).unwrap(), &world);
            scene.images.push((bytes, state));
        }
        scene.check_images();
        Some(scene)
    }

    /// The cluster with the labels that its pods have under one of the two images.
    fn cluster(&self, first: bool) -> String {
        let cluster = self.lab.cluster_yaml();
        if first { cluster } else { cluster.replace("\"version\":\"one\"", "\"version\":\"two\"") }
    }

    /// What is wanted on the node with an image.
    fn wanted(&self, image: &Image<'_>, world: &World) -> State {
        let identities = PartyIdentities::new(image, &world.cluster);
        let addresses = world.cluster.addresses();
        let addresses: BTreeMap<_, _> =
            addresses.map(|(address, party)| (address, identities.identity(party, Some(0)))).collect();
        let endpoint = |pod: &&str| {
            let place = self.lab.pod(pod);
            let (IpAddr::V4(v4), IpAddr::V6(v6)) = (place.v4(), place.v6()) else { panic!("{pod}") };
            let endpoint = Endpoint { identity: addresses[&place.v4()], v4: Some(v4), v6: Some(v6) };
            (self.lab.host_interface(pod).unwrap().index, endpoint)
        };
        let endpoints: BTreeMap<_, _> = PODS.iter().map(endpoint).collect();
        let attached = endpoints.keys().copied().collect();
        State { image: Some(image.header().checksum), addresses, endpoints, attached }
    }

    /// The images are as the head of this file says.
    fn check_images(&self) {
        let [one, two] = [0, 1].map(|at| Image::open(&self.images[at].0).unwrap());
        let [server, other] = [0, 1].map(|at| self.images[at].1.addresses[&self.lab.pod(PODS[0]).v4()]);
        assert_ne!(server, other, "the pods are others under the second image");
        let verdict = |class_of: &Image<'_>, table_of: &Image<'_>, address: Ipv4Addr| {
            let known = table_of.endpoint(server).or(table_of.endpoint(other)).unwrap();
            let class = class_of.address_class(address.into());
            table_of.judge(known.ingress, class, table_of.port_class(17, PORT)).action
        };
        for (address, action) in [(OFFICE, Action::Allow), (STRANGER, Action::Deny)] {
            assert_eq!(verdict(&one, &one, address), action);
            assert_eq!(verdict(&two, &two, address), action);
        }
        let mixed =
            [OFFICE, STRANGER].map(|address| [verdict(&one, &two, address), verdict(&two, &one, address)]);
        assert!(mixed[0].contains(&Action::Deny), "a mixture denies the office: {mixed:?}");
        assert!(mixed[1].contains(&Action::Allow), "a mixture allows the stranger: {mixed:?}");
    }

    fn options() -> Options {
        Options { pin_root: "/sys/fs/bpf/weir".into(), ..Options::default() }
    }

    /// Brings a datapath to what is wanted with an image, as the daemon does.
    fn put(&self, datapath: &mut Datapath, image: usize) -> Installation {
        let (bytes, wanted) = &self.images[image];
        let installed = datapath.installed().unwrap();
        let steps = plan(&installed, wanted);
        let installation = steps.iter().filter_map(|step| datapath.take(step, bytes).unwrap()).last();
        installation.unwrap()
    }
}

fn listening(place: &Place) -> Peer {
    let peer = Peer::start(place).unwrap();
    peer.listen_udp((place.v4(), PORT).into()).unwrap();
    peer.listen_tcp((place.v4(), PORT).into()).unwrap();
    peer
}

/// Runs flows while a datapath is changed by this process, which begins with the first image.
fn datapath_under_fire(scene: &Scene, change: impl FnOnce(Datapath) -> Datapath + Send) {
    let node = scene.lab.node("n1");
    let open = || {
        let mut datapath = Datapath::open(&Scene::options()).unwrap();
        scene.put(&mut datapath, 0);
        datapath
    };
    let datapath = node.inside(open).unwrap();
    let mut last = None;
    under_fire(scene, || {
        let datapath = node.inside(|| change(datapath)).unwrap();
        println!("counted: {:?}", datapath.counters().unwrap());
        last = Some(datapath);
    });
}

/// Runs flows from several namespaces while something happens to the node, and looks at what came of them.
fn under_fire(scene: &Scene, happens: impl FnOnce()) {
    let lab = &scene.lab;
    let [server, shared, crossing, crossed] = PODS.map(|pod| listening(lab.pod(pod)));
    let outside = Peer::start(lab.outside()).unwrap();
    let to = |pod: &str| SocketAddr::from((lab.pod(pod).v4(), PORT));
    let from = |address: Ipv4Addr| SocketAddr::from((address, 0));
    // The first fills what the machine has left; more like it would leave the kernel no time to answer the swaps.
    let long = |kind, call: Call| Flow::new(kind, call).lasts(Duration::from_secs(900));
    let steady = |kind, call: Call| long(kind, call).rate(RATE);
    let allowed = |call: Call| call.within(WITHIN);
    let flood = |call: Call| long(Kind::Udp, call.within(Duration::ZERO)).rate(FLOOD);
    let at_server = Call::to(to("shop/server"));
    let flows = [
        ("the office, datagrams", true, outside.flow(long(Kind::Udp, allowed(at_server).from(from(OFFICE))))),
        (
            "the office, one connection",
            true,
            outside.flow(steady(Kind::Tcp, allowed(at_server).from(from(OFFICE)))),
        ),
        ("pod to pod, datagrams", true, shared.flow(steady(Kind::Udp, allowed(at_server)))),
        ("pod to pod, connections", true, shared.flow(long(Kind::Connections, allowed(at_server)).rate(200))),
        ("a stranger", false, outside.flow(flood(at_server.from(from(STRANGER))))),
        ("the crossing pair", false, crossing.flow(flood(Call::to(to("shop/crossed"))))),
    ];
    let flows = flows.map(|(name, is_allowed, flow)| (name, is_allowed, flow.unwrap()));
    let began = Instant::now();
    happens();
    let took = began.elapsed();
    let flows: Vec<(&str, bool, Counts)> =
        flows.into_iter().map(|(name, is_allowed, flow)| (name, is_allowed, flow.stop().unwrap())).collect();
    let heard = server.heard_from(OFFICE.into()).unwrap();
    println!("the server heard {heard} datagrams of the office");
    for (name, is_allowed, counts) in flows {
        println!(
            "{name}: {} sent, {} echoed, {} lost, longest gap {:?}",
            counts.sent, counts.echoed, counts.lost, counts.longest_gap
        );
        assert!(counts.sent > 50, "{name}: {counts:?}");
        assert!(
            counts.took + Duration::from_secs(1) > took,
            "{name} ended before the changes did: {counts:?}"
        );
        if is_allowed {
            assert_eq!(counts.lost, 0, "{name}: {counts:?}");
        }
    }
    assert!(heard > 0);
    assert_eq!(server.heard_from(STRANGER.into()).unwrap(), 0, "a stranger was let in");
    let crossing = lab.pod("shop/crossing").v4();
    assert_eq!(crossed.heard_from(crossing).unwrap(), 0, "the crossing pair was let through");
    drop((server, crossed));
}

#[test]
fn a_thousand_swaps_lose_nothing_and_mix_nothing() {
    let Some(scene) = Scene::new() else { return };
    datapath_under_fire(&scene, |mut datapath| {
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        for swap in 1..=SWAPS {
            let installed = scene.put(&mut datapath, swap % 2);
            slowest = slowest.max(installed.in_force);
        }
        println!("{SWAPS} swaps in {:?}, the slowest in force after {slowest:?}", began.elapsed());
        datapath
    });
}

/// A hash map gives an entry's memory on at once: a packet that waits between finding its pod and reading who it is met another.
#[test]
fn saying_again_who_is_who_loses_nothing_and_mixes_nothing() {
    let Some(scene) = Scene::new() else { return };
    datapath_under_fire(&scene, |mut datapath| {
        let (_, state) = &scene.images[0];
        let until = Instant::now() + Duration::from_secs(8);
        while Instant::now() < until {
            state.endpoints.iter().for_each(|(at, endpoint)| datapath.set_endpoint(*at, endpoint).unwrap());
            state.addresses.iter().for_each(|(&address, &who)| datapath.set_address(address, who).unwrap());
        }
        datapath
    });
}

#[test]
fn growth_to_larger_values_loses_nothing_and_mixes_nothing() {
    let Some(scene) = Scene::new() else { return };
    datapath_under_fire(&scene, |mut datapath| {
        for swap in 1..=20 {
            scene.put(&mut datapath, swap % 2);
        }
        let grown = scene.put(&mut datapath, 2);
        assert!(grown.grown, "{grown:?}");
        for swap in 1..=7 {
            assert!(!scene.put(&mut datapath, swap % 3).grown);
        }
        datapath
    });
}

#[test]
fn an_upgrade_of_the_programs_loses_nothing_and_mixes_nothing() {
    let Some(scene) = Scene::new() else { return };
    datapath_under_fire(&scene, |mut datapath| {
        for round in 1..=20 {
            // Other programs: their options are compiled in by the verifier. What stands at the pods is replaced as they open.
            drop(datapath);
            let aggregation = if round % 2 == 0 { Aggregation::Flags } else { Aggregation::None };
            datapath = Datapath::open(&Options { aggregation, ..Scene::options() }).unwrap();
            assert!(datapath.image_in_force().is_some());
            scene.put(&mut datapath, round % 2);
        }
        datapath
    });
}

#[test]
fn a_daemon_that_is_killed_and_started_again_loses_nothing_and_mixes_nothing() {
    let Some(scene) = Scene::new() else { return };
    let mut daemon = Policyd::begin(&scene.lab, "n1", &policies(true, 0), "{}").unwrap();
    let all_is_well = |status: &Status| status.image.is_some() && status.problems.is_empty();
    let mut images = vec![daemon.until("the first image", all_is_well).unwrap().image.unwrap().checksum];
    under_fire(&scene, || {
        for round in 1..=KILLS {
            let first = round % 2 == 0;
            daemon.write_file("cluster.yaml", &scene.cluster(first)).unwrap();
            daemon.write_policies(&policies(first, 0)).unwrap();
            // Before the change is read, while it is compiled, while it comes into force, and after that.
            std::thread::sleep(Duration::from_millis(80 + 8 * (round % 12)));
            daemon.kill().unwrap();
            daemon.restart().unwrap();
            let last = images.last().unwrap();
            let is_next = |status: &Status| {
                all_is_well(status) && status.image.as_ref().is_some_and(|image| image.checksum != *last)
            };
            let status = daemon.until("the next image", is_next).unwrap();
            images.push(status.image.unwrap().checksum);
        }
    });
    assert!(images.iter().skip(2).zip(&images).all(|(image, before)| image == before), "{images:?}");
}
