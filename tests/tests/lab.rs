//! The lab itself: everybody reaches everybody, labs do not meet, and nothing stays behind.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a lab in which something fails has failed")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use weir_lab::wires::{Passed, Way, Wires};
use weir_lab::{self as lab, Call, Contact, Flow, Kind, Lab, Peer, Place, Plan, PodPlan, Transport};
use weir_tests::world::World;

/// Where peers listen.
const PORT: u16 = 8080;
/// More than two packets of the wire.
const FRAGMENTED: usize = 4000;
/// What must come gets this long, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(5);
/// Set for a process of this test that shall make a lab and be killed.
const VICTIM: &str = "WEIR_LAB_VICTIM";

/// Two nodes, three pods, two of them on one node; where labs can be made.
fn two_nodes() -> Option<Lab> {
    if !lab::available() {
        return None;
    }
    let plan = Plan::new().namespace("shop", &[("env", "prod")]).node("n1").node("n2");
    let plan = plan.pod(PodPlan::new("shop/web", "n1").label("app", "web").port("http", "TCP", PORT));
    Some(plan.pod(PodPlan::new("shop/cache", "n1")).pod(PodPlan::new("shop/db", "n2")).build().unwrap())
}

/// A peer that listens on both addresses of its place.
fn listening(place: &Place) -> Peer {
    let peer = Peer::start(place).unwrap();
    for address in place.addresses() {
        peer.listen_tcp((address, PORT).into()).unwrap();
        peer.listen_udp((address, PORT).into()).unwrap();
    }
    peer
}

/// A call, and what must have come of it: the other side answered under the address it was called by, and was called from
/// the address that is the caller's.
fn assert_made(contact: &Contact, from: IpAddr, to: SocketAddr, what: &str) {
    let Contact::Made { local, remote } = contact else { panic!("{what} from {from} to {to}: {contact}") };
    assert_eq!((local.ip(), *remote), (from, to), "{what}");
}

#[test]
fn everybody_reaches_everybody() {
    let Some(lab) = two_nodes() else { return };
    let places = [lab.pod("shop/web"), lab.pod("shop/cache"), lab.pod("shop/db"), lab.outside()];
    let peers = places.map(listening);
    for (from, peer) in places.iter().zip(&peers) {
        for to in places.iter().filter(|to| to.name() != from.name()) {
            for (local, remote) in from.addresses().into_iter().zip(to.addresses()) {
                let at = SocketAddr::from((remote, PORT));
                let call = Call::to(at).within(PATIENCE);
                assert_made(&peer.udp(call, 1).unwrap(), local, at, "UDP");
                assert_made(&peer.udp(call, FRAGMENTED).unwrap(), local, at, "UDP in fragments");
                assert_made(&peer.tcp(call).unwrap(), local, at, "TCP");
                assert!(from.ping(remote).unwrap(), "ICMP from {} to {remote}", from.name());
            }
        }
    }
}

#[test]
fn nodes_reach_pods_and_each_other() {
    let Some(lab) = two_nodes() else { return };
    for from in [lab.node("n1"), lab.node("n2")] {
        for to in [lab.node("n1"), lab.node("n2"), lab.pod("shop/web"), lab.pod("shop/db"), lab.outside()] {
            for address in to.addresses() {
                assert!(from.ping(address).unwrap(), "from {} to {} {address}", from.name(), to.name());
            }
        }
    }
}

#[test]
fn the_outside_has_many_addresses() {
    let Some(lab) = two_nodes() else { return };
    let (web, outside) = (listening(lab.pod("shop/web")), Peer::start(lab.outside()).unwrap());
    for (address, own) in ["203.0.113.77", "2001:db8::77"].into_iter().zip(lab.pod("shop/web").addresses()) {
        let address: IpAddr = address.parse().unwrap();
        let (at, there) = (SocketAddr::from((own, PORT)), SocketAddr::from((address, PORT)));
        let call = Call::to(at).from((address, 0).into()).within(PATIENCE);
        assert_made(&outside.tcp(call).unwrap(), address, at, "TCP");
        assert_made(&outside.udp(call, 100).unwrap(), address, at, "UDP");
        outside.listen_tcp(there).unwrap();
        outside.listen_udp(there).unwrap();
        assert_made(&web.tcp(there).unwrap(), own, there, "TCP");
        assert_made(&web.udp(there, 100).unwrap(), own, there, "UDP");
    }
}

