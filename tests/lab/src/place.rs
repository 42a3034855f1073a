//! A place in the lab: a node, a pod or the outside, its addresses, and running programs there.
//!
//! Invariant: what is run on a node or in a pod of it is in the node's control group, and what is run outside is not.
//!
//! Not here: how places are joined (`wiring.rs`).

use super::cgroup::Group;
use super::namespace::Namespace;
use super::plan::{NodePlan, PodPlan};
use nix::sched::{CloneFlags, setns, unshare};
use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long an interface may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node, a pod or the outside.
#[derive(Debug)]
pub struct Place {
    name: String,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    namespace: Namespace,
    group: Option<Group>,
}

/// A network interface of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name in the node.
    pub name: String,
    /// Its number in the node.
    pub index: u32,
}

impl Place {
    pub(super) fn new(name: &str, v4: Ipv4Addr, v6: Ipv6Addr, namespace: Namespace) -> Place {
        Place { name: name.to_owned(), v4, v6, namespace, group: None }
    }

    /// The same, in a control group.
    pub(super) fn in_group(self, group: Option<Group>) -> Place {
        Place { group, ..self }
    }

    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    pub(super) fn of_node(node: &NodePlan, namespace: Namespace) -> Place {
        Place::new(&node.name, node.v4(), node.v6(), namespace)
    }

    pub(super) fn of_pod(pod: &PodPlan, namespace: Namespace) -> Place {
        Place::new(&pod.full_name(), pod.v4(), pod.v6(), namespace)
    }

    /// What the plan calls it: a node's name, a pod's `namespace/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address; of the outside, the one that it uses unless told otherwise.
    pub fn v4(&self) -> IpAddr {
        self.v4.into()
    }

    /// Its IPv6 address; of the outside, the one that it uses unless told otherwise.
    pub fn v6(&self) -> IpAddr {
        self.v6.into()
    }

    /// Both addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4(), self.v6()]
    }

    /// A process that lives as long as the place, for `nsenter` and for `ip link … netns`.
    pub fn pid(&self) -> u32 {
        self.namespace.pid()
    }

    /// The number by which the kernel knows the network namespace, as in `/proc/*/ns/net`.
    pub fn inode(&self) -> Option<u64> {
        self.namespace.inode()
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn await_ready(&mut self) -> io::Result<()> {
        self.namespace.await_ready().map_err(|error| io::Error::other(format!("{}: {error}", self.name)))
    }

    /// A program to run here. It sees the place's network and mounts; its working directory is `/`, so paths are absolute. The
    /// process that is spawned is the program itself, so killing it kills the program. The lab's end ends it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(group) = &self.group else { return self.tool(program) };
        // A process enters a group by its own number, and keeps both when it becomes another program.
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group.entrance());
        let tool = self.tool(program);
        command.arg(tool.get_program()).args(tool.get_args());
        command
    }

    /// A program that opens no sockets that matter: it stays in the control group of who runs it.
    pub(super) fn tool(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid().to_string(), "-n", "-m", "--"]).arg(program);
        command
    }

    /// The control group of the node, as a path on the node; of a pod, that of its node. There is none outside, nor where the machine has
    /// no control groups of the second version.
    pub fn control_group(&self) -> Option<PathBuf> {
        self.group.as_ref().map(Group::inside)
    }

    /// Does work here: on a thread of its own, which sees the place's network and mounts, as a program run here would, but is in no control
    /// group of the lab.
    ///
    /// # Errors
    /// The thread cannot get here.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let of = |kind: &str| fs::File::open(format!("/proc/{}/ns/{kind}", self.pid()));
        let (network, mounts) = (of("net")?, of("mnt")?);
        let enter = || -> io::Result<()> {
            // A thread that shares its root folder with others cannot go where mounts are others.
            unshare(CloneFlags::CLONE_FS)?;
            setns(network, CloneFlags::CLONE_NEWNET)?;
            setns(mounts, CloneFlags::CLONE_NEWNS)?;
            Ok(())
        };
        let done = thread::scope(|scope| scope.spawn(|| enter().map(|()| work())).join());
        done.map_err(|_| io::Error::other(format!("work in {} panicked", self.name)))?
    }

    /// A path of this place as one that works from outside of it: a node's sockets in `/run`, its pins.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid()))
    }

    /// Whether an ICMP echo is answered within a second.
    ///
    /// # Errors
    /// `ping` cannot be run.
    pub fn ping(&self, to: IpAddr) -> io::Result<bool> {
        let mut ping = self.command("ping");
        ping.args(["-n", "-q", "-c1", "-W1", &to.to_string()]);
        Ok(ping.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
    }

    /// An interface of this place.
    ///
    /// # Errors
    /// It is not there.
    pub fn interface(&self, name: &str) -> io::Result<HostInterface> {
        let index = self.told_of(name, "ifindex")?;
        let index =
            index.parse().map_err(|_| io::Error::other(format!("{name} has the number `{index}`")))?;
        Ok(HostInterface { name: name.to_owned(), index })
    }

    fn told_of(&self, interface: &str, what: &str) -> io::Result<String> {
        let path = self.path(&format!("/sys/class/net/{interface}/{what}"));
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| {
            io::Error::new(error.kind(), format!("{interface} of {}: {error}", self.name))
        })?;
        Ok(text.trim().to_owned())
    }

    /// Waits until an interface carries packets: the kernel notices a veth's other end a moment after it came up.
    pub(super) fn await_up(&self, interface: &str) -> io::Result<()> {
        let up = || self.told_of(interface, "operstate").is_ok_and(|state| state == "up");
        self.await_that(up, &format!("{interface} did not come up"))
    }

    /// Waits until an interface is no more.
    pub(super) fn await_gone(&self, interface: &str) -> io::Result<()> {
        let gone = || self.told_of(interface, "ifindex").is_err();
        self.await_that(gone, &format!("{interface} did not go"))
    }

    fn await_that(&self, holds: impl Fn() -> bool, otherwise: &str) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > end {
                return Err(io::Error::other(format!("{}: {otherwise} in {PATIENCE:?}", self.name)));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
