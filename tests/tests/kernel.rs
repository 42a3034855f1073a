//! What every flow of the corpus does not ask of the kernel: images that outgrow their values, what an image or a
//! datapath lacks, and what the verifier takes.
//!
//! Needs root; elsewhere it is skipped aloud, and with CI=true that is a failure. Not here: verdicts (the corpus, on every engine),
//! packets that open no connection (`packets`), images that nobody should install (`refused_images.rs`).

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::layout::{V4_BYTE_CLASSES, V4_HALF_CLASSES, V4_WIDE, V6_HALF_VALUES, V6_WORD_VALUES};
use weir_abi::state::Hook;
use weir_abi::{Action, Identity, Image, Outcome, Table};
use weir_compiler::parties::PartyIdentities;
use weir_runtime::datapath::{DatapathError, Endpoint, Question};
use weir_tests::kernel::{Kernel, LOOPBACK};
use weir_tests::world::World;

const POD: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(10, 99, 0, 1), Ipv6Addr::new(0xFD99, 0, 0, 0, 0, 0, 0, 1));
/// Within an IPv6 prefix, who is asked about.
const HOST: u128 = 7;
const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

fn set_pod(kernel: &mut Kernel, identity: Identity) -> Result<(), DatapathError> {
    let endpoint = Endpoint { identity, v4: Some(POD.0), v6: Some(POD.1) };
    kernel.datapath.set_endpoint(LOOPBACK, &endpoint)
}

/// Asks whether the pod may open a connection, and holds the answer against what is expected.
fn ask(kernel: &Kernel, peer: IpAddr, port: u16, expected: Outcome) -> Result<(), DatapathError> {
    let source: IpAddr = if peer.is_ipv4() { POD.0.into() } else { POD.1.into() };
    let (hook, interface, destination, protocol) = (Hook::FromPod, LOOPBACK, peer, 6);
    let question = Question { hook, interface, source, destination, protocol, port };
    let answer = kernel.datapath.ask(&question)?;
    let rule_or_set = expected.requests.map_or(expected.rule, |(_, set)| Some(set));
    let told = (answer.action, answer.reason, answer.rule_or_set);
    assert_eq!(told, (expected.action, expected.reason, rule_or_set), "{question:?}");
    Ok(())
}

/// The IPv4 prefix of a number, a /24: many side by side, every other one of those there could be, and as many far apart.
fn v4_prefix(number: u32) -> u32 {
    if number.is_multiple_of(2) {
        0x2000_0000 + number * 256
    } else {
        0x8000_0000 | number.wrapping_mul(0x9E37_7900)
    }
}

/// The IPv6 prefix of a number: far enough apart that each has an upper half of its own.
fn v6_prefix(number: u32, hosts: u128) -> u128 {
    0x2001_0DB8 << 96 | u128::from(number) << 81 | hosts
}

/// So many IPv4 and IPv6 prefixes, dealt out to rules.
#[derive(Clone, Copy)]
struct Long {
    prefixes: u32,
    rules: u32,
    v6_length: u8,
}

impl Long {
    fn port(self, number: u32) -> u16 {
        1000 + (number % self.rules) as u16
    }
}

/// One pod that may reach them, those of each rule at a port of its own.
fn long_list(list: Long) -> World {
    let mut text = String::from(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\
         apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.0.1}]}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n\
         spec: {nodeName: n1}\nstatus: {phase: Running, podIP: 10.99.0.1, podIPs: [{ip: 10.99.0.1}]}\n---\n\
         apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: list, namespace: shop}\n\
         spec:\n  endpointSelector: {}\n  egress:\n",
    );
    let length = list.v6_length;
    for rule in 0..list.rules {
        let port = list.port(rule);
        _ = write!(text, "  - toPorts: [{{ports: [{{port: '{port}', protocol: TCP}}]}}]\n    toCIDR:\n");
        for number in (rule..list.prefixes).step_by(list.rules as usize) {
            let v4 = Ipv4Addr::from(v4_prefix(number));
            let v6 = Ipv6Addr::from(v6_prefix(number, if length == 128 { HOST } else { 0 }));
            _ = write!(text, "    - {v4}/24\n    - {v6}/{length}\n");
        }
    }
    World::read(vec![("long-list.yaml".to_owned(), text.into_bytes())])
}

