//! `iperf3`: a stream, or datagrams, at a steady rate, from who calls to a server that tells what came.
//!
//! A test of it is two connections, of which the second must come to who answered the first. Not here: how fast it could be.

use crate::Place;
use serde_json::Value;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a datagram: with any wrapping less than a packet of the wire.
const DATAGRAM: &str = "1200";

/// States of sockets, as the kernel writes them.
const CONNECTED: &str = "01";
const LISTENS: &str = "0A";

/// How many sockets are at a port.
#[derive(Debug, Default)]
struct Sockets {
    listening: usize,
    connected: usize,
    /// Those for datagrams that have a peer.
    datagrams: usize,
}

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// A TCP stream.
    Stream,
    /// Datagrams.
    Datagrams,
}

/// A server that serves one test at a time; it ends when this is dropped.
#[derive(Debug)]
pub struct IperfServer<'a> {
    place: &'a Place,
    port: u16,
    process: Child,
}

/// A client under way.
#[derive(Debug)]
pub struct Iperf {
    process: Child,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// Bytes that came, in each whole second, by the server.
    pub seconds: Vec<u64>,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// Of these, those that did not come, by the server.
    pub lost: u64,
}

impl<'a> IperfServer<'a> {
    /// Serves at a port of every address of the place.
    ///
    /// # Errors
    /// It does not come to listen.
    pub fn start(place: &'a Place, port: u16) -> io::Result<IperfServer<'a>> {
        let mut command = place.command("iperf3");
        command.args(["-s", "-J", "-p", &port.to_string()]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = IperfServer { place, port, process };
        // Whoever connects to see has begun a test, so the kernel is asked.
        server.until(|sockets| sockets.listening > 0, "listen")?;
        Ok(server)
    }

    /// Waits until a client has all of its connections: from then on it makes no more.
    ///
    /// # Errors
    /// It does not come that far.
    pub fn until_begun(&self, carried: Carried) -> io::Result<()> {
        let has_begun = |sockets: &Sockets| match carried {
            Carried::Stream => sockets.connected > 1,
            Carried::Datagrams => sockets.connected > 0 && sockets.datagrams > 0,
        };
        self.until(has_begun, "have a client")
    }

    fn until(&self, is_so: impl Fn(&Sockets) -> bool, what: &str) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.sockets()?) {
            if Instant::now() > end {
                let place = self.place.name();
                return Err(io::Error::other(format!(
                    "iperf3 at port {} of {place} does not {what}",
                    self.port
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The sockets at its port, as the kernel lists them: local and remote address, state.
    fn sockets(&self) -> io::Result<Sockets> {
        let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let files = self.place.inside(|| ["tcp", "tcp6", "udp", "udp6"].map(read))?;
        let mut found = Sockets::default();
        for (file, is_tcp) in files.into_iter().zip([true, true, false, false]) {
            for line in file?.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                let Some(&[at, to, state]) = words.get(1..4) else { continue };
                if !at.ends_with(&format!(":{:04X}", self.port)) {
                    continue;
                }
                found.listening += usize::from(is_tcp && state == LISTENS);
                found.connected += usize::from(is_tcp && state == CONNECTED);
                found.datagrams += usize::from(!is_tcp && !to.ends_with(":0000"));
            }
        }
        Ok(found)
    }

    /// Datagrams for which sockets of the place had no room, because a program did not read in time.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn overflowed(&self) -> io::Result<u64> {
        let read = || -> io::Result<[String; 2]> {
            let of = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            Ok([of("snmp")?, of("snmp6")?])
        };
        let [v4, v6] = self.place.inside(read)??;
        // A line of names, then a line of numbers.
        let mut udp = v4.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, numbers) = (udp.next().unwrap_or_default(), udp.next().unwrap_or_default());
        let at = names.split(' ').position(|name| name == "RcvbufErrors");
        let v4 = at.and_then(|at| numbers.split(' ').nth(at)).map(str::to_owned);
        let v6 = v6.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors")).map(str::to_owned);
        let number = |text: Option<String>| text.and_then(|text| text.trim().parse::<u64>().ok());
        number(v4).zip(number(v6)).map(|(v4, v6)| v4 + v6).ok_or_else(|| io::Error::other("no count of them"))
    }
}

impl Drop for IperfServer<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Iperf {
    /// Sends so many megabits a second to an address, for so many seconds.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(
        place: &Place,
        to: SocketAddr,
        carried: Carried,
        megabits: u32,
        seconds: u32,
    ) -> io::Result<Iperf> {
        let mut command = place.command("iperf3");
        let address: IpAddr = to.ip();
        command.args(["-c", &address.to_string(), "-p", &to.port().to_string(), "-J", "--get-server-output"]);
        command.args(["-i", "1", "-t", &seconds.to_string(), "-b", &format!("{megabits}M")]);
        if carried == Carried::Datagrams {
            command.args(["-u", "-l", DATAGRAM]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Iperf { process: command.spawn()? })
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        self.process.try_wait().map(|status| status.is_some())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It says that it failed.
    pub fn finish(self) -> io::Result<Streamed> {
        told(&self.process.wait_with_output()?)
    }
}

fn told(output: &Output) -> io::Result<Streamed> {
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = || {
        let why = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("iperf3 ended with {}: {said}{why}", output.status))
    };
    let told: Value = serde_json::from_str(&said).map_err(|_| failed())?;
    let intervals = told["server_output_json"]["intervals"].as_array().ok_or_else(failed)?;
    if !output.status.success() || told.get("error").is_some() {
        return Err(failed());
    }
    // The last is what of a second was left.
    let whole =
        intervals.iter().map(|interval| &interval["sum"]).filter(|sum| sum["seconds"].as_f64() > Some(0.9));
    let sum = &told["end"]["sum"];
    Ok(Streamed {
        seconds: whole.filter_map(|sum| sum["bytes"].as_u64()).collect(),
        datagrams: sum["packets"].as_u64().unwrap_or(0),
        lost: sum["lost_packets"].as_u64().unwrap_or(0),
    })
}
