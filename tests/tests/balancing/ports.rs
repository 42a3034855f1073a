//! The node's ports under source NAT: no two flows to one backend's port have the same, and each comes back after its flow, with nobody there to
//! sweep; and none is of two flows. Of SCTP the client's port is the node's.

use super::stage::{BRIEFLY, PATIENCE, PORT, Stage, at, balanced, balancer_ips, comes_true, lab_of};
use super::table::{Hook, Mode, Setting};
use aya::maps::{HashMap, Map, MapData, MapInfo};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use weir_abi::services::live::{FLOW_ANSWERED, OF_REPLIES, TranslationKey, TranslationRecord};
use weir_lab::{Call, Contact, Place, Transport};
use zerocopy::FromBytes;

/// The configuration has no more.
const PORTS: &str = ", ports: {first: 61000, last: 61003}";
/// Two clients of the outside, which have the same port.
const CLIENTS: [[&str; 2]; 2] = [["203.0.113.7", "203.0.113.9"], ["2001:db8::7", "2001:db8::9"]];
const ONE_PORT: u16 = 5000;
/// In less time than this after a flow ended its port is not there yet.
const STILL_TAKEN: Duration = Duration::from_secs(1);
/// A closed flow keeps its port for some seconds (`bpf/services/options.h`); a busy machine may need more.
const COME_BACK: Duration = Duration::from_secs(60);

#[test]
fn ports_are_given_once_and_come_back() {
    let setting = Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: false };
    let Some(lab) = lab_of(setting) else { return };
    let services = [balanced("shop/web", 1).endpoint("shop/b2")];
    let mut stage = Stage::set_with(&lab, setting, &services, PORTS).unwrap();
    let mut daemons = std::mem::take(&mut stage.daemons);
    let outside = stage.peer("outside");
    for (family, address) in balancer_ips(1).into_iter().enumerate() {
        let call = |within| Call::to(at(address, PORT)).within(within);
        let open = || outside.open(call(PATIENCE)).unwrap().unwrap();
        let connections = [open(), open(), open(), open()];
        let saw = connections.each_ref().map(|connection| connection.who(1).unwrap().unwrap().saw.port());
        assert_eq!(BTreeSet::from(saw), (61_000..=61_003).collect(), "family {family}");
        let came = outside.open(call(BRIEFLY)).unwrap().map(|_| ());
        assert_eq!(came, Err(Contact::TimedOut), "family {family}: a fifth where there is no port");
        for connection in &connections {
            assert!(connection.who(1).unwrap().is_ok(), "family {family}: those that are there stay");
        }
    }
    // Both families' connections are closed by now, and nobody removes entries.
    for daemon in &mut daemons {
        daemon.kill().unwrap();
    }
    for address in balancer_ips(1) {
        let call = || Call::to(at(address, PORT)).within(BRIEFLY);
        for number in 1..=4 {
            let is_made = || outside.who(call(), Transport::Tcp, 1).unwrap().is_ok();
            assert!(comes_true(COME_BACK, is_made), "connection {number} to {address}");
        }
    }
}

#[test]
fn a_port_of_sctp_is_one_clients_until_its_association_ends() {
    let setting = Setting { mode: Mode::Snat, hook: Hook::Xdp, sockets: false };
    let Some(lab) = lab_of(setting) else { return };
    let services =
        [balanced("shop/web", 1).endpoint("shop/b2"), balanced("shop/near", 2).endpoint("shop/b1")];
    let stage = Stage::set(&lab, setting, &services).unwrap();
    let outside = stage.peer("outside");
    let ask = |number: u8, family: usize, client: &str, within| {
        let from = at(client.parse().unwrap(), ONE_PORT);
        let call = Call::to(at(balancer_ips(number)[family], PORT)).from(from).within(within);
        outside.who(call, Transport::Sctp, 1).unwrap()
    };
    for (family, [first, second]) in CLIENTS.into_iter().enumerate() {
        let began = Instant::now();
        let seen = ask(1, family, first, PATIENCE).unwrap().saw;
        assert_eq!(seen, at(stage.place("n1").addresses()[family], ONE_PORT));
        let came = ask(1, family, second, BRIEFLY);
        if began.elapsed() < STILL_TAKEN {
            assert_eq!(came, Err(Contact::TimedOut), "the port is the first client's, family {family}");
        }
        // A backend of the node itself sees the client, so nobody has to share.
        assert_eq!(ask(2, family, second, PATIENCE).unwrap().saw, at(second.parse().unwrap(), ONE_PORT));
        assert!(
            ask(1, family, first, PATIENCE).is_ok(),
            "the first client has its port again, family {family}"
        );
    }
    // Each association ended with ABORT, and nobody says anything until its port is there again.
    for (family, [_, second]) in CLIENTS.into_iter().enumerate() {
        let is_free = || ask(1, family, second, BRIEFLY).is_ok();
        assert!(comes_true(COME_BACK, is_free), "the port is there again, family {family}");
    }
}

