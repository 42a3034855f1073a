//! Files that include others: what a file names is read before it, each file once.
//!
//! A path is relative to the file that names it. A file that includes itself, by whatever way, is passed over there.
//! What cannot be read is a finding at the `include`, not a failure: it is a mistake of the text. Only files that
//! would be read in a folder are, so that nothing waits for a pipe and no secret is shown in a finding.
//!
//! Bounded: so deep, and so many files beside those that were asked for.

use crate::inputs::{self, ENDINGS, is_manifest, is_stdin};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use weir_grammar::span::FileId;
use weir_grammar::{Included, Limits, Reading};

/// Files that include each other, one in the other.
const DEPTH: usize = 32;
/// Files that are read because another includes them.
const FILES: usize = 10_000;

/// Where files are: on disk, or in a revision.
pub(crate) trait Shelf {
    /// One path for one file.
    fn canonical(&self, path: &Path) -> PathBuf;

    /// How a file is named to people, and to the grammar.
    fn name(&self, path: &Path) -> String;

    /// The bytes of a file, up to one more than `most`.
    fn bytes(&mut self, path: &Path, most: usize) -> io::Result<Vec<u8>>;

    /// Whether a path leads to a file, and to no folder or pipe.
    fn is_file(&mut self, path: &Path) -> io::Result<bool>;
}

/// Files on disk, and stdin.
pub(crate) struct Disk;

impl Shelf for Disk {
    fn canonical(&self, path: &Path) -> PathBuf {
        inputs::canonical(path)
    }

    fn name(&self, path: &Path) -> String {
        inputs::name(path)
    }

    fn bytes(&mut self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        inputs::bytes(path, most)
    }

    fn is_file(&mut self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.is_file())
    }
}

/// Reads files, and before each what it includes.
pub(crate) struct Reader<'r, S> {
    shelf: S,
    reading: &'r mut Reading,
    /// By canonical path. `None`: being read.
    files: HashMap<PathBuf, Option<FileId>>,
    included: usize,
}

impl<'r, S: Shelf> Reader<'r, S> {
    /// Reads from a shelf, beside what was read before.
    pub(crate) fn of(shelf: S, reading: &'r mut Reading) -> Self {
        Reader { shelf, reading, files: HashMap::new(), included: 0 }
    }

    /// Reads a file that was asked for, if no other has included it before.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<()> {
        let key = self.shelf.canonical(path);
        if !self.files.contains_key(&key) {
            self.file(path, key, 0)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, key: PathBuf, depth: usize) -> io::Result<FileId> {
        let limits = Limits::default();
        let (name, bytes) = (self.shelf.name(path), self.shelf.bytes(path, limits.file_bytes)?);
        self.files.insert(key.clone(), None);
        let mut included = Included::default();
        if !is_stdin(path) {
            let folder = path.parent().unwrap_or(Path::new(""));
            for named in weir_grammar::includes(&name, &bytes) {
                match self.include(&folder.join(&named), depth + 1) {
                    Ok(Some(file)) => included.file(named, file),
                    // Its own sets are not there yet.
                    Ok(None) => included.file(named, self.reading.sources.next_id()),
                    Err(why) => included.refused(named, why),
                }
            }
        }
        let file = self.reading.sources.next_id();
        weir_grammar::read_including(self.reading, &name, bytes, &limits, &included);
        self.files.insert(key, Some(file));
        Ok(file)
    }

