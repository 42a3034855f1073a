//! A peer's own process: reads requests, does each in a thread of its own, writes answers, and ends with its standard input.
//!
//! Not here: sockets themselves.

use super::flow::UnderWay;
use super::identity;
use super::message::{Answer, Contact, Numbered, Request};
use super::sctp;
use super::socket::{self, Heard};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What a peer keeps between requests, under the number of the request that began it.
#[derive(Default)]
struct Kept {
    connections: Mutex<HashMap<u64, Arc<Mutex<TcpStream>>>>,
    flows: Mutex<HashMap<u64, UnderWay>>,
    heard: Heard,
}

/// Serves until the standard input ends.
///
/// # Errors
/// A line is not a request, or the streams fail.
pub fn serve() -> io::Result<()> {
    let kept = Arc::new(Kept::default());
    for line in io::stdin().lock().lines() {
        let Numbered { number, what } = serde_json::from_str::<Numbered<Request>>(&line?)?;
        let kept = Arc::clone(&kept);
        thread::spawn(move || {
            let answer = kept.answer(number, what).unwrap_or_else(|error| Answer::Wrong(error.to_string()));
            // Whoever does not listen any more needs no answer.
            let _ = tell(&Numbered { number, what: answer });
        });
    }
    Ok(())
}

/// Writes a line as a whole.
fn tell(answer: &Numbered<Answer>) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// A contact, whether it was made or why not.
fn told(result: io::Result<Contact>) -> io::Result<Answer> {
    result.or_else(Contact::failed).map(Answer::Contact)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "nothing is kept under this number")
}

impl Kept {
    fn answer(&self, number: u64, request: Request) -> io::Result<Answer> {
        match request {
            Request::ListenTcp(at) => socket::listen_tcp(at).map(Answer::Listening),
            Request::ListenUdp(at) => socket::listen_udp(at, Arc::clone(&self.heard)).map(Answer::Listening),
            Request::TellTcp(at, name) => identity::listen_tcp(at, name).map(Answer::Listening),
            Request::TellUdp(at, name) => identity::listen_udp(at, name).map(Answer::Listening),
            Request::TellSctp(at, ports, name) => sctp::listen(at, ports, name).map(Answer::Listening),
            Request::Ask(call, transport, size) => {
                identity::came(identity::ask(&call, transport, size)).map(Answer::Identity)
            }
            Request::AskAgain { connection, call, size } => {
                let stream = self.connection(connection)?;
                let mut stream = locked(&stream);
                identity::came(identity::ask_again(&mut stream, &call, size)).map(Answer::Identity)
            }
            Request::HeardFrom(address) => {
                Ok(Answer::Heard(locked(&self.heard).get(&address).copied().unwrap_or(0)))
            }
            Request::Knock(call) => told(
                socket::open(&call).and_then(|stream| socket::made(stream.local_addr(), stream.peer_addr())),
            ),
            Request::Open(call) => told(socket::open(&call).and_then(|stream| {
                let made = socket::made(stream.local_addr(), stream.peer_addr());
                locked(&self.connections).insert(number, Arc::new(Mutex::new(stream)));
                made
            })),
            Request::Say { connection, size, within } => {
                let stream = self.connection(connection)?;
                let mut stream = locked(&stream);
                told(
                    socket::say(&mut stream, size, within)
                        .and_then(|()| socket::made(stream.local_addr(), stream.peer_addr())),
                )
            }
            Request::Close(connection) => {
                locked(&self.connections).remove(&connection).map(|_| Answer::Done).ok_or_else(unknown)
            }
            Request::Datagram(call, size) => told(socket::datagrams(&call).and_then(|socket| {
                socket::exchange(&socket, size, number, call.within)?;
                socket::made(socket.local_addr(), socket.peer_addr())
            })),
            Request::Start(flow) => {
                locked(&self.flows).insert(number, UnderWay::start(flow));
                Ok(Answer::Done)
            }
            Request::SoFar(flow) => {
                locked(&self.flows).get(&flow).map(|flow| Answer::Counts(flow.so_far())).ok_or_else(unknown)
            }
            Request::Stop(flow) => self.end(flow, UnderWay::stop),
            Request::Finish(flow) => self.end(flow, |_| ()),
        }
    }

    fn connection(&self, number: u64) -> io::Result<Arc<Mutex<TcpStream>>> {
        locked(&self.connections).get(&number).map(Arc::clone).ok_or_else(unknown)
    }

    fn end(&self, flow: u64, first: impl FnOnce(&UnderWay)) -> io::Result<Answer> {
        let flow = locked(&self.flows).remove(&flow).ok_or_else(unknown)?;
        first(&flow);
        flow.finish().map(Answer::Counts)
    }
}
