//! A peer: a process in a place that opens real sockets there, and the handle through which a test moves it.
//!
//! The process is the binary `lab_peer`, built with the tests; it is killed when its handle is dropped. All methods may be
//! called at the same time from several threads. An `Err` says that the peer itself failed; what the network did is a
//! [`Contact`].
//!
//! Not here: what a peer does (`service.rs`, `socket.rs`, `flow.rs`, `identity.rs`, `sctp.rs`).

pub mod flow;
mod identity;
mod message;
mod sctp;
mod service;
mod socket;

pub use identity::{Identity, Transport};
pub use message::{Call, Contact};
pub use service::serve;

use super::Place;
use super::binary::built;
use flow::{Counts, Flow};
use message::{Answer, Numbered, Request};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What a busy machine may add to the time that an answer takes.
const GRACE: Duration = Duration::from_secs(10);

/// Who waits for which answer; nobody can any more once the peer has ended.
type Waiting = Arc<Mutex<Option<HashMap<u64, Sender<Answer>>>>>;

/// A peer that runs.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    requests: Mutex<ChildStdin>,
    waiting: Waiting,
    last: AtomicU64,
}

impl Peer {
    /// Starts a peer in a place.
    ///
    /// # Errors
    /// The binary is not built, or cannot be run there.
    pub fn start(place: &Place) -> io::Result<Peer> {
        // At the lowest priority, so that flows fill whatever the machine has left, and the kernel's own threads, which a test
        // waits for, are served first.
        let mut process = place
            .command("nice")
            .args(["-n", "19"])
            .arg(built("weir-lab", "lab_peer")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("a peer has no streams"));
        };
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let heard = Arc::clone(&waiting);
        thread::spawn(move || hear(answers, &heard));
        Ok(Peer { process, requests: Mutex::new(requests), waiting, last: AtomicU64::new(0) })
    }

    /// Listens for TCP connections and echoes what comes. Port 0 is any port; the answer says which.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn listen_tcp(&self, at: SocketAddr) -> io::Result<SocketAddr> {
        self.listen(Request::ListenTcp(at))
    }

    /// Listens for datagrams and echoes them. The address should be one, not any: the echo comes from whichever address the
    /// kernel prefers otherwise.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn listen_udp(&self, at: SocketAddr) -> io::Result<SocketAddr> {
        self.listen(Request::ListenUdp(at))
    }

    /// Tells everyone who asks at this address, by TCP and UDP, that this is `name`, and who they are.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn tell(&self, at: SocketAddr, name: &str) -> io::Result<()> {
        self.listen(Request::TellTcp(at, name.to_owned()))?;
        self.listen(Request::TellUdp(at, name.to_owned())).map(drop)
    }

    /// Tells the same to everyone who asks by SCTP at these ports of an address; who asks at another is refused.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn tell_sctp(&self, at: IpAddr, ports: &[u16], name: &str) -> io::Result<()> {
        self.listen(Request::TellSctp(at, ports.to_vec(), name.to_owned())).map(drop)
    }

    /// Asks, with so many bytes, who answers at an address; the answer has as many. What came in place of an answer is told as a contact.
    ///
    /// # Errors
    /// The call cannot be made from that address, or the peer died.
    pub fn who(
        &self,
        call: impl Into<Call>,
        transport: Transport,
        size: usize,
    ) -> io::Result<Result<Identity, Contact>> {
        self.identity(Request::Ask(call.into(), transport, size))
    }

    /// How many datagrams have come from an address to whatever listens here, echoed in time or not.
    ///
    /// # Errors
    /// The peer died.
    pub fn heard_from(&self, address: IpAddr) -> io::Result<u64> {
        match self.ask(Request::HeardFrom(address), Duration::ZERO)?.1 {
            Answer::Heard(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    /// Connects by TCP, and closes.
    ///
    /// # Errors
    /// The call cannot be made from that address, or the peer died.
    pub fn tcp(&self, call: impl Into<Call>) -> io::Result<Contact> {
        self.contact(Request::Knock(call.into())).map(|(_, contact)| contact)
    }

    /// Sends a datagram of that many bytes and waits for its echo.
    ///
    /// # Errors
    /// The call cannot be made from that address, or the peer died.
    pub fn udp(&self, call: impl Into<Call>, size: usize) -> io::Result<Contact> {
        self.contact(Request::Datagram(call.into(), size)).map(|(_, contact)| contact)
    }

    /// Connects by TCP and keeps the connection, or says why not.
    ///
    /// # Errors
    /// The call cannot be made from that address, or the peer died.
    pub fn open(&self, call: impl Into<Call>) -> io::Result<Result<Connection<'_>, Contact>> {
        let call = call.into();
        let (number, contact) = self.contact(Request::Open(call))?;
        Ok(match contact {
            Contact::Made { local, remote } => Ok(Connection { peer: self, number, call, local, remote }),
            failed => Err(failed),
        })
    }

    /// Starts a flow.
    ///
    /// # Errors
    /// The peer died.
    pub fn flow(&self, flow: Flow) -> io::Result<Running<'_>> {
        let takes = flow.takes();
        let (number, answer) = self.ask(Request::Start(flow), Duration::ZERO)?;
        match answer {
            Answer::Done => Ok(Running { peer: self, number, takes }),
            other => Err(unexpected(&other)),
        }
    }

    fn listen(&self, request: Request) -> io::Result<SocketAddr> {
        match self.ask(request, Duration::ZERO)?.1 {
            Answer::Listening(at) => Ok(at),
            other => Err(unexpected(&other)),
        }
    }

    fn identity(&self, request: Request) -> io::Result<Result<Identity, Contact>> {
        let takes = request.takes();
        match self.ask(request, takes)?.1 {
            Answer::Identity(identity) => Ok(identity),
            other => Err(unexpected(&other)),
        }
    }

    fn contact(&self, request: Request) -> io::Result<(u64, Contact)> {
        let takes = request.takes();
        match self.ask(request, takes)? {
            (number, Answer::Contact(contact)) => Ok((number, contact)),
            (_, other) => Err(unexpected(&other)),
        }
    }

    /// Asks, and waits for the answer: as long as the request takes by itself, and then some.
    fn ask(&self, request: Request, takes: Duration) -> io::Result<(u64, Answer)> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = channel();
        match &mut *locked(&self.waiting) {
            Some(waiting) => waiting.insert(number, sender),
            None => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the peer has ended")),
        };
        let mut line = serde_json::to_vec(&Numbered { number, what: request })?;
        line.push(b'\n');
        locked(&self.requests).write_all(&line)?;
        match answer.recv_timeout(takes + GRACE) {
            Ok(Answer::Wrong(error)) => Err(io::Error::other(error)),
            Ok(answer) => Ok((number, answer)),
            Err(error) => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, format!("the peer is silent: {error}")))
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself, with its lab.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A TCP connection that a peer keeps; closed when dropped.
#[derive(Debug)]
pub struct Connection<'a> {
    peer: &'a Peer,
    number: u64,
    call: Call,
    /// The address of this side.
    pub local: SocketAddr,
    /// The address of the other side.
    pub remote: SocketAddr,
}

