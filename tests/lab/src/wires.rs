//! What passes on the wire: every packet of every port of the bridge, for tests that ask which way a packet took.
//!
//! Invariant: what has come to a place has been seen before; so after an answer the packets that led to it are all told. A packet between two
//! places is seen twice, from the one and to the other.
//!
//! Not here: what is in a packet (`wires/packet.rs`), traffic within a node.

mod packet;

pub use packet::Packet;

use super::Lab;
use super::wiring::port_of;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes of packets that have not been asked for; what is more is not seen.
const ROOM: usize = 32 << 20;
/// `PACKET_OUTGOING` of linux/if_packet.h: what the port sends, to whom is at its other end.
const OUTGOING: u8 = 4;
/// Bytes of a packet that are looked at.
const LOOK: usize = 256;

/// Watches a lab's wire.
#[derive(Debug)]
pub struct Wires {
    socket: OwnedFd,
    /// Who is at the other end of a port, by its index.
    places: HashMap<usize, String>,
}

/// A packet that passed a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The way, seen from who is at the port.
    pub way: Way,
    /// Who is at the port: a node's name, `outside` or `elsewhere`.
    pub place: String,
    /// The packet.
    pub packet: Packet,
}

/// A way that a packet passes a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The place sent it.
    From,
    /// The place is sent it.
    To,
}

impl Wires {
    /// Watches from now on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn watch(lab: &Lab) -> io::Result<Wires> {
        let mut places = HashMap::new();
        for (number, place) in lab.on_wire() {
            let index = lab.wire.interface(&port_of(number))?.index;
            places.insert(usize::try_from(index).unwrap_or(usize::MAX), place.name().to_owned());
        }
        let open = || -> nix::Result<OwnedFd> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            // Without the link's header.
            let socket = socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)?;
            setsockopt(&socket, sockopt::RcvBufForce, &ROOM)?;
            Ok(socket)
        };
        Ok(Wires { socket: lab.wire.inside(open)??, places })
    }

    /// What passed since this was last asked, in order; what is no IP packet is left out.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn passed(&self) -> io::Result<Vec<Passed>> {
        let mut all = Vec::new();
        let mut bytes = [0; LOOK];
        loop {
            let (read, from) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes) {
                Ok((read, Some(from))) => (read, from),
                Ok((_, None)) | Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(all),
                Err(error) => return Err(error.into()),
            };
            let place = self.places.get(&from.ifindex());
            let packet = bytes.get(..read).and_then(Packet::parse);
            if let (Some(place), Some(packet)) = (place, packet) {
                let way = if from.pkttype() == OUTGOING { Way::To } else { Way::From };
                all.push(Passed { way, place: place.clone(), packet });
            }
        }
    }
}

impl Passed {
    /// Whether the place sent a packet with these addresses, wrapped in no other.
    pub fn is_from(&self, place: &str, source: IpAddr, destination: IpAddr) -> bool {
        self.way == Way::From && self.place == place && self.packet.is_between(source, destination)
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.way == Way::From { "from" } else { "  to" };
        write!(f, "{way} {:9} {}", self.place, self.packet)
    }
}
