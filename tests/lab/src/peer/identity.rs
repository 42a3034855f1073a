//! Who answers, and whom they see: a service that tells both, and asking it.
//!
//! An answer is the answerer's name and the client's address as a line, and filled up to the length of the question, so that a question of
//! several packets gets an answer of several.
//!
//! Invariant: every wait of who asks is bounded by the call. Not here: what is asked of which service.

use super::message::{Call, Contact};
use super::sctp;
use super::socket::{self, LONGEST, left};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Instant;

/// What a question ends with.
const END: u8 = b'\n';

/// How a question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// On a TCP connection of its own.
    Tcp,
    /// From a UDP socket that is connected, and so hears the one it is connected with alone.
    Udp,
    /// From a UDP socket that is not, and so tells who answered.
    UdpUnconnected,
    /// In an SCTP association of its own, past the kernel: no program at a socket sees it.
    Sctp,
}

/// An answer, and how both sides see each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Who answered, by name.
    pub who: String,
    /// The client, as who answered sees it.
    pub saw: SocketAddr,
    /// The client's address, as its own socket has it.
    pub local: SocketAddr,
    /// Who answered, as the client's socket tells: whom it is connected with, or where the datagram came from.
    pub remote: SocketAddr,
}

/// Answers on every connection from now on.
pub(super) fn listen_tcp(at: SocketAddr, name: String) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(at)?;
    let bound = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let name = name.clone();
            thread::spawn(move || answer(stream, &name));
        }
    });
    Ok(bound)
}

/// Answers until the other side is done or gone.
fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let saw = stream.peer_addr()?;
    while let Some(asked) = line(&mut stream, None)? {
        stream.write_all(&told(name, saw, asked.len()))?;
    }
    Ok(())
}

/// Answers every datagram from now on.
pub(super) fn listen_udp(at: SocketAddr, name: String) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(at)?;
    let bound = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = vec![0; LONGEST];
        loop {
            // An error is about an earlier answer that could not be delivered: it is not the next caller's.
            if let Ok((read, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&told(&name, from, read), from);
            }
        }
    });
    Ok(bound)
}

/// An answer of that many bytes, if it is not longer by itself.
pub(super) fn told(name: &str, saw: SocketAddr, size: usize) -> Vec<u8> {
    let mut bytes = format!("{name} {saw} ").into_bytes();
    bytes.resize(bytes.len().max(size.saturating_sub(1)), b'.');
    bytes.push(END);
    bytes
}

/// Asks with that many bytes who answers.
pub(super) fn ask(call: &Call, transport: Transport, size: usize) -> io::Result<Identity> {
    let mut question = vec![b'?'; size.saturating_sub(1)];
    question.push(END);
    match transport {
        Transport::Tcp => ask_on(&mut socket::open(call)?, call, &question),
        Transport::Udp => {
            let socket = socket::datagrams(call)?;
            socket.send(&question)?;
            let mut buffer = vec![0; LONGEST];
            socket.set_read_timeout(Some(call.within))?;
            let read = socket.recv(&mut buffer)?;
            identity(&buffer[..read], socket.local_addr()?, socket.peer_addr()?)
        }
        Transport::UdpUnconnected => {
            let any: SocketAddr = if call.to.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
            let socket = UdpSocket::bind(call.from.unwrap_or(any))?;
            socket.send_to(&question, call.to)?;
            let mut buffer = vec![0; LONGEST];
            socket.set_read_timeout(Some(call.within))?;
            let (read, from) = socket.recv_from(&mut buffer)?;
            identity(&buffer[..read], socket.local_addr()?, from)
        }
        Transport::Sctp => {
            let (answer, local, remote) = sctp::ask(call, &question)?;
            identity(&answer, local, remote)
        }
    }
}

/// Asks on a connection that is open.
pub(super) fn ask_again(stream: &mut TcpStream, call: &Call, size: usize) -> io::Result<Identity> {
    let mut question = vec![b'?'; size.saturating_sub(1)];
    question.push(END);
    ask_on(stream, call, &question)
}

fn ask_on(stream: &mut TcpStream, call: &Call, question: &[u8]) -> io::Result<Identity> {
    stream.set_write_timeout(Some(call.within))?;
    stream.write_all(question)?;
    let answer = line(stream, Some(Instant::now() + call.within))?.ok_or(ErrorKind::UnexpectedEof)?;
    identity(&answer, stream.local_addr()?, stream.peer_addr()?)
}

/// Reads a line, or `None` where the stream ends before it begins. Nothing comes after it before it is answered.
fn line(stream: &mut TcpStream, end: Option<Instant>) -> io::Result<Option<Vec<u8>>> {
    let (mut line, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    while line.last() != Some(&END) {
        if let Some(end) = end {
            stream.set_read_timeout(Some(left(end)?))?;
        }
        match stream.read(&mut buffer)? {
            0 if line.is_empty() => return Ok(None),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => line.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(Some(line))
}

fn identity(answer: &[u8], local: SocketAddr, remote: SocketAddr) -> io::Result<Identity> {
    let text = String::from_utf8_lossy(answer);
    let mut words = text.split(' ');
    let (who, saw) = (words.next(), words.next().and_then(|saw| saw.parse().ok()));
    let (Some(who), Some(saw)) = (who, saw) else {
        return Err(io::Error::new(ErrorKind::InvalidData, "what came is no answer"));
    };
    Ok(Identity { who: who.to_owned(), saw, local, remote })
}

/// What came of a question, in the words of a contact.
pub(super) fn came(asked: io::Result<Identity>) -> io::Result<Result<Identity, Contact>> {
    asked.map_or_else(|error| Contact::failed(error).map(Err), |identity| Ok(Ok(identity)))
}
