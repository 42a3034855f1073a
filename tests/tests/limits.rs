//! No limit is silent: what does not fit is refused, and hostile sets of policies end soon, in a
//! refusal or in an image, within bounded memory.
//!
//! Figures in comments: time to compile and memory of the whole process, release build, two-core machine.

use std::fmt::Write;
use std::time::{Duration, Instant};
use weir_abi::Image;
use weir_compiler::compile::{CompileError, Compiled, Options};
use weir_compiler::identity::IdentityLock;
use weir_tests::world::World;

/// One pod, and the rules of one policy for it.
fn world(rules: impl Iterator<Item = String>) -> World {
    let mut text = String::from(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a}, spec: {containers: []}, status: {podIP: 192.0.2.1}}\n\
         ---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: many}\n\
         spec:\n  endpointSelector: {}\n  egress:\n",
    );
    for rule in rules {
        let _ = writeln!(text, "  - {rule}");
    }
    let world = World::read(vec![("many.yaml".to_owned(), text.into_bytes())]);
    assert_eq!(world.errors(), [""; 0]);
    world
}

fn compiled(world: &World) -> Result<Compiled, CompileError> {
    let begun = Instant::now();
    let result = world.compile_with(&mut IdentityLock::default(), &Options::default());
    let spent = begun.elapsed();
    // `cargo test --release … -- --nocapture` shows what the figures in the comments are.
    let told = match &result {
        Ok(compiled) => format!("{} bytes, {:?}", compiled.bytes.as_bytes().len(), compiled.contents),
        Err(error) => error.to_string(),
    };
    println!("{spent:.1?}: {told}");
    assert!(spent < Duration::from_secs(60), "it took {spent:?}");
    result
}

/// Numbers that look random and are the same everywhere.
fn random(at: u32) -> u32 {
    let at = at.wrapping_mul(0x9E37_79B9) ^ 0x85EB_CA6B;
    let at = (at ^ at >> 16).wrapping_mul(0x7FEB_352D);
    (at ^ at >> 15).wrapping_mul(0x846C_A68B) ^ at >> 13
}

fn address(at: u32) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from_bits(random(at))
}

fn ports(port: u32) -> String {
    format!("toPorts: [{{ports: [{{port: \"{port}\", protocol: TCP}}]}}]")
}

#[test]
fn an_image_above_its_limit_is_refused_and_one_at_it_is_not() {
    let world = world((0..50).map(|at| format!("{{toCIDR: [{}/32], {}}}", address(at), ports(at + 1))));
    let size = world.image().unwrap().as_bytes().len();
    let with = |max_image_bytes| {
        let options = Options { max_image_bytes, ..Options::default() };
        world.compile_with(&mut IdentityLock::default(), &options)
    };
    assert_eq!(with(size).unwrap().bytes.as_bytes().len(), size);
    for most in [0, 1, 64, 1000, size / 2, size - 1] {
        let error = with(most).unwrap_err();
        let right =
            matches!(error, CompileError::TooLarge { bytes, most: told } if bytes > most && told == most);
        assert!(right, "{most}: {error}");
    }
}

/// 22,000 ports of three protocols are 66,000 classes, more than a table has columns.
/// 20 to 28 ms, 25 MB.
#[test]
fn more_ports_than_an_image_can_tell_apart_are_refused() {
    let lists = |count: u32| {
        (0..count / 40).map(|list| {
            let ports = (0..40).map(|at| format!("{{port: \"{}\"}}", 1 + 2 * (list * 40 + at)));
            format!("{{toEntities: [all], toPorts: [{{ports: [{}]}}]}}", ports.collect::<Vec<_>>().join(", "))
        })
    };
    let error = compiled(&world(lists(22_000))).unwrap_err();
    let expected = 3 * 22_000 + 1;
    assert!(
        matches!(error, CompileError::TooManyClasses { what: "ports", count, most: 65_535 } if count == expected),
        "{error}"
    );
    assert!(error.to_string().contains("66001 ports"), "{error}");
    let fits = compiled(&world(lists(21_840))).unwrap();
    assert_eq!(fits.contents.port_classes, 3 * 21_840 + 1);
    Image::open(fits.bytes.as_bytes()).unwrap();
}

/// Each rule leaves out an address of its own, so 10,000 rules make as many sets of 9,999.
/// Refused after 0.2 s at 150 MB; 1,000 such rules take 19 ms.
#[test]
fn exceptions_from_everything_are_refused_when_they_are_too_many() {
    let rules = |count| {
        world(
            (0..count)
                .map(|at| format!("{{toCIDRSet: [{{cidr: 0.0.0.0/0, except: [{}/32]}}]}}", address(at))),
        )
    };
    let error = compiled(&rules(10_000)).unwrap_err();
    assert!(matches!(error, CompileError::TooManyOverlaps { what: "peers", .. }), "{error}");
    let fits = compiled(&rules(1000)).unwrap();
    assert_eq!(fits.contents.peer_classes, 1002);
}