#[test]
fn the_wire_may_be_narrow_and_of_hardware_and_is_watched() {
    if !lab::available() {
        return;
    }
    let plan = Plan::new().elsewhere().wire_mtu(1400).wire_of_hardware().node("n1").node("n2");
    let plan = plan.led("n1", &["192.0.2.0/24"]).pod(PodPlan::new("shop/db", "n2"));
    let lab = plan.build().unwrap();
    let (db, elsewhere) = (Peer::start(lab.pod("shop/db")).unwrap(), Peer::start(lab.elsewhere()).unwrap());
    let wires = Wires::watch(&lab).unwrap();
    for (own, address) in lab.elsewhere().addresses().into_iter().zip(lab.pod("shop/db").addresses()) {
        let at = SocketAddr::from((address, PORT));
        db.tell(at, "shop/db").unwrap();
        // A datagram that is too large would be lost before the pod knows; TCP says it again.
        for (transport, size) in
            [(Transport::Tcp, FRAGMENTED), (Transport::Udp, 100), (Transport::UdpUnconnected, 100)]
        {
            wires.passed().unwrap();
            let call = Call::to(at).from((own, 0).into()).within(PATIENCE);
            let identity = elsewhere.who(call, transport, size).unwrap().unwrap();
            assert_eq!((identity.who.as_str(), identity.remote), ("shop/db", at));
            assert_eq!(identity.saw, (own, identity.local.port()).into());
            let passed = wires.passed().unwrap();
            let told = || passed.iter().map(|one| format!("\n{one}")).collect::<String>();
            assert!(passed.iter().any(|one| one.is_from("elsewhere", own, address)), "{}", told());
            assert!(passed.iter().any(|one| one.is_from("n2", address, own)), "{}", told());
            assert!(passed.iter().all(|one| one.packet.length <= 1400), "{}", told());
        }
    }
    // Addresses that are nobody's lead to the node that they are led to.
    wires.passed().unwrap();
    let nobody = SocketAddr::from(([192, 0, 2, 1], PORT));
    elsewhere.udp(Call::to(nobody).within(Duration::from_millis(100)), 1).unwrap();
    let to_n1 =
        |one: &Passed| one.place == "n1" && one.way == Way::To && one.packet.destination == nobody.ip();
    assert!(wires.passed().unwrap().iter().any(to_n1));
}

#[test]
fn sctp_is_spoken_and_refused_and_noticed_where_it_is_not() {
    let Some(lab) = two_nodes() else { return };
    let (db, web) = (lab.pod("shop/db"), lab.pod("shop/web"));
    let (host, peer) = (Peer::start(db).unwrap(), Peer::start(web).unwrap());
    for (own, address) in web.addresses().into_iter().zip(db.addresses()) {
        let ask = |port: u16, size: usize| {
            let call = Call::to((address, port).into()).within(PATIENCE);
            peer.who(call, Transport::Sctp, size).unwrap()
        };
        let is_unspoken = ask(PORT, 1);
        assert!(matches!(is_unspoken, Err(Contact::Unreachable { .. })), "{is_unspoken:?}");
        host.tell_sctp(address, &[PORT], "shop/db").unwrap();
        assert_eq!(ask(PORT + 1, 1), Err(Contact::Refused));
        let mut ports = BTreeSet::new();
        for size in [1, 100, FRAGMENTED] {
            let identity = ask(PORT, size).unwrap();
            assert_eq!((identity.who.as_str(), identity.remote), ("shop/db", (address, PORT).into()));
            assert_eq!(identity.saw, (own, identity.local.port()).into());
            assert!(ports.insert(identity.local.port()), "{ports:?}");
        }
        let call = Call::to((address, PORT).into()).from((own, 999).into()).within(PATIENCE);
        assert_eq!(peer.who(call, Transport::Sctp, 1).unwrap().unwrap().saw, (own, 999).into());
    }
}

#[test]
fn what_fails_is_told_apart() {
    let Some(mut lab) = two_nodes() else { return };
    lab.start_pod(PodPlan::new("shop/silent", "n2")).unwrap();
    // Routes that swallow, in place of a datapath that drops.
    for route in ["10.2.0.2/32", "fd00:2::2/128"] {
        let mut ip = lab.node("n2").command("ip");
        assert!(ip.args(["route", "replace", "blackhole", route]).status().unwrap().success());
    }
    let web = Peer::start(lab.pod("shop/web")).unwrap();
    let brief = |address: IpAddr| Call::to((address, PORT).into()).within(Duration::from_millis(200));
    for (place, nobody) in lab.pod("shop/db").addresses().into_iter().zip(["10.1.0.99", "fd00:1::99"]) {
        assert_eq!(web.tcp(brief(place)).unwrap(), Contact::Refused);
        assert_eq!(web.udp(brief(place), 1).unwrap(), Contact::Refused);
        let gone = web.tcp(brief(nobody.parse().unwrap()).within(Duration::from_secs(3))).unwrap();
        assert!(matches!(gone, Contact::Unreachable { .. }), "{gone}");
    }
    for silent in lab.pod("shop/silent").addresses() {
        assert_eq!(web.tcp(brief(silent)).unwrap(), Contact::TimedOut);
        assert_eq!(web.udp(brief(silent), 1).unwrap(), Contact::TimedOut);
        assert!(!lab.pod("shop/web").ping(silent).unwrap());
    }
}

