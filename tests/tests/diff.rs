//! A comparison of two policy sets against brute force: the specification asked about every party, the ends of
//! every prefix, port range and ICMP type, with and without names, under both sets. What the comparison covers changed as it says;
//! what it does not cover is as it was.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_abi::{Action, Reason};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::compile::Input;
use weir_compiler::diff::{Difference, Joined, Kind, Request, Said, differences, join};
use weir_compiler::flow::{Enforced, Engine, Flow, Side};
use weir_compiler::fqdn::{FqdnLock, FqdnPattern};
use weir_compiler::identity::IdentityLock;
use weir_compiler::ir::{Direction, protocol};
use weir_compiler::reference::Reference;
use weir_compiler::requests::{Asked, DnsRequest, HeaderParts, HttpParts, HttpRequest, Matcher};
use weir_grammar::span::{FileId, Span};
use weir_grammar::tree::Mismatch;
use weir_tests::random::{Scenario, config, scenario};
use weir_tests::world::World;

/// Two sets of a scenario's policies, which share some, in its one cluster.
struct Pair {
    from: World,
    to: World,
    joined: Joined,
    cluster: Cluster,
}

impl Pair {
    fn new(scenario: &Scenario, cut: (usize, usize)) -> Pair {
        let (end, start) = (cut.0 % (scenario.policies.len() + 1), cut.1 % (scenario.policies.len() + 1));
        let world = |policies: &[serde_json::Value]| {
            let policies = policies.to_vec();
            Scenario { policies, flows: Vec::new(), ..scenario.clone() }.read().0
        };
        let all = &scenario.policies;
        Pair::of(world(&all[..end]), world(&all[start..]))
    }

    fn of(from: World, to: World) -> Pair {
        let half = |world: &World| (world.policies.clone(), world.cluster.groups.clone());
        let joined = join(half(&from), half(&to));
        let mut cluster = from.cluster.clone();
        cluster.groups.clone_from(&joined.groups);
        Pair { from, to, joined, cluster }
    }

    fn mirrored(self) -> Pair {
        Pair::of(self.to, self.from)
    }

    fn differences(&self) -> Vec<Difference> {
        let lock = self.from.lock.as_ref();
        let addresses_of = |text: &str, is_pattern: bool| -> Vec<IpAddr> {
            let pattern = FqdnPattern::from_text(text, is_pattern);
            let known = lock.into_iter().flat_map(FqdnLock::iter);
            known.filter(|(name, _)| pattern.matches(name)).flat_map(|(_, all)| all).copied().collect()
        };
        let input = Input {
            set: &self.joined.set,
            cluster: &self.cluster,
            sources: &self.from.sources,
            addresses_of: &addresses_of,
        };
        differences(&input, self.joined.split, &mut IdentityLock::default()).unwrap()
    }
}

/// A place where traffic may be looked at.
#[derive(Debug)]
struct Point {
    subject: Party,
    direction: Direction,
    peer: Party,
    protocol: u8,
    port: u16,
    name: Option<&'static str>,
}

impl Point {
    fn flow(&self, http: Option<HttpRequest>, dns: Option<DnsRequest>) -> Flow {
        let (source, destination, enforced) = match self.direction {
            Direction::Ingress => (self.peer, self.subject, Enforced::Ingress),
            Direction::Egress => (self.subject, self.peer, Enforced::Egress),
        };
        Flow {
            id: String::new(),
            span: Span::point(FileId(0), 0),
            source,
            destination,
            protocol: self.protocol,
            port: self.port,
            enforced,
            http,
            dns,
            fqdn: self.name.map(str::to_owned).into_iter().collect(),
            expected: Vec::new(),
            why: None,
        }
    }

