//! Expectations are exact: one holds if and only if everybody it is about gets the verdict, as the specification
//! tells of each of them one by one.
//!
//! Who is meant is told here a second time, in the most obvious way; addresses and ports are looked at one by one
//! around every place where the random policies may tell them apart.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use proptest::prelude::*;
use proptest::sample::select;
use std::net::IpAddr;
use weir_abi::Image;
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::expectation::{Judge, Outcome};
use weir_compiler::flow::{Enforced, Flow, Verdict, judge, protocol_named};
use weir_compiler::reference::Reference;
use weir_compiler::requests::{DnsRequest, HttpRequest};
use weir_grammar::span::{FileId, Span};
use weir_grammar::tree::{Expectation, Object};
use weir_grammar::{Limits, Reading, read};
use weir_tests::random::{config, scenario};
use weir_tests::world::World;

/// Addresses on all sides of every prefix that random policies name.
const ADDRESSES: &[&str] = &[
    "9.9.9.9",
    "10.0.255.255",
    "10.1.0.77",
    "198.50.255.255",
    "198.51.0.0",
    "198.51.100.0",
    "198.51.100.7",
    "198.51.100.8",
    "198.51.100.15",
    "198.51.100.16",
    "198.51.200.1",
    "203.0.112.255",
    "203.0.113.1",
    "203.0.113.2",
    "255.255.255.255",
    "::1",
    "2001:db8::7",
    "2001:db8::1:7",
    "2001:db8:0:1::",
    "2001:db9::1",
];
/// Ports on all sides of every range that random policies name.
const PORTS: &[u16] = &[1, 50, 53, 54, 79, 80, 81, 82, 90, 91, 443, 65535];

