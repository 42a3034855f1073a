//! Any bytes as an image: a bad one is refused whole, and whatever is opened answers every question without a panic.
//!
//! Each input is tried as it is and once more with its size and checksum made right, or nothing would get past them.
#![no_main]

mod sealing;

use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use weir_abi::layout::Header;
use weir_abi::{Identity, Image, PeerClass, PortClass, Table};

fuzz_target!(|data: &[u8]| {
    sealing::both(data, size_of::<Header>(), |bytes| {
        if let Ok(image) = Image::open(bytes) {
            ask(&image, data);
        }
    });
});

/// Every kind of question, with the input's own bytes as the values asked about.
fn ask(image: &Image<'_>, data: &[u8]) {
    let word = |at: usize| data.iter().skip(at).take(4).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    let wide = |at: usize| data.iter().skip(at).take(16).fold(0_u128, |word, byte| (word << 8) | u128::from(*byte));
    let numbers = [0, 1, 6, 255, 256, 257, 300, 65_535, 0x0200_0000, 0x0280_0001, u32::MAX, word(0), word(64)];
    let ports: Vec<PortClass> = [(6, 80), (6, 443), (17, 53), (1, 8), (255, u16::MAX), (0, 0)]
        .into_iter()
        .map(|(protocol, port)| image.port_class(protocol, port))
        .chain([PortClass(u16::MAX)])
        .collect();
    let mut peers: Vec<PeerClass> = vec![PeerClass(0), PeerClass(u32::MAX), PeerClass(word(8))];
    for address in [0, 1, 0x0A00_0001, 0xCB00_710A, u32::MAX, word(0), word(100)] {
        peers.push(image.address_class(IpAddr::V4(address.into())));
    }
    for address in [0, 1, 0x2001_0DB8 << 96, u128::MAX, wide(0), wide(200)] {
        peers.push(image.address_class(IpAddr::V6(address.into())));
    }
    let mut tables = vec![Table(0), Table(1), Table(u32::MAX), Table(word(16))];
    for number in numbers {
        if let Some(endpoint) = image.endpoint(Identity(number)) {
            peers.push(endpoint.class);
            tables.extend([endpoint.ingress, endpoint.egress]);
        }
    }
    for table in tables {
        for (peer, port) in peers.iter().flat_map(|peer| ports.iter().map(move |port| (*peer, *port))) {
            let outcome = image.judge(table, peer, port);
            let rule = outcome.rule.and_then(|rule| image.rule(rule));
            let requests = outcome.requests.and_then(|(_, set)| image.request_set(set));
            // A rule that decided has a name, and a redirect has its requests: the check at opening promised so.
            assert_eq!(rule.is_some(), outcome.rule.is_some(), "the rule that decided is not in the image");
            assert_eq!(requests.is_some(), outcome.requests.is_some(), "the requests of a redirect are not in the image");
        }
    }
    let sets = (0..image.request_set_count()).filter_map(|set| image.request_set(u32::try_from(set).ok()?));
    for rule in sets.take(50).flat_map(|set| set.rules().take(50).collect::<Vec<_>>()) {
        let texts = [rule.method(), rule.path(), rule.host(), rule.dns().map(|(name, _)| name)];
        let headers = rule.headers().take(50).map(|header| header.name.len()).sum::<usize>();
        std::hint::black_box((texts, headers, rule.kind(), rule.rule()));
    }
    std::hint::black_box((image.identities().take(50).count(), image.fqdns().take(50).count(), image.fact("node")));
}