    fn is_covered(&self, difference: &Difference, cluster: &Cluster) -> bool {
        let peers = &difference.peers;
        difference.direction == self.direction
            && difference.subjects.contains(&self.subject)
            && difference.ports.contain(self.protocol, self.port)
            && match self.peer {
                Party::Pod(pod) => peers.pods.contains(&pod),
                Party::Node(node) if cluster.home(self.subject) == Some(node) => {
                    peers.own_nodes.contains(&node)
                }
                Party::Node(node) => peers.nodes.contains(&node),
                Party::Outside(address) => peers.outside.iter().any(|outside| {
                    outside.blocks.iter().any(|block| block.contains(&address))
                        && outside.names.include(self.name)
                }),
            }
    }
}

const ADDRESSES: &[&str] = &[
    "0.0.0.0",
    "255.255.255.255",
    "198.51.0.0",
    "198.50.255.255",
    "198.51.99.255",
    "198.51.100.0",
    "198.51.100.6",
    "198.51.100.7",
    "198.51.100.8",
    "198.51.100.15",
    "198.51.100.16",
    "198.51.101.0",
    "198.51.255.255",
    "203.0.113.1",
    "203.0.114.0",
    "10.1.200.1",
    "::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::",
    "2001:db8::ffff",
    "2001:db8::1:0",
    "2001:db8:0:1::",
    "2001:db9::1",
];

const NAMES: &[&str] = &["a.test", "b.a.test", "pay.test", "other.example"];

const PORTS: &[(u8, u16)] = &[
    (protocol::TCP, 0),
    (protocol::TCP, 49),
    (protocol::TCP, 50),
    (protocol::TCP, 53),
    (protocol::TCP, 54),
    (protocol::TCP, 80),
    (protocol::TCP, 81),
    (protocol::TCP, 90),
    (protocol::TCP, 91),
    (protocol::TCP, 443),
    (protocol::TCP, 65535),
    (protocol::UDP, 52),
    (protocol::UDP, 53),
    (protocol::UDP, 80),
    (protocol::UDP, 90),
    (protocol::SCTP, 0),
    (protocol::SCTP, 80),
    (protocol::ICMP, 0),
    (protocol::ICMP, 8),
    (protocol::ICMP, 9),
    (protocol::ICMPV6, 128),
    (protocol::ICMPV6, 255),
    (112, 0),
];

fn points(cluster: &Cluster) -> Vec<Point> {
    let own =
        |(place, pod): (usize, &weir_grammar::tree::Pod)| (!pod.host_network).then_some(Party::Pod(place));
    let pods: Vec<Party> = cluster.pods.iter().enumerate().filter_map(own).collect();
    let parties: Vec<Party> = pods.into_iter().chain((0..cluster.nodes.len()).map(Party::Node)).collect();
    let addresses = ADDRESSES.iter().map(|address| cluster.party(address.parse().unwrap()));
    let outside: Vec<Party> = addresses.filter(|party| matches!(party, Party::Outside(_))).collect();
    let mut points = Vec::new();
    for &subject in &parties {
        for direction in Direction::BOTH {
            let named = if direction == Direction::Egress { NAMES } else { &[] };
            // What a pod says to itself meets no policy.
            for &peer in parties
                .iter()
                .chain(&outside)
                .filter(|&&peer| peer != subject || matches!(peer, Party::Node(_)))
            {
                let names = named.iter().filter(|_| matches!(peer, Party::Outside(_)));
                for name in std::iter::once(None).chain(names.copied().map(Some)) {
                    let at = |&(protocol, port)| Point { subject, direction, peer, protocol, port, name };
                    points.extend(PORTS.iter().map(at));
                }
            }
        }
    }
    points
}

fn asked() -> Vec<(Option<HttpRequest>, Option<DnsRequest>)> {
    let http = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (method, path, host) = (method.to_owned(), path.to_owned(), String::new());
        (Some(HttpRequest { method, path, host, headers }), None)
    };
    let dns = |query: &str| (None, Some(DnsRequest { query: query.to_owned() }));
    vec![
        http("GET", "/a", &[]),
        http("GET", "/ab", &[("X-Role", "reader")]),
        http("POST", "/a", &[("x-role", "writer")]),
        http("POST", "/c", &[("X-Key", "w")]),
        http("PUT", "/c", &[]),
        dns("a.test"),
        dns("b.a.test"),
        dns("other.example"),
    ]
}