#[test]
fn connections_and_flows_go_on() {
    let Some(lab) = two_nodes() else { return };
    let (web, _db) = (Peer::start(lab.pod("shop/web")).unwrap(), listening(lab.pod("shop/db")));
    let at = SocketAddr::from((lab.pod("shop/db").v4(), PORT));
    let connection = web.open(at).unwrap().unwrap();
    let flow = |kind| Flow::new(kind, Call::to(at).within(Duration::from_millis(300))).rate(500);
    let limited = web.flow(flow(Kind::Udp).rate(100).lasts(Duration::from_millis(500))).unwrap();
    let running = [Kind::Udp, Kind::Tcp, Kind::Connections].map(|kind| web.flow(flow(kind)).unwrap());
    for size in [1, 100_000] {
        assert!(connection.say(size).unwrap().is_made());
    }
    let counts = limited.finish().unwrap();
    assert!((20..=51).contains(&counts.echoed) && counts.lost == 0, "{counts:?}");

    // What a datapath that drops everything would do: some messages are lost, and all flows but that are well.
    let route = |what: &str| {
        let status = lab.node("n1").command("ip").args(["route", what, "blackhole", "10.2.0.1/32"]).status();
        assert!(status.unwrap().success());
    };
    route("add");
    thread::sleep(Duration::from_millis(700));
    route("del");
    thread::sleep(Duration::from_millis(1500));
    for running in running {
        let before = running.so_far().unwrap();
        let counts = running.stop().unwrap();
        println!("{counts:?}");
        assert!(before.echoed <= counts.echoed && counts.echoed > 100, "{counts:?}");
        assert!((1..=50).contains(&counts.lost), "{counts:?}");
        assert_eq!(counts.sent, counts.echoed + counts.lost);
        assert_eq!(counts.last_failure, Some(Contact::TimedOut));
        assert!(counts.longest_gap >= Duration::from_millis(600), "{counts:?}");
    }
    assert!(connection.say(1).unwrap().is_made());
}

#[test]
fn pods_come_and_go() {
    let Some(mut lab) = two_nodes() else { return };
    let before = lab.host_interface("shop/db").unwrap();
    lab.stop_pod("shop/db").unwrap();
    lab.start_pod(PodPlan::new("shop/heir", "n2").at(1)).unwrap();
    let after = lab.host_interface("shop/heir").unwrap();
    assert!(before.name == after.name && before.index != after.index);
    assert!(lab.start_pod(PodPlan::new("shop/heir", "n1")).is_err());
    let (web, heir) = (Peer::start(lab.pod("shop/web")).unwrap(), listening(lab.pod("shop/heir")));
    for address in lab.pod("shop/heir").addresses() {
        assert!(web.tcp(SocketAddr::from((address, PORT))).unwrap().is_made());
    }
    lab.stop_pod("shop/heir").unwrap();
    assert!(heir.listen_tcp("127.0.0.1:0".parse().unwrap()).is_err());
}

#[test]
fn the_product_reads_a_plan() {
    let pod =
        PodPlan::new("shop/web", "n1").label("app", "web").label("on", "true").port("http", "TCP", 8080);
    let plan = Plan::new().namespace("shop", &[("env", "prod")]).node("n1").node("n2").pod(pod);
    let world = World::read(vec![("cluster.yaml".to_owned(), plan.cluster_yaml().into_bytes())]);
    assert_eq!(format!("{:?}", world.findings), "[]");
    assert_eq!((world.cluster.nodes.len(), world.cluster.pods.len()), (2, 1));
    let read = &world.cluster.pods[0];
    assert_eq!(format!("{:?}", read.addresses), "[10.1.0.1, fd00:1::1]");
}

#[test]
fn the_product_reads_the_cluster() {
    let Some(lab) = two_nodes() else { return };
    let world = World::read(vec![("cluster.yaml".to_owned(), lab.cluster_yaml().into_bytes())]);
    assert_eq!(format!("{:?}", world.findings), "[]");
    for pod in &world.cluster.pods {
        let place = lab.pod(&format!("{}/{}", pod.meta.namespace.as_deref().unwrap(), pod.meta.name));
        assert_eq!(pod.addresses, place.addresses());
    }
}

