//! What a test and a peer say to each other: a line of JSON each way, an answer for every request.
//!
//! Several requests may be under way at once; an answer carries the number of its request. Not here: how they travel.

use super::flow::{Counts, Flow};
use super::identity::{Identity, Transport};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A request with its number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbered<T> {
    pub(super) number: u64,
    pub(super) what: T,
}

/// What a peer is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Listen for TCP connections, and echo.
    ListenTcp(SocketAddr),
    /// Listen for datagrams, and echo.
    ListenUdp(SocketAddr),
    /// Listen for TCP connections, and tell on each line that comes who answers, by that name, and who is seen.
    TellTcp(SocketAddr, String),
    /// The same for datagrams.
    TellUdp(SocketAddr, String),
    /// The same for SCTP, at these ports of an address.
    TellSctp(IpAddr, Vec<u16>, String),
    /// Ask with that many bytes who answers.
    Ask(Call, Transport, usize),
    /// The same on an open connection.
    AskAgain { connection: u64, call: Call, size: usize },
    /// How many datagrams have come from an address.
    HeardFrom(IpAddr),
    /// Connect, and keep the connection under the request's number.
    Open(Call),
    /// Send that many bytes on an open connection and wait for the echo.
    Say { connection: u64, size: usize, within: Duration },
    /// Close a connection.
    Close(u64),
    /// Connect, and close.
    Knock(Call),
    /// Send a datagram of that many bytes and wait for the echo.
    Datagram(Call, usize),
    /// Start a flow, and keep it under the request's number.
    Start(Flow),
    /// The counts of a flow up to now.
    SoFar(u64),
    /// Stop a flow and tell its counts.
    Stop(u64),
    /// Wait for a flow to end by itself and tell its counts.
    Finish(u64),
}

impl Request {
    /// How long the peer may take, by its own account.
    pub(super) fn takes(&self) -> Duration {
        match self {
            Request::Open(call) | Request::Knock(call) | Request::Datagram(call, _) => call.within,
            // The connection, and the answer.
            Request::Ask(call, ..) => call.within * 2,
            Request::AskAgain { call, .. } => call.within,
            Request::Say { within, .. } => *within,
            _ => Duration::ZERO,
        }
    }
}

/// What a peer answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Listening(SocketAddr),
    Contact(Contact),
    Identity(Result<Identity, Contact>),
    Counts(Counts),
    Heard(u64),
    Done,
    /// It could not be done, which is no finding about the network.
    Wrong(String),
}

/// Whom to call, from where, and how long to wait.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Call {
    pub(super) to: SocketAddr,
    pub(super) from: Option<SocketAddr>,
    pub(super) within: Duration,
}

impl Call {
    /// A call from any address, with a second to succeed. Give what must succeed more: it costs no time when it does.
    pub fn to(to: SocketAddr) -> Call {
        Call { to, from: None, within: Duration::from_secs(1) }
    }

    /// From this address; port 0 is any port.
    #[must_use]
    pub fn from(mut self, from: SocketAddr) -> Call {
        self.from = Some(from);
        self
    }

    /// How long to wait, for the connection and for each echo.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Call {
        self.within = within;
        self
    }
}

impl From<SocketAddr> for Call {
    fn from(to: SocketAddr) -> Call {
        Call::to(to)
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contact {
    /// It was answered.
    Made {
        /// The caller's address, as its socket has it.
        local: SocketAddr,
        /// The address that answered, as the caller's socket has it.
        remote: SocketAddr,
    },
    /// A reset, or an ICMP error of the port.
    Refused,
    /// Nothing came in time.
    TimedOut,
    /// Some other ICMP error, or no route. The kernel often misses the error that the first packet of a connection meets, since
    /// it is still busy with the call, so give it time for the second, a second later; UDP is not told of most of them.
    Unreachable {
        /// The kernel's word for it.
        error: String,
    },
    /// The connection ended amidst, or the echo was not what had been sent.
    Broken {
        /// What happened.
        error: String,
    },
}

impl Contact {
    /// Whether it was answered.
    pub fn is_made(&self) -> bool {
        matches!(self, Contact::Made { .. })
    }

    /// What an error says about the network; an error that says nothing about it is given back.
    pub(super) fn failed(error: io::Error) -> io::Result<Contact> {
        let says = error.to_string();
        Ok(match error.kind() {
            ErrorKind::ConnectionRefused => Contact::Refused,
            // A blocking socket whose time is over says EAGAIN.
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Contact::TimedOut,
            // EACCES is how the kernel tells that ICMPv6 said "administratively prohibited".
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied => {
                Contact::Unreachable { error: says }
            }
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData => Contact::Broken { error: says },
            // What was sent is larger than the way is wide, or of a protocol that is not spoken there, as an ICMP error told.
            _ if [Errno::EMSGSIZE, Errno::ENOPROTOOPT, Errno::EPROTO]
                .iter()
                .any(|errno| error.raw_os_error() == Some(*errno as i32)) =>
            {
                Contact::Unreachable { error: says }
            }
            _ => return Err(error),
        })
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contact::Made { local, remote } => write!(f, "made from {local} to {remote}"),
            Contact::Refused => f.write_str("refused"),
            Contact::TimedOut => f.write_str("timed out"),
            Contact::Unreachable { error } => write!(f, "unreachable: {error}"),
            Contact::Broken { error } => write!(f, "broken: {error}"),
        }
    }
}
