//! Prefix tables against a look through the list: at every end of every prefix, one before, one after,
//! and anywhere.
//!
//! The tables are made straight from prefixes, by the compiler's own steps (sweep, layout, image), so
//! that sets are compared mark by mark; the last test goes through policies and verdicts.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::layout::{
    Extent, Section, V4_BYTE_CLASSES, V4_HALF_CLASSES, V4_WIDE, V6_HALF_VALUES, V6_WORD_VALUES,
};
use weir_abi::{Action, Identity, Image, ImageError};
use weir_compiler::classes::Classes;
use weir_compiler::classes::ports::PortMarks;
use weir_compiler::classes::sweep::Sweep;
use weir_compiler::image::write::{ImageBytes, ImageWriter, Parts};
use weir_compiler::image::{ports, prefix_v4, prefix_v6};
use weir_compiler::tables::Encoder;
use weir_tests::forgery::{aligned, put, sealed};
use weir_tests::inquiry::ask_everything;
use weir_tests::random::config;
use weir_tests::world::World;

/// A mark's prefix, less its exceptions.
#[derive(Clone, Debug)]
struct Block {
    mark: u32,
    net: IpNet,
    except: Vec<IpNet>,
}

impl Block {
    fn holds(&self, address: IpAddr) -> bool {
        self.net.contains(&address) && !self.except.iter().any(|net| net.contains(&address))
    }
}

/// The marks that hold at an address, by looking at every block.
fn naive(blocks: &[Block], address: IpAddr) -> Vec<u32> {
    let mut marks: Vec<u32> =
        blocks.iter().filter(|block| block.holds(address)).map(|block| block.mark).collect();
    marks.sort_unstable();
    marks.dedup();
    marks
}

/// An image with nothing but prefix tables, and the sets that its classes stand for.
fn compiled(blocks: &[Block]) -> (ImageBytes, Classes) {
    let marks = blocks.iter().map(|block| block.mark as usize + 1).max().unwrap_or(1);
    let (mut sweep, mut classes) = (Sweep::default(), Classes::default());
    for block in blocks {
        sweep.add(block.mark, block.net, block.except.iter().copied());
    }
    let v4 = sweep.v4_ranges(marks, &[], &mut classes);
    let v6 = sweep.v6_ranges(marks, &[], &mut classes);
    let parts = Parts {
        peer_classes: classes.len(),
        port_classes: 1,
        v4: prefix_v4::lay_out(&v4, classes.len()),
        v6: prefix_v6::lay_out(&v6),
        ports: ports::lay_out(&PortMarks::default().classify()),
        tables: Encoder::new(classes.len()).finish(),
        ..Parts::default()
    };
    (ImageWriter::default().finish(&parts, usize::MAX).unwrap(), classes)
}

/// The ends of a prefix and their neighbours outside.
fn ends(net: IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let ends = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            ends.into_iter().map(|at| IpAddr::V4(Ipv4Addr::from_bits(at))).collect()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let ends = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            ends.into_iter().map(|at| IpAddr::V6(Ipv6Addr::from_bits(at))).collect()
        }
    }
}

fn check(blocks: &[Block], addresses: impl Iterator<Item = IpAddr>) {
    let (bytes, classes) = compiled(blocks);
    let image = Image::open(bytes.as_bytes()).unwrap();
    for address in addresses {
        let class = image.address_class(address);
        assert_eq!(classes.marks(class.0), naive(blocks, address), "{address} among {blocks:?}");
    }
}

fn v4(address: u32, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(address), length).unwrap().trunc())
}

fn v6(address: u128, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(address), length).unwrap().trunc())
}

/// Places where prefixes meet: few networks, the ends of the space, and anywhere.
fn v4_address() -> impl Strategy<Value = u32> {
    prop_oneof![
        3 => (0..4u32, any::<u8>()).prop_map(|(net, host)| 0x0A00_0000 + (net << 8) + u32::from(host)),
        1 => (0..3u32).prop_map(|from_end| u32::MAX - from_end),
        1 => 0..3u32,
        1 => any::<u32>(),
    ]
}