#[derive(Clone, Debug)]
enum End {
    Pod(&'static str, &'static str),
    Pods { app: Option<&'static str>, namespace: Option<&'static str> },
    Zone(&'static str),
    Entity(&'static str),
    Address(&'static str),
    Block(&'static str, &'static [&'static str]),
    Partners,
    Name(&'static str),
}

impl End {
    fn text(&self) -> String {
        match self {
            End::Pod(namespace, name) => format!("{namespace}/{name}"),
            End::Pods { app, namespace } => {
                let pods = app.map_or("all pods".to_owned(), |app| format!("app={app}"));
                namespace.map_or(pods.clone(), |namespace| format!("{pods} in {namespace}"))
            }
            End::Zone(zone) => format!("nodes zone={zone}"),
            End::Entity(name) | End::Address(name) => (*name).to_owned(),
            End::Block(block, []) => (*block).to_owned(),
            End::Block(block, except) => format!("{block} except {{ {} }}", except.join(", ")),
            End::Partners => "group partners".to_owned(),
            End::Name(name) => format!("fqdn {name}"),
        }
    }

    /// Whether a party is meant, of which `other` is on the other side; and by which name it is known.
    fn means(&self, party: Party, other: Party, world: &World) -> Option<Option<&'static str>> {
        let cluster = &world.cluster;
        let is = |yes: bool| yes.then_some(None);
        let within = |block: &str, address: IpAddr| block.parse::<ipnet::IpNet>().unwrap().contains(&address);
        match (self, party) {
            (End::Pod(namespace, name), _) => is(cluster.party_named(namespace, name) == Some(party)),
            (End::Pods { app, namespace }, Party::Pod(place)) => {
                let meta = &cluster.pods[place].meta;
                let has = |app: &&str| meta.labels.iter().any(|(key, value)| key == "app" && value == app);
                is(app.is_none_or(|app| has(&app))
                    && namespace.is_none_or(|it| meta.namespace.as_deref() == Some(it)))
            }
            (End::Zone(zone), Party::Node(place)) => {
                let labels = &cluster.nodes[place].meta.labels;
                is(labels.iter().any(|(key, value)| key == "zone" && value == zone))
            }
            (End::Entity(entity), _) => is(is_entity(entity, party, other, cluster)),
            (End::Address(address), _) => is(cluster.party(address.parse().unwrap()) == party),
            (End::Block(block, except), Party::Outside(address)) => {
                is(within(block, address) && !except.iter().any(|except| within(except, address)))
            }
            (End::Partners, Party::Outside(address)) => {
                is(within("198.51.100.0/28", address) || within("2001:db8::/64", address))
            }
            (End::Name(name), _) => {
                let addresses = world.lock.as_ref().unwrap().addresses(name);
                addresses.iter().any(|&address| cluster.party(address) == party).then_some(Some(*name))
            }
            _ => None,
        }
    }
}

fn is_entity(entity: &str, party: Party, other: Party, cluster: &Cluster) -> bool {
    let is_host = |place: usize| matches!(other, Party::Outside(_)) || cluster.home(other) == Some(place);
    let is_remote = |place: usize| matches!(other, Party::Outside(_)) || cluster.home(other) != Some(place);
    match (entity, party) {
        ("all", _) | ("cluster", Party::Pod(_) | Party::Node(_)) | ("world", Party::Outside(_)) => true,
        ("world-ipv4", Party::Outside(address)) => address.is_ipv4(),
        ("host", Party::Node(place)) => is_host(place),
        ("remote-node", Party::Node(place)) => is_remote(place),
        // The random clusters' API servers.
        ("kube-apiserver", Party::Node(place)) => cluster.nodes[place].meta.name == "n1",
        ("kube-apiserver", Party::Outside(address)) => address.to_string() == "203.0.113.1",
        _ => false,
    }
}

#[derive(Clone, Debug)]
struct Case {
    from: Vec<End>,
    to: Vec<End>,
    ports: &'static str,
    asked: &'static str,
    verdict: &'static str,
    by: &'static str,
}

impl Case {
    fn line(&self) -> String {
        let ends = |ends: &[End]| ends.iter().map(End::text).collect::<Vec<_>>().join(" or ");
        let Case { from, to, ports, asked, verdict, by } = self;
        format!("{} -> {} {ports} {asked} {verdict} {by}", ends(from), ends(to))
    }

    fn read(&self) -> Expectation {
        let mut reading = Reading::default();
        let text = format!("expect {{\n{}\n}}\n", self.line());
        read(&mut reading, "case.policy", text.into_bytes(), &Limits::default());
        assert!(reading.diagnostics.is_empty(), "{}\n{:?}", self.line(), reading.diagnostics);
        let block = reading.objects.pop().and_then(|object| match object {
            Object::Expectations(block) => Some(block),
            _ => None,
        });
        block.unwrap().list.pop().unwrap()
    }

    /// Whether it is about such a port of a destination.
    fn is_about(&self, protocol: u8, port: u16, destination: Party, cluster: &Cluster) -> bool {
        let with_ports = matches!(protocol, 6 | 17 | 132);
        self.ports.is_empty()
            || self.ports.split(", ").any(|written| {
                let (name, port_text) = written.split_once('/').unwrap_or((written, ""));
                let is_protocol =
                    if name == "any" { with_ports } else { protocol_named(name) == Some(protocol) };
                is_protocol
                    && match port_text.split_once('-') {
                        _ if port_text.is_empty() => true,
                        Some((first, last)) => {
                            (first.parse().unwrap()..=last.parse::<u16>().unwrap()).contains(&port)
                        }
                        None => port_text.parse().map_or_else(
                            |_| {
                                let Party::Pod(place) = destination else { return false };
                                let mut ports = cluster.pods[place].ports.iter();
                                ports.any(|it| {
                                    it.name.as_deref() == Some(port_text) && it.port == port && protocol == 6
                                })
                            },
                            |number: u16| number == port,
                        ),
                    }
            })
    }

    fn flow(&self, source: Party, destination: Party, name: Option<&str>, protocol: u8, port: u16) -> Flow {
        let http = self.asked.strip_prefix("GET ").map(|path| HttpRequest {
            method: "GET".to_owned(),
            path: path.to_owned(),
            ..HttpRequest::default()
        });
        let dns = self.asked.strip_prefix("dns ").map(|name| DnsRequest { query: name.to_owned() });
        Flow {
            id: String::new(),
            span: Span::point(FileId(0), 0),
            source,
            destination,
            protocol,
            port,
            enforced: match self.by {
                "by ingress" => Enforced::Ingress,
                "by egress" => Enforced::Egress,
                _ => Enforced::Both,
            },
            http,
            dns,
            fqdn: name.map(str::to_owned).into_iter().collect(),
            expected: Vec::new(),
            why: None,
        }
    }
}

fn end() -> impl Strategy<Value = End> {
    let app = prop::option::of(select(vec!["x", "y"]));
    let namespace = prop::option::of(select(vec!["a", "b"]));
    let block = select(vec![
        End::Block("198.51.100.0/24", &[]),
        End::Block("198.51.0.0/16", &["198.51.100.0/24"]),
        End::Block("198.51.100.8/29", &["198.51.100.8/32"]),
        End::Block("0.0.0.0/0", &["198.0.0.0/8", "10.0.0.0/8"]),
        End::Block("10.1.0.0/16", &[]),
        End::Block("2001:db8::/32", &[]),
        End::Block("2001:db8::/64", &["2001:db8::/112"]),
    ]);
    let entities = ["all", "cluster", "world", "world-ipv4", "host", "remote-node", "kube-apiserver"];
    prop_oneof![
        3 => select(vec![("a", "p0"), ("a", "p1"), ("b", "p3"), ("b", "p5")]).prop_map(|(a, b)| End::Pod(a, b)),
        3 => (app, namespace).prop_map(|(app, namespace)| End::Pods { app, namespace }),
        1 => select(vec!["one", "two"]).prop_map(End::Zone),
        2 => select(entities.to_vec()).prop_map(End::Entity),
        1 => select(vec!["198.51.100.7", "10.1.0.2", "172.18.0.0", "2001:db8::7"]).prop_map(End::Address),
        2 => block,
        1 => Just(End::Partners),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let name = select(vec!["a.test", "pay.test"]).prop_map(End::Name);
    let ports = select(vec![
        "",
        "tcp/80",
        "tcp/80",
        "udp/53",
        "tcp/79-81",
        "any",
        "any/53",
        "tcp/web",
        "icmp/8",
        "icmp/0, icmpv6/128",
    ]);
    let asked = select(vec!["", "", "GET /a", "GET /b/1", "dns a.test", "dns other.example"]);
    (
        prop::collection::vec(end(), 1..3),
        prop::collection::vec(prop_oneof![8 => end(), 1 => name], 1..3),
        ports,
        asked,
        select(vec!["allow", "deny"]),
        select(vec!["", "by ingress", "by egress"]),
    )
        .prop_map(|(from, to, ports, asked, verdict, by)| Case { from, to, ports, asked, verdict, by })
}

fn everybody(cluster: &Cluster) -> Vec<Party> {
    let pods = cluster.pods.iter().enumerate().filter(|(_, pod)| !pod.host_network);
    let pods = pods.map(|(place, _)| Party::Pod(place));
    let nodes = (0..cluster.nodes.len()).map(Party::Node);
    let addresses = ADDRESSES.iter().map(|text| cluster.party(text.parse().unwrap()));
    pods.chain(nodes).chain(addresses.filter(|party| matches!(party, Party::Outside(_)))).collect()
}

fn all_ports() -> Vec<(u8, u16)> {
    let with_ports =
        [6, 17, 132].into_iter().flat_map(|protocol| PORTS.iter().map(move |&port| (protocol, port)));
    let types = [(1, 0), (1, 8), (1, 9), (58, 0), (58, 128), (58, 255), (2, 0), (112, 0), (47, 0)];
    with_ports.chain(types).collect()
}

/// Whether an address family can have the protocol.
fn is_possible(protocol: u8, parties: [Party; 2]) -> bool {
    let families: Vec<bool> = parties
        .iter()
        .filter_map(|party| match party {
            Party::Outside(address) => Some(address.is_ipv4()),
            _ => None,
        })
        .collect();
    match protocol {
        1 => !families.contains(&false),
        58 => !families.contains(&true),
        _ => families.windows(2).all(|pair| pair[0] == pair[1]),
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn an_expectation_holds_if_and_only_if_it_holds_for_everybody(
        scenario in scenario(),
        cases in prop::collection::vec(case(), 4),
    ) {
        let (world, _) = scenario.read();
        let bytes = world.image().map_err(TestCaseError::fail)?;
        let image = Image::open(bytes.as_bytes()).unwrap();
        let mut engine = Judge::new(image, &world.policies, &world.cluster, world.lock.as_ref());
        let reference = Reference::new(&world.policies, &world.cluster, world.lock.as_ref());
        let passes = |flow: &Flow| {
            matches!(judge(&reference, flow).verdict, Verdict::Allow | Verdict::RedirectAllow)
        };
        let (parties, ports) = (everybody(&world.cluster), all_ports());
        for case in cases {
            let expectation = case.read();
            let wanted = case.verdict == "allow";
            let outcome = engine.judge(&expectation);
            let (mut pairs, mut disagreeing) = (0usize, None);
            for &source in &parties {
                for &destination in &parties {
                    let from = case.from.iter().filter_map(|end| end.means(source, destination, &world)).next();
                    if source == destination || from.is_none() {
                        continue;
                    }
                    for name in case.to.iter().filter_map(|end| end.means(destination, source, &world)) {
                        for &(protocol, port) in &ports {
                            let is_meant = case.is_about(protocol, port, destination, &world.cluster);
                            if !is_meant || !is_possible(protocol, [source, destination]) {
                                continue;
                            }
                            pairs += 1;
                            // One that disagrees is enough.
                            if disagreeing.is_none() {
                                let flow = case.flow(source, destination, name, protocol, port);
                                disagreeing = (passes(&flow) != wanted).then_some(flow);
                            }
                        }
                    }
                }
            }
            let line = case.line();
            match outcome {
                Outcome::Holds => prop_assert!(disagreeing.is_none(), "{} holds, but {:?}", line, disagreeing),
                Outcome::Nobody(_) => {
                    // That one of several ends is nobody is enough.
                    let is_anybody = |end: &End| {
                        parties.iter().any(|&party| {
                            parties.iter().any(|&other| end.means(party, other, &world).is_some())
                        })
                    };
                    let is_full = case.from.iter().chain(&case.to).all(is_anybody);
                    prop_assert!(pairs == 0 || !is_full, "{} is about {} connections", line, pairs);
                }
                Outcome::TooMany => prop_assert!(false, "{}", line),
                Outcome::Fails(found) => {
                    let flow = &found.flow;
                    prop_assert_ne!(passes(flow), wanted, "{} fails for {:?}", line, flow);
                    let told = judge(&reference, flow);
                    prop_assert_eq!(&told, &found.judgement, "{}", line);
                    prop_assert!(is_possible(flow.protocol, [flow.source, flow.destination]), "{} {:?}", line, flow);
                    let is_source =
                        case.from.iter().any(|end| end.means(flow.source, flow.destination, &world).is_some());
                    let is_destination = case.to.iter().any(|end| {
                        // A name without addresses leads anywhere.
                        matches!(end, End::Name(name) if flow.fqdn == [*name])
                            || end.means(flow.destination, flow.source, &world) == Some(None)
                    });
                    prop_assert!(is_source && is_destination, "{} is not about {:?}", line, flow);
                    let port = case.is_about(flow.protocol, flow.port, flow.destination, &world.cluster);
                    prop_assert!(port, "{} is not about the port of {:?}", line, flow);
                }
            }
        }
    }
}
