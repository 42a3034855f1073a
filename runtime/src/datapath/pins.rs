//! Where programs and maps have their names: a folder in a BPF file system, root's alone, of one process at a time.
//!
//! Whoever may write there may take policy away, and two that write images into the same slots would mix them. Not here: the names
//! ([`super::load`], [`super::attach`], [`super::slots`]).

use super::error::DatapathError;
use super::load::make_folder;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tracing::warn;

/// The place that the kernel has for a BPF file system. Elsewhere one is looked for, and never mounted.
const USUAL: &str = "/sys/fs/bpf";

/// Makes sure that the folder is, or will be, in a BPF file system; at the usual place one is mounted if there is none.
pub(super) fn ensure_file_system(pin_root: &Path) -> Result<(), DatapathError> {
    let fail = |source: io::Error| DatapathError::NoFileSystem { path: pin_root.to_owned(), source };
    let nearest = pin_root.ancestors().find(|folder| folder.is_dir());
    let nearest = nearest.ok_or_else(|| fail(io::ErrorKind::NotFound.into()))?;
    let is_bpf = |folder: &Path| statfs(folder).map(|found| found.filesystem_type() == BPF_FS_MAGIC);
    if is_bpf(nearest).map_err(|error| fail(error.into()))? {
        return Ok(());
    }
    if nearest != Path::new(USUAL) || pin_root == nearest {
        return Err(fail(io::Error::other(
            "it is in no BPF file system; mount one there, or use a folder of /sys/fs/bpf",
        )));
    }
    mount(Some("bpf"), nearest, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .map_err(|error| fail(error.into()))?;
    if is_mount_namespace_private() {
        warn!(
            path = %nearest.display(),
            "the BPF file system is mounted in a mount namespace of this process's own (`ip netns exec` makes one): it ends with \
             it, and so does enforcement. Enter the network alone (`nsenter --net`), or share the node's /sys/fs/bpf"
        );
    }
    Ok(())
}

/// Whether the first process has other mounts than this one.
fn is_mount_namespace_private() -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    of("self").zip(of("1")).is_some_and(|(own, first)| own != first)
}

/// What the names of folders of maps begin with, in every version.
pub(super) const MAP_FOLDERS: &str = "state-";

/// Takes away the pins of maps of other versions: what was written before an upgrade would be old if it were found again, and takes
/// the kernel's memory until then.
pub(super) fn remove_other_versions(pin_root: &Path, own: &Path) -> Result<(), DatapathError> {
    let fail = |what, path: &Path| {
        let path = path.to_owned();
        move |source| DatapathError::Pin { what, path, source }
    };
    for entry in fs::read_dir(pin_root).map_err(fail("list", pin_root))? {
        let path = entry.map_err(fail("list", pin_root))?.path();
        let is_of_maps =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(MAP_FOLDERS.as_bytes()));
        if is_of_maps && path != own {
            fs::remove_dir_all(&path).map_err(fail("remove", &path))?;
        }
    }
    Ok(())
}

/// Makes the folder and takes hold of it, until the value is dropped.
pub(super) fn lock(pin_root: &Path) -> Result<Flock<File>, DatapathError> {
    make_folder(pin_root)?;
    let fail = |source| DatapathError::Pin { what: "use", path: pin_root.to_owned(), source };
    let folder = File::open(pin_root).map_err(fail)?;
    let found = folder.metadata().map_err(fail)?;
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Err(fail(io::Error::other("others than root may write there, and could take policy away")));
    }
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => DatapathError::InUse { path: pin_root.to_owned() },
        error => fail(error.into()),
    })
}