impl Connection<'_> {
    /// Sends that many bytes and waits for their echo, as long as the call had allowed. After anything but
    /// [`Contact::Made`] the connection is of no use: an echo may still come.
    ///
    /// # Errors
    /// The peer died.
    pub fn say(&self, size: usize) -> io::Result<Contact> {
        let say = Request::Say { connection: self.number, size, within: self.call.within };
        self.peer.contact(say).map(|(_, contact)| contact)
    }

    /// Asks on it who answers, as [`Peer::who`] does on one of its own.
    ///
    /// # Errors
    /// The peer died.
    pub fn who(&self, size: usize) -> io::Result<Result<Identity, Contact>> {
        self.peer.identity(Request::AskAgain { connection: self.number, call: self.call, size })
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // A peer that died has closed it already.
        let _ = self.peer.ask(Request::Close(self.number), Duration::ZERO);
    }
}

/// A flow under way; it goes on to its end when this is dropped.
#[derive(Debug)]
pub struct Running<'a> {
    peer: &'a Peer,
    number: u64,
    takes: Duration,
}

impl Running<'_> {
    /// The counts up to now. One message may be under way, sent and neither echoed nor lost.
    ///
    /// # Errors
    /// The peer died.
    pub fn so_far(&self) -> io::Result<Counts> {
        self.counts(Request::SoFar(self.number))
    }

    /// Stops the flow.
    ///
    /// # Errors
    /// The peer died, or the flow could not be had at all.
    pub fn stop(self) -> io::Result<Counts> {
        self.counts(Request::Stop(self.number))
    }

    /// Waits until the flow ends by itself.
    ///
    /// # Errors
    /// The peer died, or the flow could not be had at all.
    pub fn finish(self) -> io::Result<Counts> {
        self.counts(Request::Finish(self.number))
    }

    fn counts(&self, request: Request) -> io::Result<Counts> {
        match self.peer.ask(request, self.takes)?.1 {
            Answer::Counts(counts) => Ok(counts),
            other => Err(unexpected(&other)),
        }
    }
}

/// Passes answers on to whom they are for, until the peer ends.
fn hear(answers: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(answers).lines() {
        let Ok(Ok(Numbered { number, what })) =
            line.map(|line| serde_json::from_str::<Numbered<Answer>>(&line))
        else {
            break;
        };
        if let Some(sender) = locked(waiting).as_mut().and_then(|waiting| waiting.remove(&number)) {
            // Whoever asked may have given up.
            let _ = sender.send(what);
        }
    }
    // With their senders gone, all who wait are told at once.
    *locked(waiting) = None;
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unexpected(answer: &Answer) -> io::Error {
    io::Error::other(format!("the peer answered something else: {answer:?}"))
}
