//! Where programs and maps have their names: a folder in a BPF file system, root's alone, of one process at a time.
//!
//! Whoever may write there may take policy away, and two that write images into the same slots would mix them. Not here: the names
//! ([`super::load`], [`super::attach`], [`super::slots`]).

use super::error::DatapathError;
use super::load::make_folder;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use weir_abi::ABI_VERSION;
use weir_abi::services::SERVICE_VERSION;
use weir_abi::services::live::BALANCE_VERSION;
use weir_abi::state::{CONNTRACK_VERSION, STATE_VERSION};

/// The place that the kernel has for a BPF file system. Elsewhere one is looked for, and never mounted.
const USUAL: &str = "/sys/fs/bpf";
/// Processes between this one and the machine's first, at most.
const ANCESTORS: usize = 256;

/// A folder for pins, where it is to be found.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) path: PathBuf,
    /// What the path leads through.
    _outer: Option<File>,
}

/// Finds the folder. In a mount namespace that hides the usual place (`ip netns exec` makes one) it is that of the processes
/// around it: what is mounted in such a namespace ends with it, and enforcement must not.
pub(super) fn locate(pin_root: &Path) -> Result<Located, DatapathError> {
    let fail = |source: io::Error| DatapathError::NoFileSystem { path: pin_root.to_owned(), source };
    let usual = Path::new(USUAL);
    let outer = match pin_root.strip_prefix(usual) {
        Ok(below) if !is_bpf(usual) => outer_process().map(|process| (below, process)),
        _ => None,
    };
    let Some((below, process)) = outer else {
        return Ok(Located { path: pin_root.to_owned(), _outer: None });
    };
    let place = process.join("root").join(usual.strip_prefix("/").unwrap_or(usual));
    if !is_bpf(&place) {
        among_mounts_of(&process, mount_usual).map_err(fail)?;
    }
    let folder = File::open(place).map_err(fail)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(below);
    Ok(Located { path, _outer: Some(folder) })
}

/// Makes sure that a folder is, or will be, in a BPF file system; at the usual place one is mounted if there is none.
pub(super) fn ensure_file_system(pin_root: &Path) -> Result<(), DatapathError> {
    let fail = |source: io::Error| DatapathError::NoFileSystem { path: pin_root.to_owned(), source };
    let nearest = pin_root.ancestors().find(|folder| folder.is_dir());
    let nearest = nearest.ok_or_else(|| fail(io::ErrorKind::NotFound.into()))?;
    if is_bpf(nearest) {
        return Ok(());
    }
    if nearest != Path::new(USUAL) || pin_root == nearest {
        return Err(fail(io::Error::other(
            "it is in no BPF file system; mount one there, or use a folder of /sys/fs/bpf",
        )));
    }
    mount_usual().map_err(|error| fail(error.into()))
}

