//! The kernel's programs against the image they read, and what becomes of images that nobody should install.
//!
//! Every pod of every sixth corpus case is asked about every other identity and about addresses outside, on ports of the case's flows,
//! as packets of both families. Needs root; elsewhere it is skipped aloud, and with CI=true that is a failure.
//!
//! Not here: packets on wires, connections, swaps under load.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use weir_abi::state::Hook;
use weir_abi::{Action, Identity, Image, Outcome, PeerClass};
use weir_compiler::cluster::Party;
use weir_runtime::datapath::{Datapath, DatapathError, Endpoint, Options, Question, remove_everything};
use weir_tests::case::{Case, folders};
use weir_tests::world::World;

const LOOPBACK: u32 = 1;
const POD: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(10, 99, 0, 1), Ipv6Addr::new(0xFD99, 0, 0, 0, 0, 0, 0, 1));
const PEER: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(10, 99, 0, 2), Ipv6Addr::new(0xFD99, 0, 0, 0, 0, 0, 0, 2));
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A datapath of a test's own, taken out of the kernel with the test.
struct Kernel {
    datapath: Datapath,
    pin_root: PathBuf,
}

impl Kernel {
    /// `None`, said aloud, where the kernel cannot be asked.
    fn open(name: &str) -> Option<Kernel> {
        let pin_root = PathBuf::from(format!("/sys/fs/bpf/weir-test-{}-{name}", std::process::id()));
        let small = Options { conntrack_v4: 64, conntrack_v6: 64, ..Options::default() };
        match Datapath::open(&Options { pin_root: pin_root.clone(), ..small }) {
            Ok(datapath) => Some(Kernel { datapath, pin_root }),
            Err(error) => {
                let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
                assert!(!ci, "the kernel cannot be asked: {error}");
                println!("SKIPPED: the kernel cannot be asked: {error}");
                None
            }
        }
    }

    fn set_pod(&mut self, identity: Identity) -> Result<(), DatapathError> {
        let endpoint = Endpoint { identity, v4: Some(POD.0), v6: Some(POD.1) };
        self.datapath.set_endpoint(LOOPBACK, &endpoint)
    }

    /// Asks one question and holds the answer against what is expected.
    fn ask(&self, hook: Hook, peer: IpAddr, port: (u8, u16), expected: Outcome) -> Result<(), DatapathError> {
        let pod: IpAddr = if peer.is_ipv4() { POD.0.into() } else { POD.1.into() };
        let (source, destination) = if hook == Hook::FromPod { (pod, peer) } else { (peer, pod) };
        let (protocol, port) = port;
        let question = Question { hook, interface: LOOPBACK, source, destination, protocol, port };
        let answer = self.datapath.ask(&question)?;
        let rule_or_set = expected.requests.map_or(expected.rule, |(_, set)| Some(set));
        let told = (answer.action, answer.reason, answer.rule_or_set);
        assert_eq!(told, (expected.action, expected.reason, rule_or_set), "{question:?}");
        Ok(())
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // The next run has another name, so what stays behind here disturbs nobody.
        _ = remove_everything(&self.pin_root);
    }
}

#[test]
fn the_kernel_agrees_with_every_image_of_the_corpus() {
    let Some(mut kernel) = Kernel::open("corpus") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/cases");
    let mut asked = [0, 0];
    for folder in folders(&root).into_iter().step_by(6) {
        let case = Case::load(&root, &folder).unwrap();
        let bytes = case.world.image().unwrap().as_bytes();
        kernel.datapath.install_image(bytes, &[]).unwrap();
        compare(&mut kernel, &case, &Image::open(bytes).unwrap(), &mut asked).unwrap();
    }
    println!("{} questions over IPv4, {} over IPv6", asked[0], asked[1]);
    assert!(asked[0] > 10_000 && asked[1] > 10_000);
}

