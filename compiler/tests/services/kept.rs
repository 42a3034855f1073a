//! Which slots flows on record keep, against the slowest way to find them; and that what is said to settle settles.

use crate::random::{objects, question, text};
use crate::world::{World, question as parse};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::net::IpAddr;
use weir_abi::services::{Choice, FrontendKind, Scope, ServiceImage, address_bytes, flow_hash};
use weir_compiler::services::{FlowOnRecord, Kept, Previous, settles_any};

/// Flows at addresses that may be services', with backends that may be theirs. The node's own processes ask for its ports at its loopback too.
fn flows() -> impl Strategy<Value = Vec<(String, u16, Index)>> {
    let own = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "[::1]", "[::]"];
    let own = prop::sample::select(own.to_vec());
    let own = own.prop_map(|address| format!("in 192.0.2.9 > {address}:30080/tcp"));
    let asked = prop_oneof![3 => question().boxed(), 1 => own.boxed()];
    prop::collection::vec((asked, 1024..1100u16, any::<Index>()), 0..40)
}

fn recorded(flows: &[(String, u16, Index)], image: &ServiceImage<'_>) -> Vec<FlowOnRecord> {
    let backends: Vec<(IpAddr, u16)> = image
        .frontends()
        .flat_map(|frontend| frontend.backends().collect::<Vec<_>>())
        .map(|backend| (backend.address, backend.port))
        .chain([("10.9.9.9".parse().unwrap(), 9)])
        .collect();
    let flow = |(asked, client_port, backend): &(String, u16, Index)| {
        let asked = parse(asked);
        FlowOnRecord {
            client: asked.client,
            client_port: *client_port,
            address: asked.address,
            port: asked.port,
            protocol: asked.protocol,
            backend: *backend.get(&backends),
        }
    };
    flows.iter().map(flow).collect()
}

/// Every slot of every table, held against every flow.
fn brute(image: &ServiceImage<'_>, flows: &[FlowOnRecord]) -> BTreeSet<(u32, u32)> {
    let mut kept = BTreeSet::new();
    for flow in flows {
        let frontends: Vec<_> = image.frontends().collect();
        let exact = |address: IpAddr| {
            frontends.iter().find(|one| {
                (one.address(), one.port(), one.protocol()) == (address, flow.port, flow.protocol)
            })
        };
        // From inside, ports of nodes are at all nodes' addresses.
        let of_nodes = [FrontendKind::NodeAddress, FrontendKind::PeerAddress];
        let is_node = flow.address.is_loopback()
            || frontends.iter().any(|one| of_nodes.contains(&one.kind) && one.address() == flow.address);
        let any: IpAddr = if flow.address.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        let Some(frontend) = exact(flow.address).or_else(|| exact(any).filter(|_| is_node)) else { continue };
        for scope in [Scope::External, Scope::Internal] {
            let Some((number, table)) = frontend.table(scope) else { continue };
            for slot in 0..table.len() {
                let port = if frontend.affinity().is_some() { 0 } else { flow.client_port };
                let [client, address] = [flow.client, flow.address].map(address_bytes);
                if table.slot_of(flow_hash(client, port, address, flow.port, flow.protocol)) == slot {
                    let (present, is_unsettled) = table.slot(slot).unwrap();
                    let present = frontend.backends().nth(present as usize).unwrap();
                    if is_unsettled && (present.address, present.port) != flow.backend {
                        kept.insert((number, slot));
                    }
                }
            }
        }
    }
    kept
}

fn changed(objects: &[String], change: (&str, &str)) -> World {
    let after: Vec<String> = objects.iter().map(|object| object.replacen(change.0, change.1, 1)).collect();
    World::read(&text(&after))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_every_slot_and_flow_say(
        before in objects(),
        flows in flows(),
        change in prop::sample::select(vec![
            ("10.1.1.3\"", "10.1.1.99\""),
            ("\"5\"", "\"2\""),
            ("ready: true", "ready: false"),
        ]),
        settles in any::<bool>(),
    ) {
        let (after, before) = (changed(&before, change), World::read(&text(&before)));
        let first = before.image(Some(0));
        let keeps: &dyn Fn(u32, u32) -> bool = &|_, slot| settles || slot % 3 == 0;
        let previous = Previous { image: ServiceImage::open(first.as_bytes()).unwrap(), keeps };
        let second = after.compiled(Some(0), Some(previous));
        let image = ServiceImage::open(second.bytes.as_bytes()).unwrap();
        let flows = recorded(&flows, &image);
        let kept = Kept::new(&image, flows.iter().copied());
        let expected = brute(&image, &flows);
        prop_assert_eq!(&kept.iter().collect::<BTreeSet<_>>(), &expected);
        for number in 0..u32::try_from(image.table_count()).unwrap() {
            let table = image.table(number).unwrap();
            for slot in 0..table.len() {
                prop_assert_eq!(kept.keeps(number, slot), expected.contains(&(number, slot)), "{} {}", number, slot);
            }
        }

        // The same cluster again: what is said to settle does, and nothing else.
        let keeps = |table, slot| kept.keeps(table, slot);
        let again = after.compiled(Some(0), Some(Previous { image, keeps: &keeps })).contents;
        let is_fewer = again.unsettled < second.contents.unsettled;
        prop_assert_eq!(settles_any(&image, &keeps), is_fewer, "{:?} after {:?}", again, second.contents);
        prop_assert!(!settles_any(&image, &|_, _| true));
        let serves_all = image.frontends().all(|frontend| {
            [Scope::External, Scope::Internal]
                .iter()
                .all(|&scope| frontend.table(scope).is_none() || frontend.choice(scope) == Choice::Backend)
        });
        if serves_all {
            prop_assert_eq!(settles_any(&image, &|_, _| false), second.contents.unsettled > 0);
        }
    }
}
