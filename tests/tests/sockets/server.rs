//! Who serves: a thread at a place that tells each caller its name and whom it saw calling. And how it is called.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use weir_lab::Place;

/// The port of all servers.
pub(crate) const PORT: u16 = 8080;
/// Long enough for an answer on a slow machine; the wait ends when it comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How often a server looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// Serves both protocols in both families until it is dropped.
pub(crate) struct Server {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(place: &Place, at: SocketAddr) -> Server {
        let (tcp, udp) =
            place.inside(|| (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap())).unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_read_timeout(Some(LOOK)).unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let name = place.name().rsplit('/').next().unwrap().to_owned();
        let tell = move |client: SocketAddr| format!("{name} {client}");
        let of_tcp = {
            let (done, tell) = (Arc::clone(&done), tell.clone());
            move || {
                while !done.load(Ordering::Relaxed) {
                    match tcp.accept() {
                        Ok((mut stream, client)) => _ = stream.write_all(tell(client).as_bytes()),
                        Err(_) => thread::sleep(LOOK / 10),
                    }
                }
            }
        };
        let of_udp = {
            let done = Arc::clone(&done);
            move || {
                while !done.load(Ordering::Relaxed) {
                    if let Ok((_, client)) = udp.recv_from(&mut [0; 16]) {
                        _ = udp.send_to(tell(client).as_bytes(), client);
                    }
                }
            }
        };
        Server { done, threads: vec![thread::spawn(of_tcp), thread::spawn(of_udp)] }
    }

    /// At every address.
    pub(crate) fn everywhere(place: &Place) -> Server {
        Server::start(place, (Ipv6Addr::UNSPECIFIED, PORT).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Who answered.
    pub(crate) by: String,
    /// Whom the server saw.
    pub(crate) seen: SocketAddr,
    /// What the socket says of itself and of its peer.
    pub(crate) own: SocketAddr,
    pub(crate) peer: SocketAddr,
}

fn call(told: &[u8], own: SocketAddr, peer: SocketAddr) -> Call {
    let (by, seen) = str::from_utf8(told).unwrap().split_once(' ').unwrap();
    let seen: SocketAddr = seen.parse().unwrap();
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Call { by: by.to_owned(), seen: plain(seen), own: plain(own), peer }
}

/// A TCP connection.
pub(crate) fn tcp(to: SocketAddr) -> io::Result<Call> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut told = Vec::new();
    stream.read_to_end(&mut told)?;
    Ok(call(&told, stream.local_addr()?, stream.peer_addr()?))
}

/// A UDP socket that may send anywhere in the family.
pub(crate) fn datagrams(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { IpAddr::V4(0.into()) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A connected UDP socket. The answer's sender must be the peer.
pub(crate) fn connected_udp(to: SocketAddr) -> io::Result<Call> {
    let socket = datagrams(to)?;
    socket.connect(to)?;
    socket.send(b"who")?;
    let mut told = [0; 64];
    let (len, from) = socket.recv_from(&mut told)?;
    assert_eq!(from, socket.peer_addr()?);
    Ok(call(&told[..len], socket.local_addr()?, from))
}

/// A datagram on a socket that is not connected. The peer is the answer's sender.
pub(crate) fn datagram(socket: &UdpSocket, to: SocketAddr) -> io::Result<Call> {
    socket.send_to(b"who", to)?;
    let mut told = [0; 64];
    let (len, from) = socket.recv_from(&mut told)?;
    Ok(call(&told[..len], socket.local_addr()?, from))
}
