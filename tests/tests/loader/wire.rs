//! A veth pair between two network namespaces: a pod's end, and the host's end that programs stand at.
//!
//! Namespaces belong to a thread and what holds them open, so nothing has a name outside and nothing stays. Both ends know each
//! other's hardware address, so no packet waits for an answer that policy might deny.

use super::image::{OPEN, OUTSIDE, POD};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{panic, thread};
use weir_abi::state::Hook;

/// Of both families.
type Addresses = (Ipv4Addr, Ipv6Addr);

const POD_HARDWARE: &str = "02:00:00:00:99:01";
const HOST_HARDWARE: &str = "02:00:00:00:99:02";

/// Runs a test's work in a network namespace that goes when it is done.
pub(crate) fn in_a_namespace(work: impl FnOnce() + Send) {
    in_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        work();
    });
}

/// Runs a test's work on a thread that may change its namespaces. The test's own may be the process's first, which goes on.
pub(crate) fn in_a_thread(work: impl FnOnce() + Send) {
    let done = thread::scope(|scope| scope.spawn(work).join());
    if let Err(told) = done {
        panic::resume_unwind(told);
    }
}

/// A packet that is sent over the wire: which way, whether over IPv6, and from and to which port.
pub(crate) type Packet = (Hook, bool, u16);

/// Everything that is sent: past both hooks, over both families, on the open port of every image.
pub(crate) const EVERYTHING: [Packet; 12] = {
    let mut all = [(Hook::FromPod, false, 0); 12];
    let mut at = 0;
    while at < all.len() {
        let hook = if at < 6 { Hook::FromPod } else { Hook::ToPod };
        all[at] = (hook, at % 6 >= 3, OPEN[at % 3]);
        at += 1;
    }
    all
};

/// What of [`EVERYTHING`] goes to a port.
pub(crate) fn of_port(open: u16) -> Vec<Packet> {
    EVERYTHING.into_iter().filter(|(_, _, port)| *port == open).collect()
}

/// The pair, with sockets at both ends.
pub(crate) struct Wire {
    /// The host's end, in the namespace of this thread.
    pub(crate) interface: u32,
    pod: Vec<UdpSocket>,
    host: Vec<UdpSocket>,
}

impl Wire {
    /// Lays one; the host's end is in the namespace of this thread.
    pub(crate) fn lay() -> io::Result<Wire> {
        let host = File::open("/proc/thread-self/ns/net")?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let pod = File::open("/proc/thread-self/ns/net")?;
        setns(&host, CloneFlags::CLONE_NEWNET)?;
        let inside = format!("/proc/{}/fd/{}", std::process::id(), pod.as_raw_fd());
        ip(&format!(
            "link add host0 address {HOST_HARDWARE} type veth peer name eth0 address {POD_HARDWARE} netns {inside}"
        ))?;
        let host_sockets = end("host0", OUTSIDE, POD, POD_HARDWARE)?;
        setns(&pod, CloneFlags::CLONE_NEWNET)?;
        let pod_sockets = end("eth0", POD, OUTSIDE, HOST_HARDWARE);
        setns(&host, CloneFlags::CLONE_NEWNET)?;
        let interface = nix::net::if_::if_nametoindex("host0")?;
        let wire = Wire { interface, pod: pod_sockets?, host: host_sockets };
        wire.await_ready()?;
        Ok(wire)
    }

    /// The end that came up first had nobody to send to, and the kernel lets it send at a time of its own choosing.
    fn await_ready(&self) -> io::Result<()> {
        let began = Instant::now();
        for packet in EVERYTHING {
            while !self.passes(packet, super::BRIEF)? {
                if began.elapsed() > super::PATIENCE {
                    return Err(io::Error::other("nothing comes through a new wire"));
                }
            }
        }
        Ok(())
    }

    /// What comes through of everything that is sent. Each packet may take as long as `patience` says for its port.
    pub(crate) fn passing(&self, patience: impl Fn(u16) -> Duration) -> Vec<Packet> {
        EVERYTHING.into_iter().filter(|&packet| self.passes(packet, patience(packet.2)).unwrap()).collect()
    }

    fn passes(&self, (hook, is_v6, port): Packet, patience: Duration) -> io::Result<bool> {
        let (from, to) =
            if hook == Hook::FromPod { (&self.pod, &self.host) } else { (&self.host, &self.pod) };
        let of = |sockets: &[UdpSocket]| -> io::Result<UdpSocket> {
            let is_it = |socket: &&UdpSocket| {
                socket.local_addr().is_ok_and(|local| local.is_ipv6() == is_v6 && local.port() == port)
            };
            sockets.iter().find(is_it).ok_or(io::ErrorKind::NotFound)?.try_clone()
        };
        let (from, to) = (of(from)?, of(to)?);
        // Every packet is told from those before it, whenever they come.
        let token = Instant::now();
        let text = format!("{token:?} {hook:?} {is_v6} {port}");
        from.send_to(text.as_bytes(), to.local_addr()?)?;
        let mut buffer = [0; 256];
        while let Some(left) = patience.checked_sub(token.elapsed()).filter(|left| !left.is_zero()) {
            to.set_read_timeout(Some(left))?;
            match to.recv_from(&mut buffer) {
                Ok((length, _)) if buffer[..length] == *text.as_bytes() => return Ok(true),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Makes one end usable, in the namespace of this thread: addresses, its neighbour, and a socket for each address and port.
fn end(name: &str, own: Addresses, other: Addresses, hardware: &str) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    ip(&format!("link set {name} up"))?;
    let pairs: [(IpAddr, IpAddr); 2] = [(own.0.into(), other.0.into()), (own.1.into(), other.1.into())];
    for (own, other) in pairs {
        // An IPv6 address works at once only if nobody is asked whether it has another owner.
        let rest = if own.is_ipv4() { "/24" } else { "/64 nodad" };
        ip(&format!("address add {own}{rest} dev {name}"))?;
        ip(&format!("neighbour replace {other} lladdr {hardware} dev {name} nud permanent"))?;
        for port in OPEN {
            sockets.push(UdpSocket::bind(SocketAddr::from((own, port)))?);
        }
    }
    Ok(sockets)
}

/// One more interface, which nothing is sent over.
pub(crate) fn spare_interface() -> io::Result<u32> {
    ip("link add spare0 type veth peer name spare1")?;
    Ok(nix::net::if_::if_nametoindex("spare0")?)
}

/// Removes it again.
pub(crate) fn remove_spare_interface() -> io::Result<()> {
    ip("link del spare0")
}

/// Removes the clsact of an interface, and all filters with it.
pub(crate) fn remove_clsact(interface: u32) -> io::Result<()> {
    let name = nix::net::if_::if_indextoname(interface)?;
    run("tc", &format!("qdisc del dev {} clsact", name.to_string_lossy()))
}

fn ip(arguments: &str) -> io::Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &str) -> io::Result<()> {
    let output = Command::new(program).args(arguments.split_whitespace()).output()?;
    if output.status.success() {
        Ok(())
    } else {
        let told = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{program} {arguments}: {}", told.trim())))
    }
}
