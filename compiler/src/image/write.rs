//! Sections, text, header and checksum: the bytes of an image.

use super::ports::PortImage;
use super::prefix_v4::V4Image;
use super::prefix_v6::V6Image;
use crate::tables::EncodedTables;
use rustc_hash::FxHashMap;
use std::mem::offset_of;
use weir_abi::ABI_VERSION;
use weir_abi::layout::{
    ColumnRecord, EndpointRecord, Extent, FactRecord, FqdnRecord, Header, HeaderRecord, IdentityRecord,
    KERNEL_SECTIONS, MAGIC, PlaceRecord, PolicyRecord, RequestRuleRecord, RequestSetRecord, RuleRecord,
    SECTION_ALIGNMENT, SECTIONS, Section, TableRecord, Text,
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Everything that goes into an image but text.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is the section of its name, told in weir_abi::layout")]
pub struct Parts {
    pub peer_classes: usize,
    pub port_classes: usize,
    /// By identity number; by node number, in pairs.
    pub endpoints: [Vec<EndpointRecord>; 2],
    pub v4: V4Image,
    pub v6: V6Image,
    pub ports: PortImage,
    pub tables: EncodedTables,
    pub rules: Vec<RuleRecord>,
    pub policies: Vec<PolicyRecord>,
    pub identities: Vec<IdentityRecord>,
    pub request_sets: Vec<RequestSetRecord>,
    pub request_members: Vec<u32>,
    pub request_rules: Vec<RequestRuleRecord>,
    pub headers: Vec<HeaderRecord>,
    pub fqdns: Vec<FqdnRecord>,
    pub facts: Vec<FactRecord>,
    pub places: Vec<PlaceRecord>,
}

/// The bytes of an image, aligned so that it can be read in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageBytes {
    words: Vec<u64>,
}

impl ImageBytes {
    /// The bytes. Their length is a multiple of eight.
    pub fn as_bytes(&self) -> &[u8] {
        self.words.as_bytes()
    }

    /// Takes `len` bytes, which `read` writes into a buffer.
    ///
    /// # Errors
    /// Whatever `read` reports.
    pub fn read<E>(len: usize, read: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut words = vec![0u64; len.div_ceil(8)];
        if let Some(bytes) = words.as_mut_bytes().get_mut(..len) {
            read(bytes)?;
        }
        Ok(ImageBytes { words })
    }

    /// So many bytes, with the sections where their extents say; there is no header yet.
    pub(crate) fn filled(len: usize, extents: &[Extent], sections: &[&[u8]]) -> Self {
        let mut words = vec![0u64; len.div_ceil(8)];
        let bytes = words.as_mut_bytes();
        for (extent, section) in extents.iter().zip(sections) {
            let start = extent.offset as usize;
            bytes[start..start + section.len()].copy_from_slice(section);
        }
        ImageBytes { words }
    }

    /// Puts the header in its place, and the checksum into it, whose place is the same in every kind of image.
    pub(crate) fn seal(&mut self, header: &[u8]) {
        let bytes = self.words.as_mut_bytes();
        bytes[..header.len()].copy_from_slice(header);
        let sum = weir_abi::checksum(bytes);
        let place = offset_of!(Header, checksum);
        bytes[place..place + size_of_val(&sum)].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Collects text and puts the image together.
#[derive(Debug, Default)]
pub struct ImageWriter {
    strings: String,
    texts: FxHashMap<String, Text>,
}

impl ImageWriter {
    /// Keeps a text once.
    pub fn text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::default();
        }
        if let Some(&known) = self.texts.get(text) {
            return known;
        }
        let kept = self.unique_text(text);
        self.texts.insert(text.to_owned(), kept);
        kept
    }

    /// Keeps a text that is kept only once.
    pub fn unique_text(&mut self, text: &str) -> Text {
        let start = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        self.strings.push_str(text);
        Text { start, len: u32::try_from(text.len()).unwrap_or(u32::MAX) }
    }

    /// Lays out all sections and seals them.
    ///
    /// # Errors
    /// The size in bytes, if it is above `most`.
    pub fn finish(self, parts: &Parts, most: usize) -> Result<ImageBytes, usize> {
        let sections = sections(parts, &self.strings);
        let mut header = Header::new_zeroed();
        let lens = sections.map(<[u8]>::len);
        let [kernel, total] = lay_out(size_of::<Header>(), &lens, &mut header.sections, KERNEL_SECTIONS);
        header.kernel_bytes = place(kernel);
        if total > most {
            return Err(total);
        }
        header.magic = MAGIC;
        header.version = ABI_VERSION;
        header.header_bytes = place(size_of::<Header>());
        header.image_bytes = place(total);
        header.peer_classes = place(parts.peer_classes);
        header.port_classes = place(parts.port_classes);
        header.v4_shift = parts.v4.shift;
        header.v4_format = parts.v4.ranges.format();
        header.v4_longest = parts.v4.longest;
        header.v6_format = parts.v6.values.format();
        header.v6_levels = parts.v6.levels;
        header.v6_longest = parts.v6.longest;
        let mut image = ImageBytes::filled(total, &header.sections, &sections);
        relocate(image.words.as_mut_bytes(), &header);
        image.seal(header.as_bytes());
        Ok(image)
    }

