//! What the kernel does with the policies of examples/shop: two nodes, four pods and a world outside, each a namespace with real
//! processes in it; connections made between them, and for each the rule that decided, as `policyd monitor` tells it.
//!
//! Where labs cannot be made, the same connections are judged by the compiled image, and that is said. Either way the
//! verdicts are held against the image's, so the demonstration is a test as well.
//!
//! Run by `cargo xtask demo` at the root of the repository.

use serde_json::json;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weir_compiler::flow::{Flow, Verdict, VerdictLine, judge};
use weir_compiler::interpret::Interpreter;
use weir_lab::{Call, Contact, Lab, Monitor, Peer, Place, Plan, PodPlan, Policyd, missing};
use weir_runtime::event::Event;
use weir_tests::world::World;

const POLICIES: &str = "examples/shop/policies";

/// The cluster knows the database by a service as well.
const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: database, namespace: shop}
spec:
  clusterIP: 10.96.0.20
  selector: {app: db}
  ports: [{name: sql, port: 5432, targetPort: sql, protocol: TCP}]
";

/// Who calls whom, from where (outside) and to which TCP port.
const CONNECTIONS: &[(&str, &str, u16)] = &[
    ("shop/checkout", "shop/db", 5432),
    ("shop/web", "shop/db", 5432),
    ("shop/checkout", "203.0.113.10", 443),
    ("shop/checkout", "203.0.113.210", 443),
    ("203.0.113.50", "shop/web", 8080),
    ("203.0.113.50", "shop/web", 22),
    ("ops/prometheus", "shop/db", 9100),
    ("ops/prometheus", "shop/checkout", 8443),
    ("shop/web", "shop/checkout", 8443),
];

/// What is changed while it runs: the web may read the database.
const CHANGE: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: reports, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{protocol: TCP, port: 5432}]
";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let shown = match missing() {
        None => in_the_kernel(),
        Some(lacking) => by_the_image(&lacking),
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

fn plan() -> Plan {
    let pod = |name: &str, node: &str, app: &str| PodPlan::new(name, node).label("app", app);
    Plan::new()
        .node("node-a")
        .node("node-b")
        .pod(pod("shop/web", "node-a", "web").port("http", "TCP", 8080))
        .pod(pod("shop/checkout", "node-a", "checkout").port("api", "TCP", 8443))
        .pod(pod("shop/db", "node-b", "db").port("sql", "TCP", 5432))
        .pod(pod("ops/prometheus", "node-b", "prometheus"))
}

/// The shop's files, by name.
fn policies() -> io::Result<Vec<(String, String)>> {
    let mut files = vec![("service.yaml".to_owned(), SERVICE.to_owned())];
    for entry in fs::read_dir(POLICIES)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, fs::read_to_string(path)?));
    }
    files.sort();
    Ok(files)
}

/// One connection, and what the image says of it.
struct Expected {
    passes: bool,
    told: String,
}

/// What the image says of every connection.
fn expected(cluster: &str, files: &[(String, String)]) -> Result<Vec<Expected>, Failure> {
    let cluster = [("cluster.yaml".to_owned(), cluster.to_owned())];
    let files = cluster
        .into_iter()
        .chain(files.iter().map(|(name, text)| (format!("{POLICIES}/{name}"), text.clone())));
    let mut world = World::read(files.map(|(name, text)| (name, text.into_bytes())).collect());
    let line = |&(source, destination, port): &(&str, &str, u16)| {
        let flow = json!({"id": "", "src": source, "dst": destination, "proto": "TCP", "dport": port, "direction": "both"});
        flow.to_string() + "\n"
    };
    let flows = world.read_flows("connections", &CONNECTIONS.iter().map(line).collect::<String>());
    if !world.errors().is_empty() {
        return Err(world.errors().join("\n").into());
    }
    let image = weir_abi::Image::open(world.image()?.as_bytes())?;
    let interpreter = Interpreter::new(image, &world.cluster, None);
    let told = |flow: &Flow| {
        let judgement = judge(&interpreter, flow);
        let line = serde_json::to_value(VerdictLine::new(flow, &judgement, &image))?;
        let by = line["by"].as_array().and_then(|rules| rules.last()).map(|rule| {
            let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
            format!(" {} {} {} {}:{}", text("kind"), text("policy"), text("rule"), text("file"), rule["line"])
        });
        // There is no proxy yet that could read requests.
        let is_redirect = matches!(judgement.verdict, Verdict::RedirectAllow | Verdict::RedirectDeny);
        let reason = if is_redirect { Some("proxy-unavailable") } else { line["reason"].as_str() };
        let told = format!("{}{}", reason.unwrap_or_default(), by.unwrap_or_default());
        Ok(Expected { passes: judgement.verdict == Verdict::Allow, told })
    };
    flows.iter().map(told).collect()
}

fn row(connection: &(&str, &str, u16), happened: &str, why: &str) {
    let (from, to, port) = connection;
    let way = format!("{from} -> {to}:{port}");
    println!("{way:<36} {happened:<10} {why}");
}

fn by_the_image(lacking: &str) -> Result<(), Failure> {
    println!("{lacking}, so no packet is sent: these are the verdicts of the compiled image.\n");
    let files = policies()?;
    for (connection, expected) in CONNECTIONS.iter().zip(expected(&plan().cluster_yaml(), &files)?) {
        row(connection, if expected.passes { "passes" } else { "dropped" }, &expected.told);
    }
    Ok(())
}

