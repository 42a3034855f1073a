//! From bytes to a checked [`Image`]: magic, version, sizes, checksum, and every offset and number
//! in every section.
//!
//! A bad image is refused whole. After this no lookup needs a bound that was not checked here; the
//! lookups still use checked indexing, because a mapped file may change underfoot.

use crate::ABI_VERSION;
use crate::image::Image;
use crate::layout::{
    Action, ColumnRecord, EXACT_PORT, EndpointRecord, Extent, Header, INDIRECT, KERNEL_SECTIONS, MAGIC,
    MAX_IMAGE_BYTES, MAX_PEER_CLASSES, MAX_PORT_CLASSES, MAX_TABLE_ENTRIES, NO_RULE, OutcomeRecord,
    PEER_PAGE, PLAIN, PORT_DIRECTORY, PORT_PAGE, Reason, RequestKind, SECTION_ALIGNMENT, Section,
    TableRecord, Text, V4_BYTE_CLASSES, V4_GROUP, V4_HALF_CLASSES, V4_LANES, V4_NARROW_SHIFT, V4_WIDE,
    V4Range, V6_BLOCK, V6_HALF_VALUES, V6_WORD_VALUES,
};
use crate::prefix::{
    LANE_TOPS, NARROW_END, NarrowBlock, NarrowChunk, NarrowDirectory, V4Ranges, V4Table, V6Table, V6Values,
    word_of_half,
};
use crate::services::layout::ServiceSection;
use core::fmt;
use core::mem::{offset_of, size_of};
use twox_hash::XxHash3_64;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageError {
    /// Fewer bytes than a header, or than the header says.
    Truncated {
        /// Bytes given.
        bytes: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// The first bytes are not an image's.
    Magic,
    /// Written by another version of the layout.
    Version {
        /// The image's.
        found: u32,
        /// This reader's.
        expected: u32,
    },
    /// The bytes do not begin at a multiple of 8 in memory.
    Misaligned,
    /// The bytes are not those that were written.
    Checksum,
    /// A section lies outside the image, overlaps another, or is no whole number of records.
    Extent {
        /// Which.
        section: usize,
    },
    /// A record points outside, or holds a number that means nothing.
    Record {
        /// Of which section.
        section: Section,
        /// Which record.
        index: usize,
    },
    /// The same, of a service image.
    ServiceRecord {
        /// Of which section.
        section: ServiceSection,
        /// Which record.
        index: usize,
    },
    /// A number in the header does not fit the sections.
    Header {
        /// Which.
        field: &'static str,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ImageError::Truncated { bytes, needed } => {
                write!(f, "the image is cut off: {bytes} bytes of {needed}")
            }
            ImageError::Magic => write!(f, "not a Weir image: the first bytes are foreign"),
            ImageError::Version { found, expected } => {
                write!(f, "the image has layout version {found}, this program reads version {expected}")
            }
            ImageError::Misaligned => write!(f, "the image does not begin at a multiple of 8 in memory"),
            ImageError::Checksum => write!(f, "the image is damaged: its checksum does not match"),
            ImageError::Extent { section } => write!(f, "section {section} of the image is out of place"),
            ImageError::Record { section, index } => {
                write!(f, "record {index} of section {section:?} of the image points outside")
            }
            ImageError::ServiceRecord { section, index } => {
                write!(f, "record {index} of section {section:?} of the image points outside")
            }
            ImageError::Header { field } => write!(f, "the header's `{field}` does not fit the image"),
        }
    }
}

impl core::error::Error for ImageError {}

/// The checksum of an image: XXH3-64 of all bytes but the checksum field itself.
pub fn checksum(image: &[u8]) -> u64 {
    const FIELD: usize = offset_of!(Header, checksum);
    let before = image.get(..FIELD).unwrap_or(image);
    let after = image.get(FIELD + size_of::<u64>()..).unwrap_or(&[]);
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(before), after)
}

fn section<'a, T: FromBytes + Immutable + KnownLayout>(
    bytes: &'a [u8],
    header: &Header,
    section: Section,
) -> Result<&'a [T], ImageError> {
    records_of(bytes, &header.sections, section as usize)
}

