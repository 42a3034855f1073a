//! Tables into the image's sections: codes packed into words, equal rows, pages and maps shared.

use super::Table;
use rustc_hash::FxHashMap;
use weir_abi::layout::{ColumnRecord, PEER_PAGE, TableRecord};

/// The sections that hold the tables.
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
    /// Codes.
    pub rows: Vec<u32>,
    /// Outcomes by code.
    pub dictionaries: Vec<u32>,
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

fn place(at: usize) -> u32 {
    // Sections are bounded to 512 MiB when the image is put together.
    u32::try_from(at).unwrap_or(u32::MAX)
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
    pub(crate) fn add(&mut self, table: &Table) -> u32 {
        let columns = place(self.out.columns.len());
        let row_words = self.columns(&table.dictionaries);
        let rows = place(self.out.rows.len());
        let renumbered = self.rows(table, columns as usize, row_words);
        let record = TableRecord {
            peer_directory: self.peers(&table.rows, &renumbered),
            column_map: self.column_map(&table.column_map),
            columns,
            column_count: place(table.dictionaries.len()),
            rows,
            row_words: place(row_words),
            row_count: renumbered.iter().max().map_or(1, |last| last + 1),
            default_outcome: table.default_outcome,
        };
        self.out.tables.push(record);
        place(self.out.tables.len() - 1)
    }

    /// The sections.
    pub fn finish(self) -> EncodedTables {
        self.out
    }

    /// Gives every column as many bits as its outcomes need; returns the words of a row.
    fn columns(&mut self, dictionaries: &[Vec<u32>]) -> usize {
        let (mut word, mut shift) = (0usize, 0u32);
        for dictionary in dictionaries {
            let width = usize::BITS - (dictionary.len() - 1).leading_zeros();
            if shift + width > 32 {
                (word, shift) = (word + 1, 0);
            }
            let mut padded = dictionary.clone();
            // Every code that fits the bits has an entry, so a reader need not check rows.
            padded.resize(1 << width, dictionary[0]);
            let codes = place(padded.len());
            let out = &mut self.out.dictionaries;
            let start = *self.dictionaries.entry(padded).or_insert_with_key(|padded| {
                let start = place(out.len());
                out.extend_from_slice(padded);
                start
            });
            self.out.columns.push(ColumnRecord {
                word: u16::try_from(word).unwrap_or(u16::MAX),
                shift: if width == 0 { 0 } else { u8::try_from(shift).unwrap_or(0) },
                width: u8::try_from(width).unwrap_or(u8::MAX),
                dictionary: start,
                codes,
            });
            shift += width;
        }
        if shift > 0 { word + 1 } else { word }
    }

    /// Packs the rows; equal ones share a number. Returns the new number of each.
    fn rows(&mut self, table: &Table, columns: usize, row_words: usize) -> Vec<u32> {
        let mut known: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
        let mut renumbered = Vec::with_capacity(table.row_ends.len());
        let mut start = 0;
        for &end in &table.row_ends {
            let mut words = vec![0u32; row_words];
            for &(column, code) in &table.cells[start..end] {
                let record = &self.out.columns[columns + usize::from(column)];
                words[usize::from(record.word)] |= code << record.shift;
            }
            start = end;
            let next = place(known.len());
            let out = &mut self.out.rows;
            renumbered.push(*known.entry(words).or_insert_with_key(|words| {
                out.extend_from_slice(words);
                next
            }));
        }
        renumbered
    }

    fn peers(&mut self, rows: &[(u32, u32)], renumbered: &[u32]) -> u32 {
        let empty = self.page([0; PEER_PAGE]);
        let mut directory = vec![empty; self.peer_classes.div_ceil(PEER_PAGE)];
        let mut rows = rows.iter().peekable();
        while let Some(&&(class, _)) = rows.peek() {
            let at = class as usize / PEER_PAGE;
            let mut page = [0; PEER_PAGE];
            while let Some(&(class, row)) = rows.next_if(|&&(class, _)| class as usize / PEER_PAGE == at) {
                page[class as usize % PEER_PAGE] = renumbered[row as usize];
            }
            directory[at] = self.page(page);
        }
        let out = &mut self.out.peer_directories;
        *self.directories.entry(directory).or_insert_with_key(|directory| {
            let start = place(out.len());
            out.extend_from_slice(directory);
            start
        })
    }

    fn page(&mut self, page: [u32; PEER_PAGE]) -> u32 {
        let out = &mut self.out.peer_pages;
        *self.pages.entry(page).or_insert_with_key(|page| {
            let number = place(out.len() / PEER_PAGE);
            out.extend_from_slice(page);
            number
        })
    }

    fn column_map(&mut self, map: &[u16]) -> u32 {
        let out = &mut self.out.column_maps;
        *self.column_maps.entry(map.to_vec()).or_insert_with_key(|map| {
            let start = place(out.len());
            out.extend_from_slice(map);
            start
        })
    }
}