/// Asks about addresses in some prefixes of a long list and in the gaps behind them; how many were denied and allowed, over IPv4 and
/// then IPv6.
fn ask_along(kernel: &mut Kernel, image: &Image<'_>, list: Long) -> Result<[usize; 4], DatapathError> {
    let pods = image.identities().map(|entry| entry.identity).filter(|id| id.0 >= Identity::FIRST_POD);
    let pod = pods.filter(|&id| image.endpoint(id).is_some_and(|endpoint| endpoint.egress.0 != 0)).min();
    let pod = pod.unwrap_or(Identity::UNKNOWN);
    set_pod(kernel, pod)?;
    let table = image.endpoint(pod).map(|endpoint| endpoint.egress).unwrap_or(Table(u32::MAX));
    let mut seen = [0; 4];
    for number in (0..list.prefixes).step_by(37) {
        let port = list.port(number);
        for (gap, host) in [(0, 0), (0, 7), (0, 255), (1, 0), (1, 255)] {
            let v4 = Ipv4Addr::from(v4_prefix(number) + gap * 256 + host);
            let v6 = v6_prefix(number, u128::from(gap) << 80 | u128::from(host));
            for address in [IpAddr::V4(v4), IpAddr::V6(Ipv6Addr::from(v6))] {
                let expected = image.judge(table, image.address_class(address), image.port_class(6, port));
                ask(kernel, address, port, expected)?;
                let allowed = expected.action == Action::Allow;
                seen[usize::from(allowed) + 2 * usize::from(address.is_ipv6())] += 1;
            }
        }
    }
    Ok(seen)
}

#[test]
fn long_lists_move_to_larger_values_and_are_searched_alike() {
    let Some(mut kernel) = Kernel::open() else { return };
    let mut classes = Vec::new();
    let mut formats = BTreeSet::new();
    for (prefixes, rules, v6_length) in
        [(100, 1, 48), (60_000, 1, 48), (200, 1, 128), (60_000, 300, 48), (40_000, 1, 128)]
    {
        let list = Long { prefixes, rules, v6_length };
        let world = long_list(list);
        assert!(world.errors().is_empty(), "{:?}", world.errors());
        let bytes = world.image().unwrap().as_bytes();
        let installed = kernel.datapath.install_image(bytes, &[]).unwrap();
        let image = Image::open(bytes).unwrap();
        assert_eq!(kernel.datapath.image_in_force(), Some(image.header().checksum));
        kernel.datapath.let_go_of_old_image().unwrap();
        let seen = ask_along(&mut kernel, &image, list).unwrap();
        assert!(seen.iter().all(|&seen| seen > 0), "both verdicts in both families, not {seen:?}");
        classes.push((installed.class, installed.grown));
        formats.extend([("v4", image.header().v4_format), ("v6", image.header().v6_format)]);
    }
    let v4 = [V4_BYTE_CLASSES, V4_HALF_CLASSES, V4_WIDE].map(|format| ("v4", format));
    let v6 = [V6_HALF_VALUES, V6_WORD_VALUES].map(|format| ("v6", format));
    assert_eq!(formats, v4.into_iter().chain(v6).collect());
    // A value that has grown does not shrink again.
    assert!(!classes[0].1 && classes[1].1 && !classes[2].1, "{classes:?}");
    assert!(classes[1].0 > classes[0].0 && classes[2].0 == classes[1].0, "{classes:?}");
}