fn in_the_kernel() -> Result<(), Failure> {
    let began = Instant::now();
    let lab = plan().build()?;
    let took = began.elapsed().as_secs_f64();
    println!("two nodes, four pods and a world outside, made of namespaces in {took:.1} s");
    show(&lab)?;
    drop(lab);
    println!("\nthe namespaces are gone, and all that was in the kernel with them");
    Ok(())
}

/// Everything that is shown in the lab.
fn show(lab: &Lab) -> Result<(), Failure> {
    let files = policies()?;
    let expected = expected(&lab.cluster_yaml(), &files)?;
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let daemons = ["node-a", "node-b"].map(|node| Policyd::begin_with_files(lab, node, &files, "{}"));
    let [node_a, node_b] = daemons;
    let daemons = [node_a?, node_b?];
    for daemon in &daemons {
        daemon.until("the policies in force", |status| status.problems.is_empty())?;
    }
    println!("policyd enforces {POLICIES} on both:\n");
    print!("{}", daemons[1].command(&["status"], "")?.1);

    let peers = Peers::start(lab)?;
    let monitors = [daemons[0].monitor(&[])?, daemons[1].monitor(&[])?];
    println!("\nconnections, and what `policyd monitor` tells of them:\n");
    for (connection, expected) in CONNECTIONS.iter().zip(&expected) {
        let contact = peers.call(connection)?;
        row(
            connection,
            if contact.is_made() { "connected" } else { "dropped" },
            &why(connection, &monitors, &daemons)?,
        );
        if contact.is_made() != expected.passes {
            return Err(format!("{connection:?}: {contact}; the image says {}", expected.told).into());
        }
    }

    let last = ["monitor", "--drops", "--last", "1", "--count", "1"];
    println!("\nthe last drop on node-b:\n");
    print!("{}", daemons[1].command(&last, "")?.1);

    println!("\nthe web asks for reports, and a policy is added:\n");
    let began = Instant::now();
    let before = daemons[1].image()?;
    for daemon in &daemons {
        daemon.write_file("reports.yaml", CHANGE)?;
    }
    daemons[1].until("another image", |status| {
        status.image.as_ref().map(|image| &image.checksum) != before.as_ref()
    })?;
    let took = began.elapsed();
    let contact = peers.call(&CONNECTIONS[1])?;
    row(
        &CONNECTIONS[1],
        if contact.is_made() { "connected" } else { "dropped" },
        &why(&CONNECTIONS[1], &monitors, &daemons)?,
    );
    println!("in force {} ms after the file was written", took.as_millis());
    if !contact.is_made() {
        return Err(format!("the change did not help: {contact}").into());
    }
    Ok(())
}

/// Processes in the pods and outside, listening wherever a connection goes.
struct Peers<'a> {
    lab: &'a Lab,
    peers: Vec<(&'a str, Peer)>,
}

impl<'a> Peers<'a> {
    fn start(lab: &'a Lab) -> io::Result<Self> {
        let mut peers = vec![("", Peer::start(lab.outside())?)];
        for pod in ["shop/web", "shop/checkout", "shop/db", "ops/prometheus"] {
            peers.push((pod, Peer::start(lab.pod(pod))?));
        }
        let peers = Peers { lab, peers };
        let mut served: Vec<(&str, u16)> = CONNECTIONS.iter().map(|&(_, to, port)| (to, port)).collect();
        served.sort_unstable();
        served.dedup();
        for (to, port) in served {
            peers.of(to).listen_tcp((peers.address(to), port).into())?;
        }
        Ok(peers)
    }

    fn place(&self, name: &str) -> &Place {
        if name.contains('/') { self.lab.pod(name) } else { self.lab.outside() }
    }

    fn address(&self, name: &str) -> IpAddr {
        name.parse().unwrap_or_else(|_| self.place(name).v4())
    }

    fn of(&self, name: &str) -> &Peer {
        let found = self.peers.iter().find(|(pod, _)| *pod == name);
        &found.unwrap_or(&self.peers[0]).1
    }

    fn call(&self, &(from, to, port): &(&str, &str, u16)) -> io::Result<Contact> {
        let call = Call::to((self.address(to), port).into()).from(SocketAddr::from((self.address(from), 0)));
        self.of(from).tcp(call.within(Duration::from_millis(500)))
    }
}

/// What the monitors told of a connection: the drop, or else what the last rule allowed.
fn why(
    connection: &(&str, &str, u16),
    monitors: &[Monitor],
    daemons: &[Policyd<'_>],
) -> Result<String, Failure> {
    let &(from, to, port) = connection;
    let is_end = |end: &weir_runtime::event::End, name: &str| {
        end.name.as_deref() == Some(name) || end.ip.to_string() == name
    };
    let is_it = |event: &Event| {
        is_end(&event.source, from)
            && is_end(&event.destination, to)
            && event.destination.port == Some(port)
            && event.kind != "packet"
    };
    let mut events: Vec<Event> = monitors.iter().flat_map(|monitor| monitor.gather(is_it)).collect();
    events.sort_by_key(|event| (event.kind == "drop", event.by.is_some(), event.time.clone()));
    let event = events.pop().ok_or_else(|| format!("nothing is told of {connection:?}"))?;
    let by = event.by.map(|by| {
        let file = daemons
            .iter()
            .find_map(|daemon| by.file.strip_prefix(&format!("{}/", daemon.source().display())));
        let file = file.map_or(by.file.clone(), |file| format!("{POLICIES}/{file}"));
        format!(" {} {} {} {file}:{}", by.kind, by.policy, by.rule, by.line)
    });
    Ok(format!("{}: {}{}", event.direction, event.reason, by.unwrap_or_default()))
}