/// Whether what a set is said to let pass lets pass a request.
fn passes(said: &Said, asked: Asked<'_>, cluster: &Cluster) -> bool {
    let Some(requests) = &said.requests else { return said.action == Action::Allow };
    let admits = |rule: &Request| match rule {
        Request::Http(http) => {
            let headers = http.headers.iter().map(|header| HeaderParts {
                name: &header.name,
                value: header.value.as_deref(),
                secret: header.secret.as_deref().and_then(|secret| secret.split_once('/')),
                fails: header.mismatch == Mismatch::Fail,
            });
            let parts = HttpParts {
                method: http.method.as_deref(),
                path: http.path.as_deref(),
                host: http.host.as_deref(),
                headers: headers.collect(),
            };
            Matcher::http(&parts, &cluster.secrets).admits(asked)
        }
        Request::Dns { name, is_pattern } => Matcher::dns(name, *is_pattern).admits(asked),
        Request::Tls { .. } => false,
    };
    requests.everything || requests.rules.iter().any(admits)
}

/// Holds what is said of a point against what the specification says.
fn is_said(said: &Said, engine: &Reference<'_>, point: &Point, first_rule: u32, cluster: &Cluster) -> bool {
    let flow = point.flow(None, None);
    let side = engine.side(&flow, point.direction);
    let named = side.rule.map(|rule| rule + first_rule);
    let is_attributed = match side.reason {
        Reason::AllowedByRule if side.action == Action::Redirect => said.rules.contains(&named.unwrap()),
        Reason::DefaultDeny => said.rules.contains(&named.unwrap()),
        _ => said.rules == named.into_iter().collect::<Vec<_>>(),
    };
    let lets_pass = |(http, dns): &(Option<HttpRequest>, Option<DnsRequest>)| {
        let flow = point.flow(http.clone(), dns.clone());
        let side = engine.side(&flow, point.direction);
        side.passes.unwrap_or(side.action == Action::Allow) == passes(said, flow.asked(), cluster)
    };
    (said.action, said.reason) == (side.action, side.reason)
        && is_attributed
        && (side.action != Action::Redirect || asked().iter().all(lets_pass))
}

/// What the specification says of a point, rules left out.
fn specified(engine: &Reference<'_>, point: &Point) -> (Action, Vec<Option<bool>>) {
    let Side { action, .. } = engine.side(&point.flow(None, None), point.direction);
    let requests = match action {
        Action::Redirect => asked(),
        Action::Allow | Action::Deny => Vec::new(),
    };
    let one = |(http, dns)| engine.side(&point.flow(http, dns), point.direction).passes;
    (action, requests.into_iter().map(one).collect())
}

fn other_side_denies(difference: &Difference, engine: &Reference<'_>) -> bool {
    let direction = match difference.direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    };
    let mut pairs = difference
        .subjects
        .iter()
        .flat_map(|&one| difference.other_side_denies.iter().map(move |&other| (Party::Pod(other), one)));
    let ports = || PORTS.iter().filter(|&&(protocol, port)| difference.ports.contain(protocol, port));
    pairs.all(|(subject, peer)| {
        ports().all(|&(protocol, port)| {
            let point = Point { subject, direction, peer, protocol, port, name: None };
            engine.side(&point.flow(None, None), direction).action == Action::Deny
        })
    })
}

