//! Sockets of a peer: calling, saying something and hearing it again, echoing.
//!
//! Invariant: every wait of a caller is bounded by its call. Not here: repeating any of it (`flow.rs`).

use super::message::{Call, Contact};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, connect,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A datagram cannot be longer.
pub(super) const LONGEST: usize = 65_535;
/// What a TCP echo reads at once.
const MOUTHFUL: usize = 16 * 1024;

/// Datagrams that came, by the address that they came from.
pub(super) type Heard = Arc<Mutex<HashMap<IpAddr, u64>>>;

/// An address for the kernel.
fn sockaddr(address: SocketAddr) -> Box<dyn SockaddrLike> {
    match address {
        SocketAddr::V4(address) => Box::new(SockaddrIn::from(address)),
        SocketAddr::V6(address) => Box::new(SockaddrIn6::from(address)),
    }
}

/// A socket, of the protocol that its kind means unless one is named.
fn opened(address: SocketAddr, kind: SockType, protocol: Option<SockProtocol>) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol)?)
}

/// A socket that is bound, for protocols that the standard library does not know.
pub(super) fn bound(at: SocketAddr, kind: SockType, protocol: SockProtocol) -> io::Result<OwnedFd> {
    let socket = opened(at, kind, Some(protocol))?;
    bind(socket.as_raw_fd(), &*sockaddr(at))?;
    Ok(socket)
}

/// A socket that is connected, by a handshake or in the kernel's books. The standard library cannot bind before connecting.
pub(super) fn connected(call: &Call, kind: SockType, protocol: Option<SockProtocol>) -> io::Result<OwnedFd> {
    let socket = opened(call.to, kind, protocol)?;
    if let Some(from) = call.from {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &*sockaddr(from))?;
    }
    let micros = i64::try_from(call.within.as_micros()).unwrap_or(i64::MAX).max(1);
    // The time for sending bounds connecting as well.
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(micros / 1_000_000, micros % 1_000_000))?;
    match connect(socket.as_raw_fd(), &*sockaddr(call.to)) {
        // The time for sending is over before the other side has answered.
        Err(Errno::EINPROGRESS) => Err(ErrorKind::TimedOut.into()),
        done => Ok(done.map(|()| socket)?),
    }
}

/// Opens a TCP connection.
pub(super) fn open(call: &Call) -> io::Result<TcpStream> {
    let stream = TcpStream::from(connected(call, SockType::Stream, None)?);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(call.within))?;
    Ok(stream)
}

/// A UDP socket that hears one address alone, and its ICMP errors.
pub(super) fn datagrams(call: &Call) -> io::Result<UdpSocket> {
    Ok(UdpSocket::from(connected(call, SockType::Datagram, None)?))
}

/// Both ends of a connection, as a contact that was made.
pub(super) fn made(local: io::Result<SocketAddr>, remote: io::Result<SocketAddr>) -> io::Result<Contact> {
    Ok(Contact::Made { local: local?, remote: remote? })
}

/// Bytes that tell their order, so that an echo that lost or mixed up a part is noticed.
fn bytes(size: usize, number: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    for (byte, sign) in bytes.iter_mut().zip(number.to_be_bytes()) {
        *byte = sign;
    }
    bytes
}

fn differs() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the echo is not what had been said")
}

/// Sends bytes on a stream and hears them again, within a time. Mouthfuls take turns, so that neither side's buffers fill.
pub(super) fn say(stream: &mut TcpStream, size: usize, within: Duration) -> io::Result<()> {
    let end = Instant::now() + within;
    for (mouthful, number) in bytes(size, 0).chunks(MOUTHFUL).zip(0..) {
        ping_pong(stream, mouthful.len(), number, &mut 0, left(end)?)?;
    }
    Ok(())
}

/// Sends one message on a stream and hears it again. What does not come in time is added to `late`, the number of bytes
/// that come before any later echo.
pub(super) fn ping_pong(
    stream: &mut TcpStream,
    size: usize,
    number: u64,
    late: &mut usize,
    within: Duration,
) -> io::Result<()> {
    let said = bytes(size, number);
    stream.set_write_timeout(Some(within))?;
    stream.write_all(&said)?;
    let end = Instant::now() + within;
    *late += size;
    let mut heard = vec![0; *late];
    let mut filled = 0;
    while *late > 0 {
        stream.set_read_timeout(Some(left(end)?))?;
        let read = stream.read(&mut heard[filled..])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        *late -= read;
    }
    if heard.ends_with(&said) { Ok(()) } else { Err(differs()) }
}

/// What is left of a time, or that it is over.
pub(super) fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Sends a datagram and waits for its echo; others, which come late from earlier ones, do not count.
pub(super) fn exchange(socket: &UdpSocket, size: usize, number: u64, within: Duration) -> io::Result<()> {
    let said = bytes(size, number);
    socket.send(&said)?;
    let (mut buffer, end) = (vec![0; size.max(1)], Instant::now() + within);
    loop {
        socket.set_read_timeout(Some(left(end)?))?;
        let read = socket.recv(&mut buffer)?;
        if buffer[..read] == said {
            return Ok(());
        }
        if read == size && buffer[..size.min(8)] == said[..size.min(8)] {
            return Err(differs());
        }
    }
}

/// Echoes on every connection from now on.
pub(super) fn listen_tcp(at: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(at)?;
    let bound = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    Ok(bound)
}

/// Echoes until the other side is done or gone.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; MOUTHFUL];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read])?,
        }
    }
}

/// Echoes every datagram from now on.
pub(super) fn listen_udp(at: SocketAddr, heard: Heard) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(at)?;
    let bound = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = vec![0; LONGEST];
        loop {
            // An error is about an earlier answer that could not be delivered: it is not the next caller's.
            if let Ok((read, from)) = socket.recv_from(&mut buffer) {
                *heard.lock().unwrap_or_else(PoisonError::into_inner).entry(from.ip()).or_default() += 1;
                let _ = socket.send_to(&buffer[..read], from);
            }
        }
    });
    Ok(bound)
}
