//! Why the work could not be done, as far as files and names are concerned.
//!
//! Not here: what is wrong inside a file. That is a finding, with a place.

use crate::revision::RevisionError;
use std::io;
use std::path::PathBuf;

/// A failure, as opposed to a finding. Names of files are told as they are; whoever shows them makes
/// them safe (see [`visible`](crate::visible::visible)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// Stdin is asked for more than once.
    #[error("`-` is given {count} times, but stdin can be read only once")]
    StdinTwice {
        /// How often.
        count: usize,
    },
    /// Files or folders that cannot be read: all of them, a line each.
    #[error("{}", lines(files))]
    Unreadable {
        /// In the order they were asked for.
        files: Vec<UnreadableFile>,
    },
    /// A file that is named where only the policy language will do.
    #[error("{} is not a .policy file", path.display())]
    NotThePolicyLanguage {
        /// The file.
        path: PathBuf,
    },
    /// A git revision that cannot be read.
    #[error("cannot read {name}")]
    Revision {
        /// As given.
        name: String,
        /// Why.
        source: RevisionError,
    },
    /// A file that cannot be written. The one that was there is as it was.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A node that the cluster does not have.
    #[error("the cluster has no node `{name}`{}", known(names, *more))]
    NoSuchNode {
        /// As asked for.
        name: String,
        /// Some that it has.
        names: Vec<String>,
        /// How many it has beside these.
        more: usize,
    },
    /// An image for a node that the cluster does not have.
    #[error("the image is for node {node}, which the cluster does not have")]
    ForeignImage {
        /// The image's node.
        node: String,
    },
}

impl ProjectError {
    pub(crate) fn unreadable(name: String, source: io::Error) -> Self {
        ProjectError::Unreadable { files: vec![UnreadableFile { name, source }] }
    }
}

/// A file or folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {name}: {source}")]
pub struct UnreadableFile {
    /// Its path as given, or `<stdin>`.
    pub name: String,
    /// Why.
    pub source: io::Error,
}

fn lines(files: &[UnreadableFile]) -> String {
    files.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn known(names: &[String], more: usize) -> String {
    match more {
        _ if names.is_empty() => "; it has none at all".to_owned(),
        0 => format!("; it has {}", names.join(", ")),
        more => format!("; it has {} and {more} more", names.join(", ")),
    }
}
