//! A steady flow, which a test watches while it does something to the datapath: messages one after the other, each waiting
//! for its echo, counted.
//!
//! Invariants: a flow ends by itself; of what was sent, each is counted as echoed or as lost, except one that is under way.
//! Not here: several messages under way at once, and throughput, which `iperf3` measures better.

use super::message::{Call, Contact};
use super::socket;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Datagrams between two fixed ports.
    Udp,
    /// Messages on one TCP connection. The kernel repeats what is lost, so an echo counts as lost once it is not there in
    /// time, and what comes of the connection afterwards shows in the further messages.
    Tcp,
    /// A TCP connection for each message, closed after its echo.
    Connections,
}

/// A flow to be: one message at a time, as fast as they are echoed, for ten seconds at most. Without a rate, a few flows keep a
/// small machine's kernel so busy that changes to interfaces and routes wait for seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flow {
    kind: Kind,
    call: Call,
    size: usize,
    every: Duration,
    lasts: Duration,
}

impl Flow {
    /// A flow of messages of eight bytes, of a single byte for [`Kind::Connections`]. The call's time is what an echo may
    /// take before it counts as lost.
    pub fn new(kind: Kind, call: impl Into<Call>) -> Flow {
        let size = if kind == Kind::Connections { 1 } else { 8 };
        Flow { kind, call: call.into(), size, every: Duration::ZERO, lasts: Duration::from_secs(10) }
    }

    /// How long a message is; at least eight bytes where datagrams must be told apart.
    #[must_use]
    pub fn size(mut self, size: usize) -> Flow {
        self.size = if self.kind == Kind::Udp { size.max(8) } else { size };
        self
    }

    /// How many messages a second, at most.
    #[must_use]
    pub fn rate(mut self, per_second: u32) -> Flow {
        self.every = Duration::from_secs(1) / per_second.max(1);
        self
    }

    /// How long it lasts unless it is stopped.
    #[must_use]
    pub fn lasts(mut self, lasts: Duration) -> Flow {
        self.lasts = lasts;
        self
    }

    /// The longest that it can take to its end.
    pub(super) fn takes(&self) -> Duration {
        self.lasts + self.call.within * 2
    }
}

/// Of so many lost messages the time is told.
const MOST_TOLD: usize = 8;

/// What became of a flow's messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages sent, or connections begun.
    pub sent: u64,
    /// Messages whose echo came in time.
    pub echoed: u64,
    /// Messages whose echo did not.
    pub lost: u64,
    /// The longest time between two echoes (or the beginning, or the end).
    pub longest_gap: Duration,
    /// How long it took.
    pub took: Duration,
    /// When messages were sent that were lost, since the beginning: the first of them.
    pub lost_at: Vec<Duration>,
    /// What came of the latest message that was lost.
    pub last_failure: Option<Contact>,
}

/// A flow that a peer has under way.
pub(super) struct UnderWay {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    counts: Mutex<Counts>,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Starts a flow. The first connection is part of it.
    pub(super) fn start(flow: Flow) -> UnderWay {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        UnderWay { thread: thread::spawn(move || run(&flow, &theirs)), shared }
    }

    /// Counts up to now.
    pub(super) fn so_far(&self) -> Counts {
        self.shared.counts().clone()
    }

    /// Asks it to end after the message that is under way.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for its end.
    pub(super) fn finish(self) -> io::Result<Counts> {
        self.thread.join().map_err(|_| io::Error::other("the flow died"))??;
        Ok(self.shared.counts().clone())
    }
}

fn run(flow: &Flow, shared: &Shared) -> io::Result<()> {
    let start = Instant::now();
    let (mut last_echo, mut next) = (start, start);
    let mut speaker = Speaker::Silent;
    while !shared.stop.load(Ordering::Relaxed) && start.elapsed() < flow.lasts {
        let number = {
            let mut counts = shared.counts();
            counts.sent += 1;
            counts.sent
        };
        let sent_at = start.elapsed();
        let came = speaker.say(flow, number);
        let failure = came.err().map(Contact::failed).transpose()?;
        let now = Instant::now();
        {
            let mut counts = shared.counts();
            counts.longest_gap = counts.longest_gap.max(now - last_echo);
            counts.took = now - start;
            if failure.is_none() {
                counts.echoed += 1;
                last_echo = now;
            } else {
                counts.lost += 1;
                if counts.lost_at.len() < MOST_TOLD {
                    counts.lost_at.push(sent_at);
                }
                counts.last_failure.clone_from(&failure);
            }
        }
        if matches!(failure, Some(Contact::Refused | Contact::Broken { .. } | Contact::Unreachable { .. })) {
            // It came back at once; a loop of that would keep the machine from everything else.
            thread::sleep(Duration::from_millis(1));
        }
        next = (next + flow.every).max(now);
        thread::sleep(next - now);
    }
    Ok(())
}

/// What a flow speaks through, made when it first speaks.
enum Speaker {
    Silent,
    Udp(std::net::UdpSocket),
    /// A connection, and how many bytes of late echoes are still to come on it.
    Tcp(TcpStream, usize),
}

impl Speaker {
    /// One message and its echo.
    fn say(&mut self, flow: &Flow, number: u64) -> io::Result<()> {
        let within = flow.call.within;
        if flow.kind == Kind::Connections {
            return socket::say(&mut socket::open(&flow.call)?, flow.size, within);
        }
        if let Speaker::Silent = self {
            *self = match flow.kind {
                Kind::Udp => Speaker::Udp(socket::datagrams(&flow.call)?),
                _ => Speaker::Tcp(socket::open(&flow.call)?, 0),
            };
        }
        match self {
            Speaker::Udp(socket) => socket::exchange(socket, flow.size, number, within),
            Speaker::Tcp(stream, late) => socket::ping_pong(stream, flow.size, number, late, within),
            Speaker::Silent => Err(ErrorKind::NotConnected.into()),
        }
    }
}