/// Networks that differ above and below bit 64, with neighbours on both sides of that border.
fn v6_address() -> impl Strategy<Value = u128> {
    const NET: u128 = 0x2001_0db8 << 96;
    prop_oneof![
        2 => (0..3u128, any::<u8>()).prop_map(|(net, host)| NET + (net << 64) + u128::from(host)),
        1 => (0..3u128, 0..3u64).prop_map(|(net, end)| NET + (net << 64) + u128::from(u64::MAX - end)),
        1 => (0..8u128).prop_map(|net| NET + (net << 80)),
        1 => (0..3u128).prop_map(|from_end| u128::MAX - from_end),
        1 => (0..3u128).prop_map(|from_end| u128::MAX - (from_end << 64)),
        1 => 0..3u128,
        1 => any::<u128>(),
    ]
}

fn v4_net() -> impl Strategy<Value = IpNet> {
    let length = prop_oneof![4 => 20..=32u8, 1 => 0..=32u8, 1 => Just(32u8), 1 => Just(0u8)];
    (v4_address(), length).prop_map(|(address, length)| v4(address, length))
}

fn v6_net() -> impl Strategy<Value = IpNet> {
    let length =
        prop_oneof![3 => 60..=68u8, 3 => 116..=128u8, 1 => 0..=128u8, 1 => Just(64u8), 2 => Just(128u8)];
    (v6_address(), length).prop_map(|(address, length)| v6(address, length))
}

/// Blocks of several marks; the exceptions lie within, around or outside, as the sweep must not care.
fn blocks(net: impl Strategy<Value = IpNet> + Clone + 'static) -> impl Strategy<Value = Vec<Block>> {
    let except = prop::collection::vec(net.clone(), 0..4);
    let block = (0..6u32, net, except).prop_map(|(mark, net, except)| Block { mark, net, except });
    prop::collection::vec(block, 0..24)
}

fn all_ends(blocks: &[Block]) -> Vec<IpAddr> {
    blocks
        .iter()
        .flat_map(|block| std::iter::once(&block.net).chain(&block.except))
        .copied()
        .flat_map(ends)
        .collect()
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn ipv4_is_as_a_look_through_the_list(
        blocks in blocks(v4_net().boxed()),
        others in prop::collection::vec(v4_address(), 20),
    ) {
        let others = others.into_iter().map(|at| IpAddr::V4(at.into()));
        check(&blocks, all_ends(&blocks).into_iter().chain(others));
    }

    #[test]
    fn ipv6_is_as_a_look_through_the_list(
        blocks in blocks(v6_net().boxed()),
        others in prop::collection::vec(v6_address(), 20),
    ) {
        let others = others.into_iter().map(|at| IpAddr::V6(at.into()));
        check(&blocks, all_ends(&blocks).into_iter().chain(others));
    }

    /// Many marks, so that a set is more than one word.
    #[test]
    fn families_and_many_marks_do_not_mix(nets in prop::collection::vec(prop_oneof![v4_net(), v6_net()], 65..150)) {
        let blocks: Vec<Block> =
            nets.into_iter().zip(0..).map(|(net, mark)| Block { mark, net, except: Vec::new() }).collect();
        check(&blocks, all_ends(&blocks).into_iter().step_by(7));
    }
}

/// Values of a strategy, always the same ones.
fn sample<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(&mut TestRunner::new(config(1))).unwrap().current()
}

fn single(mark: u32, net: IpNet) -> Block {
    Block { mark, net, except: Vec::new() }
}

/// A hundred thousand ranges: many anywhere, and some close to each other.
fn large_v4_list(marks: u32) -> Vec<Block> {
    let addresses = sample(prop::collection::vec(any::<u32>(), 50_000));
    let anywhere =
        addresses.iter().zip(0..).map(|(&at, place)| single(place % marks, v4(at, 18 + place as u8 % 15)));
    let close = (0..2000).map(|place| single(place % 3, v4(0xC633_0000 + place * 2, 32)));
    let close_here_and_there =
        (0..3000).map(|place| single(place % 2, v4((place / 6) * 0x0010_0000 + place % 6 * 3, 32)));
    anywhere.chain(close).chain(close_here_and_there).collect()
}

/// Few classes and many, as the formats of large tables have them.
const NARROW: [(u32, u32); 2] = [(5, V4_BYTE_CLASSES), (2000, V4_HALF_CLASSES)];