    /// The text alone.
    pub(crate) fn into_strings(self) -> String {
        self.strings
    }
}

/// Gives sections of such lengths their extents: bytes up to the end of the kernel part, and in all.
pub(crate) fn lay_out(
    header_bytes: usize,
    lens: &[usize],
    extents: &mut [Extent],
    kernel_sections: usize,
) -> [usize; 2] {
    let mut end = header_bytes;
    let mut kernel = header_bytes;
    for (index, (extent, &len)) in extents.iter_mut().zip(lens).enumerate() {
        let start = end.next_multiple_of(SECTION_ALIGNMENT);
        end = start + len;
        // Sizes are checked by the caller, far under 4 GiB.
        *extent = Extent { offset: place(start), len: place(len) };
        if index + 1 == kernel_sections {
            kernel = end.next_multiple_of(SECTION_ALIGNMENT);
        }
    }
    [kernel, end.next_multiple_of(8)]
}

/// Makes places within sections places within the image.
fn relocate(bytes: &mut [u8], header: &Header) {
    let start = |section: Section| header.sections[section as usize].offset;
    each(bytes, header, Section::Protocols, |directory: &mut u32| {
        *directory += start(Section::PortDirectories);
    });
    each(bytes, header, Section::PortDirectories, |page: &mut u32| *page += start(Section::PortPages));
    each(bytes, header, Section::PeerDirectories, |page: &mut u32| *page += start(Section::PeerPages));
    each(bytes, header, Section::Columns, |column: &mut ColumnRecord| {
        column.dictionary += start(Section::Dictionaries);
    });
    each(bytes, header, Section::Tables, |table: &mut TableRecord| {
        table.peer_directory += start(Section::PeerDirectories);
        table.column_map += start(Section::ColumnMaps);
        table.columns += start(Section::Columns);
        table.row_directory += start(Section::RowDirectories);
        table.rows += start(Section::Rows);
    });
}

fn each<T: FromBytes + IntoBytes + KnownLayout>(
    bytes: &mut [u8],
    header: &Header,
    section: Section,
    change: impl FnMut(&mut T),
) {
    let Extent { offset, len } = header.sections[section as usize];
    let section = bytes.get_mut(offset as usize..(offset + len) as usize).unwrap_or_default();
    if let Ok(records) = <[T]>::mut_from_bytes(section) {
        records.iter_mut().for_each(change);
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn bytes_of<T: IntoBytes + Immutable>(records: &[T]) -> &[u8] {
    records.as_bytes()
}

fn sections<'a>(parts: &'a Parts, strings: &'a str) -> [&'a [u8]; SECTIONS] {
    let mut sections: [&[u8]; SECTIONS] = [&[]; SECTIONS];
    let mut set = |section: Section, bytes: &'a [u8]| sections[section as usize] = bytes;
    set(Section::Endpoints, bytes_of(&parts.endpoints[0]));
    set(Section::NodeEndpoints, bytes_of(&parts.endpoints[1]));
    set(Section::V4Directory, parts.v4.ranges.directory());
    set(Section::V4Ranges, parts.v4.ranges.ranges());
    set(Section::V6Keys, bytes_of(&parts.v6.keys));
    set(Section::V6Values, parts.v6.values.as_bytes());
    set(Section::V6LowTables, bytes_of(&parts.v6.low_tables));
    set(Section::V6LowKeys, bytes_of(&parts.v6.low_keys));
    set(Section::V6LowValues, bytes_of(&parts.v6.low_values));
    set(Section::Protocols, bytes_of(&parts.ports.protocols));
    set(Section::PortDirectories, bytes_of(&parts.ports.directories));
    set(Section::PortPages, bytes_of(&parts.ports.pages));
    set(Section::Tables, bytes_of(&parts.tables.tables));
    set(Section::PeerDirectories, bytes_of(&parts.tables.peer_directories));
    set(Section::PeerPages, bytes_of(&parts.tables.peer_pages));
    set(Section::ColumnMaps, bytes_of(&parts.tables.column_maps));
    set(Section::Columns, bytes_of(&parts.tables.columns));
    set(Section::RowDirectories, bytes_of(&parts.tables.row_directories));
    set(Section::Rows, bytes_of(&parts.tables.rows));
    set(Section::Dictionaries, bytes_of(&parts.tables.dictionaries));
    set(Section::Rules, bytes_of(&parts.rules));
    set(Section::Policies, bytes_of(&parts.policies));
    set(Section::Identities, bytes_of(&parts.identities));
    set(Section::RequestSets, bytes_of(&parts.request_sets));
    set(Section::RequestMembers, bytes_of(&parts.request_members));
    set(Section::RequestRules, bytes_of(&parts.request_rules));
    set(Section::Headers, bytes_of(&parts.headers));
    set(Section::Fqdns, bytes_of(&parts.fqdns));
    set(Section::Facts, bytes_of(&parts.facts));
    set(Section::Places, bytes_of(&parts.places));
    set(Section::Strings, strings.as_bytes());
    sections
}
