//! A small server of HTTP/1.1 at a place, as threads of the test: kept connections, a health page that can fail, an end without a request lost.
//!
//! Invariant: a server that drains says with its last answer on a connection that it closes it, and closes where nobody listens any more only
//! once every connection is answered so; who speaks HTTP loses no request by that.
//!
//! Not here: requests with bodies, and what a datapath does to any of this.

use super::Place;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The path whose status can be set.
pub const HEALTH: &str = "/healthz";
/// Bytes of an answer's body: more than a packet.
const BODY: usize = 2000;
/// How often a server looks whether it is still wanted, and how long nobody may come before a drained one closes.
const LOOK: Duration = Duration::from_millis(20);
/// The longest head of a request or an answer.
const HEAD: usize = 8 << 10;
/// What an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server; it ends when this is dropped.
#[derive(Debug)]
pub struct HttpServer {
    shared: Arc<Shared>,
    listens: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    /// The status of the health page, and how often it was asked for.
    health: AtomicU16,
    health_asked: AtomicU64,
    /// Who is connected.
    connected: Mutex<BTreeSet<SocketAddr>>,
    drains: AtomicBool,
    /// No connection is taken any more; those that are there go on.
    closed: AtomicBool,
    ended: AtomicBool,
}

impl HttpServer {
    /// Serves at a port of every address of the place. The body of each answer begins with the name of the place, on a line of its own.
    ///
    /// # Errors
    /// The port cannot be had.
    pub fn start(place: &Place, port: u16) -> io::Result<HttpServer> {
        let listener = place.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))??;
        // Waiting for a connection ends as reading does.
        let look = TimeVal::new(0, i64::try_from(LOOK.as_micros()).unwrap_or(0));
        setsockopt(&listener, sockopt::ReceiveTimeout, &look)?;
        let shared = Arc::new(Shared {
            name: place.name().to_owned(),
            health: AtomicU16::new(200),
            health_asked: AtomicU64::new(0),
            connected: Mutex::default(),
            drains: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        Ok(HttpServer { shared, listens: Some(thread::spawn(move || listen(&listener, &theirs))) })
    }

    /// Sets the status of the health page, and tells how often it was asked for before.
    pub fn set_health(&self, status: u16) -> u64 {
        let before = self.health_asked();
        self.shared.health.store(status, Ordering::SeqCst);
        before
    }

    /// How often the health page was asked for.
    pub fn health_asked(&self) -> u64 {
        self.shared.health_asked.load(Ordering::SeqCst)
    }

    /// Takes no more connections; those that are there go on.
    pub fn close(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.listens.take().map(JoinHandle::join);
    }

    /// Ends as a server that is told to: whoever is connected is told with the next answer that it is the last. Returns once nobody is
    /// connected and the port is closed.
    ///
    /// # Errors
    /// Somebody stays connected and asks no more.
    pub fn drain(self) -> io::Result<()> {
        self.shared.drains.store(true, Ordering::SeqCst);
        let end = Instant::now() + PATIENCE * 2;
        while self.listens.as_ref().is_some_and(|listens| !listens.is_finished()) {
            if Instant::now() > end {
                let connected = self.shared.connected();
                return Err(io::Error::other(format!(
                    "{} has silent clients: {connected:?}",
                    self.shared.name
                )));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.listens.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn connected(&self) -> MutexGuard<'_, BTreeSet<SocketAddr>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let is = |what: &AtomicBool| what.load(Ordering::SeqCst);
    while !is(&shared.closed) && !is(&shared.ended) {
        // What this sees was so before nobody came for a while.
        let is_empty = is(&shared.drains) && shared.connected().is_empty();
        match listener.accept() {
            Ok((stream, client)) => {
                shared.connected().insert(client);
                let shared = Arc::clone(shared);
                thread::spawn(move || {
                    // Who goes in the middle of a request is gone.
                    let _ = converse(&stream, &shared);
                    drop(stream);
                    shared.connected().remove(&client);
                });
            }
            Err(_) if is_empty => return,
            Err(_) => {}
        }
    }
}

/// Answers on a connection to its end.
fn converse(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(LOOK * 5))?;
    stream.set_nodelay(true)?;
    let mut heard = Vec::new();
    loop {
        let head = loop {
            match head_of(&mut stream, &mut heard) {
                Ok(Some(head)) => break head,
                Ok(None) => return Ok(()),
                Err(error) if is_late(&error) && !shared.ended.load(Ordering::SeqCst) => {}
                Err(error) => return Err(error),
            }
        };
        let is_last = shared.drains.load(Ordering::SeqCst) || says_close(&head);
        let mut status = 200;
        if head.split(' ').nth(1) == Some(HEALTH) {
            status = shared.health.load(Ordering::SeqCst);
            shared.health_asked.fetch_add(1, Ordering::SeqCst);
        }
        let more = if is_last { "Connection: close\r\n" } else { "" };
        let mut answer = format!("HTTP/1.1 {status} So\r\nContent-Length: {BODY}\r\n{more}\r\n");
        let length = answer.len() + BODY;
        answer += &shared.name;
        answer.push('\n');
        stream.write_all(format!("{answer:.<length$}").as_bytes())?;
        if is_last {
            return Ok(());
        }
    }
}

/// The next head of a connection, taken out of what was heard and not used; `None`: the other side said no more.
fn head_of(stream: &mut impl Read, heard: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(at) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = heard.drain(..at + 4).collect();
            return String::from_utf8(head).map(Some).map_err(io::Error::other);
        }
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece)?;
        if read == 0 || heard.len() > HEAD {
            return Ok(None);
        }
        heard.extend(&piece[..read]);
    }
}

fn says_close(head: &str) -> bool {
    head.lines().any(|line| line.eq_ignore_ascii_case("connection: close"))
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Asks on a connection for a page: the first line of the body, which is the server's name. The connection can be asked again.
///
/// # Errors
/// The connection is broken, or what comes on it is no answer of an [`HttpServer`].
pub fn ask(mut stream: &TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: service\r\n\r\n")?;
    let mut heard = Vec::new();
    head_of(&mut stream, &mut heard)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let have = heard.len();
    heard.resize(BODY, 0);
    stream.read_exact(heard.get_mut(have..).ok_or(io::ErrorKind::InvalidData)?)?;
    let body = String::from_utf8(heard).map_err(io::Error::other)?;
    Ok(body.lines().next().unwrap_or_default().to_owned())
}