/// The records of a section.
pub(crate) fn records_of<'a, T: FromBytes + Immutable + KnownLayout>(
    bytes: &'a [u8],
    sections: &[Extent],
    section: usize,
) -> Result<&'a [T], ImageError> {
    let found = sections.get(section).and_then(|extent| {
        let start = extent.offset as usize;
        let bytes = bytes.get(start..start.checked_add(extent.len as usize)?)?;
        <[T]>::ref_from_bytes(bytes).ok()
    });
    found.ok_or(ImageError::Extent { section })
}

impl<'a> Image<'a> {
    /// Checks `bytes` and reads them in place. They must begin at a multiple of 8 in memory, as
    /// mappings and `Vec<u64>` do.
    ///
    /// # Errors
    /// [`ImageError`] names the first thing that is wrong; nothing of a bad image is usable.
    pub fn open(bytes: &'a [u8]) -> Result<Image<'a>, ImageError> {
        check_prologue(bytes, MAGIC, ABI_VERSION, size_of::<Header>(), MAX_IMAGE_BYTES)?;
        let (header, _) =
            Header::ref_from_prefix(bytes).map_err(|_| ImageError::Header { field: "header_bytes" })?;
        check_extents(
            &header.sections,
            KERNEL_SECTIONS,
            size_of::<Header>(),
            [header.kernel_bytes, header.image_bytes],
        )?;
        let image = borrow(bytes, header)?;
        image.check()?;
        Ok(image)
    }
}

/// What every image begins with.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Prologue {
    magic: [u8; 8],
    version: u32,
    header_bytes: u32,
    image_bytes: u32,
    _kernel_bytes: u32,
    checksum: u64,
}

/// Alignment, magic, version, sizes and checksum of an image with a header of `needed` bytes, of at most `most`.
pub(crate) fn check_prologue(
    bytes: &[u8],
    magic: [u8; 8],
    version: u32,
    needed: usize,
    most: usize,
) -> Result<(), ImageError> {
    if bytes.as_ptr().align_offset(8) != 0 {
        return Err(ImageError::Misaligned);
    }
    if bytes.get(..magic.len()).is_none_or(|found| found != magic) {
        return Err(ImageError::Magic);
    }
    // The version stands at the same place in every layout, so it is judged before the size.
    let found = bytes.get(8..12).and_then(|field| u32::read_from_bytes(field).ok());
    if let Some(found) = found
        && found != version
    {
        return Err(ImageError::Version { found, expected: version });
    }
    let truncated = ImageError::Truncated { bytes: bytes.len(), needed };
    if bytes.len() < needed {
        return Err(truncated);
    }
    let (header, _) = Prologue::ref_from_prefix(bytes).map_err(|_| truncated)?;
    let image_bytes = header.image_bytes as usize;
    if bytes.len() < image_bytes {
        return Err(ImageError::Truncated { bytes: bytes.len(), needed: image_bytes });
    }
    if bytes.len() > image_bytes || image_bytes > most {
        return Err(ImageError::Header { field: "image_bytes" });
    }
    if header.header_bytes as usize != needed {
        return Err(ImageError::Header { field: "header_bytes" });
    }
    if checksum(bytes) != header.checksum || header.magic != magic || header.version != version {
        return Err(ImageError::Checksum);
    }
    Ok(())
}

/// Sections are aligned, in order, and do not overlap; the kernel part ends where the header says.
pub(crate) fn check_extents(
    sections: &[Extent],
    kernel_sections: usize,
    header_bytes: usize,
    [kernel_bytes, image_bytes]: [u32; 2],
) -> Result<(), ImageError> {
    let mut free = header_bytes;
    for (index, extent) in sections.iter().enumerate() {
        let (offset, len) = (extent.offset as usize, extent.len as usize);
        if offset < free || !offset.is_multiple_of(SECTION_ALIGNMENT) {
            return Err(ImageError::Extent { section: index });
        }
        free = offset.checked_add(len).ok_or(ImageError::Extent { section: index })?;
        if index + 1 == kernel_sections && free > kernel_bytes as usize {
            return Err(ImageError::Header { field: "kernel_bytes" });
        }
        if index == kernel_sections && offset < kernel_bytes as usize {
            return Err(ImageError::Header { field: "kernel_bytes" });
        }
    }
    if free > image_bytes as usize {
        return Err(ImageError::Extent { section: sections.len().saturating_sub(1) });
    }
    Ok(())
}

