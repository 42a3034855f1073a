//! Who serves: threads at a place that tell each caller their name, whom they saw calling and how much they heard. And how they are called.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
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
/// The longest datagram.
const LONGEST: usize = 16 << 10;

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
        let tell = move |client: SocketAddr, heard: usize| format!("{name} {client} {heard}");
        let of_tcp = {
            let (done, tell) = (Arc::clone(&done), tell.clone());
            move || {
                while !done.load(Ordering::Relaxed) {
                    match tcp.accept() {
                        Ok((stream, client)) => {
                            let tell = tell.clone();
                            thread::spawn(move || _ = listen(stream, |heard| tell(client, heard)));
                        }
                        Err(_) => thread::sleep(LOOK / 10),
                    }
                }
            }
        };
        let of_udp = {
            let done = Arc::clone(&done);
            move || {
                let mut heard = vec![0; LONGEST];
                while !done.load(Ordering::Relaxed) {
                    if let Ok((len, client)) = udp.recv_from(&mut heard) {
                        // As much as was heard, so that what comes in pieces goes back in pieces.
                        let told = format!("{:len$}", tell(client, len));
                        _ = udp.send_to(told.as_bytes(), client);
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

/// Hears the caller to its end, then tells it.
fn listen(mut stream: TcpStream, tell: impl Fn(usize) -> String) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    stream.write_all(tell(heard.len()).as_bytes())
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
    /// Whom the server saw, and how many bytes it heard.
    pub(crate) seen: SocketAddr,
    pub(crate) heard: usize,
    /// What the socket says of itself and of its peer.
    pub(crate) own: SocketAddr,
    pub(crate) peer: SocketAddr,
}

fn call(told: &[u8], own: SocketAddr, peer: SocketAddr) -> Call {
    let words: Vec<&str> = str::from_utf8(told).unwrap().split_whitespace().collect();
    let [by, seen, heard] = words[..] else { panic!("a server said {words:?}") };
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Call {
        by: by.to_owned(),
        seen: plain(seen.parse().unwrap()),
        heard: heard.parse().unwrap(),
        own: plain(own),
        peer,
    }
}

/// A TCP connection.
pub(crate) fn tcp(to: SocketAddr) -> io::Result<Call> {
    tcp_of(to, 3)
}

/// One that says so many bytes.
pub(crate) fn tcp_of(to: SocketAddr, bytes: usize) -> io::Result<Call> {
    finish(&TcpStream::connect_timeout(&to, PATIENCE)?, bytes)
}

/// Speaks on a connection to its end.
pub(crate) fn finish(mut stream: &TcpStream, bytes: usize) -> io::Result<Call> {
    // A connection that both sides ended has no names any more.
    let (own, peer) = (stream.local_addr()?, stream.peer_addr()?);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&vec![b'.'; bytes])?;
    stream.shutdown(Shutdown::Write)?;
    let mut told = Vec::new();
    stream.read_to_end(&mut told)?;
    Ok(call(&told, own, peer))
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
    let call = answer(&socket)?;
    assert_eq!(call.peer, socket.peer_addr()?);
    Ok(call)
}

/// A datagram on a socket that is not connected. The peer is the answer's sender.
pub(crate) fn datagram(socket: &UdpSocket, to: SocketAddr) -> io::Result<Call> {
    socket.send_to(b"who", to)?;
    answer(socket)
}

/// One of so many bytes.
pub(crate) fn datagram_of(to: SocketAddr, bytes: usize) -> io::Result<Call> {
    let socket = datagrams(to)?;
    socket.send_to(&vec![b'.'; bytes], to)?;
    answer(&socket)
}

/// What a socket is told next, and by whom.
pub(crate) fn answer(socket: &UdpSocket) -> io::Result<Call> {
    let mut told = vec![0; LONGEST];
    let (len, from) = socket.recv_from(&mut told)?;
    Ok(call(&told[..len], socket.local_addr()?, from))
}