    /// Reads a file that another includes, if nobody has. `None`: it is being read.
    fn include(&mut self, path: &Path, depth: usize) -> Result<Option<FileId>, String> {
        let cannot = |error: io::Error| error.to_string();
        if !is_manifest(path) {
            return Err(format!("its name ends in none of {}", ENDINGS.join(", ")));
        }
        if !self.shelf.is_file(path).map_err(cannot)? {
            return Err("it is no file".to_owned());
        }
        let key = self.shelf.canonical(path);
        if let Some(&known) = self.files.get(&key) {
            return Ok(known);
        }
        if depth > DEPTH {
            return Err(format!("files include each other more than {DEPTH} deep"));
        }
        if self.included >= FILES {
            return Err(format!("more than {FILES} files are included"));
        }
        self.included += 1;
        self.file(path, key, depth).map(Some).map_err(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::Shop;

    fn read(shop: &Shop, names: &[&str]) -> (usize, Vec<String>) {
        let mut reading = Reading::default();
        let mut reader = Reader::of(Disk, &mut reading);
        for name in names {
            reader.read(&shop.path(name)).unwrap();
        }
        let found = reading.diagnostics.iter().map(|finding| finding.message.clone());
        (reading.objects.len(), found.collect())
    }

    const USER: &str = "include \"sets/office.policy\"\ngroup staff { office }\n";

    #[test]
    fn sets_come_from_included_files_and_each_file_is_read_once() {
        let shop = Shop::new();
        shop.file(
            "sets/office.policy",
            "include \"../more.policy\"\nset office = { home, 192.0.2.0/24 }\ngroup g { office }\n",
        );
        shop.file("more.policy", "set home = { 198.51.100.0/24 }\n");
        shop.file(
            "a.policy",
            format!("{USER}include \"more.policy\"\nset mine = {{ home }}\ngroup h {{ mine }}\n"),
        );
        shop.file(
            "b.policy",
            format!("include \"./sets/../sets/office.policy\"\n{USER}").replace("staff", "others"),
        );
        assert_eq!(read(&shop, &["a.policy", "b.policy", "sets/office.policy"]), (4, vec![]));
        assert_eq!(read(&shop, &["sets/office.policy", "a.policy"]), (3, vec![]));
    }

    #[test]
    fn a_cycle_does_no_harm() {
        let shop = Shop::new();
        shop.file("a.policy", "include \"b.policy\"\ngroup a { b }\nset a = { 10.0.0.0/8 }\n");
        shop.file("b.policy", "include \"a.policy\"\ninclude \"b.policy\"\nset b = { 192.0.2.0/24 }\n");
        assert_eq!(read(&shop, &["a.policy", "b.policy"]), (1, vec![]));
    }

    #[test]
    fn what_cannot_be_included_is_told_at_the_include() {
        let shop = Shop::new();
        shop.file(
            "a.policy",
            "include \"nobody.policy\"\ninclude \"../a.txt\"\ninclude \"d.policy\"\ngroup a { 10.0.0.0/8 }\n",
        );
        fs::create_dir(shop.path("d.policy")).unwrap();
        let (objects, found) = read(&shop, &["a.policy"]);
        assert_eq!(objects, 1);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("`nobody.policy` cannot be included: "), "{found:?}");
        assert_eq!(
            found[1],
            "`../a.txt` cannot be included: its name ends in none of yaml, yml, json, policy"
        );
        assert_eq!(found[2], "`d.policy` cannot be included: it is no file");
    }

    #[test]
    fn one_name_in_two_files_and_a_broken_set_are_told_once() {
        let shop = Shop::new();
        shop.file("a.policy", "set office = { 10.0.0.0/33 }\n");
        shop.file("b.policy", "set office = { 192.0.2.0/24 }\n");
        shop.file("c.policy", "include \"a.policy\"\ninclude \"b.policy\"\ngroup c { office }\n");
        let (objects, found) = read(&shop, &["c.policy"]);
        assert_eq!(objects, 0);
        assert_eq!(found, ["`10.0.0.0/33` is not a CIDR", "the set `office` is defined twice"]);
    }

    #[test]
    fn depth_is_bounded() {
        let shop = Shop::new();
        for place in 0..40 {
            shop.file(&format!("f{place}.policy"), format!("include \"f{}.policy\"\n", place + 1));
        }
        shop.file("f40.policy", "");
        let (_, found) = read(&shop, &["f0.policy"]);
        assert_eq!(found, ["`f33.policy` cannot be included: files include each other more than 32 deep"]);
    }
}