#[test]
fn a_pod_that_no_interface_has_lets_nothing_pass() {
    let Some(mut kernel) = Kernel::open() else { return };
    let ask = |kernel: &Kernel| {
        let (source, destination) = (POD.0.into(), PEER.into());
        let question =
            Question { hook: Hook::FromPod, interface: LOOPBACK, source, destination, protocol: 6, port: 80 };
        let answer = kernel.datapath.ask(&question).unwrap();
        (answer.action, answer.reason.as_str())
    };
    assert_eq!(ask(&kernel), (Action::Deny, "unknown-interface"));
    set_pod(&mut kernel, Identity(Identity::FIRST_POD)).unwrap();
    assert_eq!(ask(&kernel), (Action::Deny, "no-image"));
    let world = long_list(Long { prefixes: 1, rules: 1, v6_length: 48 });
    kernel.datapath.install_image(world.image().unwrap().as_bytes(), &[]).unwrap();
    set_pod(&mut kernel, Identity(Identity::END_POD - 1)).unwrap();
    assert_eq!(ask(&kernel), (Action::Deny, "unknown-endpoint"));
    let elsewhere = Endpoint { identity: Identity(Identity::FIRST_POD), v4: Some(PEER), v6: None };
    kernel.datapath.set_endpoint(LOOPBACK, &elsewhere).unwrap();
    assert_eq!(ask(&kernel), (Action::Deny, "spoofed-source"));
}

/// Two pods on two nodes; the first is isolated and may call the second and one outside.
const TWO_NODES: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: here, namespace: shop, labels: {app: here}},
 spec: {nodeName: n1, containers: []}, status: {podIP: 10.99.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: there, namespace: shop, labels: {app: there}},
 spec: {nodeName: n2, containers: []}, status: {podIP: 10.99.0.2}}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: here, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: here}}, egress: [{toEntities: [all]}]}
"#;

#[test]
fn who_is_unknown_to_the_image_is_denied_where_policy_applies() {
    let Some(mut kernel) = Kernel::open() else { return };
    let world = World::read(vec![("two-nodes.yaml".to_owned(), TWO_NODES.as_bytes().to_vec())]);
    assert_eq!(world.errors(), [""; 0]);
    let bytes = world.node_images().unwrap()[0].as_bytes();
    kernel.datapath.install_image(bytes, &[]).unwrap();
    let parties = PartyIdentities::new(&Image::open(bytes).unwrap(), &world.cluster);
    let [here, there] =
        [POD.0, PEER].map(|address| parties.identity(world.cluster.party(address.into()), Some(0)));
    let unknown = Identity(Identity::END_POD - 1);
    let ask = |kernel: &Kernel, hook| {
        let (source, destination) = if hook == Hook::FromPod { (POD.0, PEER) } else { (PEER, POD.0) };
        let (source, destination) = (source.into(), destination.into());
        let question = Question { hook, interface: LOOPBACK, source, destination, protocol: 6, port: 80 };
        let answer = kernel.datapath.ask(&question).unwrap();
        (answer.action, answer.reason.as_str())
    };
    // Whose policy is asked, who is at the other end, and what is said of packets from the pod and to it.
    for (pod, peer, from_pod, to_pod) in [
        (here, Some(there), (Action::Allow, "allowed-by-rule"), (Action::Allow, "no-policy")),
        (here, None, (Action::Allow, "allowed-by-rule"), (Action::Allow, "no-policy")),
        // Known as peers alone: their policy is in another node's image, which is not to have none.
        (there, Some(here), (Action::Deny, "unknown-endpoint"), (Action::Deny, "unknown-endpoint")),
        (unknown, Some(here), (Action::Deny, "unknown-endpoint"), (Action::Deny, "unknown-endpoint")),
        // A peer that the image does not know could be one that it denies.
        (here, Some(unknown), (Action::Deny, "unknown-endpoint"), (Action::Allow, "no-policy")),
        (here, Some(Identity::UNKNOWN), (Action::Deny, "unknown-endpoint"), (Action::Allow, "no-policy")),
    ] {
        set_pod(&mut kernel, pod).unwrap();
        kernel.datapath.remove_address(PEER.into()).unwrap();
        if let Some(peer) = peer {
            kernel.datapath.set_address(PEER.into(), peer).unwrap();
        }
        assert_eq!(ask(&kernel, Hook::FromPod), from_pod, "{pod:?} to {peer:?}");
        assert_eq!(ask(&kernel, Hook::ToPod), to_pod, "{peer:?} to {pod:?}");
    }
}
