//! Where policies and the cluster come from: today a directory of manifests, watched for change.
//!
//! What the kernel says of changes is a hint: several at once are one, and what it does not say (a file changed behind a link, too
//! many watches) a slow look at every file finds. Entries whose names begin with a dot are not looked at, so a
//! ConfigMap's `..data` counts once, under the names that lead there.
//!
//! Not here: what is in the files ([`crate::snapshot`]).

mod debounce;
mod directory;

pub use directory::DirectoryWatch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A source by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// `dir:PATH`: a directory of manifests, policies and cluster mixed.
    Directory(PathBuf),
}

/// Why a name names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// One that is to come.
    #[error("the source `kube` is not in this version; use `dir:PATH`")]
    Kube,
    /// None at all.
    #[error("`{text}` is no source; use `dir:PATH`")]
    Unknown {
        /// As given.
        text: String,
    },
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Source::Directory(PathBuf::from(path))),
            _ if text == "kube" => Err(SourceError::Kube),
            _ => Err(SourceError::Unknown { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

impl Source {
    /// Begins to watch it.
    pub fn watch(&self) -> DirectoryWatch {
        match self {
            Source::Directory(path) => DirectoryWatch::new(path),
        }
    }

    /// The paths of its manifests.
    pub fn path(&self) -> &Path {
        match self {
            Source::Directory(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_names() {
        let source: Source = "dir:/etc/weir".parse().unwrap();
        assert_eq!((source.path(), source.to_string().as_str()), (Path::new("/etc/weir"), "dir:/etc/weir"));
        assert_eq!("kube".parse::<Source>(), Err(SourceError::Kube));
        for wrong in ["", "dir:", "dir", "/etc/weir", "etcd:x"] {
            assert!(matches!(wrong.parse::<Source>(), Err(SourceError::Unknown { .. })), "{wrong}");
        }
    }
}