/// Entries of flows, as they lie in the map.
pub(crate) type Translations =
    HashMap<MapData, [u8; size_of::<TranslationKey>()], [u8; size_of::<TranslationRecord>()]>;

/// Those of a node.
pub(crate) fn translations(node: &Place) -> Translations {
    let open = || Map::LruHashMap(MapData::from_pin(pinned()).unwrap());
    node.inside(open).unwrap().try_into().unwrap()
}

/// The number of a node's map of them.
pub(crate) fn number_of_translations(node: &Place) -> u32 {
    node.inside(|| MapInfo::from_pin(pinned()).unwrap().id()).unwrap()
}

/// Where this node's are.
fn pinned() -> PathBuf {
    let mut folders = vec![PathBuf::from("/sys/fs/bpf/weir")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.ends_with("translations") {
                return entry;
            }
            folders.extend(entry.is_dir().then_some(entry));
        }
    }
    panic!("no map of translations is pinned");
}

/// Where an entry for replies went for want of room, the next flow may get its port. What becomes of the former one is none of the next one's.
#[test]
fn a_port_that_another_flow_took_is_the_formers_no_more() {
    let setting = Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: false };
    let Some(lab) = lab_of(setting) else { return };
    let services = [balanced("shop/web", 1).endpoint("shop/b2")];
    let stage = Stage::set_with(&lab, setting, &services, ", ports: {first: 61000, last: 61000}").unwrap();
    let mut entries = translations(lab.node("n1"));
    for (family, address) in balancer_ips(1).into_iter().enumerate() {
        let client = lab.outside().addresses()[family];
        let open = |port: u16| {
            let call = Call::to(at(address, PORT)).from(at(client, port)).within(PATIENCE);
            stage.peer("outside").open(call).unwrap().unwrap()
        };
        let first = open(40_001);
        assert!(first.who(1).unwrap().is_ok());
        let replies: Vec<_> =
            entries.keys().map(Result::unwrap).filter(|key| is_of_replies(&entries, key, 40_001)).collect();
        assert_eq!(replies.len(), 1, "family {family}");
        entries.remove(&replies[0]).unwrap();
        let second = open(40_002);
        assert_eq!(second.who(1).unwrap().unwrap().saw.port(), 61_000, "family {family}");
        // The former client says that it ends.
        drop(first);
        let has = |port: u16| {
            let keys = entries.keys().filter_map(Result::ok);
            keys.map(|key| TranslationKey::read_from_bytes(&key).unwrap()).any(|key| key.source_port == port)
        };
        assert!(
            comes_true(PATIENCE, || !has(40_001)),
            "family {family}: the former flow has no way back, and goes on"
        );
        let state = TranslationRecord::read_from_bytes(&entries.get(&replies[0], 0).unwrap()).unwrap().state;
        assert_eq!(
            state,
            OF_REPLIES | FLOW_ANSWERED,
            "family {family}: what the former flow said is told of the next"
        );
        assert!(second.who(1).unwrap().is_ok(), "family {family}");
    }
}

/// Whether an entry is for replies to a client's port.
fn is_of_replies(entries: &Translations, key: &[u8; size_of::<TranslationKey>()], port: u16) -> bool {
    let record = TranslationRecord::read_from_bytes(&entries.get(key, 0).unwrap()).unwrap();
    record.state & OF_REPLIES != 0 && record.destination_port == port
}
