//! Files, folders and stdin to bytes, and bytes to the grammar.
//!
//! A file that is missing or cannot be read is a failure, and all such files are told at once; what is
//! wrong inside a file is a finding. A file that is named twice, or reached twice by links, is read once.
//!
//! Not here: what the text means.

use crate::error::{ProjectError, UnreadableFile};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::source::Sources;
use weir_grammar::span::{FileId, Span};
use weir_grammar::{Limits, Reading};

/// The path that means stdin.
const STDIN: &str = "-";
/// Endings of manifests in a folder; the last is the policy language.
const ENDINGS: &[&str] = &["yaml", "yml", "json", "policy"];

/// The manifests that some paths lead to, found and not read yet.
pub(crate) struct Manifests {
    files: Vec<PathBuf>,
}

impl Manifests {
    /// Finds them: files, folders and stdin in the order given, those of a folder by name.
    pub(crate) fn find(paths: &[&PathBuf]) -> Result<Self, ProjectError> {
        let mut listing = Listing::default();
        for path in paths {
            if is_stdin(path) {
                listing.files.push(path.to_path_buf());
                continue;
            }
            match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => listing.folder(path),
                Ok(_) => listing.file(path),
                Err(error) => listing.fail(path, error),
            }
        }
        if listing.failures.is_empty() {
            Ok(Manifests { files: listing.files })
        } else {
            Err(ProjectError::Unreadable { files: listing.failures })
        }
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
        let limits = Limits::default();
        let mut failures = Vec::new();
        for file in self.files {
            let name = name(&file);
            match bytes(&file, limits.file_bytes) {
                Ok(bytes) => weir_grammar::read(reading, &name, bytes, &limits),
                Err(source) => failures.push(UnreadableFile { name, source }),
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

fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

/// The name shown to people.
pub(crate) fn name(path: &Path) -> String {
    if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

/// Up to one byte more than `most`, so that the reader sees what is too large.
fn bytes(path: &Path, most: usize) -> io::Result<Vec<u8>> {
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

#[derive(Default)]
struct Listing {
    files: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
    failures: Vec<UnreadableFile>,
}

impl Listing {
    fn fail(&mut self, path: &Path, source: io::Error) {
        self.failures.push(UnreadableFile { name: name(path), source });
    }

    fn file(&mut self, path: &Path) {
        // Pipes have no canonical path; each is its own.
        let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.seen.insert(canonical) {
            self.files.push(path.to_owned());
        }
    }

    fn folder(&mut self, folder: &Path) {
        let canonical = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
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
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => self.folder(&path),
                // A pipe or device in a folder could be waited for without end.
                Ok(meta) if meta.is_file() && is_manifest(&path) => self.file(&path),
                Err(error) if is_manifest(&path) => self.fail(&path, error),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Whether a file of that name is read where it lies in a folder.
pub fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}
