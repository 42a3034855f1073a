//! Manifests of a git revision, `git:REVISION:PATH`, read through the `git` program. The work tree is not touched.
//!
//! `PATH` is from the top of the repository, or begins with `./`, as git has it. Neither part is ever taken for an
//! option. A file that is too large is a finding, as on disk; links are not followed, and one that is named like a manifest
//! is a failure rather than left out.
//!
//! Not here: files on disk (`inputs`).

use crate::error::ProjectError;
use crate::includes::{Reader, Shelf};
use crate::inputs::is_manifest;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use weir_grammar::Reading;

/// Bytes of a list of files, at most.
const MAX_LISTING: u64 = 1 << 28;
/// Bytes of a line that git answers with, at most.
const MAX_LINE: u64 = 1 << 12;
/// What begins the name of a revision.
const PREFIX: &str = "git:";

/// A revision and a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    revision: String,
    path: String,
}

/// Why a revision cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevisionError {
    /// It is not `git:REVISION:PATH`.
    #[error("a revision is written `git:REVISION:PATH`, such as `git:main:policies/`")]
    Form,
    /// There is no git.
    #[error("the `git` program cannot be run")]
    NoGit(#[source] io::Error),
    /// Git refused for a reason of its own, such as that this is no repository.
    #[error("git: {said}")]
    Refused {
        /// In its words.
        said: String,
    },
    /// There is no such revision.
    #[error("there is no revision `{revision}` here")]
    NoRevision {
        /// As asked for.
        revision: String,
    },
    /// The revision has no such file or folder.
    #[error("revision `{revision}` has no `{path}`")]
    NoPath {
        /// As asked for.
        revision: String,
        /// As asked for.
        path: String,
    },
    /// It is neither a file nor a folder.
    #[error("`{path}` is a {what}, which is not followed in a revision")]
    NotFollowed {
        /// Where.
        path: String,
        /// A link, or a module of another repository.
        what: &'static str,
    },
    /// Git's answer was cut off, or is none.
    #[error("git's answer cannot be read")]
    Answer(#[source] io::Error),
}

impl Revision {
    /// The revision that a path names; `None` for a path of a file.
    pub(crate) fn parse(path: &Path) -> Option<Result<Self, ProjectError>> {
        let rest = path.to_str()?.strip_prefix(PREFIX)?;
        let mut depth = 0usize;
        let end = rest.char_indices().find(|&(_, character)| {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ':' && depth == 0
        });
        let parsed =
            end.map(|(at, _)| (&rest[..at], &rest[at + 1..])).filter(|(revision, _)| !revision.is_empty());
        let parsed = parsed.map(|(revision, path)| Revision { revision: revision.into(), path: path.into() });
        Some(parsed.ok_or_else(|| ProjectError::Revision {
            name: path.display().to_string(),
            source: RevisionError::Form,
        }))
    }

    /// What stands before the names of its files.
    pub(crate) fn prefix(&self) -> String {
        format!("{}:", self.revision)
    }

    /// Reads its manifests.
    pub(crate) fn read(&self, reading: &mut Reading) -> Result<(), ProjectError> {
        let failed = |source| ProjectError::Revision {
            name: format!("{PREFIX}{}:{}", self.revision, self.path),
            source,
        };
        self.read_all(reading).map_err(failed)
    }

    fn read_all(&self, reading: &mut Reading) -> Result<(), RevisionError> {
        let Revision { revision, path } = self;
        let Some(root) = object(&format!("{revision}^{{tree}}"))? else {
            return Err(RevisionError::NoRevision { revision: revision.clone() });
        };
        let Some(object) = object(&format!("{revision}:{path}"))? else {
            return Err(RevisionError::NoPath { revision: revision.clone(), path: path.clone() });
        };
        let files = match said(&["cat-file", "-t", &object])?.trim() {
            "blob" if mode(&root, path)? == Some(Mode::Link) => {
                return Err(RevisionError::NotFollowed { path: path.clone(), what: "link" });
            }
            "blob" => vec![path.clone()],
            "tree" => self.files(&object)?,
            _ => return Err(RevisionError::NotFollowed { path: path.clone(), what: "module" }),
        };
        let mut reader = Reader::of(Tree { revision, root, objects: Objects::open()? }, reading);
        files.iter().try_for_each(|file| reader.read(Path::new(file))).map_err(RevisionError::Answer)
    }

    /// The manifests below a folder.
    fn files(&self, tree: &str) -> Result<Vec<String>, RevisionError> {
        let mut files = Vec::new();
        let slash = if self.path.is_empty() || self.path.ends_with('/') { "" } else { "/" };
        for entry in said(&["ls-tree", "-r", "-z", "--full-tree", tree])?.split_terminator('\0') {
            let unreadable = || RevisionError::Answer(io::ErrorKind::InvalidData.into());
            let (head, path) = entry.split_once('\t').ok_or_else(unreadable)?;
            let mut head = head.split(' ');
            let mode = head.next();
            if !is_manifest(Path::new(path)) {
                continue;
            }
            let what = match mode {
                Some("120000") => "link",
                Some("160000") => "module",
                _ => {
                    files.push(format!("{}{slash}{path}", self.path));
                    continue;
                }
            };
            return Err(RevisionError::NotFollowed { path: path.to_owned(), what });
        }
        Ok(files)
    }
}

/// The files of one revision.
struct Tree<'r> {
    revision: &'r str,
    /// The tree that it is.
    root: String,
    objects: Objects,
}