/// Other formats and more levels than small tables have.
#[test]
fn a_large_ipv4_list_is_laid_out_narrow() {
    for (marks, format) in NARROW {
        let blocks = large_v4_list(marks);
        let (bytes, classes) = compiled(&blocks);
        let image = Image::open(bytes.as_bytes()).unwrap();
        assert_eq!(image.header().v4_format, format);
        for address in all_ends(&blocks).into_iter().step_by(401) {
            let class = image.address_class(address);
            assert_eq!(classes.marks(class.0), naive(&blocks, address), "{address}");
        }
    }
}

/// Narrow tables are too large to be damaged ten thousand times, and the rest of their image says nothing about them.
#[test]
fn a_forged_narrow_table_is_refused_or_answers() {
    for (marks, _) in NARROW {
        forge_narrow_tables(&large_v4_list(marks));
    }
}

fn forge_narrow_tables(blocks: &[Block]) {
    let (bytes, _) = compiled(blocks);
    let image = Image::open(bytes.as_bytes()).unwrap();
    let [directory, ranges] = [Section::V4Directory, Section::V4Ranges].map(|section| {
        let Extent { offset, len } = image.header().sections[section as usize];
        (offset as usize, len as usize)
    });
    let edit = (any::<bool>(), any::<Index>(), any::<Index>(), -70..70i32);
    let (mut refused, mut opened) = (0, 0);
    for edits in sample(prop::collection::vec(prop::collection::vec(edit, 1..3), 150)) {
        let mut forged = bytes.as_bytes().to_vec();
        for (of_directory, at, from, by) in edits {
            let (start, len) = if of_directory { directory } else { ranges };
            let (at, from) = (start + at.index(len / 4) * 4, start + from.index(len / 4) * 4);
            let number = u32::from_le_bytes(forged[from..from + 4].try_into().unwrap());
            put(&mut forged, at, &number.wrapping_add_signed(by).to_le_bytes());
        }
        let forged = aligned(&sealed(forged));
        match Image::open(forged.as_bytes()) {
            Err(error) => {
                assert!(matches!(error, ImageError::Record { .. }), "{error}");
                refused += 1;
            }
            Ok(image) => {
                opened += 1;
                ask_everything(&image);
                for address in all_ends(blocks).into_iter().step_by(11) {
                    assert!(image.address_class(address).0 < image.header().peer_classes);
                }
            }
        }
    }
    assert!(refused > 50 && opened > 0, "{refused} refused, {opened} opened");
}

#[test]
fn more_classes_than_a_narrow_range_can_name_are_laid_out_wide() {
    // Address `i` is in the sets that the bits of `i` say, so each of them is a class of its own.
    const ADDRESSES: u32 = (1 << 16) + 5000;
    let spread = |place: u32| place.wrapping_mul(0x9E37_79B1);
    let blocks: Vec<Block> = (1..ADDRESSES)
        .flat_map(|place| {
            (0..17)
                .filter(move |bit| place >> bit & 1 == 1)
                .map(move |bit| single(bit, v4(spread(place), 32)))
        })
        .collect();
    let (bytes, classes) = compiled(&blocks);
    let image = Image::open(bytes.as_bytes()).unwrap();
    assert_eq!((image.header().v4_format, classes.len()), (V4_WIDE, ADDRESSES as usize));
    assert!(image.header().v4_shift < 24);
    for place in 0..ADDRESSES {
        let bits: Vec<u32> = (0..17).filter(|bit| place >> bit & 1 == 1).collect();
        let class = image.address_class(IpAddr::V4(spread(place).into()));
        assert_eq!(classes.marks(class.0), bits, "{place}");
    }
}

