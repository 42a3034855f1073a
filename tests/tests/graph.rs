//! The graph of who may talk to whom, held against the specification: every pair, every port.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use proptest::prelude::*;
use std::net::IpAddr;
use weir_abi::{Action, Image, Reason};
use weir_compiler::cluster::Party;
use weir_compiler::flow::{Enforced, Flow, Verdict, judge};
use weir_compiler::graph::{Choice, Edge, Graph, Input, Kind, Vertex, What, example, graph};
use weir_compiler::ir::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use weir_compiler::reference::Reference;
use weir_grammar::span::{FileId, Span};
use weir_tests::random::{Scenario, config, scenario};
use weir_tests::world::World;

/// Ports that policies name, their neighbours, and some that none names.
const PORTS: &[(u8, u16)] = &[
    (TCP, 0),
    (TCP, 1),
    (TCP, 53),
    (TCP, 80),
    (TCP, 81),
    (TCP, 85),
    (TCP, 91),
    (TCP, 443),
    (TCP, 65535),
    (UDP, 53),
    (UDP, 80),
    (UDP, 4000),
    (SCTP, 80),
    (ICMP, 0),
    (ICMP, 8),
    (ICMPV6, 128),
    (112, 0),
    (112, 7),
];

const OUTSIDE: &[&str] = &[
    "198.51.100.7",
    "198.51.100.8",
    "198.51.200.1",
    "203.0.113.1",
    "2001:db8::7",
    "2001:db9::1",
    "192.0.2.1",
];

fn graph_of(world: &World, choice: &Choice) -> Graph {
    let addresses_of = |text: &str, is_pattern: bool| world.addresses_of(text, is_pattern);
    let image = Image::open(world.image().unwrap().as_bytes()).unwrap();
    let input = Input { image, cluster: &world.cluster, set: &world.policies, addresses_of: &addresses_of };
    graph(&input, choice).unwrap()
}

/// What is compared: whether it passes, whether a proxy looks into it, whether a rule denies it.
fn told(graph: &Graph, edge: Option<&Edge>, (protocol, port): (u8, u16)) -> &'static str {
    let part = edge
        .and_then(|edge| graph.treatment(edge).parts.iter().find(|part| part.ports.contains(protocol, port)));
    match part.map(|part| &part.what) {
        Some(What::Passes) => "passes",
        Some(What::Proxied(_)) => "proxied",
        Some(What::Denied) => "denied by rule",
        None => "denied by default",
    }
}

fn specified(
    reference: &Reference<'_>,
    from: Party,
    to: Party,
    (protocol, port): (u8, u16),
    names: &[String],
) -> &'static str {
    let flow = Flow {
        id: String::new(),
        span: Span::point(FileId(0), 0),
        source: from,
        destination: to,
        protocol,
        port,
        enforced: Enforced::Both,
        http: None,
        dns: None,
        fqdn: names.to_vec(),
        expected: Vec::new(),
        why: None,
    };
    let judgement = judge(reference, &flow);
    let by_rule = judgement
        .sides
        .iter()
        .any(|(_, side)| side.action == Action::Deny && side.reason == Reason::DeniedByRule);
    match judgement.verdict {
        Verdict::Allow => "passes",
        Verdict::RedirectAllow | Verdict::RedirectDeny => "proxied",
        Verdict::Deny if by_rule => "denied by rule",
        Verdict::Deny => "denied by default",
    }
}

fn edge(graph: &Graph, from: usize, to: usize) -> Option<&Edge> {
    let place = graph.edges.binary_search_by_key(&(from, to), |edge| (edge.from, edge.to)).ok()?;
    graph.edges.get(place)
}

fn of_kind(graph: &Graph, kind: Kind) -> impl Iterator<Item = (usize, &Vertex)> {
    graph.vertices.iter().enumerate().filter(move |(_, vertex)| vertex.kind == kind)
}

/// The pods and nodes of a vertex.
fn parties(vertex: &Vertex) -> Vec<Party> {
    let party = |&place: &usize| match vertex.kind {
        Kind::Pods => Party::Pod(place),
        _ => Party::Node(place),
    };
    vertex.places.iter().map(party).collect()
}

fn is_inside(vertex: &Vertex) -> bool {
    matches!(vertex.kind, Kind::Pods | Kind::Nodes | Kind::OwnNode)
}

/// Whether a vertex of a node stands for it in a connection with someone.
fn sees(world: &World, vertex: &Vertex, node: Party, other: Party) -> bool {
    let own = world.cluster.home(other) == world.cluster.home(node);
    match vertex.kind {
        Kind::Nodes => !own,
        Kind::OwnNode => own,
        _ => true,
    }
}

