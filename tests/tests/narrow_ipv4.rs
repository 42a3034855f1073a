//! Narrow IPv4 tables, place by place: chunks of every length at every place of a block, and tables of a few starts, made by hand, that
//! the check at opening must refuse.
//!
//! Not here: from prefixes to ranges (`prefixes.rs`); the kernel's reading (`kernel.rs`).

#![expect(clippy::unwrap_used, reason = "a table that cannot be put together tests nothing")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use weir_abi::layout::{
    Section, V4_BYTE_BLOCK, V4_BYTE_CLASSES, V4_HALF_BLOCK, V4_HALF_CLASSES, V4_NARROW_SHIFT, V4_SPREAD,
    V4ByteBlock, V4Group, V4HalfBlock,
};
use weir_abi::{Image, ImageError};
use weir_compiler::classes::ports::PortMarks;
use weir_compiler::classes::sweep::Range;
use weir_compiler::image::prefix_v4::{self, Chunk, V4Image, V4Ranges, groups};
use weir_compiler::image::write::{ImageBytes, ImageWriter, Parts};
use weir_compiler::image::{ports, prefix_v6};
use weir_compiler::tables::Encoder;

/// An image with nothing but this table.
fn image_of(v4: V4Image, classes: usize) -> ImageBytes {
    let parts = Parts {
        peer_classes: classes,
        port_classes: 1,
        v4,
        v6: prefix_v6::lay_out(&[Range { start: 0, class: 0 }]),
        ports: ports::lay_out(&PortMarks::default().classify()),
        tables: Encoder::new(classes).finish(),
        ..Parts::default()
    };
    ImageWriter::default().finish(&parts, usize::MAX).unwrap()
}

fn class_at(image: &Image<'_>, address: u32) -> u32 {
    image.address_class(IpAddr::V4(Ipv4Addr::from_bits(address))).0
}

/// Numbers that look random and are always the same (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }
}

/// Chunks of 2^14 addresses with no starts, a few, and now and then more than a block holds; the ends of chunks are among them.
fn ranges_of(classes: usize) -> Vec<Range<u32>> {
    const CHUNK: usize = 1 << 14;
    const LENGTHS: [usize; 8] = [0, 0, 0, 1, 1, 2, 3, 5];
    let mut numbers = Numbers(classes as u64);
    let mut ranges = Vec::new();
    for chunk in 0..1 << 18 {
        let len = match numbers.below(200) {
            0 => V4_BYTE_BLOCK + 1,
            1 => 2 * V4_BYTE_BLOCK + 1,
            _ => LENGTHS[numbers.below(LENGTHS.len())],
        };
        // The first range of all begins at 0.
        let mut offsets: BTreeSet<usize> = (chunk == 0).then_some(0).into_iter().collect();
        while offsets.len() < len {
            offsets.insert(match numbers.below(8) {
                0 => 0,
                1 => CHUNK - 1,
                _ => numbers.below(CHUNK),
            });
        }
        let start = |offset| (chunk * CHUNK + offset) as u32;
        ranges.extend(
            offsets
                .into_iter()
                .map(|offset| Range { start: start(offset), class: numbers.below(classes) as u32 }),
        );
    }
    ranges
}

#[test]
fn chunks_of_every_length_are_found_at_every_place_of_a_block() {
    for (format, classes) in [(V4_BYTE_CLASSES, 256), (V4_HALF_CLASSES, 1 << 16)] {
        let ranges = ranges_of(classes);
        let table = prefix_v4::lay_out(&ranges, classes);
        if let V4Ranges::Bytes(groups, _) | V4Ranges::Halves(groups, _) = &table.ranges {
            let spread = groups.iter().filter(|group| group.base & V4_SPREAD != 0).count();
            assert!((10..groups.len() / 2).contains(&spread), "{spread} of {}", groups.len());
        }
        let bytes = image_of(table, classes);
        let image = Image::open(bytes.as_bytes()).unwrap();
        assert_eq!((image.header().v4_format, image.header().v4_shift), (format, 14), "{}", ranges.len());
        for (range, next) in ranges.iter().zip(ranges.iter().skip(1)) {
            assert_eq!(class_at(&image, range.start), range.class, "{range:?}");
            assert_eq!(class_at(&image, next.start - 1), range.class, "before {next:?}");
        }
        assert_eq!(class_at(&image, u32::MAX), ranges.last().unwrap().class);
    }
}

