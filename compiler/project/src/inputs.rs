//! Files, folders and stdin to bytes, and bytes to the grammar.
//!
//! A file that is missing or cannot be read is a failure, and all such files are told at once; what is
//! wrong inside a file is a finding. A file that is named twice, or reached twice by links, is read once.
//!
//! Not here: what the text means.

use crate::error::{ProjectError, UnreadableFile};
use crate::includes::{Disk, Reader};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use weir_grammar::Reading;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::source::Sources;
use weir_grammar::span::{FileId, Span};

/// The path that means stdin.
const STDIN: &str = "-";
/// Endings of manifests in a folder; the last is the policy language.
pub(crate) const ENDINGS: &[&str] = &["yaml", "yml", "json", POLICY];
/// The ending of files in the policy language.
const POLICY: &str = "policy";

/// The manifests that some paths lead to, found and not read yet.
pub(crate) struct Manifests {
    files: Vec<PathBuf>,
}

impl Manifests {
    /// Finds them: files, folders and stdin in the order given, those of a folder by name.
    pub(crate) fn find(paths: &[&PathBuf]) -> Result<Self, ProjectError> {
        let mut listing = Listing::default();
        listing.paths(paths.iter().copied());
        Ok(Manifests { files: listing.finish()? })
    }

    /// Their bytes, as far as they are known before reading.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len()).sum()
    }

    /// Reads them.
    pub(crate) fn read(self) -> Result<Reading, ProjectError> {
        let mut reading = Reading::default();
        self.read_into(&mut reading)?;
        Ok(reading)
    }

    /// Reads them beside what was read before.
    pub(crate) fn read_into(self, reading: &mut Reading) -> Result<(), ProjectError> {
        let mut reader = Reader::of(Disk, reading);
        let mut failures = Vec::new();
        for file in self.files {
            if let Err(source) = reader.read(&file) {
                failures.push(UnreadableFile { name: name(&file), source });
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(ProjectError::Unreadable { files: failures }) }
    }
}

/// Reads manifests into objects, without asking what they mean.
///
/// # Errors
/// Files that cannot be read, or stdin asked for twice.
pub fn read_objects(paths: &[PathBuf]) -> Result<Reading, ProjectError> {
    refuse_stdin_twice(paths)?;
    Manifests::find(&paths.iter().collect::<Vec<_>>())?.read()
}

/// The files in the policy language that some paths lead to: files and stdin as they are named, those of a folder
/// by name. A link in a folder is passed over: what it leads to belongs to where it lies.
///
/// # Errors
/// Paths that lead nowhere, stdin asked for twice, or a file that is named and not in the language.
pub fn policy_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ProjectError> {
    refuse_stdin_twice(paths)?;
    let mut listing = Listing { wanted: has_policy_ending, follows_links: false, ..Listing::default() };
    listing.paths(paths.iter());
    let files = listing.finish()?;
    match files.iter().find(|file| !is_stdin(file) && !has_policy_ending(file)) {
        Some(file) => Err(ProjectError::NotThePolicyLanguage { path: file.clone() }),
        None => Ok(files),
    }
}

/// Reads a file or stdin; one byte more than `most` if there are more.
///
/// # Errors
/// [`ProjectError::Unreadable`].
pub fn read_bytes(path: &Path, most: usize) -> Result<Vec<u8>, ProjectError> {
    bytes(path, most).map_err(|source| ProjectError::unreadable(name(path), source))
}