fn agrees_with_brute_force(pair: &Pair) -> Result<usize, TestCaseError> {
    let found = pair.differences();
    let before = Reference::new(&pair.from.policies, &pair.from.cluster, pair.from.lock.as_ref());
    let after = Reference::new(&pair.to.policies, &pair.to.cluster, pair.to.lock.as_ref());
    for difference in &found {
        prop_assert!(difference.before != difference.after, "{:?}", difference);
        if !difference.other_side_denies.is_empty() {
            let engine = if difference.kind() == Kind::Opened { &after } else { &before };
            prop_assert!(other_side_denies(difference, engine), "{:?}", difference);
        }
    }
    for point in points(&pair.cluster) {
        let covering: Vec<&Difference> =
            found.iter().filter(|difference| point.is_covered(difference, &pair.cluster)).collect();
        match covering[..] {
            [] => prop_assert_eq!(specified(&before, &point), specified(&after, &point), "{:?}", point),
            [one] => {
                let is_right = is_said(&one.before, &before, &point, 0, &pair.cluster)
                    && is_said(&one.after, &after, &point, pair.joined.split, &pair.cluster);
                prop_assert!(is_right, "{:?} is not as in {:?}", point, one);
            }
            _ => prop_assert!(false, "{:?} is told {} times: {:?}", point, covering.len(), covering),
        }
    }
    Ok(found.len())
}

fn cuts() -> impl Strategy<Value = (usize, usize)> {
    (0..11usize, 0..11usize)
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn what_is_told_is_what_changes(scenario in scenario(), cut in cuts()) {
        agrees_with_brute_force(&Pair::new(&scenario, cut))?;
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_set_does_not_differ_from_itself(scenario in scenario()) {
        prop_assert_eq!(Pair::new(&scenario, (scenario.policies.len(), 0)).differences(), []);
    }

    #[test]
    fn the_other_way_round_is_the_mirror_image(scenario in scenario(), cut in cuts()) {
        let pair = Pair::new(&scenario, cut);
        let (split, rules) = (pair.joined.split, u32::try_from(pair.joined.set.rules.len()).unwrap());
        let found = pair.differences();
        // The rules of the first set are now behind those of the second.
        let turned = |said: &Said| {
            let renumber = |&rule: &u32| if rule < split { rule + (rules - split) } else { rule - split };
            Said { rules: said.rules.iter().map(renumber).collect(), ..said.clone() }
        };
        let mut expected: Vec<String> = found
            .iter()
            .map(|one| Difference { before: turned(&one.after), after: turned(&one.before), ..one.clone() })
            .map(|one| format!("{one:?}"))
            .collect();
        let mut mirrored: Vec<String> =
            pair.mirrored().differences().iter().map(|one| format!("{one:?}")).collect();
        expected.sort();
        mirrored.sort();
        prop_assert_eq!(expected, mirrored);
    }
}

/// The comparison says nothing if nothing happens in the worlds it is held against.
#[test]
fn random_pairs_have_everything_in_them() {
    let mut runner = TestRunner::new(config(1));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..150 {
        let (scenario, cut) = (scenario(), cuts()).new_tree(&mut runner).unwrap().current();
        for difference in Pair::new(&scenario, cut).differences() {
            *counts.entry(difference.kind().as_str()).or_default() += 1;
            *counts.entry(difference.direction.as_str()).or_default() += 1;
            let peers = &difference.peers;
            let is_named =
                |outside: &weir_compiler::diff::Outside| outside.names != weir_compiler::diff::Names::Any;
            let has = [
                ("pods", !peers.pods.is_empty()),
                ("nodes", !peers.nodes.is_empty()),
                ("own nodes", !peers.own_nodes.is_empty()),
                ("outside", !peers.outside.is_empty()),
                ("names", peers.outside.iter().any(is_named)),
                ("everyone", peers.everyone),
                ("other side denies", !difference.other_side_denies.is_empty()),
                ("some ports", !difference.ports.is_everything()),
                ("node subjects", difference.subjects.iter().any(|one| matches!(one, Party::Node(_)))),
            ];
            for (what, is_there) in has {
                *counts.entry(what).or_default() += usize::from(is_there);
            }
        }
    }
    for what in [
        Kind::Opened.as_str(),
        Kind::Closed.as_str(),
        Kind::Requests.as_str(),
        "ingress",
        "egress",
        "pods",
        "nodes",
        "own nodes",
        "outside",
        "names",
        "everyone",
        "other side denies",
        "some ports",
        "node subjects",
    ] {
        assert!(counts.get(what).is_some_and(|&count| count >= 10), "{what}: {counts:?}");
    }
}