fn within(scenario: &Scenario) -> Result<(), TestCaseError> {
    let (world, _) = scenario.read();
    let graph = graph_of(&world, &Choice::default());
    let reference = Reference::new(&world.policies, &world.cluster, world.lock.as_ref());
    let inside = || graph.vertices.iter().enumerate().filter(|(_, vertex)| is_inside(vertex));
    for ((a, one), (b, other)) in inside().flat_map(|one| inside().map(move |other| (one, other))) {
        for (from, to) in
            parties(one).into_iter().flat_map(|from| parties(other).into_iter().map(move |to| (from, to)))
        {
            let is_one = one.kind == Kind::Pods || sees(&world, one, from, to);
            let is_other = other.kind == Kind::Pods || sees(&world, other, to, from);
            let nodes_alone = one.kind != Kind::Pods && other.kind != Kind::Pods;
            let is_drawn = !nodes_alone || (one.kind, other.kind) == (Kind::Nodes, Kind::Nodes);
            if from == to || !is_one || !is_other || !is_drawn {
                continue;
            }
            for &port in PORTS {
                let right = specified(&reference, from, to, port, &[]);
                let told = told(&graph, edge(&graph, a, b), port);
                prop_assert_eq!(told, right, "{} to {} on {:?}", one.name, other.name, port);
            }
        }
    }
    Ok(())
}

/// Whether a vertex outside tells of an address, or a name, what the specification does of it with everyone inside.
fn tells(
    graph: &Graph,
    reference: &Reference<'_>,
    (place, vertex): (usize, &Vertex),
    address: IpAddr,
    names: &[String],
) -> bool {
    let outside = Party::Outside(address);
    let pods = of_kind(graph, Kind::Pods).chain(of_kind(graph, Kind::Nodes));
    pods.into_iter().all(|(at, pods)| {
        let (from, to) = if vertex.kind == Kind::Sources { (place, at) } else { (at, place) };
        parties(pods).into_iter().all(|party| {
            let (source, destination) =
                if vertex.kind == Kind::Sources { (outside, party) } else { (party, outside) };
            PORTS.iter().all(|&port| {
                told(graph, edge(graph, from, to), port)
                    == specified(reference, source, destination, port, names)
            })
        })
    })
}

fn outside(scenario: &Scenario) -> Result<(), TestCaseError> {
    let (world, _) = scenario.read();
    let graph = graph_of(&world, &Choice::default());
    let reference = Reference::new(&world.policies, &world.cluster, world.lock.as_ref());
    for kind in [Kind::Sources, Kind::Destinations] {
        for (place, vertex) in of_kind(&graph, kind) {
            if let Some(address) = vertex.address {
                let is_told = tells(&graph, &reference, (place, vertex), address, &[]);
                prop_assert!(is_told, "{:?} {} at {}", kind, vertex.name, address);
            }
        }
        for &address in OUTSIDE {
            let address: IpAddr = address.parse().unwrap();
            if matches!(world.cluster.party(address), Party::Outside(_)) {
                let known =
                    of_kind(&graph, kind).any(|vertex| tells(&graph, &reference, vertex, address, &[]));
                prop_assert!(known, "{:?} {}", kind, address);
            }
        }
    }
    let image = Image::open(world.image().unwrap().as_bytes()).unwrap();
    let rest = of_kind(&graph, Kind::Destinations).find(|(_, vertex)| vertex.name.starts_with("world"));
    if let Some(rest) = rest.and_then(|(_, vertex)| vertex.address).filter(IpAddr::is_ipv4) {
        for name in image.fqdns() {
            let names = [example(name.text)];
            let known = of_kind(&graph, Kind::Destinations)
                .any(|vertex| tells(&graph, &reference, vertex, rest, &names));
            prop_assert!(known, "{}", name.text);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_pair_has_an_edge_exactly_if_both_sides_pass_it(scenario in scenario()) {
        within(&scenario)?;
    }

    #[test]
    fn what_is_outside_is_told_whole(scenario in scenario()) {
        outside(&scenario)?;
    }

    #[test]
    fn a_part_of_the_graph_says_what_the_whole_does(scenario in scenario()) {
        let (world, _) = scenario.read();
        let whole = graph_of(&world, &Choice::default());
        let part = graph_of(&world, &Choice { namespaces: ["a".to_owned()].into(), workload: None });
        let named = |graph: &Graph| -> Vec<(String, String, String)> {
            let name = |place: usize| {
                let vertex = &graph.vertices[place];
                format!("{:?} {:?} {:?}", vertex.kind, vertex.namespace, vertex.name)
            };
            let inside = |place: usize| is_inside(&graph.vertices[place]);
            let edges = graph.edges.iter().filter(|edge| inside(edge.from) && inside(edge.to));
            edges
                .filter(|edge| [edge.from, edge.to].iter().any(|&end| graph.vertices[end].namespace.as_deref() == Some("a")))
                .filter(|edge| graph.treatment(edge).is_by_rule() && !graph.is_implied(edge))
                .map(|edge| (name(edge.from), name(edge.to), format!("{:?}", graph.treatment(edge))))
                .collect()
        };
        prop_assert_eq!(named(&whole), named(&part));
    }
}
