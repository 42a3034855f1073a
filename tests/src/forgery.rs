//! Images that somebody spoilt: whole ones with something in every section, and random edits of their bytes.
//!
//! Not here: what must come of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

use crate::case::Case;
use crate::random::{config, scenario};
use crate::world::World;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::mem::offset_of;
use std::path::Path;
use std::sync::LazyLock;
use weir_abi::checksum;
use weir_abi::layout::{Extent, Header, SECTIONS};
use weir_compiler::image::write::ImageBytes;

/// Images with something in every section, small enough to be damaged ten thousand times.
pub static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let case = |name: &str| {
        let case = Case::load(&root, &root.join(name)).unwrap();
        case.world.image().unwrap().as_bytes().to_vec()
    };
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop");
    let mut files: Vec<_> =
        std::fs::read_dir(shop.join("policies")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.push(shop.join("cluster.yaml"));
    let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    let mut images = vec![World::load(&files).unwrap().image().unwrap().as_bytes().to_vec()];
    images.extend(
        ["peers/dns-names", "requests/headers", "ports/all-and-ranges", "peers/cidr-except"].map(case),
    );
    images.push(long_prefixes());
    let mut runner = TestRunner::new(config(1));
    for _ in 0..4 {
        let (world, _) = scenario().new_tree(&mut runner).unwrap().current().read();
        images.push(world.image().unwrap().as_bytes().to_vec());
    }
    images
});

/// What small worlds lack: low tables, several search-tree levels, rows cut into pages.
fn long_prefixes() -> Vec<u8> {
    let mut text = String::from(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a, labels: {app: x}}, spec: {containers: []}, \
         status: {podIP: 10.0.0.1}}\n---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\n\
         metadata: {name: long}\nspec:\n  endpointSelector: {}\n  egress:\n",
    );
    for place in 0..800 {
        let v6 = format!("2001:db8:0:{}::{place:x}/{}", place % 12, 48 + place % 80);
        let v4 = format!("198.{}.{}.0/{}", 18 + place / 256, place % 256, 20 + place % 12);
        let port = 8000 + place * 3;
        text.push_str(&format!(
            "  - toCIDR: [\"{v6}\", \"{v4}\"]\n    toPorts: [{{ports: [{{port: \"{port}\", protocol: TCP}}]}}]\n"
        ));
    }
    let world = World::read(vec![("long.yaml".to_owned(), text.into_bytes())]);
    assert_eq!(world.errors(), [""; 0]);
    world.image().unwrap().as_bytes().to_vec()
}

/// The bytes at a multiple of eight in memory, as an image must begin.
pub fn aligned(bytes: &[u8]) -> ImageBytes {
    let copy = |to: &mut [u8]| {
        to.copy_from_slice(bytes);
        Ok::<(), ()>(())
    };
    ImageBytes::read(bytes.len(), copy).unwrap()
}

/// Writes bytes over others.
pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The bytes with a checksum that fits.
pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&bytes);
    put(&mut bytes, offset_of!(Header, checksum), &sum.to_le_bytes());
    bytes
}

/// One thing that somebody does to an image.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Any byte.
    Byte(Index, u8),
    /// Any word, or only those of the header.
    Word(Index, u32, bool),
    /// A word of the image in another place, where it may be nearly right.
    Copy(Index, Index),
    /// A word a little larger or smaller.
    Shift(Index, i8),
    /// Two sections change places, or one is as long as another.
    Extents(usize, usize, bool),
    /// A run of one byte.
    Fill(Index, u8, u8),
}

/// Edits of every kind.
pub fn edit() -> impl Strategy<Value = Edit> {
    let number = prop_oneof![
        select(vec![
            0,
            1,
            2,
            24,
            25,
            31,
            32,
            33,
            255,
            256,
            65535,
            65536,
            1 << 24,
            1 << 31,
            u32::MAX - 1,
            u32::MAX
        ]),
        any::<u32>(),
    ];
    prop_oneof![
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Edit::Byte(at, to)),
        4 => (any::<Index>(), number, prop::bool::weighted(0.1)).prop_map(|(at, to, header)| Edit::Word(at, to, header)),
        3 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Copy(from, to)),
        3 => (any::<Index>(), any::<i8>()).prop_map(|(at, by)| Edit::Shift(at, by)),
        1 => (0..SECTIONS, 0..SECTIONS, any::<bool>()).prop_map(|(a, b, len)| Edit::Extents(a, b, len)),
        1 => (any::<Index>(), any::<u8>(), any::<u8>()).prop_map(|(at, len, with)| Edit::Fill(at, len, with)),
    ]
}

impl Edit {
    /// Makes it.
    pub fn apply(&self, bytes: &mut [u8]) {
        let words = bytes.len() / 4;
        let read =
            |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap());
        match self {
            Edit::Byte(at, to) => bytes[at.index(bytes.len())] = *to,
            Edit::Word(at, to, header) => {
                let words = if *header { size_of::<Header>() / 4 } else { words };
                put(bytes, at.index(words) * 4, &to.to_le_bytes());
            }
            Edit::Copy(from, to) => {
                let word = read(bytes, from.index(words));
                put(bytes, to.index(words) * 4, &word.to_le_bytes());
            }
            Edit::Shift(at, by) => {
                let word = read(bytes, at.index(words)).wrapping_add_signed(i32::from(*by));
                put(bytes, at.index(words) * 4, &word.to_le_bytes());
            }
            Edit::Extents(a, b, only_len) => {
                let [a, b] = [a, b].map(|at| offset_of!(Header, sections) + at * size_of::<Extent>());
                let [one, other] = [a, b].map(|at| bytes[at..at + 8].to_vec());
                if *only_len {
                    put(bytes, a + 4, &other[4..]);
                } else {
                    put(bytes, a, &other);
                    put(bytes, b, &one);
                }
            }
            Edit::Fill(at, len, with) => {
                let at = at.index(bytes.len());
                let end = (at + usize::from(*len)).min(bytes.len());
                bytes[at..end].fill(*with);
            }
        }
    }
}