/// A table made by hand. `P` in a start is the parity of the chunk that holds address 0.
#[derive(Clone)]
struct Table {
    /// Starts of a block.
    len: usize,
    directory: Vec<Chunk>,
    starts: Vec<u16>,
    classes: Vec<u8>,
    longest: u32,
}

const P: u16 = 1 << 15;
const CHUNKS: usize = 1 << (32 - V4_NARROW_SHIFT);
/// So many that a class, read for a start, may look like one of parity `P`.
const CLASSES: usize = 200;

impl Table {
    /// The first chunk has these starts, from a place of the first block on, and the class at each is its number; the others have none, and
    /// begin at `next`.
    fn new(len: usize, first: usize, starts: &[u16], next: usize) -> Table {
        let size = (first + starts.len()).max(next + 1).next_multiple_of(len);
        let mut table = Table {
            len,
            directory: Vec::new(),
            starts: vec![0; size],
            classes: (0..size).map(|place| (place % 128) as u8).collect(),
            longest: 100,
        };
        table.starts[first..first + starts.len()].copy_from_slice(starts);
        table.directory = vec![table.entry(next); CHUNKS + 1];
        table.directory[0] = table.entry(first);
        table
    }

    /// A chunk with parity `P`.
    fn entry(&self, number: usize) -> Chunk {
        Chunk { place: (number / self.len * 64 + number % self.len * 2) as u32, parity: true }
    }

    fn image(&self) -> ImageBytes {
        self.image_with(groups(&self.directory))
    }

    fn image_with(&self, directory: Vec<V4Group>) -> ImageBytes {
        let blocks = self.starts.chunks(self.len).zip(self.classes.chunks(self.len));
        let ranges = if self.len == V4_BYTE_BLOCK {
            let block = |(starts, classes): (&[u16], &[u8])| V4ByteBlock {
                starts: starts.try_into().unwrap(),
                classes: classes.try_into().unwrap(),
                reserved: 0,
            };
            V4Ranges::Bytes(directory, blocks.map(block).collect())
        } else {
            let block = |(starts, classes): (&[u16], &[u8])| V4HalfBlock {
                starts: starts.try_into().unwrap(),
                classes: std::array::from_fn(|at| u16::from(classes[at]) << 8 | u16::from(classes[at])),
            };
            V4Ranges::Halves(directory, blocks.map(block).collect())
        };
        let classes = if self.len == V4_BYTE_BLOCK { CLASSES } else { CLASSES << 8 };
        image_of(V4Image { shift: V4_NARROW_SHIFT, ranges, longest: self.longest }, classes)
    }
}

#[test]
fn a_sound_table_of_a_few_starts_answers() {
    for len in [V4_BYTE_BLOCK, V4_HALF_BLOCK] {
        // The last places where a chunk of one start, of two, of three and of more may begin.
        for (first, starts) in [
            (len - 2, &[P][..]),
            (len - 3, &[P, P | 100]),
            (len - 4, &[P, P | 100, P | 200]),
            (len - 4, &[P, P | 100, P | 200, P | 300, P | 0x7FFF]),
        ] {
            let table = Table::new(len, first, starts, first + starts.len());
            let bytes = table.image();
            let image = Image::open(bytes.as_bytes()).unwrap();
            let class = |place: usize| {
                let class = u32::from(table.classes[place]);
                if len == V4_BYTE_BLOCK { class } else { class << 8 | class }
            };
            for (place, start) in starts.iter().enumerate() {
                let offset = u32::from(start & !P);
                assert_eq!(class_at(&image, offset), class(first + place + 1), "{first} {starts:?}");
                if place > 0 {
                    assert_eq!(class_at(&image, offset - 1), class(first + place), "{first} {starts:?}");
                }
            }
            assert_eq!(class_at(&image, 0x8000), class(first + starts.len()));
            assert_eq!(class_at(&image, u32::MAX), class(first + starts.len()));
        }
    }
}

