//! Where the kernel is measured: one CPU, and a network namespace of this process's own that goes with it.

use crate::tool::run;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::{Pid, geteuid};

/// Keeps this process, and what it starts, on CPU 0.
pub fn on_one_cpu() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("the kernel is asked as root only".to_owned());
    }
    let mut cpus = CpuSet::new();
    cpus.set(0)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus))
        .map_err(|error| format!("CPU 0: {error}"))
}

/// Moves this process into a new network namespace, where nothing is but a loopback that is up. The one before goes, if nobody else is there.
pub fn in_a_network() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("a network namespace: {error}"))?;
    run("ip link set lo up", "").map(drop)
}
