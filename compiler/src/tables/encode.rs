//! Tables into the image's sections: codes packed into words, equal rows, pages and maps shared.

use super::{Outcomes, Table};
use rustc_hash::FxHashMap;
use weir_abi::layout::{ColumnRecord, OutcomeRecord, PEER_PAGE, TableRecord};

/// The sections that hold the tables. Places are within sections, until the image is put together.
#[derive(Debug, Default)]
pub struct EncodedTables {
    /// By table number.
    pub tables: Vec<TableRecord>,
    /// See [`weir_abi::layout::Section`] for this and the others.
    pub peer_directories: Vec<u32>,
    /// Rows by peer class.
    pub peer_pages: Vec<u32>,
    /// Columns by port class.
    pub column_maps: Vec<u16>,
    /// Where codes are.
    pub columns: Vec<ColumnRecord>,
    /// Pages by row.
    pub row_directories: Vec<u16>,
    /// Codes.
    pub rows: Vec<u32>,
    /// Outcomes by code.
    pub dictionaries: Vec<OutcomeRecord>,
}

/// Packs tables one by one.
#[derive(Debug)]
pub struct Encoder {
    out: EncodedTables,
    peer_classes: usize,
    pages: FxHashMap<[u32; PEER_PAGE], u32>,
    directories: FxHashMap<Vec<u32>, u32>,
    column_maps: FxHashMap<Vec<u16>, u32>,
    dictionaries: FxHashMap<Vec<u32>, u32>,
}

/// Words of a page of a row that is cut: measured best where rows differ in a column here and there.
const PAGE_WORDS: usize = 2;
/// Rows of all tables together are stored whole up to this: they stay in the nearer caches, where a page's number would only be one
/// load more.
const MAX_WHOLE_BYTES: usize = 16 << 10;
/// Rows beyond this are not searched for equal pages.
const MAX_CUT_BYTES: usize = 16 << 20;

/// Distinct rows, one after the other.
#[derive(Default)]
struct PackedRows {
    words: Vec<u32>,
    count: usize,
}

/// The distinct rows, and the new number of each of the table's rows; their size, if it is above `most`.
fn pack(
    table: &Table,
    columns: &[ColumnRecord],
    row_words: usize,
    most: usize,
) -> Result<(PackedRows, Vec<u32>), usize> {
    let mut known: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
    let mut rows = PackedRows::default();
    let mut renumbered = Vec::with_capacity(table.row_ends.len());
    let mut words = vec![0u32; row_words];
    let mut start = 0;
    for &end in &table.row_ends {
        words.fill(0);
        for &(column, code) in &table.cells[start..end] {
            let record = &columns[usize::from(column)];
            words[record.word as usize / 4] |= code << record.shift;
        }
        start = end;
        let number = known.get(&words).copied().unwrap_or_else(|| {
            let number = place(rows.count);
            known.insert(words.clone(), number);
            rows.words.extend(&words);
            rows.count += 1;
            number
        });
        renumbered.push(number);
        // Rows as many as this are stored whole, so they will not shrink.
        let bytes = rows.words.len() * 4;
        if bytes > most.max(MAX_CUT_BYTES) {
            return Err(bytes);
        }
    }
    Ok((rows, renumbered))
}

/// Rows cut into pages.
struct Pages {
    pages: Vec<u32>,
    directory: Vec<u16>,
}

impl Pages {
    /// `None` if there are more pages than a directory can number.
    fn cut(rows: &[u32], row_words: usize) -> Option<Pages> {
        let mut known: FxHashMap<[u32; PAGE_WORDS], u16> = FxHashMap::default();
        let mut cut = Pages { pages: Vec::new(), directory: Vec::new() };
        for words in rows.chunks(row_words).flat_map(|row| row.chunks(PAGE_WORDS)) {
            let mut page = [0; PAGE_WORDS];
            page[..words.len()].copy_from_slice(words);
            let number = match known.get(&page) {
                Some(&number) => number,
                None => {
                    let number = u16::try_from(known.len()).ok()?;
                    cut.pages.extend(page);
                    known.insert(page, number);
                    number
                }
            };
            cut.directory.push(number);
        }
        Some(cut)
    }

    fn bytes(&self) -> usize {
        self.pages.len() * 4 + self.directory.len() * 2
    }
}

