//! Control groups of a lab: one for each node, in which all that is run on the node and in its pods lives, so that a datapath that stands at
//! sockets has a place that is that node's alone.
//!
//! Invariants: a lab's groups lie below one that is named by the process that made it, and go with the lab; what a process left that was
//! killed goes when the next lab is made. A machine without the second version of control groups has labs without them.
//!
//! Not here: who lives in which (`place.rs`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// What the groups of every lab's process begin with.
const PREFIX: &str = "weir-lab-";
/// Where a node sees the tree of groups (`namespace.rs`).
const INSIDE: &str = "/sys/fs/cgroup";
/// How often a group is tried that still has processes, which have been killed and end by and by.
const ROUNDS: usize = 100;

/// The groups of one lab.
#[derive(Debug)]
pub(super) struct Groups {
    /// Where the tree of groups is mounted.
    mount: PathBuf,
    /// The lab's own, below the mount.
    own: PathBuf,
}

/// The group of a node.
#[derive(Clone, Debug)]
pub(super) struct Group {
    mount: PathBuf,
    below: PathBuf,
}

impl Groups {
    /// Removes what dead processes left, and makes the lab's group; `None` where there is no tree of groups.
    pub(super) fn make() -> io::Result<Option<Groups>> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let Some(mount) = mount() else { return Ok(None) };
        sweep(&mount);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let own = PathBuf::from(format!("{PREFIX}{}", std::process::id())).join(number.to_string());
        fs::create_dir_all(mount.join(&own)).map_err(|error| told(&mount.join(&own), &error))?;
        Ok(Some(Groups { mount, own }))
    }

    /// Makes a group.
    pub(super) fn group(&self, name: &str) -> io::Result<Group> {
        let group = Group { mount: self.mount.clone(), below: self.own.join(name) };
        fs::create_dir(group.outside()).map_err(|error| told(&group.outside(), &error))?;
        Ok(group)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let own = self.mount.join(&self.own);
        for _ in 0..ROUNDS {
            if remove(&own).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // It stays while another lab of this process has its own below it.
        let _ = own.parent().map(fs::remove_dir);
    }
}

impl Group {
    fn outside(&self) -> PathBuf {
        self.mount.join(&self.below)
    }

    /// What a process writes its number to.
    pub(super) fn entrance(&self) -> PathBuf {
        self.outside().join("cgroup.procs")
    }

    /// Its path as the node sees it.
    pub(super) fn inside(&self) -> PathBuf {
        Path::new(INSIDE).join(&self.below)
    }
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the control group {}: {error}", path.display()))
}

/// Where the second version's tree is mounted: at the usual place, or beside the first version's.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_ours = after.split(' ').next() == Some("cgroup2");
        before.split(' ').nth(4).filter(|_| is_ours).map(PathBuf::from)
    })
}

/// Removes the groups of processes that are no more.
fn sweep(mount: &Path) {
    let Ok(groups) = fs::read_dir(mount) else { return };
    for group in groups.flatten() {
        let name = group.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Processes in it are being ended by whoever watched over them; the next lab finds it empty.
            let _ = remove(&group.path());
        }
    }
}

/// Removes a group and those below it.
fn remove(group: &Path) -> io::Result<()> {
    for below in fs::read_dir(group)?.flatten() {
        if below.file_type()?.is_dir() {
            remove(&below.path())?;
        }
    }
    fs::remove_dir(group)
}