#[test]
fn every_unsound_table_is_refused() {
    for len in [V4_BYTE_BLOCK, V4_HALF_BLOCK] {
        let sound = Table::new(len, 0, &[P, P | 100], 2);
        Image::open(sound.image().as_bytes()).unwrap();
        let with = |change: fn(&mut Table)| {
            let mut table = sound.clone();
            change(&mut table);
            table
        };
        let mut class_as_end = Table::new(len, len - 1, &[P], len);
        class_as_end.classes.fill(0x7F);
        class_as_end.starts.fill(0);
        class_as_end.starts[len - 1] = P;
        let unsound = [
            ("a place between two starts", with(|table| table.directory[1].place += 1)),
            (
                "a place behind a block's last start",
                with(|table| table.directory[CHUNKS].place = 2 * table.len as u32),
            ),
            ("a place beyond the blocks", with(|table| table.directory[CHUNKS] = table.entry(table.len))),
            ("a directory that falls", with(|table| table.directory[8] = table.entry(1))),
            ("starts that fall", Table::new(len, 0, &[P | 100, P], 2)),
            ("many starts that fall", Table::new(len, 0, &[P, P | 9, P | 8, P | 9, P | 9, P | 9], 6)),
            ("a start of another chunk among them", Table::new(len, 0, &[P, 0, P | 5], 3)),
            (
                "a start of another chunk among many",
                Table::new(len, 0, &[P, P | 1, P | 2, P | 3, 4, P | 5], 6),
            ),
            ("no end", Table::new(len, 0, &[P, P | 100, P | 200], 2)),
            ("a start in a chunk without starts", with(|table| table.directory[1].parity = false)),
            ("an end in the next block, where a class is read for it", class_as_end),
            (
                "more starts than a block has left",
                Table::new(len, len - 3, &[P, P | 1, P | 2, P | 3], len + 1),
            ),
            ("a chunk longer than told", with(|table| table.longest = 1)),
            ("a class that the image lacks", with(|table| table.classes[5] = CLASSES as u8)),
        ];
        for (what, table) in unsound {
            let refused = Image::open(table.image().as_bytes()).map(|_| ()).unwrap_err();
            let section = if what.contains("class that") { Section::V4Ranges } else { Section::V4Directory };
            assert!(
                matches!(refused, ImageError::Record { section: found, .. } if found == section),
                "{what}: {refused}"
            );
        }
        let groups = groups(&sound.directory);
        let last = groups.len() as u32 - 1;
        for base in [V4_SPREAD | last, V4_SPREAD | (last + 1), V4_SPREAD | 3, u32::MAX, V4_SPREAD - 2] {
            let mut forged = groups.clone();
            forged[3].base = base;
            forged[3].steps.fill(0xFF);
            let refused = Image::open(sound.image_with(forged).as_bytes()).map(|_| ());
            let expected = Err(ImageError::Record { section: Section::V4Directory, index: 3 });
            assert_eq!(refused, expected, "{base:#x}");
        }
        let short = groups[..groups.len() - 1].to_vec();
        assert!(Image::open(sound.image_with(short).as_bytes()).is_err());
        // More starts than there are offsets could take the kernel more steps than it has.
        let mut longest = Table::new(len, 0, &vec![P; (1 << V4_NARROW_SHIFT) + len + 1], 0);
        let next = longest.starts.len() - 1;
        longest.longest = u32::MAX;
        let last = longest.entry(next);
        longest.directory[1..].fill(last);
        assert!(Image::open(longest.image().as_bytes()).is_err());
    }
}
