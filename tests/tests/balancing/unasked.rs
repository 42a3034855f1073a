//! Packets that belong to no connection, from addresses that anybody could write: what they leave on record, and for how long.
//!
//! Not here: who is believed at all (`strays.rs`), how many ports there are (`ports.rs`).

use super::ports::{Translations, translations};
use super::stage::{ECHO_PORT, PATIENCE, PORT, Stage, at, balanced, balancer_ips, comes_true, lab_of};
use super::strays::{send, summed};
use super::table::{Hook, Mode, Setting};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use weir_abi::services::live::{FLOW_ANSWERED, FLOW_CLOSED, OF_REPLIES, TranslationKey, TranslationRecord};
use weir_abi::state::TICK_SHIFT;
use weir_lab::Call;
use weir_tests::kernel::packet::{flags, tcp};
use zerocopy::FromBytes;

const SETTING: Setting = Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: false };
/// Addresses that nobody has, so that nobody answers there.
const NOBODY: [&str; 2] = ["100.64.0.9", "2001:db9::9"];
/// Ticks after which a flow that was never established is over, and some more.
const SOON: u32 = 60 + 5;

/// The present tick, by the machine's own time.
fn now() -> u32 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    ((seconds * 1e9) as u64 >> TICK_SHIFT) as u32
}

/// What is on record of a client, by whether it is for replies.
fn of_client(entries: &Translations, client: SocketAddr, is_of_replies: bool) -> Option<TranslationRecord> {
    let all = entries.iter().filter_map(Result::ok);
    let mut all = all.map(|(key, record)| {
        let key = TranslationKey::read_from_bytes(&key).unwrap();
        (key, TranslationRecord::read_from_bytes(&record).unwrap())
    });
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let is_clients = |address: [u8; 16], port| (address, port) == (octets(client.ip()), client.port());
    let found = all.find(|(key, record)| {
        let is_it = (record.state & OF_REPLIES != 0) == is_of_replies;
        is_it
            && if is_of_replies {
                is_clients(record.destination, record.destination_port)
            } else {
                is_clients(key.source, key.source_port)
            }
    });
    found.map(|(_, record)| record)
}

/// A port of source NAT is one of a few thousand, and a backend answers who opens whatever address he writes.
#[test]
fn who_never_answers_holds_no_port_of_the_node_for_long() {
    let Some(lab) = lab_of(SETTING) else { return };
    let stage = Stage::set(&lab, SETTING, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
    let entries = translations(lab.node("n1"));
    for (family, service) in balancer_ips(1).into_iter().enumerate() {
        let nobody: IpAddr = NOBODY[family].parse().unwrap();
        for (from, told) in [
            (4001, &[flags::SYN][..]),
            (4002, &[flags::ACK]),
            (4003, &[flags::RST]),
            (4004, &[flags::FIN | flags::ACK]),
        ] {
            let client = at(nobody, from);
            for &flags in told {
                send(lab.outside(), service, &summed(nobody, service, tcp(from, PORT, flags)));
            }
            let is_known = || of_client(&entries, client, true).is_some();
            assert!(comes_true(PATIENCE, is_known), "{client}: nothing is on record of {told:?}");
            if told == [flags::SYN] {
                // The backend says yes.
                let is_answered =
                    || of_client(&entries, client, true).is_some_and(|one| one.state & FLOW_ANSWERED != 0);
                assert!(comes_true(PATIENCE, is_answered));
            }
            for is_of_replies in [false, true] {
                let record = of_client(&entries, client, is_of_replies).unwrap();
                let left = record.expires.wrapping_sub(now());
                assert!(left.cast_signed() < SOON as i32, "{client}, flags {told:?}: {left} ticks");
            }
        }
    }
    // A connection that both sides know stays for as long as it may be idle.
    for (family, service) in balancer_ips(1).into_iter().enumerate() {
        let client = at(lab.outside().addresses()[family], 4010);
        let call = Call::to(at(service, PORT)).from(client).within(PATIENCE);
        let connection = stage.peer("outside").open(call).unwrap().unwrap();
        assert!(connection.who(1).unwrap().is_ok());
        for is_of_replies in [false, true] {
            let record = of_client(&entries, client, is_of_replies).unwrap();
            assert!(record.expires.wrapping_sub(now()) > 10_000, "{client}: {record:?}");
        }
    }
}

/// What a reset's sequence number must be, only the two ends know.
#[test]
fn a_reset_that_neither_end_believes_ends_no_flow() {
    let Some(lab) = lab_of(SETTING) else { return };
    let stage = Stage::set(&lab, SETTING, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
    let entries = translations(lab.node("n1"));
    for (family, service) in balancer_ips(1).into_iter().enumerate() {
        let client = at(lab.outside().addresses()[family], 4020);
        let call = Call::to(at(service, ECHO_PORT)).from(client).within(PATIENCE);
        let connection = stage.peer("outside").open(call).unwrap().unwrap();
        assert!(connection.say(1).unwrap().is_made());
        let forged = tcp(client.port(), ECHO_PORT, flags::RST);
        send(lab.outside(), service, &summed(client.ip(), service, forged));
        let record = || of_client(&entries, client, false).unwrap();
        assert!(comes_true(PATIENCE, || record().state & FLOW_CLOSED != 0), "{client}");
        let expires = record().expires;
        let goes_on = || {
            assert!(connection.say(1).unwrap().is_made(), "{client}");
            [false, true].iter().all(|&is| of_client(&entries, client, is).unwrap().expires > expires)
        };
        assert!(
            comes_true(PATIENCE, goes_on),
            "{client}: it is about to be forgotten, though both ends go on"
        );
    }
}

/// By option the balancer sends all but the first packet to the backend itself, so its node sees no service in them.
#[test]
fn a_connection_by_option_that_says_nothing_yet_stays() {
    let setting = Setting { mode: Mode::DsrOption, ..SETTING };
    let Some(lab) = lab_of(setting) else { return };
    let stage = Stage::set(&lab, setting, &[balanced("shop/web", 1).endpoint("shop/b2")]).unwrap();
    let entries = translations(lab.node("n2"));
    for (family, service) in balancer_ips(1).into_iter().enumerate() {
        let client = at(lab.outside().addresses()[family], 4030);
        let call = Call::to(at(service, ECHO_PORT)).from(client).within(PATIENCE);
        let _connection = stage.peer("outside").open(call).unwrap().unwrap();
        let record = of_client(&entries, client, true).unwrap();
        assert!(record.expires.wrapping_sub(now()) > 10_000, "{client}: {record:?}");
    }
}
