//! Port classes against a look through the ranges: protocols named and not, every end of every range, one
//! before, one after; and through policies, where names and 0 stand for ports.

use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;
use weir_abi::{Action, Identity, Image};
use weir_compiler::classes::ports::{PortMarks, PortRange};
use weir_compiler::classes::sweep::Range;
use weir_compiler::image::ports::lay_out;
use weir_compiler::image::write::{ImageWriter, Parts};
use weir_compiler::image::{prefix_v4, prefix_v6};
use weir_compiler::tables::Encoder;
use weir_tests::random::config;
use weir_tests::world::World;

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        3 => 0..300u16,
        1 => select(vec![0, 1, 63, 64, 127, 128, 1023, 65534, 65535]),
        1 => any::<u16>(),
    ]
}

fn range() -> impl Strategy<Value = PortRange> {
    let protocol = prop_oneof![4 => select(vec![6, 17, 132]), 2 => select(vec![1, 58]), 1 => any::<u8>()];
    let ends = prop_oneof![
        3 => (port(), port()),
        2 => port().prop_map(|port| (port, port)),
        1 => Just((0, u16::MAX)),
    ];
    (protocol, ends).prop_map(|(protocol, (a, b))| PortRange { protocol, first: a.min(b), last: a.max(b) })
}

/// The ends of all ranges and their neighbours.
fn ends(ranges: &[PortRange]) -> BTreeSet<u16> {
    let around = |range: &PortRange| {
        [range.first.wrapping_sub(1), range.first, range.last, range.last.wrapping_add(1), range.first / 2]
    };
    ranges.iter().flat_map(around).chain([0, u16::MAX]).collect()
}

fn holds(range: &PortRange, protocol: u8, port: u16) -> bool {
    range.protocol == protocol && (range.first..=range.last).contains(&port)
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn classes_are_as_a_look_through_the_ranges(ranges in prop::collection::vec(range(), 0..90)) {
        let mut marks = PortMarks::default();
        let mut distinct: Vec<PortRange> = Vec::new();
        for &range in &ranges {
            let mark = marks.mark(range) as usize;
            prop_assert!(mark <= distinct.len(), "marks are numbered by first sight");
            if mark == distinct.len() {
                distinct.push(range);
            }
            prop_assert_eq!(distinct[mark], range);
        }
        let classified = marks.classify();
        let parts = Parts {
            peer_classes: 1,
            port_classes: classified.classes.len(),
            v4: prefix_v4::lay_out(&[Range { start: 0, class: 0 }], 1),
            v6: prefix_v6::lay_out(&[Range { start: 0, class: 0 }]),
            ports: lay_out(&classified),
            tables: Encoder::new(1).finish(),
                ..Parts::default()
        };
        let bytes = ImageWriter::default().finish(&parts, usize::MAX).unwrap();
        let image = Image::open(bytes.as_bytes()).unwrap();
        let ports = ends(&distinct);
        let named = distinct.iter().map(|range| range.protocol);
        for protocol in named.chain([0, 1, 6, 17, 255]).collect::<BTreeSet<u8>>() {
            for &port in &ports {
                let class = image.port_class(protocol, port);
                let naive = (0u32..).zip(&distinct).filter(|(_, range)| holds(range, protocol, port));
                let naive: Vec<u32> = naive.map(|(mark, _)| mark).collect();
                prop_assert_eq!(classified.classes.marks(class.0.into()), naive, "{}/{}", protocol, port);
            }
        }
    }
}