/// Reads a file that is no manifest (flows, a lock) and keeps it among the sources.
///
/// The inner result is the finding, if the file is not UTF-8 or too large.
pub(crate) fn read_text(
    path: &Path,
    sources: &mut Sources,
) -> Result<Result<FileId, Box<Diagnostic>>, ProjectError> {
    let name = name(path);
    let most = u32::MAX as usize;
    let bytes = match bytes(path, most) {
        Ok(bytes) => bytes,
        Err(error) => return Err(ProjectError::unreadable(name, error)),
    };
    let file = sources.next_id();
    if bytes.len() > most {
        sources.add(name, "");
        let message = format!("the file has more than {most} bytes");
        return Ok(Err(Box::new(
            Diagnostic::new(Code::TooLarge, Span::point(file, 0), message).help("split the file"),
        )));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Ok(sources.add(name, text))),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            sources.add(name, String::from_utf8_lossy(error.as_bytes()).into_owned());
            let start = u32::try_from(at).unwrap_or(u32::MAX);
            let span = Span { file, start, end: start.saturating_add(3) };
            let finding = Diagnostic::new(Code::NotUtf8, span, format!("byte {at} is not UTF-8 here"));
            Ok(Err(Box::new(finding.labelled("not UTF-8").help("save the file as UTF-8"))))
        }
    }
}

/// Refuses paths of which more than one is stdin (`-`).
///
/// # Errors
/// [`ProjectError::StdinTwice`].
pub fn refuse_stdin_twice<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Result<(), ProjectError> {
    let count = paths.into_iter().filter(|path| is_stdin(path)).count();
    if count > 1 { Err(ProjectError::StdinTwice { count }) } else { Ok(()) }
}

/// Whether a path means stdin.
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

/// The name of a file that is shown to people.
pub fn name(path: &Path) -> String {
    if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

/// Up to one byte more than `most`, so that the reader sees what is too large.
pub(crate) fn bytes(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if is_stdin(path) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        let file = File::open(path)?;
        let size = file.metadata()?.len().min(most);
        // Room for the whole file and the read that finds its end, so that nothing is copied.
        bytes.reserve_exact(usize::try_from(size).unwrap_or_default().saturating_add(1));
        file.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// One path for one file. Pipes have none; each is its own.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

struct Listing {
    files: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
    failures: Vec<UnreadableFile>,
    /// Which files of a folder count.
    wanted: fn(&Path) -> bool,
    /// Whether links in a folder count.
    follows_links: bool,
}

impl Default for Listing {
    fn default() -> Self {
        Listing {
            files: Vec::new(),
            seen: HashSet::new(),
            failures: Vec::new(),
            wanted: is_manifest,
            follows_links: true,
        }
    }
}

impl Listing {
    fn paths<'p>(&mut self, paths: impl Iterator<Item = &'p PathBuf>) {
        for path in paths {
            if is_stdin(path) {
                self.files.push(path.to_path_buf());
                continue;
            }
            match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => self.folder(path),
                Ok(_) => self.file(path),
                Err(error) => self.fail(path, error),
            }
        }
    }

    fn finish(self) -> Result<Vec<PathBuf>, ProjectError> {
        if self.failures.is_empty() {
            Ok(self.files)
        } else {
            Err(ProjectError::Unreadable { files: self.failures })
        }
    }

    fn fail(&mut self, path: &Path, source: io::Error) {
        self.failures.push(UnreadableFile { name: name(path), source });
    }

    fn file(&mut self, path: &Path) {
        let canonical = canonical(path);
        if self.seen.insert(canonical) {
            self.files.push(path.to_owned());
        }
    }

    fn folder(&mut self, folder: &Path) {
        let canonical = canonical(folder);
        if !self.seen.insert(canonical) {
            return;
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut paths: Vec<PathBuf> = match entries {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
            Err(error) => {
                self.fail(folder, error);
                return;
            }
        };
        paths.sort();
        for path in paths {
            let meta = if self.follows_links { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            match meta {
                Ok(meta) if meta.is_dir() => self.folder(&path),
                // A pipe or device in a folder could be waited for without end.
                Ok(meta) if meta.is_file() && (self.wanted)(&path) => self.file(&path),
                Err(error) if (self.wanted)(&path) => self.fail(&path, error),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Whether a file of that name is read where it lies in a folder.
pub fn is_manifest(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

fn has_policy_ending(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ending == POLICY)
}

fn ending(path: &Path) -> Option<String> {
    path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase())
}