impl Tree<'_> {
    /// What git calls a file.
    fn expression(&self, path: &Path) -> io::Result<String> {
        let path = self.canonical(path);
        match path.to_str() {
            // One line asks for one object.
            Some(path) if !path.contains(['\n', '\0']) => Ok(format!("{}:{path}", self.root)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "its name cannot be asked for")),
        }
    }
}

impl Shelf for Tree<'_> {
    /// By the words of the path alone: a revision has no links that are followed.
    fn canonical(&self, path: &Path) -> PathBuf {
        let mut canonical = PathBuf::new();
        for part in path.components() {
            let is_up = part == Component::ParentDir;
            let can_go_up = matches!(canonical.components().next_back(), Some(Component::Normal(_)));
            if is_up && can_go_up {
                canonical.pop();
            } else {
                canonical.push(part);
            }
        }
        canonical
    }

    fn name(&self, path: &Path) -> String {
        format!("{}:{}", self.revision, path.display())
    }

    fn bytes(&mut self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        let expression = self.expression(path)?;
        self.objects.answer(&expression, most)
    }

    fn is_file(&mut self, path: &Path) -> io::Result<bool> {
        let canonical = self.canonical(path);
        let path = canonical.to_str().unwrap_or_default();
        match mode(&self.root, path).map_err(io::Error::other)? {
            Some(Mode::File) => Ok(true),
            Some(_) => Ok(false),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the revision has no such file")),
        }
    }
}

fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("--no-pager").args(arguments);
    // Only what is here is read: nothing is fetched, nobody is asked, nothing is written.
    command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The object that an expression names, if there is one.
fn object(expression: &str) -> Result<Option<String>, RevisionError> {
    let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", expression];
    let output = git(&arguments).output().map_err(RevisionError::NoGit)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let object = said.lines().last().unwrap_or_default();
    if output.status.success() && !object.is_empty() && object.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Some(object.to_owned()));
    }
    let refused = refusal(&output.stderr);
    if refused.is_empty() { Ok(None) } else { Err(RevisionError::Refused { said: refused }) }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File,
    Link,
    /// A folder or a module.
    Other,
}

/// What a path of a tree leads to, if to anything.
fn mode(tree: &str, path: &str) -> Result<Option<Mode>, RevisionError> {
    // As git reads `TREE:PATH`: from the top, or from here if it begins with a dot.
    let is_from_here = path.starts_with('.');
    let listing = if is_from_here {
        said(&["--literal-pathspecs", "ls-tree", "-z", tree, "--", path])?
    } else {
        said(&["--literal-pathspecs", "ls-tree", "-z", "--full-tree", tree, "--", path])?
    };
    Ok(listing.split(' ').next().filter(|mode| !mode.is_empty()).map(|mode| match mode {
        "120000" => Mode::Link,
        "100644" | "100755" | "100664" => Mode::File,
        _ => Mode::Other,
    }))
}

/// What git prints.
fn said(arguments: &[&str]) -> Result<String, RevisionError> {
    let mut child = git(arguments).stderr(Stdio::null()).spawn().map_err(RevisionError::NoGit)?;
    let mut bytes = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(MAX_LISTING + 1).read_to_end(&mut bytes).map_err(RevisionError::Answer)?;
    }
    let is_whole = bytes.len() as u64 <= MAX_LISTING;
    let status = child.wait().map_err(RevisionError::Answer)?;
    if !status.success() || !is_whole {
        return Err(RevisionError::Answer(io::ErrorKind::InvalidData.into()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Git's first line about a failure.
fn refusal(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("fatal: ").unwrap_or(line).to_owned()
}

/// One git that hands out objects.
struct Objects {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Objects {
    fn open() -> Result<Self, RevisionError> {
        let mut command = git(&["cat-file", "--batch"]);
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(RevisionError::NoGit)?;
        match child.stdout.take() {
            Some(answers) => Ok(Objects { child, answers: BufReader::new(answers) }),
            None => Err(RevisionError::Answer(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Up to one byte more than `most`, so that the reader sees what is too large.
    fn answer(&mut self, object: &str, most: usize) -> io::Result<Vec<u8>> {
        if let Some(asked) = &mut self.child.stdin {
            asked.write_all(format!("{object}\n").as_bytes())?;
        }
        let mut head = String::new();
        (&mut self.answers).take(MAX_LINE).read_line(&mut head)?;
        // `OBJECT blob SIZE`; what is missing, or a folder, is told in other words.
        let size = head.trim_end().rsplit_once(" blob ").and_then(|(_, size)| size.parse().ok());
        let size: u64 =
            size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, head.trim_end().to_owned()))?;
        let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        (&mut self.answers).take(size.min(most)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size.min(most) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The rest of a file that is too large, and the line break behind each.
        let rest = size - bytes.len() as u64 + 1;
        io::copy(&mut (&mut self.answers).take(rest), &mut io::sink())?;
        Ok(bytes)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // What it still says is of no use, and how it ends tells nothing.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Option<(String, String)>> {
        let parsed = Revision::parse(Path::new(text))?;
        Some(parsed.ok().map(|found| (found.revision, found.path)))
    }

    #[test]
    fn a_revision_ends_at_the_first_colon_that_is_not_in_braces() {
        let both = |revision: &str, path: &str| Some(Some((revision.to_owned(), path.to_owned())));
        assert_eq!(parsed("git:main:policies/"), both("main", "policies/"));
        assert_eq!(parsed("git:v1^{/fix: it}:a:b"), both("v1^{/fix: it}", "a:b"));
        assert_eq!(parsed("git:HEAD:"), both("HEAD", ""));
        assert_eq!((parsed("git:main"), parsed("git::a")), (Some(None), Some(None)));
        assert_eq!((parsed("policies"), parsed("./git:main:a")), (None, None));
    }
}
