//! What a service's packets do: a client outside, the node that it asks, and the node that answers; each a namespace with real processes in
//! it, and `policyd` on both nodes. For each way of sending on it shows who answered, whom that saw, and the packets on the wire.
//!
//! What is shown is held against what it should be, so the demonstration is a test as well. Where labs cannot be made that is said, and
//! nothing is shown.
//!
//! Run by `cargo xtask demo` at the root of the repository.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use weir_lab::peer::Transport;
use weir_lab::services::ServicePlan;
use weir_lab::wires::{Passed, Way, Wires};
use weir_lab::{Call, Lab, Peer, Plan, PodPlan, Policyd, missing};

/// The service's address, which leads to the first node.
const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const PORT: u16 = 80;
/// The port of the pods behind it.
const TARGET: u16 = 8080;
const FORWARDING: &str = "service.cilium.io/forwarding-mode";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let shown = match missing() {
        None => show(),
        Some(lacking) => {
            println!("{lacking}, so no packet is sent");
            Ok(())
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If stderr is gone there is nobody to tell.
            _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The service, with these pods behind it.
fn service(forwarding: &str, pods: &[&str]) -> ServicePlan {
    let service = ServicePlan::new("shop/web")
        .kind("LoadBalancer")
        .cluster_ip(Ipv4Addr::new(10, 96, 0, 10))
        .balancer_ip(SERVICE)
        .port("TCP", PORT, TARGET)
        .annotation(FORWARDING, forwarding);
    pods.iter().fold(service, |service, pod| service.endpoint(*pod))
}

fn show() -> Result<(), Failure> {
    let lab = Plan::new()
        .node("node-a")
        .node("node-b")
        .pod(PodPlan::new("shop/web-1", "node-b"))
        .pod(PodPlan::new("shop/web-2", "node-b"))
        .led("node-a", &["192.0.2.0/24"])
        .build()?;
    let services = lab.services_yaml(&[service("dsr", &["shop/web-1"])]);
    // The sockets of the nodes are left alone: the client is not among them.
    let config = "balancing: {sockets: {enabled: false}}\n";
    let begin =
        |node: &str| Policyd::begin_with_files(&lab, node, &[("services.yaml", services.as_str())], config);
    let daemons = [begin("node-a")?, begin("node-b")?];
    for (daemon, pods) in daemons.iter().zip([0, 2]) {
        daemon.until_balanced(pods)?;
    }
    let client = Peer::start(lab.outside())?;
    let web = [backend(&lab, "shop/web-1")?, backend(&lab, "shop/web-2")?];
    let wires = Wires::watch(&lab)?;
    println!("a service at {SERVICE}:{PORT}, which leads to node-a; its pods are on node-b\n");
    let saw = ask(&lab, &client, &wires, "Direct Server Return")?;
    holds(
        saw.client == lab.outside().v4() && !saw.came_back,
        "the pod sees the client, and answers it directly",
    )?;

    change(&lab, &daemons, service("snat", &["shop/web-1"]))?;
    let saw = ask(&lab, &client, &wires, "source NAT, because the service says so")?;
    holds(
        saw.client == lab.node("node-a").v4() && saw.came_back,
        "the pod sees node-a, and the answer goes through it",
    )?;

    change(&lab, &daemons, service("dsr", &["shop/web-1"]))?;
    let held = client.open(call(&lab))?.map_err(|failed| failed.to_string())?;
    change(&lab, &daemons, service("dsr", &["shop/web-1", "shop/web-2"]))?;
    let told = held.who(64)?.map_err(|failed| failed.to_string())?;
    println!("\na second pod is added; a connection that was open is still with {}", told.who);
    holds(told.who == "shop/web-1", "no connection moves")?;
    let mut answers: Vec<String> = Vec::new();
    for _ in 0..24 {
        let told = client.who(call(&lab), Transport::Tcp, 64)?.map_err(|failed| failed.to_string())?;
        answers.push(told.who);
    }
    let count = |pod: &str| answers.iter().filter(|who| *who == pod).count();
    let counts = [count("shop/web-1"), count("shop/web-2")];
    println!("of 24 new ones {} are with shop/web-1 and {} with shop/web-2", counts[0], counts[1]);
    holds(counts.iter().all(|&count| count > 0), "both serve")?;
    println!("\nwhat policyd says of it on node-a:\n");
    let status = daemons[0].command(&["status"], "")?.1;
    let lines: Vec<&str> = status.lines().skip_while(|line| !line.starts_with("services")).collect();
    println!("{}", lines.join("\n"));
    drop(web);
    Ok(())
}

/// A pod that tells who it is.
fn backend(lab: &Lab, pod: &str) -> io::Result<Peer> {
    let peer = Peer::start(lab.pod(pod))?;
    peer.tell((lab.pod(pod).v4(), TARGET).into(), pod)?;
    Ok(peer)
}

fn call(lab: &Lab) -> Call {
    Call::to(SocketAddr::from((SERVICE, PORT))).from(SocketAddr::from((lab.outside().v4(), 0)))
}

/// Puts the service in force as it is now, on both nodes.
fn change(lab: &Lab, daemons: &[Policyd<'_>], service: ServicePlan) -> Result<(), Failure> {
    let services = lab.services_yaml(&[service]);
    for daemon in daemons {
        let before = daemon.service_image()?;
        daemon.write_file("services.yaml", &services)?;
        daemon.until_services(before.as_ref())?;
    }
    Ok(())
}

/// What a request showed.
struct Saw {
    /// The client that the pod saw.
    client: IpAddr,
    /// Whether the answer went through the first node.
    came_back: bool,
}

/// Asks once, and tells who answered, whom that saw, and the first packets of both ways.
fn ask(lab: &Lab, client: &Peer, wires: &Wires, heading: &str) -> Result<Saw, Failure> {
    wires.passed()?;
    let told = client.who(call(lab), Transport::Tcp, 64)?.map_err(|failed| failed.to_string())?;
    let passed = wires.passed()?;
    println!("{heading}: {} answers, and sees {}", told.who, told.saw.ip());
    let outside = lab.outside().v4();
    let sent_by =
        |place: &'static str| passed.iter().filter(move |one| one.way == Way::From && one.place == place);
    let row = |from: &str, to: &str, one: &Passed| println!("  {from:<8} -> {to:<8} {}", one.packet);
    let is_answer = |one: &&Passed| one.packet.is_between(SERVICE, outside);
    if let Some(asked) = sent_by("outside").next() {
        row("client", "node-a", asked);
    }
    if let Some(on) = sent_by("node-a").find(|one| !is_answer(one)) {
        row("node-a", "node-b", on);
    }
    if let Some(answer) = sent_by("node-b").next() {
        row("node-b", if is_answer(&answer) { "client" } else { "node-a" }, answer);
    }
    let came_back = sent_by("node-a").find(is_answer);
    if let Some(answer) = came_back {
        row("node-a", "client", answer);
    }
    Ok(Saw { client: told.saw.ip(), came_back: came_back.is_some() })
}

/// Fails the demonstration where something is not so.
fn holds(is_so: bool, what: &str) -> Result<(), Failure> {
    if is_so { Ok(()) } else { Err(format!("it does not hold that {what}").into()) }
}