fn is_bpf(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// The outermost process that this one came from, has other mounts, and may be looked at.
fn outer_process() -> Option<PathBuf> {
    let mounts = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let parent = |process: &Path| -> Option<PathBuf> {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let number = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
        (number != "0").then(|| Path::new("/proc").join(number))
    };
    let own = mounts(Path::new("/proc/thread-self"))?;
    let ancestors = std::iter::successors(Some(PathBuf::from("/proc/self")), |process| parent(process));
    ancestors.take(ANCESTORS).filter(|process| mounts(process).is_some_and(|theirs| theirs != own)).last()
}

fn mount_usual() -> nix::Result<()> {
    mount(Some("bpf"), USUAL, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
}

/// Does something among the mounts of another process, on a thread of its own, since a thread that went there does not come back.
fn among_mounts_of(process: &Path, work: fn() -> nix::Result<()>) -> io::Result<()> {
    let mounts = File::open(process.join("ns/mnt"))?;
    let there = thread::spawn(move || {
        unshare(CloneFlags::CLONE_FS)?;
        setns(mounts, CloneFlags::CLONE_NEWNS)?;
        work()
    });
    Ok(there.join().map_err(|_| io::Error::other("the thread that mounts panicked"))??)
}

/// What the names of versions' folders begin with.
const VERSION_FOLDERS: &str = "state-";
/// What the names of folders of connections begin with.
const CONNECTION_FOLDERS: &str = "connections-";

/// Where the maps and links are pinned that programs of these versions share, but for connections: what another version wrote, images
/// too, they would misread.
pub fn version_folder(pin_root: &Path) -> PathBuf {
    pin_root.join(format!("{VERSION_FOLDERS}{STATE_VERSION}-image-{ABI_VERSION}"))
}

/// Where balancing has its pins: beside policy's, since it lives by itself, and of one process at a time like these.
pub fn balancing_folder(pin_root: &Path) -> PathBuf {
    pin_root.join("balancing")
}

/// What the name of the folder begins with that says whose interfaces the pins are of.
const NETWORK_FOLDERS: &str = "network-";

/// Makes sure that the pins are this network namespace's: interfaces go by number, and every namespace has its own. `name` is what
/// people call the folder.
pub(super) fn claim_network(pin_root: &Path, name: &Path) -> Result<(), DatapathError> {
    let fail = |source| DatapathError::Pin { what: "use", path: name.to_owned(), source };
    let number = fs::metadata("/proc/thread-self/ns/net").map_err(fail)?.ino();
    let own = pin_root.join(format!("{NETWORK_FOLDERS}{number}"));
    if !folders(pin_root, NETWORK_FOLDERS, &own)?.is_empty() {
        return Err(DatapathError::OtherNetwork { path: name.to_owned() });
    }
    make_folder(&own)
}

/// Where connections are pinned. Versions share them that agree on what they are, so that an upgrade cuts none.
pub fn connection_folder(pin_root: &Path) -> PathBuf {
    pin_root.join(format!("{CONNECTION_FOLDERS}{CONNTRACK_VERSION}"))
}

/// The folders of all versions that left something.
#[derive(Debug)]
pub(super) struct Versions {
    /// This one's, which may not be there yet.
    pub own: PathBuf,
    /// This one's connections, and perhaps others'.
    pub connections: PathBuf,
    /// What others left: their programs enforce what is in their maps until each interface is taken over.
    pub others: Vec<PathBuf>,
    /// Their connections, if this version cannot read them.
    other_connections: Vec<PathBuf>,
}

impl Versions {
    pub(super) fn find(pin_root: &Path) -> Result<Versions, DatapathError> {
        Self::find_in(pin_root, version_folder(pin_root), connection_folder(pin_root))
    }

    /// Those of balancing, in its folder: what is on record of flows tells of addresses and of no image, so it is shared.
    pub(super) fn find_of_balancing(folder: &Path) -> Result<Versions, DatapathError> {
        let own = folder.join(format!("{VERSION_FOLDERS}{BALANCE_VERSION}-image-{SERVICE_VERSION}"));
        Self::find_in(folder, own, folder.join(format!("{CONNECTION_FOLDERS}{BALANCE_VERSION}")))
    }

    fn find_in(folder: &Path, own: PathBuf, connections: PathBuf) -> Result<Versions, DatapathError> {
        Ok(Versions {
            others: folders(folder, VERSION_FOLDERS, &own)?,
            other_connections: folders(folder, CONNECTION_FOLDERS, &connections)?,
            own,
            connections,
        })
    }

    /// This one's folder, and the others'.
    pub(super) fn all(&self) -> impl Iterator<Item = &Path> + Clone {
        std::iter::once(&self.own).chain(&self.others).map(PathBuf::as_path)
    }

    /// The others' folders.
    pub(super) fn others(&self) -> impl Iterator<Item = &Path> + Clone {
        self.others.iter().map(PathBuf::as_path)
    }

    /// Takes away what other versions left. Found again by that version it would be old, and until then it takes the kernel's memory.
    pub(super) fn remove_others(&mut self) -> Result<(), DatapathError> {
        for left in [&mut self.others, &mut self.other_connections] {
            while let Some(path) = left.pop() {
                if let Err(source) = fs::remove_dir_all(&path) {
                    left.push(path.clone());
                    return Err(DatapathError::Pin { what: "remove", path, source });
                }
            }
        }
        Ok(())
    }
}

/// Folders whose names begin so, but for one.
fn folders(pin_root: &Path, beginning: &str, own: &Path) -> Result<Vec<PathBuf>, DatapathError> {
    let fail = |source| DatapathError::Pin { what: "list", path: pin_root.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(pin_root).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let begins_so = entry.file_name().as_encoded_bytes().starts_with(beginning.as_bytes());
        if begins_so && entry.path() != own {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Makes the folder and takes hold of it, until the value is dropped. `name` is what people call it.
pub(super) fn lock(pin_root: &Path, name: &Path) -> Result<Flock<File>, DatapathError> {
    make_folder(pin_root)?;
    let fail = |source| DatapathError::Pin { what: "use", path: pin_root.to_owned(), source };
    let folder = File::open(pin_root).map_err(fail)?;
    let found = folder.metadata().map_err(fail)?;
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Err(fail(io::Error::other("others than root may write there, and could take policy away")));
    }
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => DatapathError::InUse { path: name.to_owned() },
        error => fail(error.into()),
    })
}
