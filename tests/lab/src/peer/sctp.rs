//! SCTP, spoken over raw sockets, since the kernels that we test on are built without it: one association for each question.
//!
//! ```text
//!   client                                            host
//!   INIT                                        ->
//!                                               <-    INIT ACK, with a cookie          (ABORT: nobody listens at the port)
//!   COOKIE ECHO, and the question in DATA       ->
//!                                               <-    COOKIE ACK, SACK, and the answer in DATA
//!   ABORT                                       ->
//! ```
//!
//! A host keeps nothing between packets: what it knows of a client is in the cookie, and a cookie that another host or another client is
//! given is refused with ABORT. So an association of which a packet goes astray is not answered.
//!
//! Invariant: every wait of who asks is bounded by the call. Not here: sending anything again, several messages, several addresses.

mod packet;

use super::identity::told;
use super::message::Call;
use super::socket::{self, LONGEST, left};
use nix::sys::socket::{SockProtocol, SockType};
use packet::{ABORT, COOKIE_ECHO, Chunk, INIT, INIT_ACK, Packet};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Instant;

/// Ports of clients that name none, as the kernel takes them by default: the first, and how many.
const PORTS: (u16, u16) = (32_768, 28_232);
/// The number of each side's first DATA.
const FIRST: u32 = 1;

/// Answers at these ports of an address from now on; at every other the host says that nobody listens.
pub(super) fn listen(at: IpAddr, ports: Vec<u16>, name: String) -> io::Result<SocketAddr> {
    // What the standard library does with datagrams is what there is to do with raw sockets.
    let socket = UdpSocket::from(socket::bound((at, 0).into(), SockType::Raw, SockProtocol::Sctp)?);
    let (bound, host) = (socket.local_addr()?, Host { name, ports });
    thread::spawn(move || {
        let mut buffer = vec![0; LONGEST];
        loop {
            let Ok((read, from)) = socket.recv_from(&mut buffer) else { continue };
            let packet = within(&buffer[..read], at).and_then(Packet::parse);
            if let Some(answer) = packet.and_then(|packet| host.answer(&packet, from.ip())) {
                // Whoever asked may be gone.
                let _ = socket.send_to(&answer.to_bytes(), from);
            }
        }
    });
    Ok(bound)
}

/// An answer, the client's own address, and that of who answered.
pub(super) type Heard = (Vec<u8>, SocketAddr, SocketAddr);

/// Asks in an association of its own.
pub(super) fn ask(call: &Call, question: &[u8]) -> io::Result<Heard> {
    let from = call.from.map_or(0, |from| from.port());
    let mut client = Client {
        socket: connected(call)?,
        port: if from == 0 { next_port() } else { from },
        to: call.to,
        tag: random(),
        end: Instant::now() + call.within,
    };
    let (begun, _) = client.exchange(0, vec![Chunk::init(client.tag, FIRST)], INIT_ACK)?;
    let (Some(tag), Some(cookie)) = (begun.chosen_tag(INIT_ACK), begun.cookie()) else {
        return Err(io::Error::new(ErrorKind::InvalidData, "an INIT ACK without a cookie"));
    };
    let asked = vec![Chunk::cookie_echo(cookie), Chunk::data(FIRST, question)];
    let (answered, from) = client.exchange(tag, asked, packet::DATA)?;
    client.send(tag, vec![Chunk::abort()])?;
    let (_, answer) = answered.message().ok_or(ErrorKind::InvalidData)?;
    let own = SocketAddr::new(client.socket.local_addr()?.ip(), client.port);
    Ok((answer.to_vec(), own, SocketAddr::new(from, answered.source)))
}

/// A raw socket that is connected as a call says, and so hears its ICMP errors.
fn connected(call: &Call) -> io::Result<UdpSocket> {
    // A port would be taken for a protocol.
    let portless = |address: SocketAddr| SocketAddr::new(address.ip(), 0);
    let call = Call { to: portless(call.to), from: call.from.map(portless), within: call.within };
    socket::connected(&call, SockType::Raw, Some(SockProtocol::Sctp)).map(UdpSocket::from)
}