/// How a rule says its ports, and which it then means.
#[derive(Clone, Debug)]
enum Written {
    Number(&'static str, u16),
    Range(&'static str, u16, u16),
    /// Port 0: every port of the protocol.
    All(&'static str),
    /// `web`: TCP 80 and `look`: UDP 5353 of the pod.
    Name(&'static str, &'static str),
}

impl Written {
    fn text(&self) -> String {
        match self {
            Written::Number(protocol, port) => format!("{{port: \"{port}\", protocol: {protocol}}}"),
            Written::Range(protocol, first, last) => {
                format!("{{port: \"{first}\", endPort: {last}, protocol: {protocol}}}")
            }
            Written::All(protocol) => format!("{{port: \"0\", protocol: {protocol}}}"),
            Written::Name(protocol, name) => format!("{{port: {name}, protocol: {protocol}}}"),
        }
    }

    fn admits(&self, protocol: u8, port: u16) -> bool {
        let numbers = |name: &str| match name {
            "TCP" => vec![6],
            "UDP" => vec![17],
            "SCTP" => vec![132],
            _ => vec![6, 17, 132],
        };
        let (name, first, last) = match *self {
            Written::Number(name, port) => (name, port, port),
            Written::Range(name, first, last) => (name, first, last),
            Written::All(name) => (name, 0, u16::MAX),
            Written::Name(name, "web") => return numbers(name).contains(&6) && (protocol, port) == (6, 80),
            Written::Name(name, _) => return numbers(name).contains(&17) && (protocol, port) == (17, 5353),
        };
        numbers(name).contains(&protocol) && (first..=last).contains(&port)
    }
}

fn written() -> impl Strategy<Value = Written> {
    let protocol = || select(vec!["TCP", "UDP", "SCTP", "ANY"]);
    let number = || port().prop_map(|port| port.max(1));
    prop_oneof![
        4 => (protocol(), number()).prop_map(|(protocol, port)| Written::Number(protocol, port)),
        4 => (protocol(), number(), number()).prop_map(|(protocol, a, b)| Written::Range(protocol, a.min(b), a.max(b))),
        1 => protocol().prop_map(Written::All),
        2 => (protocol(), select(vec!["web", "look"])).prop_map(|(protocol, name)| Written::Name(protocol, name)),
    ]
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn verdicts_follow_the_ports_of_policies(lists in prop::collection::vec(prop::collection::vec(written(), 1..6), 1..5)) {
        let mut text = String::from(
            "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a}, spec: {containers: [{ports: [\
             {name: web, containerPort: 80}, {name: look, containerPort: 5353, protocol: UDP}]}]}}\n\
             ---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: lists}\n\
             spec:\n  endpointSelector: {}\n  ingress:\n  - fromEntities: [all]\n    toPorts:\n",
        );
        for list in &lists {
            let ports: Vec<String> = list.iter().map(Written::text).collect();
            text.push_str(&format!("    - ports: [{}]\n", ports.join(", ")));
        }
        let world = World::read(vec![("lists.yaml".to_owned(), text.into_bytes())]);
        prop_assert_eq!(world.errors(), [""; 0]);
        let image = Image::open(world.image().unwrap().as_bytes()).unwrap();
        let pod = image.endpoint(Identity(Identity::FIRST_POD)).unwrap();
        let ranges = lists.iter().flatten().map(|written| match *written {
            Written::Number(_, port) => PortRange { protocol: 6, first: port, last: port },
            Written::Range(_, first, last) => PortRange { protocol: 6, first, last },
            Written::All(_) => PortRange { protocol: 6, first: 0, last: u16::MAX },
            Written::Name(_, "web") => PortRange { protocol: 6, first: 80, last: 80 },
            Written::Name(..) => PortRange { protocol: 17, first: 5353, last: 5353 },
        });
        for port in ends(&ranges.collect::<Vec<_>>()) {
            for protocol in [6, 17, 132, 1, 58, 0, 255] {
                let class = image.port_class(protocol, port);
                let passes = image.judge(pod.ingress, image.address_class([192, 0, 2, 1].into()), class).action == Action::Allow;
                let admitted = lists.iter().flatten().any(|written| written.admits(protocol, port));
                prop_assert_eq!(passes, admitted, "{}/{}", protocol, port);
            }
        }
    }
}
