//! The kernel in tests: a datapath of a test's own, and the voice that answers flows as packets.
//!
//! ```text
//! Kernel::open ─> a Datapath, its pins gone with the value       voice ─> an Engine for the list of engines
//! packet ─> bytes to send through it                             traces ─> what they left behind
//! ```
//!
//! Invariant: a test that needs the kernel and cannot have it says so, and with CI set it fails instead. What the kernel refuses to one who
//! may ask is a failure anywhere. Not here: interfaces and wires (weir-lab).

pub mod packet;
mod traces;
mod voice;

pub use traces::Traces;
pub use voice::{available, tally, voice};
pub use weir_runtime::voice::LOOPBACK;

use std::env;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use weir_runtime::datapath::{DatapathError, Options, Temporary};

/// A datapath with small maps, at that place.
fn small(pin_root: PathBuf) -> Options {
    Options {
        pin_root,
        conntrack_v4: 64,
        conntrack_v6: 64,
        addresses: 4096,
        interfaces: 16,
        ..Options::default()
    }
}

/// A place for pins that no other test has.
fn unused_pin_root() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    PathBuf::from(format!("/sys/fs/bpf/weir-test-{process}-{number}"))
}

/// A datapath of a test's own, taken out of the kernel with the value.
#[derive(Debug)]
pub struct Kernel {
    /// It.
    pub datapath: Temporary,
    pin_root: PathBuf,
}

impl Kernel {
    /// One with small maps. `None`, said aloud, where the kernel cannot be asked.
    ///
    /// # Panics
    /// The kernel refuses the programs; or it cannot be asked, and the environment's `CI` is `true` or `1`.
    pub fn open() -> Option<Kernel> {
        Kernel::open_with(small(PathBuf::new()))
    }

    /// One as told, but for its place.
    ///
    /// # Panics
    /// As [`Kernel::open`] does.
    #[expect(clippy::panic, reason = "where every test must run, one that cannot has failed")]
    pub fn open_with(options: Options) -> Option<Kernel> {
        let pin_root = unused_pin_root();
        match Temporary::open(&Options { pin_root: pin_root.clone(), ..options }) {
            Ok(datapath) => Some(Kernel { datapath, pin_root }),
            Err(error) if !is_forbidden(&error) => panic!("the kernel refuses the datapath: {error}"),
            Err(error) => {
                if matches!(env::var("CI").as_deref(), Ok("true" | "1")) {
                    panic!("the kernel cannot be asked: {error}");
                }
                println!("SKIPPED: the kernel cannot be asked: {error}");
                None
            }
        }
    }
}

/// Whether this process may not use what every datapath begins with, whatever the programs are.
fn is_forbidden(error: &DatapathError) -> bool {
    match error {
        DatapathError::NoFileSystem { .. } => true,
        DatapathError::Pin { source, .. } | DatapathError::Map { source, .. } => {
            source.kind() == ErrorKind::PermissionDenied
        }
        _ => false,
    }
}
