//! One anonymous network and mount namespace, and the process that holds it.
//!
//! The holder is a shell that waits for the end of its standard input. The other end of that pipe is ours alone, so it
//! ends when we do, by SIGKILL too; the shell then kills what still runs in its network namespace and goes. With the last
//! process the kernel removes interfaces, mounts, pinned programs and sockets. Nothing has a name in /run/netns.
//!
//! Invariant: only processes that are certainly inside are ever killed. So a number is compared only where there is one, a
//! namespace's number is trusted only while its holder is in it (the kernel gives numbers again), and shell and test never
//! clean up at the same time: the one would kill the programs that the other asks with.
//!
//! Not here: interfaces, addresses and routes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::{fs, thread, time::Duration};

/// What every namespace does first. Addresses work at once (no duplicate address detection), a reply may take another way than
/// the request came, refusals are not rationed, and a flow of short connections does not run out of ports.
const BIRTH: &str = r#"set -e
mount -t sysfs sysfs /sys
cd /proc/sys/net
for all in ipv4/conf/all/rp_filter ipv4/conf/default/rp_filter ipv6/conf/all/accept_dad \
    ipv6/conf/default/accept_dad ipv4/icmp_ratelimit ipv6/icmp/ratelimit; do echo 0 > $all; done
for all in ipv4/tcp_tw_reuse ipv6/ip_nonlocal_bind; do echo 1 > $all; done
ip link set lo up
"#;

/// What a node does besides: it forwards, and has places of its own for pins, sockets and state. /var/lib is hidden as a whole,
/// because making /var/lib/weir in the real one would leave a trace.
const NODE: &str = r#"echo 1 > ipv4/ip_forward
echo 1 > ipv6/conf/all/forwarding
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup || true
mount -t tracefs tracefs /sys/kernel/tracing || true
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir -m 700 /var/lib/weir
"#;

/// Waits, then leaves nobody behind. `$1` is the namespace of the test. Where a namespace cannot be told for certain nobody is
/// killed: neither if its own is unknown or the test's, nor a process of which nothing can be read.
const HOLD: &str = r#"cd /
self=$(readlink /proc/$$/ns/net)
case "$self" in "net:["[0-9]*"]") ;; *) echo "no network namespace"; exit 1 ;; esac
[ "$self" != "net:[$1]" ]
echo ready
set +e
trap '' INT TERM HUP
cat > /dev/null
while
    left=
    for process in /proc/[0-9]*; do
        [ "$process" = "/proc/$$" ] && continue
        theirs=$(readlink "$process/ns/net")
        [ -n "$theirs" ] && [ "$theirs" = "$self" ] && kill -9 "${process#/proc/}" && left=1
    done
    [ -n "$left" ]
do :; done 2> /dev/null
"#;

/// How often processes that fork while they are being ended are looked for again.
const ROUNDS: usize = 20;

/// A namespace, alive as long as this value and its process are.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Its standard input stays open inside: closing it is how the namespace ends.
    holder: Child,
    inode: Option<u64>,
}

impl Namespace {
    /// Starts the holder; [`Namespace::await_ready`] must follow.
    pub(super) fn start(node: bool) -> io::Result<Namespace> {
        let script = [BIRTH, if node { NODE } else { "" }, HOLD].concat();
        let own = network_of(std::process::id());
        let own = own.ok_or_else(|| io::Error::other("the test's own network namespace is unknown"))?;
        let holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--", "sh", "-c", &script, "holder"])
            .arg(own.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Namespace { holder, inode: None })
    }

    /// Waits until the holder has done what comes first.
    pub(super) fn await_ready(&mut self) -> io::Result<()> {
        let mut said = [0; 6];
        let told = self.holder.stdout.as_mut().map_or(Ok(()), |stdout| stdout.read_exact(&mut said));
        if told.is_err() || &said != b"ready\n" {
            let mut why = String::new();
            if let Some(mut stderr) = self.holder.stderr.take() {
                stderr.read_to_string(&mut why)?;
            }
            return Err(io::Error::other(format!("a namespace could not be made: {}", why.trim())));
        }
        self.inode = network_of(self.pid()).filter(|&inode| network_of(std::process::id()) != Some(inode));
        match self.inode {
            Some(_) => Ok(()),
            None => Err(io::Error::other("the holder of a namespace is in no network namespace of its own")),
        }
    }

    /// The process that holds the namespace.
    pub(super) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// The number by which the kernel knows the network namespace.
    pub(super) fn inode(&self) -> Option<u64> {
        self.inode
    }

    /// The same, if the holder is in it at this moment: otherwise the number may be somebody else's by now.
    fn held(&self) -> Option<u64> {
        self.inode.filter(|&inode| network_of(self.pid()) == Some(inode))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        end_processes(&[self]);
        // It cannot fail in a way that we could mend: the holder is our child and has not been waited for.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The network namespace of a process, if it still has one and we may know.
fn network_of(pid: u32) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Sends a signal to a process; it may have ended by itself meanwhile.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|&pid| pid > 1) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Kills every process in these namespaces but the holders, which are halted: they keep the namespaces, and do not notice
/// that what they wait for has ended. The end of their [`Namespace`] must follow.
pub(super) fn end_processes(namespaces: &[&Namespace]) {
    for namespace in namespaces {
        send(namespace.pid(), Signal::SIGSTOP);
    }
    let holders: Vec<u32> = namespaces.iter().map(|space| space.pid()).collect();
    for _ in 0..ROUNDS {
        let held: Vec<u64> = namespaces.iter().filter_map(|space| space.held()).collect();
        let Ok(listed) = fs::read_dir("/proc") else { return };
        let left: Vec<u32> = listed
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| !holders.contains(pid))
            .filter(|&pid| network_of(pid).is_some_and(|inode| held.contains(&inode)))
            .collect();
        if left.is_empty() {
            return;
        }
        for pid in left {
            send(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
