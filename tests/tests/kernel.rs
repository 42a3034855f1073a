//! The kernel's programs against the image they read: every pod of every corpus case, asked about every other identity and
//! address outside, on the ports of the case's flows.
//!
//! Needs root; elsewhere it is skipped aloud, and with CI=true that is a failure.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use weir_abi::state::Hook;
use weir_abi::{Identity, Image, Outcome, Table};
use weir_compiler::cluster::Party;
use weir_runtime::datapath::{Datapath, DatapathError, Endpoint, Options, Question, remove_everything};
use weir_tests::case::{Case, folders};

const LOOPBACK: u32 = 1;
const POD: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

#[test]
fn the_kernel_agrees_with_every_image_of_the_corpus() {
    let pin_root = format!("/sys/fs/bpf/weir-test-{}", std::process::id());
    let small = Options { conntrack_v4: 64, conntrack_v6: 64, ..Options::default() };
    let mut datapath = match Datapath::open(&Options { pin_root: pin_root.clone().into(), ..small }) {
        Ok(datapath) => datapath,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "the kernel cannot be asked: {error}");
            println!("SKIPPED: the kernel cannot be asked: {error}");
            return;
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/cases");
    let mut asked = 0;
    for folder in folders(&root).into_iter().step_by(6) {
        let case = Case::load(&root, &folder).unwrap();
        let bytes = case.world.image().unwrap();
        datapath.install_image(bytes.as_bytes(), &[]).unwrap();
        asked += compare(&mut datapath, &case, &Image::open(bytes.as_bytes()).unwrap()).unwrap();
    }
    drop(datapath);
    remove_everything(Path::new(&pin_root)).unwrap();
    println!("{asked} questions");
    assert!(asked > 0);
}

fn compare(datapath: &mut Datapath, case: &Case, image: &Image<'_>) -> Result<usize, DatapathError> {
    let mut asked = 0;
    let identities: Vec<Identity> = image.identities().map(|entry| entry.identity).collect();
    let outside = case.flows.iter().filter_map(|flow| match flow.destination {
        Party::Outside(IpAddr::V4(address)) => Some(address),
        _ => None,
    });
    let outside: Vec<Ipv4Addr> = outside.collect();
    for &pod in &identities {
        let Some(endpoint) = image.endpoint(pod).filter(|endpoint| endpoint.enforced_here) else { continue };
        datapath.set_endpoint(LOOPBACK, &Endpoint { identity: pod, v4: Some(POD), v6: None })?;
        for &peer in &identities {
            let Some(class) = image.endpoint(peer).map(|peer| peer.class) else { continue };
            datapath.set_address(PEER.into(), peer)?;
            for flow in case.flows.iter().take(6) {
                for (hook, table) in [(Hook::FromPod, endpoint.egress), (Hook::ToPod, endpoint.ingress)] {
                    let expected = judge(image, table, class, flow.protocol, flow.port);
                    asked += ask(datapath, hook, PEER, flow.protocol, flow.port, expected, &case.name)?;
                }
            }
        }
        for &address in &outside {
            let class = image.address_class(address.into());
            for flow in case.flows.iter().take(6) {
                let expected = judge(image, endpoint.egress, class, flow.protocol, flow.port);
                asked +=
                    ask(datapath, Hook::FromPod, address, flow.protocol, flow.port, expected, &case.name)?;
            }
        }
    }
    Ok(asked)
}

fn judge(image: &Image<'_>, table: Table, class: weir_abi::PeerClass, protocol: u8, port: u16) -> Outcome {
    image.judge(table, class, image.port_class(protocol, port))
}

fn ask(
    datapath: &Datapath,
    hook: Hook,
    peer: Ipv4Addr,
    protocol: u8,
    port: u16,
    expected: Outcome,
    case: &str,
) -> Result<usize, DatapathError> {
    // ICMPv6 makes no IPv4 packet.
    if protocol == 58 {
        return Ok(0);
    }
    let (source, destination) = if hook == Hook::FromPod { (POD, peer) } else { (peer, POD) };
    let question = Question {
        hook,
        interface: LOOPBACK,
        source: source.into(),
        destination: destination.into(),
        protocol,
        port,
    };
    let answer = datapath.ask(&question)?;
    let rule_or_set = expected.requests.map_or(expected.rule, |(_, set)| Some(set));
    let told = (answer.action, answer.reason, answer.rule_or_set);
    assert_eq!(told, (expected.action, expected.reason, rule_or_set), "{case}: {question:?}");
    Ok(1)
}