fn place(at: usize) -> u32 {
    // Sections are bounded to 512 MiB when the image is put together.
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Where the next entry of a section comes to stand.
fn place_of<T>(section: &[T]) -> u32 {
    place(size_of_val(section))
}

impl Encoder {
    /// For an image with so many peer classes. Table 0 is "no policy".
    pub fn new(peer_classes: usize) -> Self {
        let mut encoder = Encoder {
            out: EncodedTables::default(),
            peer_classes,
            pages: FxHashMap::default(),
            directories: FxHashMap::default(),
            column_maps: FxHashMap::default(),
            dictionaries: FxHashMap::default(),
        };
        encoder.out.tables.push(TableRecord::default());
        encoder
    }

    /// Packs a table and gives its number.
    ///
    /// # Errors
    /// The size of all tables as far as counted, if it is above `most`. Every table may be as large as
    /// an image, so this cannot wait for the end.
    pub(crate) fn add(&mut self, table: &Table, outcomes: &Outcomes, most: usize) -> Result<u32, usize> {
        let columns = self.out.columns.len();
        let row_words = self.columns(&table.dictionaries, outcomes);
        let (rows, renumbered) = pack(table, &self.out.columns[columns..], row_words, most)?;
        let mut record = TableRecord {
            column_map: self.column_map(&table.column_map),
            columns: place_of(&self.out.columns[..columns]),
            column_count: place(table.dictionaries.len()),
            ..TableRecord::default()
        };
        self.rows(&mut record, &rows, row_words);
        let mut row_bytes = record.page_bytes;
        if record.row_pages != 1 {
            row_bytes = record.row_pages * 2;
            for column in &mut self.out.columns[columns..] {
                column.page = column.word / record.page_bytes * 2;
                column.word %= record.page_bytes;
            }
        }
        record.peer_directory = self.peers(&table.rows, &renumbered, row_bytes);
        self.out.tables.push(record);
        let bytes = self.bytes();
        if bytes > most { Err(bytes) } else { Ok(place(self.out.tables.len() - 1)) }
    }

    /// The size of the sections so far.
    fn bytes(&self) -> usize {
        let out = &self.out;
        size_of_val(&*out.tables)
            + size_of_val(&*out.peer_directories)
            + size_of_val(&*out.peer_pages)
            + size_of_val(&*out.column_maps)
            + size_of_val(&*out.columns)
            + size_of_val(&*out.row_directories)
            + size_of_val(&*out.rows)
            + size_of_val(&*out.dictionaries)
    }

    /// The sections.
    pub fn finish(self) -> EncodedTables {
        self.out
    }

    /// Gives every column as many bits as its outcomes need; returns the words of a row.
    fn columns(&mut self, dictionaries: &[Vec<u32>], outcomes: &Outcomes) -> usize {
        let (mut word, mut shift) = (0usize, 0u32);
        for dictionary in dictionaries {
            let width = usize::BITS - (dictionary.len() - 1).leading_zeros();
            if shift + width > 32 {
                (word, shift) = (word + 1, 0);
            }
            let mut padded = dictionary.clone();
            // Every code that fits the bits has an entry, so a reader need not check rows.
            padded.resize(1 << width, dictionary[0]);
            let out = &mut self.out.dictionaries;
            let start = *self.dictionaries.entry(padded).or_insert_with_key(|padded| {
                let start = place_of(out);
                out.extend(padded.iter().map(|&outcome| outcomes.records[outcome as usize]));
                start
            });
            self.out.columns.push(ColumnRecord {
                word: place(word * 4),
                shift: if width == 0 { 0 } else { u8::try_from(shift).unwrap_or(0) },
                width: u8::try_from(width).unwrap_or(u8::MAX),
                dictionary: start,
                ..ColumnRecord::default()
            });
            shift += width;
        }
        if shift > 0 { word + 1 } else { word }
    }

    /// Stores rows whole, or cut into pages of which equal ones are stored once: whichever is smaller.
    fn rows(&mut self, record: &mut TableRecord, rows: &PackedRows, row_words: usize) {
        (record.rows, record.row_count) = (place_of(&self.out.rows), place(rows.count));
        (record.row_pages, record.page_bytes) = (1, place(row_words * 4));
        let whole = rows.words.len() * 4;
        let is_small = size_of_val(self.out.rows.as_slice()) + whole <= MAX_WHOLE_BYTES;
        // Cutting a row needs several pages, and looking for equal ones takes time.
        let worth_a_look = !is_small && row_words > PAGE_WORDS && whole < MAX_CUT_BYTES;
        let paged = if worth_a_look { Pages::cut(&rows.words, row_words) } else { None };
        match paged {
            Some(pages) if pages.bytes() < whole => {
                record.row_pages = place(row_words.div_ceil(PAGE_WORDS));
                record.page_bytes = place(PAGE_WORDS * 4);
                record.page_count = place(pages.pages.len() / PAGE_WORDS);
                record.row_directory = place_of(&self.out.row_directories);
                self.out.row_directories.extend(pages.directory);
                self.out.rows.extend(pages.pages);
            }
            _ => self.out.rows.extend(&rows.words),
        }
    }

    fn peers(&mut self, rows: &[(u32, u32)], renumbered: &[u32], row_bytes: u32) -> u32 {
        let empty = self.page([0; PEER_PAGE]);
        let mut directory = vec![empty; self.peer_classes.div_ceil(PEER_PAGE)];
        let mut rows = rows.iter().peekable();
        while let Some(&&(class, _)) = rows.peek() {
            let at = class as usize / PEER_PAGE;
            let mut page = [0; PEER_PAGE];
            while let Some(&(class, row)) = rows.next_if(|&&(class, _)| class as usize / PEER_PAGE == at) {
                page[class as usize % PEER_PAGE] = renumbered[row as usize] * row_bytes;
            }
            directory[at] = self.page(page);
        }
        let out = &mut self.out.peer_directories;
        *self.directories.entry(directory).or_insert_with_key(|directory| {
            let start = place_of(out);
            out.extend_from_slice(directory);
            start
        })
    }

    fn page(&mut self, page: [u32; PEER_PAGE]) -> u32 {
        let out = &mut self.out.peer_pages;
        *self.pages.entry(page).or_insert_with_key(|page| {
            let start = place_of(out);
            out.extend_from_slice(page);
            start
        })
    }

    fn column_map(&mut self, map: &[u16]) -> u32 {
        let out = &mut self.out.column_maps;
        *self.column_maps.entry(map.to_vec()).or_insert_with_key(|map| {
            let start = place_of(out);
            out.extend_from_slice(map);
            start
        })
    }
}