/// Whether a text lies within the strings.
pub(crate) fn holds(strings: &str, text: Text) -> bool {
    let start = text.start as usize;
    start.checked_add(text.len as usize).is_some_and(|end| strings.get(start..end).is_some())
}

fn borrow<'a>(bytes: &'a [u8], header: &'a Header) -> Result<Image<'a>, ImageError> {
    let strings: &[u8] = section(bytes, header, Section::Strings)?;
    let _: &[u32] = section(bytes, header, Section::Rows)?;
    let is_narrow_shift = (8..=V4_NARROW_SHIFT).contains(&header.v4_shift);
    Ok(Image {
        bytes,
        header,
        endpoints: section(bytes, header, Section::Endpoints)?,
        node_endpoints: section(bytes, header, Section::NodeEndpoints)?,
        v4: V4Table {
            shift: header.v4_shift,
            ranges: match header.v4_format {
                V4_BYTE_CLASSES if is_narrow_shift => V4Ranges::Bytes(
                    NarrowDirectory(section(bytes, header, Section::V4Directory)?),
                    section(bytes, header, Section::V4Ranges)?,
                ),
                V4_HALF_CLASSES if is_narrow_shift => V4Ranges::Halves(
                    NarrowDirectory(section(bytes, header, Section::V4Directory)?),
                    section(bytes, header, Section::V4Ranges)?,
                ),
                V4_WIDE if (8..=32).contains(&header.v4_shift) => V4Ranges::Wide(
                    section(bytes, header, Section::V4Directory)?,
                    section(bytes, header, Section::V4Ranges)?,
                ),
                _ => return Err(ImageError::Header { field: "v4_format" }),
            },
        },
        v6: V6Table {
            levels: header.v6_levels,
            keys: section(bytes, header, Section::V6Keys)?,
            values: match header.v6_format {
                V6_HALF_VALUES => V6Values::Halves(section(bytes, header, Section::V6Values)?),
                V6_WORD_VALUES => V6Values::Words(section(bytes, header, Section::V6Values)?),
                _ => return Err(ImageError::Header { field: "v6_format" }),
            },
            low_tables: section(bytes, header, Section::V6LowTables)?,
            low_keys: section(bytes, header, Section::V6LowKeys)?,
            low_values: section(bytes, header, Section::V6LowValues)?,
        },
        protocols: section(bytes, header, Section::Protocols)?,
        port_directories: section(bytes, header, Section::PortDirectories)?,
        port_pages: section(bytes, header, Section::PortPages)?,
        tables: section(bytes, header, Section::Tables)?,
        peer_directories: section(bytes, header, Section::PeerDirectories)?,
        peer_pages: section(bytes, header, Section::PeerPages)?,
        column_maps: section(bytes, header, Section::ColumnMaps)?,
        columns: section(bytes, header, Section::Columns)?,
        row_directories: section(bytes, header, Section::RowDirectories)?,
        dictionaries: section(bytes, header, Section::Dictionaries)?,
        rules: section(bytes, header, Section::Rules)?,
        policies: section(bytes, header, Section::Policies)?,
        identities: section(bytes, header, Section::Identities)?,
        request_sets: section(bytes, header, Section::RequestSets)?,
        request_members: section(bytes, header, Section::RequestMembers)?,
        request_rules: section(bytes, header, Section::RequestRules)?,
        headers: section(bytes, header, Section::Headers)?,
        fqdns: section(bytes, header, Section::Fqdns)?,
        facts: section(bytes, header, Section::Facts)?,
        places: section(bytes, header, Section::Places)?,
        strings: core::str::from_utf8(strings)
            .map_err(|_| ImageError::Extent { section: Section::Strings as usize })?,
    })
}

/// Levels of an IPv6 search tree of so many blocks.
const fn levels(blocks: usize) -> u32 {
    let (mut start, mut width, mut levels) = (0usize, 1usize, 0);
    while start < blocks {
        (start, width, levels) = (start + width, width * (V6_BLOCK + 1), levels + 1);
    }
    levels
}