fn compare(
    kernel: &mut Kernel,
    case: &Case,
    image: &Image<'_>,
    asked: &mut [usize; 2],
) -> Result<(), DatapathError> {
    let identities: Vec<Identity> = image.identities().map(|entry| entry.identity).collect();
    let outside: Vec<IpAddr> = case
        .flows
        .iter()
        .flat_map(|flow| [flow.source, flow.destination])
        .filter_map(|party| if let Party::Outside(address) = party { Some(address) } else { None })
        .collect();
    for &pod in &identities {
        let Some(endpoint) = image.endpoint(pod).filter(|endpoint| endpoint.enforced_here) else { continue };
        kernel.set_pod(pod)?;
        let mut ask = |kernel: &Kernel, peer: IpAddr, class: PeerClass| -> Result<(), DatapathError> {
            // Each family has an ICMP of its own.
            let foreign = if peer.is_ipv4() { ICMPV6 } else { ICMP };
            for flow in case.flows.iter().take(6).filter(|flow| flow.protocol != foreign) {
                for (hook, table) in [(Hook::FromPod, endpoint.egress), (Hook::ToPod, endpoint.ingress)] {
                    let expected = image.judge(table, class, image.port_class(flow.protocol, flow.port));
                    kernel.ask(hook, peer, (flow.protocol, flow.port), expected)?;
                    asked[usize::from(peer.is_ipv6())] += 1;
                }
            }
            Ok(())
        };
        for &peer in &identities {
            let Some(class) = image.endpoint(peer).map(|peer| peer.class) else { continue };
            for address in [IpAddr::V4(PEER.0), IpAddr::V6(PEER.1)] {
                kernel.datapath.set_address(address, peer)?;
                ask(kernel, address, class)?;
            }
        }
        for &address in &outside {
            ask(kernel, address, image.address_class(address))?;
        }
    }
    Ok(())
}

/// One pod that may reach so many IPv4 and IPv6 prefixes, every other one of those there could be.
fn long_list(prefixes: u32) -> World {
    let mut text = String::from(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\
         apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.0.1}]}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n\
         spec: {nodeName: n1}\nstatus: {phase: Running, podIP: 10.99.0.1, podIPs: [{ip: 10.99.0.1}]}\n---\n\
         apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: list, namespace: shop}\n\
         spec:\n  endpointSelector: {}\n  egress:\n  - toCIDR:\n",
    );
    for number in 0..prefixes {
        let v4 = Ipv4Addr::from(0x2000_0000 + number * 512);
        let v6 = Ipv6Addr::from(0x2001_0DB8u128 << 96 | u128::from(number) << 81);
        _ = write!(text, "    - {v4}/24\n    - {v6}/48\n");
    }
    World::read(vec![("long-list.yaml".to_owned(), text.into_bytes())])
}

/// Asks about addresses in some prefixes of a long list and in the gaps behind them; how many were denied and allowed, over IPv4 and
/// then IPv6.
fn ask_along(kernel: &mut Kernel, image: &Image<'_>, prefixes: u32) -> Result<[usize; 4], DatapathError> {
    let pods = image.identities().map(|entry| entry.identity).filter(|id| id.0 >= Identity::FIRST_POD);
    let pod = pods.filter(|&id| image.endpoint(id).is_some_and(|endpoint| endpoint.egress.0 != 0)).min();
    let pod = pod.unwrap_or(Identity::UNKNOWN);
    kernel.set_pod(pod)?;
    let table = image.endpoint(pod).map(|endpoint| endpoint.egress).unwrap_or(weir_abi::Table(u32::MAX));
    let mut seen = [0; 4];
    for number in (0..prefixes).step_by(37) {
        for gap in [0, 1] {
            let v4 = Ipv4Addr::from(0x2000_0000 + number * 512 + gap * 256 + 7);
            let v6 = 0x2001_0DB8u128 << 96 | u128::from(number) << 81 | u128::from(gap) << 80 | 7;
            for address in [IpAddr::V4(v4), IpAddr::V6(Ipv6Addr::from(v6))] {
                let expected = image.judge(table, image.address_class(address), image.port_class(6, 443));
                kernel.ask(Hook::FromPod, address, (6, 443), expected)?;
                let allowed = expected.action == Action::Allow;
                seen[usize::from(allowed) + 2 * usize::from(address.is_ipv6())] += 1;
            }
        }
    }
    Ok(seen)
}