/// What a raw socket heard, without the header that is there in IPv4.
fn within(heard: &[u8], family: IpAddr) -> Option<&[u8]> {
    if family.is_ipv6() {
        return Some(heard);
    }
    heard.get(usize::from(heard.first()? & 15) * 4..)
}

/// A number that is not 0, and hard to meet twice.
fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d]).max(1)
}

/// A port for a client that names none: each has another, so that no two associations of this process are taken for one.
fn next_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let (first, count) = PORTS;
    let begin = || AtomicU16::new(u16::try_from(random() % u32::from(count)).unwrap_or_default());
    first + NEXT.get_or_init(begin).fetch_add(1, Ordering::Relaxed) % count
}

/// Who answers.
struct Host {
    name: String,
    ports: Vec<u16>,
}

/// What a host knows of an association that begins. It is not sealed: nobody in a lab lies.
#[derive(Serialize, Deserialize)]
struct Cookie {
    by: String,
    saw: SocketAddr,
    own_tag: u32,
    tag: u32,
}

impl Host {
    fn answer(&self, packet: &Packet, from: IpAddr) -> Option<Packet> {
        let saw = SocketAddr::new(from, packet.source);
        let answer = |tag: u32, chunks: Vec<Chunk>| {
            Some(Packet { source: packet.destination, destination: packet.source, tag, chunks })
        };
        if let Some(tag) = packet.chosen_tag(INIT) {
            if !self.ports.contains(&packet.destination) {
                return answer(tag, vec![Chunk::abort()]);
            }
            let own_tag = random();
            let cookie = serde_json::to_vec(&Cookie { by: self.name.clone(), saw, own_tag, tag }).ok()?;
            return answer(tag, vec![Chunk::init_ack(own_tag, FIRST, &cookie)]);
        }
        let Cookie { by, saw: had_seen, own_tag, tag } =
            serde_json::from_slice(packet.chunk(COOKIE_ECHO)?).ok()?;
        if by != self.name || had_seen != saw || own_tag != packet.tag {
            return answer(tag, vec![Chunk::abort()]);
        }
        let (number, question) = packet.message()?;
        let said = Chunk::data(FIRST, &told(&self.name, saw, question.len()));
        answer(tag, vec![Chunk::cookie_ack(), Chunk::sack(number), said])
    }
}

/// Who asks.
struct Client {
    socket: UdpSocket,
    port: u16,
    to: SocketAddr,
    tag: u32,
    end: Instant,
}

impl Client {
    fn send(&mut self, tag: u32, chunks: Vec<Chunk>) -> io::Result<()> {
        let packet = Packet { source: self.port, destination: self.to.port(), tag, chunks };
        self.socket.send(&packet.to_bytes()).map(drop)
    }

    /// Sends chunks, and waits for a packet with a chunk of a type; and by whom it is.
    fn exchange(&mut self, tag: u32, chunks: Vec<Chunk>, kind: u8) -> io::Result<(Packet, IpAddr)> {
        self.send(tag, chunks)?;
        let mut buffer = vec![0; LONGEST];
        loop {
            self.socket.set_read_timeout(Some(left(self.end)?))?;
            let (read, from) = self.socket.recv_from(&mut buffer)?;
            let packet = within(&buffer[..read], from.ip()).and_then(Packet::parse);
            let Some(packet) =
                packet.filter(|packet| packet.destination == self.port && packet.tag == self.tag)
            else {
                continue;
            };
            if packet.chunk(ABORT).is_some() {
                let is_refusal = kind == INIT_ACK;
                return Err(if is_refusal {
                    ErrorKind::ConnectionRefused
                } else {
                    ErrorKind::ConnectionReset
                }
                .into());
            }
            if packet.chunk(kind).is_some() {
                return Ok((packet, from.ip()));
            }
        }
    }
}