/// Whether the keys under a block rise in order from `last` on, beginning with 0. As deep as the tree
/// has levels, which for any image is fewer than twelve.
fn rising(keys: &[u64], block: usize, last: &mut Option<u64>) -> bool {
    let Some(own) = keys.get(block * V6_BLOCK..(block + 1) * V6_BLOCK) else { return true };
    let child = |at| block * (V6_BLOCK + 1) + 1 + at;
    (0..V6_BLOCK).all(|at| {
        rising(keys, child(at), last) && {
            let fits = last.map_or(own[at] == 0, |last| last <= own[at]);
            *last = Some(own[at]);
            fits
        }
    }) && rising(keys, child(V6_BLOCK), last)
}

/// Names the first record that fails.
fn all<T>(section: Section, records: &[T], mut fits: impl FnMut(&T) -> bool) -> Result<(), ImageError> {
    match records.iter().position(|record| !fits(record)) {
        Some(index) => Err(ImageError::Record { section, index }),
        None => Ok(()),
    }
}

/// Whether `len` entries from `start` lie within `total`.
fn run(start: u32, len: usize, total: usize) -> bool {
    (start as usize).checked_add(len).is_some_and(|end| end <= total)
}

/// What [`Image::is_sound_narrow`] asks, of a chunk of fewer starts than are compared at once: most are, and a branch on each start would
/// be mispredicted as often.
fn are_sound_lanes(lanes: u64, len: usize) -> bool {
    let own = LANE_TOPS & ((1 << (16 * len)) - 1);
    let foreign = lanes & LANE_TOPS;
    // The lanes before the first that is another chunk's.
    let before = (foreign & foreign.wrapping_neg()).wrapping_sub(1) & LANE_TOPS;
    let not_below = ((lanes >> 16) | LANE_TOPS).wrapping_sub(lanes & !LANE_TOPS);
    let pairs = before >> 16;
    let ends_in_time = foreign & (own << 16 | 1 << 15) != 0;
    ends_in_time & (foreign & own == own & !before) & (not_below & pairs == pairs)
}