#[test]
fn long_lists_move_to_larger_values_and_are_searched_alike() {
    let Some(mut kernel) = Kernel::open("growth") else { return };
    let mut classes = Vec::new();
    for prefixes in [100, 60_000, 200] {
        let world = long_list(prefixes);
        assert!(world.errors().is_empty(), "{:?}", world.errors());
        let bytes = world.image().unwrap().as_bytes();
        let installed = kernel.datapath.install_image(bytes, &[]).unwrap();
        let image = Image::open(bytes).unwrap();
        assert_eq!(kernel.datapath.image_in_force(), Some(image.header().checksum));
        let seen = ask_along(&mut kernel, &image, prefixes).unwrap();
        assert!(seen.iter().all(|&seen| seen > 0), "both verdicts in both families, not {seen:?}");
        classes.push((installed.class, installed.grown));
    }
    // A value that has grown does not shrink again.
    assert!(!classes[0].1 && classes[1].1 && !classes[2].1, "{classes:?}");
    assert!(classes[1].0 > classes[0].0 && classes[2].0 == classes[1].0, "{classes:?}");
}

#[test]
fn a_bad_image_is_refused_and_the_good_one_stays() {
    let Some(mut kernel) = Kernel::open("refusal") else { return };
    let world = long_list(50);
    let good = world.image().unwrap().as_bytes();
    let image = Image::open(good).unwrap();
    kernel.datapath.install_image(good, &[]).unwrap();
    let before = ask_along(&mut kernel, &image, 50).unwrap();
    let words = good.len() / 8;
    for at in (0..words).step_by((words / 500).max(1)) {
        let mut bad: Vec<u64> =
            good.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        bad[at] ^= 1 << (at % 64);
        let bad: &[u8] = zerocopy::IntoBytes::as_bytes(bad.as_slice());
        let refused = kernel.datapath.install_image(bad, &[]);
        assert!(matches!(refused, Err(DatapathError::Image(_))), "word {at}: {refused:?}");
        assert_eq!(kernel.datapath.image_in_force(), Some(image.header().checksum));
    }
    let truncated = kernel.datapath.install_image(&good[..good.len() - 8], &[]);
    assert!(matches!(truncated, Err(DatapathError::Image(_))), "{truncated:?}");
    assert_eq!(ask_along(&mut kernel, &image, 50).unwrap(), before);
}

#[test]
fn a_pod_that_no_interface_has_lets_nothing_pass() {
    let Some(mut kernel) = Kernel::open("closed") else { return };
    let ask = |kernel: &Kernel| {
        let (source, destination) = (POD.0.into(), PEER.0.into());
        let question =
            Question { hook: Hook::FromPod, interface: LOOPBACK, source, destination, protocol: 6, port: 80 };
        let answer = kernel.datapath.ask(&question).unwrap();
        (answer.action, answer.reason.as_str())
    };
    assert_eq!(ask(&kernel), (Action::Deny, "unknown-interface"));
    kernel.set_pod(Identity(Identity::FIRST_POD)).unwrap();
    assert_eq!(ask(&kernel), (Action::Deny, "no-image"));
    let world = long_list(1);
    kernel.datapath.install_image(world.image().unwrap().as_bytes(), &[]).unwrap();
    kernel.set_pod(Identity(Identity::END_POD - 1)).unwrap();
    assert_eq!(ask(&kernel), (Action::Deny, "unknown-endpoint"));
    let elsewhere = Endpoint { identity: Identity(Identity::FIRST_POD), v4: Some(PEER.0), v6: None };
    kernel.datapath.set_endpoint(LOOPBACK, &elsewhere).unwrap();
    assert_eq!(ask(&kernel), (Action::Deny, "spoofed-source"));
}
