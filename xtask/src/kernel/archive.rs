//! An archive in the `newc` form of cpio, which is what the kernel unpacks as its first root.
//!
//! Same content, same bytes: no clock, no owner and no inode of this machine gets in. Folders are made on the way to what
//! lies in them. Not here: compression, which would cost more time than it saves, and links.

use std::collections::BTreeSet;

/// The bits that say what an entry is, before those that say who may use it.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// The name of the entry that ends an archive.
const LAST: &str = "TRAILER!!!";

/// An archive being written.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    names: BTreeSet<String>,
}

impl Archive {
    /// A folder, and those above it. Paths are absolute.
    pub(super) fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.names.insert(path.to_owned()) {
            return;
        }
        self.folder_of(path);
        self.entry(path, FOLDER | 0o755, &[], (0, 0));
    }

    /// A file that may be executed. What is there already stays: libraries are asked for by several programs.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_start_matches('/');
        if self.names.insert(path.to_owned()) {
            self.folder_of(path);
            self.entry(path, FILE | 0o755, content, (0, 0));
        }
    }

    /// A character device, by major and minor number.
    pub(super) fn device(&mut self, path: &str, numbers: (u32, u32)) {
        let path = path.trim_start_matches('/');
        if self.names.insert(path.to_owned()) {
            self.folder_of(path);
            self.entry(path, CHARACTER_DEVICE | 0o600, &[], numbers);
        }
    }

    /// How large it is so far.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(LAST, 0, &[], (0, 0));
        self.bytes
    }

    fn folder_of(&mut self, path: &str) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) {
        self.entries += 1;
        // A longer file than the field can say is refused by size long before it comes here.
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_length = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(b"070701");
        // inode, mode, owner, group, links, time, size, the device it is on, the device it is, name, no checksum
        for field in [self.entries, mode, 0, 0, 1, 0, length, 0, 0, major, minor, name_length, 0] {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents begin at a multiple of four.
    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    /// Reads an archive back by the format's own rules: name, mode, content.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name_start = at + 110;
            let name = std::str::from_utf8(&bytes[name_start..name_start + name_size - 1]).unwrap();
            assert_eq!(bytes[name_start + name_size - 1], 0);
            let start = (name_start + name_size).next_multiple_of(4);
            entries.push((name.to_owned(), mode, bytes[start..start + size].to_vec()));
            at = (start + size).next_multiple_of(4);
        }
        entries
    }

    #[test]
    fn what_goes_in_comes_out_with_the_folders_before_it() {
        let mut archive = Archive::default();
        archive.file("/lib/one/a", b"content");
        archive.file("/lib/b", b"");
        archive.folder("/proc");
        archive.device("/dev/console", (5, 1));
        let found = entries(&archive.finish());
        let shown: Vec<(&str, u32)> = found.iter().map(|(name, mode, _)| (name.as_str(), *mode)).collect();
        let expected = [
            ("lib", 0o040_755),
            ("lib/one", 0o040_755),
            ("lib/one/a", 0o100_755),
            ("lib/b", 0o100_755),
            ("proc", 0o040_755),
            ("dev", 0o040_755),
            ("dev/console", 0o020_600),
            ("TRAILER!!!", 0),
        ];
        assert_eq!(shown, expected);
        assert_eq!(found[2].2, b"content");
    }

    #[test]
    fn a_path_is_written_once() {
        let mut archive = Archive::default();
        archive.file("/lib/c", b"first");
        archive.file("/lib/c", b"second");
        archive.folder("/lib");
        let found = entries(&archive.finish());
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].2, b"first");
    }

    #[test]
    fn the_numbers_of_a_device_stand_in_their_fields() {
        let mut archive = Archive::default();
        archive.device("console", (5, 1));
        let bytes = archive.finish();
        let (major, minor) = (&bytes[6 + 9 * 8..6 + 10 * 8], &bytes[6 + 10 * 8..6 + 11 * 8]);
        assert_eq!((major, minor), (b"00000005".as_slice(), b"00000001".as_slice()));
    }
}