impl Image<'_> {
    fn check(&self) -> Result<(), ImageError> {
        let header = self.header;
        if header.peer_classes == 0 || header.peer_classes > MAX_PEER_CLASSES {
            return Err(ImageError::Header { field: "peer_classes" });
        }
        if header.port_classes == 0 || header.port_classes > MAX_PORT_CLASSES {
            return Err(ImageError::Header { field: "port_classes" });
        }
        self.check_endpoints()?;
        self.check_v4()?;
        self.check_v6()?;
        self.check_ports()?;
        self.check_tables()?;
        self.check_user_part()
    }

    fn check_endpoints(&self) -> Result<(), ImageError> {
        let fits = |record: &EndpointRecord| {
            record.class < self.header.peer_classes
                && (record.ingress as usize) < self.tables.len()
                && (record.egress as usize) < self.tables.len()
                && record.known <= 2
        };
        all(Section::Endpoints, self.endpoints, fits)?;
        all(Section::NodeEndpoints, self.node_endpoints, fits)
    }

    fn check_v4(&self) -> Result<(), ImageError> {
        let V4Table { shift, ranges } = self.v4;
        let chunks = (1u64 << (32 - shift)) as usize;
        match ranges {
            V4Ranges::Bytes(directory, blocks) => {
                all(Section::V4Ranges, blocks, |block| block.reserved == 0)?;
                self.check_narrow(chunks, directory, blocks)
            }
            V4Ranges::Halves(directory, blocks) => self.check_narrow(chunks, directory, blocks),
            V4Ranges::Wide(directory, ranges) => {
                if directory.len() != chunks + 1 {
                    return Err(ImageError::Header { field: "v4_shift" });
                }
                let is_sound = |chunk: &[u32]| self.is_sound_wide(ranges, chunk[0], chunk[1]);
                if let Some(index) = directory.windows(2).position(|chunk| !is_sound(chunk)) {
                    return Err(ImageError::Record { section: Section::V4Directory, index });
                }
                // So there is always one before.
                if directory[0] != 0 || directory[1] == 0 || ranges[0].start != 0 {
                    return Err(ImageError::Record { section: Section::V4Ranges, index: 0 });
                }
                all(Section::V4Ranges, ranges, |range| range.class < self.header.peer_classes)
            }
        }
    }

    fn check_narrow<B: NarrowBlock>(
        &self,
        chunks: usize,
        directory: NarrowDirectory<'_>,
        blocks: &[B],
    ) -> Result<(), ImageError> {
        let unsound = |chunk| ImageError::Record { section: Section::V4Directory, index: chunk / V4_GROUP };
        let begins = |chunk| {
            let own = directory.chunk(chunk)?;
            let first = own.first::<B>().filter(|first| first / B::LEN < blocks.len())?;
            Some((own, first))
        };
        if directory.0.len() <= chunks / V4_GROUP {
            return Err(ImageError::Header { field: "v4_shift" });
        }
        let (mut own, mut first) = begins(0).ok_or(unsound(0))?;
        for chunk in 0..chunks {
            let (next, end) = begins(chunk + 1).ok_or(unsound(chunk + 1))?;
            if !self.is_sound_narrow(blocks, own, first, end) {
                return Err(unsound(chunk));
            }
            (own, first) = (next, end);
        }
        all(Section::V4Ranges, blocks, |block| block.greatest() < self.header.peer_classes)
    }

    /// Whether the starts of a chunk rise, and whoever compares them sees where they end.
    fn is_sound_narrow<B: NarrowBlock>(
        &self,
        blocks: &[B],
        chunk: NarrowChunk,
        first: usize,
        end: usize,
    ) -> bool {
        // As many as there are offsets, and those of no range that fill a block: bounds the search.
        let most = (1 << V4_NARROW_SHIFT) + B::LEN;
        if end < first || end - first > most.min(self.header.v4_longest as usize) {
            return false;
        }
        let in_block = B::LEN - first % B::LEN;
        if end - first < V4_LANES {
            // What is behind the block's last start must not pass for the chunk's end.
            let behind = u64::MAX.checked_shl(16 * in_block as u32).unwrap_or(0) & LANE_TOPS;
            return chunk
                .lanes(&blocks[first / B::LEN], first % B::LEN)
                .is_some_and(|lanes| are_sound_lanes(lanes & !behind, end - first));
        }
        if in_block < V4_LANES {
            return false;
        }
        let own = |number: usize| chunk.own(blocks[number / B::LEN].starts()[number % B::LEN]);
        let (mut last, mut foreign) = (0, first);
        while foreign < end && own(foreign) < NARROW_END {
            if own(foreign) < last {
                return false;
            }
            last = own(foreign);
            foreign += 1;
        }
        (foreign..end).all(|number| own(number) >= NARROW_END)
    }

    fn is_sound_wide(&self, ranges: &[V4Range], first: u32, next: u32) -> bool {
        let own = ranges.get(first as usize..next as usize);
        own.is_some_and(|own| {
            own.len() <= self.header.v4_longest as usize && own.is_sorted_by(|a, b| a.start < b.start)
        })
    }

    fn check_v6(&self) -> Result<(), ImageError> {
        let table = &self.v6;
        if table.keys.len() != table.values.len()
            || !table.keys.len().is_multiple_of(V6_BLOCK)
            || table.levels != levels(table.keys.len() / V6_BLOCK)
        {
            return Err(ImageError::Header { field: "v6_levels" });
        }
        if table.low_keys.len() != table.low_values.len() {
            return Err(ImageError::Extent { section: Section::V6LowValues as usize });
        }
        // In order the keys rise, and the first is 0: then every address finds the range it is in.
        let mut last = None;
        if !rising(table.keys, 0, &mut last) || last.is_none() {
            return Err(ImageError::Record { section: Section::V6Keys, index: 0 });
        }
        let is_known = |value: u32| {
            if value & INDIRECT == 0 {
                value < self.header.peer_classes
            } else {
                ((value & !INDIRECT) as usize) < table.low_tables.len()
            }
        };
        match table.values {
            V6Values::Halves(values) => all(Section::V6Values, values, |&half| is_known(word_of_half(half)))?,
            V6Values::Words(values) => all(Section::V6Values, values, |&value| is_known(value))?,
        }
        all(Section::V6LowTables, table.low_tables, |low| {
            low.len > 0
                && low.len <= self.header.v6_longest
                && run(low.start, low.len as usize, table.low_keys.len())
                && {
                    let keys = &table.low_keys[low.start as usize..][..low.len as usize];
                    keys[0] == 0 && keys.is_sorted_by(|a, b| a < b)
                }
        })?;
        all(Section::V6LowValues, table.low_values, |&value| value < self.header.peer_classes)
    }

    /// The number of the first entry of a run of `len` entries that begins at a place, if the run lies in the section.
    fn run_at<T>(&self, section: Section, place: u32, len: usize) -> Option<usize> {
        let extent = self.header.sections[section as usize];
        let from = place.checked_sub(extent.offset)? as usize;
        let end = len.checked_mul(size_of::<T>())?.checked_add(from)?;
        (from.is_multiple_of(size_of::<T>()) && end <= extent.len as usize).then_some(from / size_of::<T>())
    }

    fn check_ports(&self) -> Result<(), ImageError> {
        if self.protocols.len() != 256 {
            return Err(ImageError::Extent { section: Section::Protocols as usize });
        }
        all(Section::Protocols, self.protocols, |&directory| {
            self.run_at::<u32>(Section::PortDirectories, directory, PORT_DIRECTORY).is_some()
        })?;
        all(Section::PortDirectories, self.port_directories, |&page| {
            self.run_at::<u16>(Section::PortPages, page, PORT_PAGE).is_some()
        })?;
        all(Section::PortPages, self.port_pages, |&class| u32::from(class) < self.header.port_classes)
    }

    fn check_tables(&self) -> Result<(), ImageError> {
        let classes = u64::from(self.header.peer_classes) + u64::from(self.header.port_classes);
        // Tables may share their maps, so a small image could keep its reader busy for long.
        if (self.tables.len() as u64).saturating_mul(classes) > MAX_TABLE_ENTRIES {
            return Err(ImageError::Header { field: "peer_classes" });
        }
        if self.tables.is_empty() {
            return Err(ImageError::Record { section: Section::Tables, index: 0 });
        }
        all(Section::PeerDirectories, self.peer_directories, |&page| {
            self.run_at::<u32>(Section::PeerPages, page, PEER_PAGE).is_some()
        })?;
        all(Section::Columns, self.columns, |column| {
            u32::from(column.width) <= 24
                && column.shift < 32
                && u32::from(column.shift) + u32::from(column.width) <= 32
                // Every code that fits the width has an entry, so no row needs a look.
                && self.run_at::<OutcomeRecord>(Section::Dictionaries, column.dictionary, 1 << column.width).is_some()
                && column.reserved == 0
        })?;
        for (index, table) in self.tables.iter().enumerate().skip(1) {
            if !self.is_sound(table).unwrap_or(false) {
                return Err(ImageError::Record { section: Section::Tables, index });
            }
        }
        all(Section::Dictionaries, self.dictionaries, |outcome| {
            let value = outcome.rule_or_set;
            outcome.reason < Reason::FIRST_OF_DATAPATH
                && Reason::from_number(outcome.reason).is_some()
                && outcome.flags & !(EXACT_PORT | PLAIN) == 0
                && match Action::from_number(outcome.action) {
                    Some(Action::Redirect) => {
                        let set = self.request_sets.get(value as usize);
                        RequestKind::from_number(outcome.requests).is_some()
                            && set.is_some_and(|set| set.kind == u16::from(outcome.requests))
                    }
                    Some(Action::Allow | Action::Deny) => {
                        value == NO_RULE || (value as usize) < self.rules.len()
                    }
                    None => false,
                }
        })
    }

    /// Whether all that a table leads to is there; `None` if it leads outside.
    fn is_sound(&self, table: &TableRecord) -> Option<bool> {
        let directory = (self.header.peer_classes as usize).div_ceil(PEER_PAGE);
        let port_classes = self.header.port_classes as usize;
        let columns =
            self.run_at::<ColumnRecord>(Section::Columns, table.columns, table.column_count as usize)?;
        let columns = &self.columns[columns..][..table.column_count as usize];
        let map = self.run_at::<u16>(Section::ColumnMaps, table.column_map, port_classes)?;
        let map = &self.column_maps[map..][..port_classes];
        let pages = self.run_at::<u32>(Section::PeerDirectories, table.peer_directory, directory)?;
        let pages = &self.peer_directories[pages..][..directory];
        let row_bytes = self.row_bytes(table)?;
        let row_entries = table.row_pages.checked_mul(2)?;
        let is_row = |&row: &u32| {
            if row_bytes == 0 {
                row == 0
            } else {
                row.is_multiple_of(row_bytes) && row / row_bytes < table.row_count
            }
        };
        let is_word = |word: u32| word.is_multiple_of(4) && word < table.page_bytes;
        let is_page = |page: u32| {
            if table.row_pages == 1 { page == 0 } else { page.is_multiple_of(2) && page < row_entries }
        };
        Some(
            map.iter().all(|&column| u32::from(column) < table.column_count)
                && columns
                    .iter()
                    .all(|column| column.width == 0 || (is_page(column.page) && is_word(column.word)))
                && pages.iter().all(|&page| {
                    let start = self.run_at::<u32>(Section::PeerPages, page, PEER_PAGE);
                    start.is_some_and(|start| self.peer_pages[start..][..PEER_PAGE].iter().all(is_row))
                }),
        )
    }

    /// Bytes from one row, or from a row's first entry, to the next; `None` if rows lie outside or have unknown pages.
    fn row_bytes(&self, table: &TableRecord) -> Option<u32> {
        let words = (table.page_bytes.is_multiple_of(4)).then_some(table.page_bytes as usize / 4)?;
        let pages = if table.row_pages == 1 { table.row_count } else { table.page_count } as usize;
        self.run_at::<u32>(Section::Rows, table.rows, pages.checked_mul(words)?)?;
        if table.row_pages == 1 {
            return Some(table.page_bytes);
        }
        let entries = (table.row_count as usize).checked_mul(table.row_pages as usize)?;
        let start = self.run_at::<u16>(Section::RowDirectories, table.row_directory, entries)?;
        let are_known =
            self.row_directories[start..][..entries].iter().all(|&page| usize::from(page) < pages);
        are_known.then_some(table.row_pages.checked_mul(2)?)
    }

    fn check_user_part(&self) -> Result<(), ImageError> {
        let text = |text: Text| holds(self.strings, text);
        if self.places.len() != self.rules.len() {
            return Err(ImageError::Extent { section: Section::Places as usize });
        }
        all(Section::Policies, self.policies, |policy| {
            [policy.kind, policy.namespace, policy.name, policy.file].into_iter().all(text)
        })?;
        if !self.policies.is_sorted_by_key(|policy| policy.first_rule)
            || (!self.rules.is_empty() && self.policies.first().is_none_or(|policy| policy.first_rule != 0))
        {
            return Err(ImageError::Record { section: Section::Policies, index: 0 });
        }
        all(Section::Identities, self.identities, |identity| text(identity.labels))?;
        if !self.identities.is_sorted_by(|a, b| a.number < b.number) {
            return Err(ImageError::Record { section: Section::Identities, index: 0 });
        }
        all(Section::RequestSets, self.request_sets, |set| {
            u8::try_from(set.kind).ok().and_then(RequestKind::from_number).is_some()
                && set.wildcard <= 1
                && (set.rule as usize) < self.rules.len()
                && run(set.start, set.len as usize, self.request_members.len())
        })?;
        all(Section::RequestMembers, self.request_members, |&rule| {
            (rule as usize) < self.request_rules.len()
        })?;
        all(Section::RequestRules, self.request_rules, |rule| {
            (rule.rule as usize) < self.rules.len()
                && match u8::try_from(rule.kind).ok().and_then(RequestKind::from_number) {
                    // A name to ask for that is no name would admit what nobody wrote.
                    Some(RequestKind::Dns) => rule.dns.len > 0,
                    Some(RequestKind::Http | RequestKind::Tls) => true,
                    None => false,
                }
                && rule.dns_is_pattern <= 1
                && [rule.method, rule.path, rule.host, rule.dns].into_iter().all(text)
                && run(rule.headers, rule.header_count as usize, self.headers.len())
        })?;
        all(Section::Headers, self.headers, |header| {
            header.mismatch <= 4
                && header.has_value <= 1
                && [header.name, header.value, header.secret].into_iter().all(text)
        })?;
        all(Section::Fqdns, self.fqdns, |fqdn| {
            text(fqdn.text) && fqdn.is_pattern <= 1 && fqdn.class < self.header.peer_classes
        })?;
        all(Section::Facts, self.facts, |fact| text(fact.key) && text(fact.value))
    }
}