#[test]
fn labs_do_not_meet() {
    if !lab::available() {
        return;
    }
    let labs = thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(two_nodes)).map(|lab| lab.join().unwrap().unwrap())
    });
    // The same addresses in both, but a listener in the first alone.
    let _db = listening(labs[0].pod("shop/db"));
    let at = SocketAddr::from((labs[0].pod("shop/db").v4(), PORT));
    let found = labs.each_ref().map(|lab| Peer::start(lab.pod("shop/web")).unwrap().tcp(at).unwrap());
    assert!(found[0].is_made(), "{}", found[0]);
    assert_eq!(found[1], Contact::Refused);
    for path in ["/run/mark", "/sys/fs/bpf/mark", "/var/lib/weir/mark"] {
        fs::create_dir(labs[0].node("n1").path(path)).unwrap();
        assert!(!labs[0].node("n2").path(path).exists() && !labs[1].node("n1").path(path).exists());
        assert!(!fs::exists(path).unwrap());
    }
}

/// All processes by the network namespace that each is in. The kernel gives the number of a namespace that is gone to the next one, which may be
/// another test's; no process has both numbers again so soon.
fn residents() -> BTreeSet<(u64, u32)> {
    let found = |process: fs::DirEntry| {
        let number = process.file_name().to_str()?.parse().ok()?;
        let link = fs::read_link(process.path().join("ns/net")).ok()?;
        Some((link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?, number))
    };
    fs::read_dir("/proc").unwrap().filter_map(|process| found(process.ok()?)).collect()
}

/// Those in these namespaces.
fn residents_of(made: &BTreeSet<u64>) -> BTreeSet<(u64, u32)> {
    residents().into_iter().filter(|(namespace, _)| made.contains(namespace)).collect()
}

fn inodes(lab: &Lab) -> BTreeSet<u64> {
    let pods = ["shop/web", "shop/cache", "shop/db"].map(|name| lab.pod(name));
    let places = [lab.outside(), lab.node("n1"), lab.node("n2")].into_iter().chain(pods);
    places.map(|place| place.inode().unwrap()).collect()
}

/// Programs that would run on by themselves, one of them with a child and deaf to what is polite. Each has begun, so it is in its place: what is
/// still on its way there when the lab ends finds none.
fn linger(lab: &Lab) -> [Child; 2] {
    let mut stubborn = lab.node("n1").command("sh");
    stubborn.args(["-c", "trap '' INT TERM HUP; sleep 1000 & echo begun; wait; sleep 1000"]);
    let mut sleeping = lab.pod("shop/db").command("sh");
    sleeping.args(["-c", "echo begun; exec sleep 1000"]);
    [stubborn, sleeping].map(|mut program| {
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut told).unwrap();
        assert_eq!(told, "begun\n");
        child
    })
}

/// Cleaning up looks at all processes of the machine, and must touch none but the lab's.
#[test]
fn a_lab_that_is_dropped_leaves_nothing_and_spares_bystanders() {
    if !lab::available() {
        return;
    }
    let mut bystanders = [(); 20].map(|()| Command::new("sleep").arg("1000").spawn().unwrap());
    for _ in 0..3 {
        let start = Instant::now();
        let lab = two_nodes().unwrap();
        println!("a lab of two nodes and three pods came up in {:?}", start.elapsed());
        let made = inodes(&lab);
        let lingering = linger(&lab);
        let there = residents_of(&made);
        let namespaces: BTreeSet<u64> = there.iter().map(|(namespace, _)| *namespace).collect();
        assert!(made.len() == 6 && namespaces == made);
        drop(lab);
        assert!(there.is_disjoint(&residents()));
        for mut program in lingering {
            assert_eq!(program.wait().unwrap().signal(), Some(9));
        }
    }
    let ended = bystanders.each_mut().map(|bystander| bystander.try_wait().unwrap());
    for mut bystander in bystanders {
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
    assert_eq!(ended, [None; 20]);
}

/// Not a test by itself: what the test below starts and kills.
#[test]
fn victim() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let lab = two_nodes().unwrap();
    let _lingering = linger(&lab);
    let _peer = Peer::start(lab.pod("shop/web")).unwrap();
    println!("\nnamespaces {:?}", inodes(&lab));
    std::io::stdout().flush().unwrap();
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_process_that_is_killed_leaves_nothing() {
    if !lab::available() {
        return;
    }
    let mut test = Command::new(env::current_exe().unwrap());
    test.args(["--exact", "victim", "--nocapture", "--test-threads=1"]).env(VICTIM, "1");
    let mut victim = test.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = lines
        .find_map(|line| Some(line.strip_prefix("namespaces {")?.strip_suffix('}')?.to_owned()))
        .unwrap();
    let made: BTreeSet<u64> = told.split(", ").map(|number| number.parse().unwrap()).collect();
    let there = residents_of(&made);
    let namespaces: BTreeSet<u64> = there.iter().map(|(namespace, _)| *namespace).collect();
    assert!(made.len() == 6 && namespaces == made);

    victim.kill().unwrap();
    victim.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !there.is_disjoint(&residents()) {
        assert!(Instant::now() < end, "processes are left behind");
        thread::sleep(Duration::from_millis(20));
    }
}
