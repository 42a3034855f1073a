//! A file replaced in one step.
//!
//! Invariant: whoever opens the path sees the old file or the new one, whole, whatever happens
//! meanwhile. A link stays a link, a file keeps its permissions, and what is no file (a device, a pipe) is
//! written to.
//!
//! Not here: what is in the file.

use crate::error::ProjectError;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How the names of files begin that are not whole yet. A failure tells the name, and a run that is
/// killed may leave one behind.
const UNFINISHED: &str = ".policyc-";

/// Writes a file so that a reader sees either the old or the new one, whole, whatever happens meanwhile.
///
/// # Errors
/// [`ProjectError::Unwritable`]; the old file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), ProjectError> {
    write(path, bytes).map_err(|source| ProjectError::Unwritable { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut permissions = None;
    let path = match fs::metadata(path) {
        // A device or pipe is written to, never replaced.
        Ok(meta) if !meta.is_file() => return OpenOptions::new().write(true).open(path)?.write_all(bytes),
        // A link stays a link.
        Ok(meta) => {
            permissions = Some(meta.permissions());
            fs::canonicalize(path)?
        }
        Err(_) => path.to_owned(),
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|failed| failed.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;
    use std::io::Read;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_takes_the_place_of_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for bytes in [b"old".as_slice(), b"new and longer"] {
            replace(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn who_has_the_old_file_open_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"old").unwrap();
        let mut open = fs::File::open(&path).unwrap();
        replace(&path, b"new").unwrap();
        let mut seen = String::new();
        open.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "old");
    }

    #[test]
    fn what_cannot_be_written_says_which_and_why() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("no/such/a"), folder.path().to_owned()] {
            let failed = replace(&path, b"x").unwrap_err();
            assert_eq!(failed.to_string(), format!("cannot write {}", path.display()));
            assert!(failed.source().is_some());
        }
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        replace(&real, b"old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }
}