/// The same with ports, where all rules but one cover each of them.
/// Refused after 0.6 s at 310 MB; 1,000 such rules take 29 ms.
#[test]
fn overlapping_port_ranges_are_refused_when_they_are_too_many() {
    let rules = |count: u32| {
        world((0..count).map(|at| {
            let (a, b) = (1 + random(at) % 65_535, 1 + random(at + count) % 65_535);
            let (first, last) = (a.min(b), a.max(b));
            format!("{{toEntities: [all], toPorts: [{{ports: [{{port: \"{first}\", endPort: {last}, protocol: TCP}}]}}]}}")
        }))
    };
    let error = compiled(&rules(15_000)).unwrap_err();
    assert!(matches!(error, CompileError::TooManyOverlaps { what: "ports", .. }), "{error}");
    compiled(&rules(1000)).unwrap();
}

/// Rules for every port beside rules for single ones: each column holds all of the former.
/// Refused after 0.15 s at 280 MB.
#[test]
fn rules_that_meet_in_too_many_cells_are_refused() {
    let rules = |wide: u32, narrow: u32| {
        let wide = (0..wide).map(|at| format!("{{toCIDR: [{}/32]}}", address(at)));
        let narrow = (0..narrow).map(|at| format!("{{toCIDR: [198.51.100.0/24], {}}}", ports(at + 1)));
        world(wide.chain(narrow))
    };
    let error = compiled(&rules(6000, 6000)).unwrap_err();
    assert!(matches!(error, CompileError::TooManyOverlaps { what: "peers and ports", .. }), "{error}");
    compiled(&rules(300, 300)).unwrap();
}

/// 12 ms, 15 MB.
#[test]
fn thousands_of_ports_and_overlapping_prefixes_fit() {
    let compiled = compiled(&world((0..4000).map(|at| {
        let net = ipnet::Ipv4Net::new(address(at), 8 + (random(at + 1) % 17) as u8).unwrap().trunc();
        format!("{{toCIDR: [{net}], {}}}", ports(at + 1))
    })));
    let compiled = compiled.unwrap();
    assert_eq!(compiled.contents.port_classes, 4001);
    assert!(compiled.bytes.as_bytes().len() < 64 << 20, "{:?}", compiled.contents);
}

/// 41 ms, 37 MB, most of it the manifest.
#[test]
fn twenty_thousand_rules_on_one_subject_fit() {
    let compiled = compiled(&world(
        (0..20_000).map(|at| format!("{{toCIDR: [{}/32], {}}}", address(at), ports(at % 97 + 80))),
    ));
    let compiled = compiled.unwrap();
    assert_eq!(compiled.contents.rules, 20_000);
    assert!(compiled.bytes.as_bytes().len() < 16 << 20, "{:?}", compiled.contents);
}

/// Thousands of rules that hold everywhere, and a list that cuts the space up below them.
/// 10 ms; a set compared at every end of every range took sixty times as long.
#[test]
fn a_long_list_under_many_wide_rules_fits() {
    let compiled = compiled(&world((0..3001).map(|at| {
        if at > 0 {
            return format!("{{toCIDR: [0.0.0.0/0], {}}}", ports(at));
        }
        let list: Vec<String> = (0..20_000).map(|at| format!("{}/32", address(at))).collect();
        format!("{{toCIDR: [{}]}}", list.join(", "))
    })));
    let contents = compiled.unwrap().contents;
    assert_eq!((contents.peer_classes, contents.v4_ranges), (3, 40_001));
}

/// As many subjects as rules, and everybody is under all of them.
/// 14 ms.
#[test]
fn many_endpoints_under_many_rules_fit() {
    let mut text = String::new();
    for at in 0..300 {
        let _ = writeln!(
            text,
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{at}, namespace: a, labels: {{app: x{at}}}}}, spec: {{containers: []}}}}"
        );
    }
    for at in 0..1000 {
        let _ = writeln!(
            text,
            "---\n{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: p{at}, namespace: a}}, \
             spec: {{endpointSelector: {{matchExpressions: [{{key: app, operator: NotIn, values: [y{at}]}}]}}, \
             ingress: [{{fromEndpoints: [{{matchLabels: {{app: x{}}}}}], {}}}]}}}}",
            at % 300,
            ports(at + 1)
        );
    }
    let world = World::read(vec![("many.yaml".to_owned(), text.into_bytes())]);
    assert_eq!(world.errors(), [""; 0]);
    assert_eq!(compiled(&world).unwrap().contents.tables, 1);
}
