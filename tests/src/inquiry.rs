//! Every question that an image can be asked, for images that nobody should have written: a lookup
//! answers or it does not, but it never panics and never reads outside.

use std::hint::black_box;
use std::net::IpAddr;
use weir_abi::layout::{PEER_PAGE, Section, V4_WIDE};
use weir_abi::{Identity, Image, PeerClass, PortClass, Table};

/// Entries of one section that are turned into questions, at most; more are sampled evenly.
const SAMPLE: usize = 200;
/// Ports asked for each protocol: the ends, ICMP types, what policies name, page borders.
const PORTS: &[u16] = &[0, 8, 53, 63, 64, 80, 65535];

/// Asks everything. What the check at opening promises is asserted: a rule that decided has a name,
/// a redirect has its requests.
pub fn ask_everything(image: &Image<'_>) {
    let peers = ask_addresses(image);
    let tables = ask_endpoints(image);
    let ports = ask_ports(image);
    for &table in &tables {
        for &peer in &peers {
            for &port in &ports {
                let outcome = image.judge(table, peer, port);
                if let Some(rule) = outcome.rule {
                    assert!(image.rule(rule).is_some(), "rule {rule} decided and is not in the image");
                }
                if let Some((_, set)) = outcome.requests {
                    assert!(image.request_set(set).is_some(), "request set {set} is not in the image");
                }
            }
        }
    }
    ask_user_part(image);
}

/// The little-endian words of a section, evenly sampled.
fn words(image: &Image<'_>, section: Section, size: usize) -> Vec<u64> {
    let extent = image.header().sections[section as usize];
    let start = extent.offset as usize;
    let bytes = image.bytes().get(start..start + extent.len as usize).unwrap_or(&[]);
    let step = (bytes.len() / size / SAMPLE).max(1);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    bytes.chunks_exact(size).step_by(step).map(word).collect()
}

/// Addresses where ranges begin and end, and the classes found; and classes that the image lacks.
fn ask_addresses(image: &Image<'_>) -> Vec<PeerClass> {
    let header = image.header();
    let mut peers: Vec<PeerClass> = (0..header.peer_classes.min(64)).map(PeerClass).collect();
    peers.extend([header.peer_classes, u32::MAX, u32::MAX / 2].map(PeerClass));
    peers.push(PeerClass(header.peer_classes.next_multiple_of(PEER_PAGE as u32).wrapping_sub(1)));
    let around = |at: u128| [at.wrapping_sub(1), at, at.wrapping_add(1)];
    let mut class = |address: IpAddr| peers.push(image.address_class(address));
    let (size, offsets) = if header.v4_format == V4_WIDE { (4, u64::MAX) } else { (2, 0x7FFF) };
    let starts = words(image, Section::V4Ranges, size).into_iter().map(|start| start & offsets);
    for word in starts.chain([0, u64::from(u32::MAX)]) {
        // A range begins at an offset in some chunk; the first, the last and one between stand for all.
        for chunk in [0, 1 << 31, !0 << 24] {
            for at in around(u128::from(word as u32 | chunk)) {
                class(IpAddr::V4((at as u32).into()));
            }
        }
    }
    let low: Vec<u64> =
        words(image, Section::V6LowKeys, 8).into_iter().take(8).chain([0, u64::MAX]).collect();
    for high in words(image, Section::V6Keys, 8).into_iter().chain([0, u64::MAX]) {
        for low in &low {
            for at in around(u128::from(high) << 64 | u128::from(*low)) {
                class(IpAddr::V6(at.into()));
            }
        }
    }
    peers.sort_unstable();
    peers.dedup();
    peers
}

/// Every identity that has a name or stands at an end of a range, and the tables found.
fn ask_endpoints(image: &Image<'_>) -> Vec<Table> {
    let mut tables: Vec<Table> =
        words(image, Section::Endpoints, 16).iter().zip(0..).map(|(_, at)| Table(at)).collect();
    tables.extend([Table(0), Table(1), Table(u32::MAX)]);
    let named = image.identities().map(|entry| entry.identity);
    let ends = [Identity::END_POD, Identity::FIRST_NODE, Identity::FIRST_HOST, u32::MAX].into_iter();
    let ends = ends.flat_map(|end| [end.wrapping_sub(1), end, end.wrapping_add(1)]).map(Identity);
    for identity in named.chain((0..300).map(Identity)).chain(ends) {
        if let Some(endpoint) = image.endpoint(identity) {
            tables.extend([endpoint.ingress, endpoint.egress]);
            black_box(endpoint.class);
        }
    }
    tables.sort_unstable();
    tables.dedup();
    tables
}

fn ask_ports(image: &Image<'_>) -> Vec<PortClass> {
    let mut ports = vec![PortClass(0), PortClass(u16::MAX)];
    for protocol in 0..=u8::MAX {
        ports.extend(PORTS.iter().map(|&port| image.port_class(protocol, port)));
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn ask_user_part(image: &Image<'_>) {
    let rules = u32::try_from(image.rule_count()).unwrap_or(u32::MAX);
    for rule in (0..rules.min(1000)).chain([rules, u32::MAX]) {
        black_box(image.rule(rule).map(|entry| (entry.path.to_string(), entry.policy.name.len())));
    }
    let policies = u32::try_from(image.policy_count()).unwrap_or(u32::MAX);
    for policy in (0..policies.min(1000)).chain([policies, u32::MAX]) {
        black_box(image.policy(policy));
    }
    let sets = u32::try_from(image.request_set_count()).unwrap_or(u32::MAX);
    for set in (0..sets.min(1000)).chain([sets, u32::MAX]).filter_map(|set| image.request_set(set)) {
        black_box((set.kind, set.wildcard, set.rule));
        for rule in set.rules().take(1000) {
            let texts = [rule.method(), rule.path(), rule.host(), rule.dns().map(|(name, _)| name)];
            let headers = rule.headers().take(1000);
            let lengths = headers.map(|header| {
                header.name.len() + header.value.map_or(0, str::len) + header.secret.map_or(0, str::len)
            });
            black_box((texts, lengths.sum::<usize>(), rule.kind(), rule.rule()));
        }
    }
    black_box(image.identities().map(|entry| entry.labels.len()).sum::<usize>());
    black_box(image.fqdns().map(|entry| entry.text.len() + usize::from(entry.is_pattern)).sum::<usize>());
    black_box((image.facts().map(|(key, value)| key.len() + value.len()).sum::<usize>(), image.fact("node")));
}
