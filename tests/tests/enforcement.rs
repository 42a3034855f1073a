//! The product as a whole, in the lab: `policyd` on nodes, real sockets in pods, and what it tells of them.

#![expect(clippy::unwrap_used, reason = "a lab in which something fails has failed")]

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use weir_lab::{self as lab, Call, Contact, Flow, Kind, Lab, Peer, Place, Plan, PodPlan, Policyd, Running};
use weir_runtime::control::{Answered, Request, Response};
use weir_runtime::datapath::version_folder;
use weir_runtime::event::{Event, Fate};
use weir_runtime::wanted::Because;

/// Where peers listen, and where policy lets them be reached.
const PORT: u16 = 8080;
/// Where they listen too.
const OTHER_PORT: u16 = 9090;
/// What must come gets this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who may talk to whom in the shop: the web is reached by the cache and by some of the outside, and reaches the database.
const SHOP: &str = "\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: cache}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}, {port: \"8080\", protocol: UDP}]}]
  - fromCIDR: [203.0.113.7/32, \"2001:db8::7/128\"]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]
  egress:
  - toEndpoints: [{matchLabels: {app: db}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}, {port: \"8080\", protocol: UDP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}, {port: \"8080\", protocol: UDP}]}]
";

/// Two nodes: web and cache on the one, the database on the other.
fn shop() -> Option<Lab> {
    if !lab::available() {
        return None;
    }
    let plan = Plan::new().node("n1").node("n2");
    let plan = plan.pod(PodPlan::new("shop/web", "n1").label("app", "web"));
    let plan = plan.pod(PodPlan::new("shop/cache", "n1").label("app", "cache"));
    Some(plan.pod(PodPlan::new("shop/db", "n2").label("app", "db")).build().unwrap())
}

/// A peer that listens on both addresses of its place, at both ports.
fn listening(place: &Place) -> Peer {
    let peer = Peer::start(place).unwrap();
    for address in place.addresses() {
        for port in [PORT, OTHER_PORT] {
            peer.listen_tcp((address, port).into()).unwrap();
            peer.listen_udp((address, port).into()).unwrap();
        }
    }
    peer
}

fn reaches(peer: &Peer, to: SocketAddr) -> bool {
    matches!(peer.tcp(Call::to(to).within(PATIENCE)).unwrap(), Contact::Made { .. })
}

fn is_dropped(peer: &Peer, to: SocketAddr) -> bool {
    peer.tcp(Call::to(to).within(Duration::from_millis(300))).unwrap() == Contact::TimedOut
}

/// Flows from the cache to the web, allowed ones and a denied one, while something happens to the daemon.
struct Traffic<'a> {
    allowed: [Running<'a>; 3],
    denied: Running<'a>,
}

impl<'a> Traffic<'a> {
    fn start(lab: &Lab, cache: &'a Peer) -> Self {
        let flow = |kind, port, within| {
            let call = Call::to((lab.pod("shop/web").v4(), port).into()).within(within);
            cache.flow(Flow::new(kind, call).rate(500).lasts(Duration::from_secs(60))).unwrap()
        };
        Traffic {
            allowed: [Kind::Udp, Kind::Tcp, Kind::Connections].map(|kind| flow(kind, PORT, PATIENCE)),
            denied: flow(Kind::Udp, OTHER_PORT, Duration::from_millis(3)),
        }
    }

    /// No packet of the allowed was lost, and none of the denied came through.
    fn was_as_policy_has_it(self) {
        for flow in self.allowed {
            let counts = flow.stop().unwrap();
            assert!(counts.sent > 20 && counts.lost == 0, "{counts:?}");
        }
        let counts = self.denied.stop().unwrap();
        assert!(counts.sent > 20 && counts.echoed == 0, "{counts:?}");
    }
}

#[test]
fn policy_is_enforced_in_both_directions_on_two_nodes_and_told() {
    let Some(lab) = shop() else { return };
    let n1 = Policyd::start(&lab, "n1", SHOP).unwrap();
    let n2 = Policyd::start(&lab, "n2", SHOP).unwrap();
    let monitors = [n1.monitor(&["--drops"]).unwrap(), n2.monitor(&["--drops"]).unwrap()];
    let [web, cache, db, outside] =
        [lab.pod("shop/web"), lab.pod("shop/cache"), lab.pod("shop/db"), lab.outside()];
    let peers = [web, cache, db, outside].map(listening);
    let [web_peer, cache_peer, db_peer, outside_peer] = &peers;

    for family in 0..2 {
        let at = |place: &Place, port| SocketAddr::from((place.addresses()[family], port));
        // Allowed: on one node, across nodes, datagrams; replies need no rule.
        assert!(reaches(cache_peer, at(web, PORT)));
        assert!(reaches(web_peer, at(db, PORT)));
        for (peer, to) in [(cache_peer, web), (web_peer, db)] {
            assert!(peer.udp(Call::to(at(to, PORT)).within(PATIENCE), 100).unwrap().is_made());
        }
        // A pod that no policy selects reaches the outside, and is reached.
        assert!(reaches(cache_peer, at(outside, PORT)));
        assert!(reaches(outside_peer, at(cache, PORT)));
        // Denied where it leaves: the web has no business outside, nor at other ports.
        assert!(is_dropped(web_peer, at(outside, PORT)));
        assert!(is_dropped(web_peer, at(db, OTHER_PORT)));
        // Denied where it arrives: on the node of the sender, and on another.
        assert!(is_dropped(cache_peer, at(web, OTHER_PORT)));
        assert!(is_dropped(cache_peer, at(db, PORT)));
        assert!(is_dropped(outside_peer, at(web, PORT)));
        assert!(is_dropped(db_peer, at(web, PORT)));
        // But for one address.
        let seven: IpAddr = ["203.0.113.7", "2001:db8::7"][family].parse().unwrap();
        let call = Call::to(at(web, PORT)).from((seven, 0).into()).within(PATIENCE);
        assert!(outside_peer.tcp(call).unwrap().is_made());
    }

    // Every drop says which policy, rule and line caused it.
    for (monitor, source, destination, direction, policy) in [
        (&monitors[0], Some("shop/web"), None, "egress", "shop/web"),
        (&monitors[0], Some("shop/cache"), Some("shop/web"), "ingress", "shop/web"),
        (&monitors[1], Some("shop/cache"), Some("shop/db"), "ingress", "shop/db"),
    ] {
        let event = monitor
            .await_event(|event| {
                (event.source.name.as_deref(), event.destination.name.as_deref()) == (source, destination)
            })
            .unwrap();
        assert_eq!((event.verdict, event.direction.as_str()), (Fate::Dropped, direction));
        assert_eq!(event.reason, "default-deny");
        let by = event.by.unwrap();
        assert_eq!((by.policy.as_str(), by.kind.as_str()), (policy, "CiliumNetworkPolicy"));
        assert!(by.file.ends_with("policies.yaml") && by.line > 1, "{by:?}");
    }
}

#[test]
fn errors_and_fragments_of_a_connection_pass_and_others_do_not() {
    let Some(lab) = shop() else { return };
    let silent = SHOP.replace(
        "{port: \"8080\", protocol: UDP}",
        "{port: \"8080\", protocol: UDP}, {port: \"7000\", protocol: UDP}",
    );
    let _daemons = ["n1", "n2"].map(|node| Policyd::start(&lab, node, &silent).unwrap());
    let [web, cache, db] = [lab.pod("shop/web"), lab.pod("shop/cache"), lab.pod("shop/db")];
    let [web_peer, cache_peer, _db_peer] = [web, cache, db].map(listening);
    for family in 0..2 {
        let at = |place: &Place, port| SocketAddr::from((place.addresses()[family], port));
        // Nobody listens there, which an ICMP error tells; no rule lets ICMP in.
        let told = web_peer.udp(Call::to(at(db, 7000)).within(PATIENCE), 10).unwrap();
        assert_eq!(told, Contact::Refused);
        assert!(!cache.ping(web.addresses()[family]).unwrap());
        assert!(cache.ping(lab.outside().addresses()[family]).unwrap());
        // More than one packet each way, across the wire.
        assert!(web_peer.udp(Call::to(at(db, PORT)).within(PATIENCE), 4000).unwrap().is_made());
        let denied = Call::to(at(db, PORT)).within(Duration::from_millis(300));
        assert_eq!(cache_peer.udp(denied, 4000).unwrap(), Contact::TimedOut);
    }
}

#[test]
fn a_connection_is_judged_again_when_policy_changes() {
    let Some(lab) = shop() else { return };
    let daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let (web_peer, cache_peer) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
    let to = SocketAddr::from((lab.pod("shop/web").v4(), PORT));
    let connection = cache_peer.open(Call::to(to).within(Duration::from_secs(1))).unwrap().unwrap();
    assert!(connection.say(10).unwrap().is_made());
    daemon.change_policies(&SHOP.replace("app: cache", "app: nobody")).unwrap();
    assert_eq!(connection.say(10).unwrap(), Contact::TimedOut);
    assert!(is_dropped(&cache_peer, to));
    daemon.change_policies(SHOP).unwrap();
    assert!(reaches(&cache_peer, to));
    drop(web_peer);
}

#[test]
fn what_is_wrong_with_a_policy_changes_nothing_and_is_told() {
    let Some(lab) = shop() else { return };
    let daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let before = daemon.image().unwrap();
    let (_web_peer, cache_peer) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
    let at = |port| SocketAddr::from((lab.pod("shop/web").v4(), port));
    daemon.write_policies(&SHOP.replace("endpointSelector", "endpointSelektor")).unwrap();
    let status = daemon.until("the refusal", |status| !status.source.is_good).unwrap();
    assert!(status.problems.iter().any(|problem| problem.contains("policies.yaml:5:3")), "{status:#?}");
    assert_eq!(status.image.map(|image| image.checksum), before);
    assert!(reaches(&cache_peer, at(PORT)) && is_dropped(&cache_peer, at(OTHER_PORT)));
    let (code, told, _) = daemon.command(&["status"], "").unwrap();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("trouble") && told.contains("endpointSelektor"), "{told}");
    daemon.write_policies(SHOP).unwrap();
    daemon.until("the mended policies", |status| status.problems.is_empty()).unwrap();
}

#[test]
fn a_crash_and_a_restart_lose_no_packet_and_open_no_door() {
    let Some(lab) = shop() else { return };
    let mut daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let (_web_peer, cache_peer) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
    let traffic = Traffic::start(&lab, &cache_peer);
    for round in 0..6u64 {
        // What is written is read after a tenth of a second, compiled and swapped in: the crash comes before, amidst or after that.
        daemon.write_policies(&SHOP.replace("203.0.113.7/32", &format!("203.0.113.{round}/32"))).unwrap();
        std::thread::sleep(Duration::from_millis(100 + 10 * round));
        daemon.kill().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        daemon.restart().unwrap();
        daemon.until("the daemon back", |status| status.problems.is_empty()).unwrap();
    }
    traffic.was_as_policy_has_it();
}

#[test]
fn another_version_takes_over_once_it_has_an_image() {
    let Some(lab) = shop() else { return };
    let mut daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let (_web_peer, cache_peer) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
    let traffic = Traffic::start(&lab, &cache_peer);
    daemon.kill().unwrap();
    // What it left in the kernel and on disk becomes that of a version which this one cannot read.
    let pins = lab.node("n1").path("/sys/fs/bpf/weir");
    let left = version_folder(&pins);
    fs::rename(&left, left.with_file_name("state-0")).unwrap();
    fs::write(lab.node("n1").path("/var/lib/weir/image.weir"), "an image of another version").unwrap();
    daemon.write_policies("spec: [").unwrap();
    daemon.restart().unwrap();
    let status = daemon.until("a daemon without an image", |status| status.source.read.is_some()).unwrap();
    assert!(status.image.is_none() && status.endpoints.is_empty(), "{status:#?}");
    let told = status.problems.join("\n");
    assert!(told.contains("enforce what it left"), "{told}");
    let crossing =
        cache_peer.tcp(Call::to((lab.pod("shop/web").v4(), PORT).into()).within(PATIENCE)).unwrap();
    assert!(matches!(crossing, Contact::Made { .. }), "{crossing:?}");
    daemon.write_policies(SHOP).unwrap();
    daemon.until("policies in force", |status| status.problems.is_empty()).unwrap();
    assert!(left.exists() && !left.with_file_name("state-0").exists());
    traffic.was_as_policy_has_it();
}

#[test]
fn what_was_a_pods_is_closed_when_the_pod_is_gone_from_the_source() {
    let Some(lab) = shop() else { return };
    let daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let (web_peer, cache_peer) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
    let at = |place: &Place, port| SocketAddr::from((place.v4(), port));
    assert!(reaches(&cache_peer, at(lab.pod("shop/web"), PORT)));
    let cluster = lab.cluster_yaml();
    let without = cluster.split("---\n").filter(|document| !document.contains("\"name\":\"web\""));
    daemon.write_file("cluster.yaml", &without.collect::<Vec<_>>().join("---\n")).unwrap();
    daemon
        .until("a closed interface", |_| daemon.log().contains("nothing passes at an interface any more"))
        .unwrap();
    // It still runs, and its veth and route are there.
    let (web, cache) = (lab.pod("shop/web"), lab.pod("shop/cache"));
    for port in [PORT, OTHER_PORT] {
        assert!(is_dropped(&cache_peer, at(web, port)) && is_dropped(&web_peer, at(cache, port)), "{port}");
    }
    daemon.write_file("cluster.yaml", &cluster).unwrap();
    daemon.until("both pods", |status| status.endpoints.len() == 2 && status.problems.is_empty()).unwrap();
    assert!(reaches(&cache_peer, at(web, PORT)) && is_dropped(&cache_peer, at(web, OTHER_PORT)));
}

#[test]
fn the_last_good_image_comes_from_disk_before_any_source_answers() {
    let Some(lab) = shop() else { return };
    let mut daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let image = daemon.image().unwrap();
    let (_web_peer, cache_peer) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
    let at = |port| SocketAddr::from((lab.pod("shop/web").v4(), port));
    // Not while it runs.
    let (code, _, told) = daemon.command(&["cleanup"], "").unwrap();
    assert_eq!(code, Some(2), "{told}");
    daemon.kill().unwrap();
    assert!(is_dropped(&cache_peer, at(OTHER_PORT)));
    // What a reboot does to a kernel.
    let (code, _, told) = lab::daemon::command(lab.node("n1"), &["cleanup"], "").unwrap();
    assert_eq!(code, Some(0), "{told}");
    assert!(reaches(&cache_peer, at(OTHER_PORT)));
    daemon.write_policies("spec: [").unwrap();
    daemon.restart().unwrap();
    let status = daemon
        .until("the image from disk", |status| {
            status.image.is_some()
                && status.endpoints.iter().filter(|endpoint| endpoint.attached).count() == 2
        })
        .unwrap();
    let restored = status.image.unwrap();
    assert!(Some(restored.checksum) == image && restored.is_restored);
    assert!(reaches(&cache_peer, at(PORT)) && is_dropped(&cache_peer, at(OTHER_PORT)));
}

#[test]
fn full_maps_open_no_door_and_are_told() {
    let Some(lab) = shop() else { return };
    let config = "maps: {interfaces: 1, conntrackV4: 16}";
    let daemon = Policyd::begin(&lab, "n1", SHOP, config).unwrap();
    let status = daemon
        .until("two pods and one place", |status| {
            status.problems.iter().any(|problem| problem.contains("map interfaces is full"))
                && status.endpoints.iter().all(|endpoint| endpoint.attached)
        })
        .unwrap();
    assert_eq!(status.endpoints.len(), 2);
    let (web, cache, outside) = (lab.pod("shop/web"), lab.pod("shop/cache"), lab.outside());
    let [web_peer, cache_peer, outside_peer] = [web, cache, outside].map(listening);
    // One of the two found no place: nothing leaves it and nothing reaches it, whatever policy says.
    let to_outside = SocketAddr::from((outside.v4(), PORT));
    let web_stands = daemon.ask(&Request::Ask { flows: vec![flow("shop/web", "shop/db", PORT)] }).unwrap();
    let Response::Answers(answers) = web_stands else { panic!("{web_stands:?}") };
    let web_is_known = matches!(&answers[0], Answered::Line(line) if line.contains("\"verdict\":\"allow\""));
    if web_is_known {
        assert!(is_dropped(&cache_peer, to_outside));
        assert!(is_dropped(&outside_peer, (cache.v4(), PORT).into()));
    } else {
        assert!(is_dropped(&web_peer, (lab.pod("shop/db").v4(), PORT).into()));
        assert!(is_dropped(&cache_peer, (web.v4(), PORT).into()));
        // Connections beyond the room for them: the oldest is judged anew when it speaks, and none is let through unjudged.
        for _ in 0..200 {
            assert!(reaches(&cache_peer, to_outside));
        }
        daemon
            .until("the report", |status| {
                status.problems.iter().any(|problem| problem.contains("conntrack_v4"))
                    && status.conntrack.evicted > 0
            })
            .unwrap();
    }
}

#[test]
fn an_address_without_a_place_makes_the_unknown_no_outsiders() {
    let Some(lab) = shop() else { return };
    // The outside may reach the web, and the cluster's pods may not.
    let world = SHOP.replace("fromCIDR: [203.0.113.7/32, \"2001:db8::7/128\"]", "fromEntities: [world]");
    let world = world.replace("app: cache", "app: nobody");
    let daemon = Policyd::begin(&lab, "n1", &world, "maps: {addresses: 2}").unwrap();
    daemon
        .until("addresses without a place", |status| {
            status.problems.iter().any(|problem| problem.contains("map addresses_v4 is full"))
                && status.endpoints.iter().filter(|endpoint| endpoint.attached).count() == 2
        })
        .unwrap();
    let [web, cache, db, outside] =
        [lab.pod("shop/web"), lab.pod("shop/cache"), lab.pod("shop/db"), lab.outside()];
    let [_web_peer, cache_peer, db_peer, outside_peer] = [web, cache, db, outside].map(listening);
    for peer in [&cache_peer, &db_peer, &outside_peer] {
        assert!(is_dropped(peer, (web.v4(), PORT).into()));
    }
}

#[test]
fn events_are_told_as_the_level_says_and_drops_as_the_budget_allows() {
    let Some(lab) = shop() else { return };
    let told = |level: &str| {
        let config = format!("events: {{aggregation: {level}, dropsPerSecond: 3}}");
        let daemon = Policyd::start_with(&lab, "n1", SHOP, &config).unwrap();
        let monitor = daemon.monitor(&[]).unwrap();
        let (web_peer, cache_peer) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
        let at = |port| SocketAddr::from((lab.pod("shop/web").v4(), port));
        // Ten messages and their echoes on one connection, then the end of it.
        let connection = cache_peer.open(Call::to(at(PORT)).within(PATIENCE)).unwrap().unwrap();
        for _ in 0..10 {
            assert!(connection.say(10).unwrap().is_made());
        }
        drop(connection);
        let flow = Flow::new(Kind::Udp, Call::to(at(OTHER_PORT)).within(Duration::from_millis(5)));
        let drops = cache_peer.flow(flow.lasts(Duration::from_secs(2))).unwrap().finish().unwrap();
        let events = monitor.gather(|event| event.direction == "ingress");
        let (code, out, err) = daemon.command(&["cleanup"], "").unwrap();
        assert_eq!(code, Some(2), "{out}{err}");
        drop((web_peer, monitor, daemon));
        let (code, _, err) = lab::daemon::command(lab.node("n1"), &["cleanup", "--all"], "").unwrap();
        assert_eq!(code, Some(0), "{err}");
        (events, drops)
    };
    for (level, fewest, most) in [("none", 20, 60), ("interval", 0, 2), ("flags", 2, 4)] {
        let (events, drops) = told(level);
        // The node has things of its own to say to the pod, such as ICMPv6.
        let is_ours = |event: &&Event| event.protocol == if event.kind == "drop" { "UDP" } else { "TCP" };
        let of = |kind: &str| events.iter().filter(|event| event.kind == kind).filter(is_ours).count();
        assert_eq!(of("connection"), 1, "{level}: {events:#?}");
        assert!((fewest..=most).contains(&of("packet")), "{level}: {} packets", of("packet"));
        // Of some hundreds a few are told, and those tell how many were not.
        assert!(drops.sent > 100, "{drops:?}");
        let most = 3 * std::thread::available_parallelism().unwrap().get() * 4;
        assert!((3..=most).contains(&of("drop")), "{level}: {} drops of {}", of("drop"), drops.sent);
        assert!(events.iter().any(|event| event.left_out > 10), "{level}");
    }
}

#[test]
fn a_pods_interface_is_registered_over_the_socket() {
    let Some(lab) = shop() else { return };
    let daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let interface = lab.host_interface("shop/web").unwrap().name;
    let register = |pod: &str, interface: &str| Request::Register {
        pod: pod.to_owned(),
        interface: interface.to_owned(),
    };
    let answer = daemon.ask(&register("shop/web", &interface)).unwrap();
    assert!(matches!(answer, Response::Registered { enforced: true, why: None }), "{answer:?}");
    let because = |status: &weir_runtime::status::Status| {
        status.endpoints.iter().find(|endpoint| endpoint.pod == "shop/web").map(|endpoint| endpoint.by)
    };
    assert_eq!(because(&daemon.status().unwrap()), Some(Because::Registration));
    // A pod that nobody knows is not enforced, which is said.
    let answer = daemon.ask(&register("shop/nobody", "veth-9")).unwrap();
    assert!(matches!(answer, Response::Registered { enforced: false, why: Some(_) }), "{answer:?}");
    let gone = |pod: &str| Request::Unregister { pod: pod.to_owned() };
    assert!(matches!(daemon.ask(&gone("shop/nobody")).unwrap(), Response::Unregistered { known: true }));
    // Without the registration the route still tells.
    assert!(matches!(daemon.ask(&gone("shop/web")).unwrap(), Response::Unregistered { known: true }));
    daemon.until("the route", |status| because(status) == Some(Because::Route)).unwrap();
    let (_web, cache) = (listening(lab.pod("shop/web")), listening(lab.pod("shop/cache")));
    assert!(is_dropped(&cache, (lab.pod("shop/web").v4(), OTHER_PORT).into()));
}

/// A flow as `policyc verdict` reads it.
fn flow(source: &str, destination: &str, port: u16) -> String {
    format!(
        "{{\"id\":\"f\",\"src\":\"{source}\",\"dst\":\"{destination}\",\"proto\":\"TCP\",\"dport\":{port},\"direction\":\"both\"}}"
    )
}

#[test]
fn verdicts_are_asked_of_the_attached_programs() {
    let Some(lab) = shop() else { return };
    let daemon = Policyd::start(&lab, "n1", SHOP).unwrap();
    let flows = [
        (flow("shop/cache", "shop/web", PORT), "allow", "allowed-by-rule"),
        (flow("shop/cache", "shop/web", OTHER_PORT), "deny", "default-deny"),
        (flow("shop/web", "203.0.113.9", PORT), "deny", "default-deny"),
        (flow("203.0.113.7", "shop/web", PORT), "allow", "allowed-by-rule"),
        (flow("2001:db8::7", "shop/web", PORT), "allow", "allowed-by-rule"),
        (flow("shop/cache", "203.0.113.9", PORT), "allow", "no-policy"),
    ];
    let lines: Vec<&str> = flows.iter().map(|(flow, _, _)| flow.as_str()).collect();
    let (code, answers, told) = daemon.command(&["verdict", "--flows", "-"], &lines.join("\n")).unwrap();
    assert_eq!(code, Some(0), "{told}");
    for ((flow, verdict, reason), answer) in flows.iter().zip(answers.lines()) {
        let expected = [format!("\"verdict\":\"{verdict}\""), format!("\"reason\":\"{reason}\"")];
        assert!(expected.iter().all(|part| answer.contains(part)), "{flow}: {answer}");
    }
    assert_eq!(answers.lines().count(), flows.len());
    let (code, answers, told) = daemon.command(&["verdict", "--flows", "-"], "{\"id\": 1}\n").unwrap();
    assert_eq!((code, answers.as_str()), (Some(1), ""), "{told}");
    assert!(told.starts_with("-:1:1: error: "), "{told}");
}

#[test]
fn a_million_prefixes_are_enforced() {
    let Some(lab) = shop() else { return };
    // Every other /28 of 32.0.0.0/4 and beyond, and one of the outside's own.
    let mut policies = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: list, namespace: shop}\nspec:\n  \
         endpointSelector: {matchLabels: {app: cache}}\n  egress:\n  - toCIDR:\n    - 203.0.113.32/28\n    - 2001:db8:0:0:32::/80\n",
    );
    for number in 0..1_000_000u32 {
        _ = writeln!(policies, "    - {}/28", Ipv4Addr::from(0x2000_0000 + number * 32));
    }
    let daemon = Policyd::start(&lab, "n1", &policies).unwrap();
    let (outside, cache) = (lab.outside(), Peer::start(lab.pod("shop/cache")).unwrap());
    let servers = Peer::start(outside).unwrap();
    for (address, is_in) in [
        ("203.0.113.33", true),
        ("203.0.113.48", false),
        ("203.0.113.31", false),
        ("2001:db8:0:0:32::1", true),
        ("2001:db8:0:0:33::1", false),
    ] {
        let at = SocketAddr::from((address.parse::<IpAddr>().unwrap(), PORT));
        servers.listen_tcp(at).unwrap();
        assert!(if is_in { reaches(&cache, at) } else { is_dropped(&cache, at) }, "{address}");
    }
    // In the list and beside it, asked of the programs.
    let flows = ["32.0.0.1", "32.0.0.17", "33.232.71.225", "33.232.71.241"];
    let flows = flows.map(|address| flow("shop/cache", address, PORT)).to_vec();
    let Response::Answers(answers) = daemon.ask(&Request::Ask { flows }).unwrap() else {
        panic!("no answers")
    };
    let verdicts: Vec<bool> = answers
        .iter()
        .map(|answer| matches!(answer, Answered::Line(line) if line.contains("\"allow\"")))
        .collect();
    assert_eq!(verdicts, [true, false, true, false], "{answers:?}");
}
