//! What can go wrong between this process and the kernel.

use std::io;
use std::path::PathBuf;

/// Why something could not be done to the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatapathError {
    /// There is no BPF file system to pin to.
    #[error("there is no BPF file system for {}: {source}", .path.display())]
    NoFileSystem {
        /// Where one was wanted.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A pin or folder in the BPF file system.
    #[error("cannot {what} {}: {source}", .path.display())]
    Pin {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another datapath uses the pins.
    #[error("{} is in use by another policyd", .path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The pins are of interfaces of another network namespace.
    #[error(
        "{} holds what was pinned for another network namespace: `policyd cleanup` there, or here if it is gone, or use another folder (--pins)",
        .path.display()
    )]
    OtherNetwork {
        /// Where.
        path: PathBuf,
    },
    /// The kernel refuses a program or map.
    #[error("the kernel refuses the programs: {told}")]
    Load {
        /// The one line of its answer that helps.
        told: String,
        /// All of it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A map.
    #[error("map {map}: cannot {what}: {source}")]
    Map {
        /// Which.
        map: &'static str,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map is full.
    #[error("map {map} is full: it holds {capacity} entries")]
    Full {
        /// Which.
        map: &'static str,
        /// What it was made for.
        capacity: u32,
    },
    /// An interface.
    #[error("interface {interface}: cannot {what}: {source}")]
    Attach {
        /// Its index.
        interface: u32,
        /// What was tried.
        what: &'static str,
        /// The answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A cgroup.
    #[error("cgroup {}: cannot {what}: {source}", .path.display())]
    Cgroup {
        /// Where it is.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The image is bad, and nothing was changed.
    #[error("the image is refused: {0}")]
    Image(#[from] weir_abi::ImageError),
    /// The image is larger than any value that programs can address.
    #[error("the image takes {bytes} bytes in the kernel, at most {most} are possible")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A test run.
    #[error("the test run of a program failed: {0}")]
    TestRun(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A question that makes no packet.
    #[error("no packet is like that: {0}")]
    Question(&'static str),
}