#[test]
fn a_large_ipv6_list_has_levels_and_low_tables() {
    let hosts = sample(prop::collection::vec((0..3000u128, any::<u64>(), 90..=128u8), 12_000));
    let mut blocks: Vec<Block> = hosts
        .iter()
        .map(|&(net, host, length)| {
            single(0, v6((0x2001_0db8 << 96) + (net << 64) + u128::from(host), length))
        })
        .collect();
    let nets = sample(prop::collection::vec((any::<u128>(), 20..=64u8), 4000));
    blocks.extend(nets.iter().map(|&(address, length)| single(1, v6(address, length))));
    // Many hosts of one network, side by side and apart.
    blocks.extend((0..2000u128).map(|host| single(2, v6((0xfd00 << 112) + host * (1 + host % 3), 128))));
    let (bytes, classes) = compiled(&blocks);
    let image = Image::open(bytes.as_bytes()).unwrap();
    assert!(image.header().v6_levels >= 4 && image.header().v6_longest > 1000, "{:?}", image.header());
    assert_eq!(image.header().v6_format, V6_HALF_VALUES);
    for address in all_ends(&blocks).into_iter().step_by(211) {
        let class = image.address_class(address);
        assert_eq!(classes.marks(class.0), naive(&blocks, address), "{address}");
    }
}

#[test]
fn more_low_tables_than_two_bytes_can_name_are_laid_out_in_words() {
    const HOSTS: u128 = (1 << 15) + 100;
    let host = |place: u128| (0x2001_0db8 << 96) + (place << 65) + 7;
    let blocks: Vec<Block> = (0..HOSTS).map(|place| single(0, v6(host(place), 128))).collect();
    let (bytes, classes) = compiled(&blocks);
    let image = Image::open(bytes.as_bytes()).unwrap();
    assert_eq!(image.header().v6_format, V6_WORD_VALUES);
    for place in 0..HOSTS {
        for (address, marks) in [(host(place) - 1, &[][..]), (host(place), &[0]), (host(place) + 1, &[])] {
            let class = image.address_class(IpAddr::V6(address.into()));
            assert_eq!(classes.marks(class.0), marks, "{place}");
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    /// The same through policies: rule `i` admits its prefixes on port `1000 + i`, and nobody else does.
    #[test]
    fn verdicts_follow_the_lists_of_policies(
        rules in prop::collection::vec(
            prop::collection::vec((prop_oneof![v4_net(), v6_net()], prop::collection::vec(any::<u128>(), 0..3)), 1..6),
            1..8,
        ),
    ) {
        let mut blocks = Vec::new();
        let mut text = String::from(
            "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a}, spec: {containers: []}, status: {podIP: 192.0.2.1}}\n\
             ---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: lists}\n\
             spec:\n  endpointSelector: {}\n  egress:\n",
        );
        for (rule, mark) in rules.iter().zip(0..) {
            text.push_str("  - toCIDRSet:\n");
            for (net, hosts) in rule {
                // Exceptions lie within their block, or the policy is refused.
                let within = |host: &u128| match net {
                    IpNet::V4(net) => v4(net.network().to_bits() | *host as u32 & net.hostmask().to_bits(), 32 - u8::from(net.prefix_len() < 30)),
                    IpNet::V6(net) => v6(net.network().to_bits() | *host & net.hostmask().to_bits(), 128 - u8::from(net.prefix_len() < 120)),
                };
                let except: Vec<IpNet> = hosts.iter().map(within).collect();
                let listed: Vec<String> = except.iter().map(|net| format!("\"{net}\"")).collect();
                text.push_str(&format!("    - cidr: \"{net}\"\n      except: [{}]\n", listed.join(", ")));
                blocks.push(Block { mark, net: *net, except });
            }
            text.push_str(&format!("    toPorts: [{{ports: [{{port: \"{}\", protocol: TCP}}]}}]\n", 1000 + mark));
        }
        let world = World::read(vec![("lists.yaml".to_owned(), text.into_bytes())]);
        prop_assert_eq!(world.errors(), [""; 0]);
        let image = Image::open(world.image().unwrap().as_bytes()).unwrap();
        let pod = image.endpoint(Identity(Identity::FIRST_POD)).unwrap();
        for address in all_ends(&blocks) {
            let class = image.address_class(address);
            let admitted = naive(&blocks, address);
            for mark in 0..rules.len() as u32 {
                let port = image.port_class(6, 1000 + mark as u16);
                let passes = image.judge(pod.egress, class, port).action == Action::Allow;
                prop_assert_eq!(passes, admitted.contains(&mark), "{} on rule {}", address, mark);
            }
        }
    }
}
