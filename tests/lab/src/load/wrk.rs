//! `wrk`: requests of HTTP, one after the other on each of some connections.
//!
//! Not here: latency, of which a busy machine says nothing.

use crate::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use tempfile::NamedTempFile;

const SCRIPT: &str = include_str!("wrk.lua");
/// It is stopped before.
const AT_MOST: &str = "120s";
/// What takes longer is an error to it.
const TIMEOUT: &str = "5s";

/// It, under way.
#[derive(Debug)]
pub struct Wrk {
    process: Child,
    _script: NamedTempFile,
}

/// What it counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Requests {
    /// Requests that were answered, and the same on the connection with the fewest.
    pub answered: u64,
    /// The same on the connection with the fewest.
    pub least: u64,
    /// The longest time without an answer on any of the connections, in seconds by a clock of whole ones.
    pub longest_gap: u64,
    /// Connections that were not made.
    pub connect: u64,
    /// Connections that broke while an answer was awaited.
    pub read: u64,
    /// The same while a request was sent.
    pub write: u64,
    /// Answers that said something failed.
    pub status: u64,
    /// Answers that took too long.
    pub timeout: u64,
}

impl Requests {
    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.connect + self.read + self.write + self.status + self.timeout
    }
}

impl Wrk {
    /// Asks at an address, on so many connections at a time that are kept, or that are new for each request. Each pauses so many milliseconds
    /// before a request.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(
        place: &Place,
        to: SocketAddr,
        connections: u32,
        is_kept: bool,
        pause: u32,
    ) -> io::Result<Wrk> {
        let mut script = NamedTempFile::new()?;
        script.write_all(SCRIPT.as_bytes())?;
        let many = connections.to_string();
        // As peers are, so that it takes what the machine has left.
        let mut command = place.command("nice");
        command.args(["-n", "19", "wrk", "-t", &many, "-c", &many, "-d", AT_MOST, "--timeout", TIMEOUT]);
        if !is_kept {
            command.args(["-H", "Connection: close"]);
        }
        command.arg("-s").arg(script.path()).arg(format!("http://{to}/")).args(["--", &pause.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Wrk { process: command.spawn()?, _script: script })
    }

    /// Has it end, and tell.
    ///
    /// # Errors
    /// It failed as a whole.
    pub fn stop(self) -> io::Result<Requests> {
        let process = i32::try_from(self.process.id()).map_err(io::Error::other)?;
        // It may have ended, which it then tells why.
        let _ = kill(Pid::from_raw(process), Signal::SIGINT);
        let output = self.process.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let counted = said.lines().find(|line| line.starts_with('{'));
        match counted.map(serde_json::from_str).transpose()? {
            Some(requests) if output.status.success() => Ok(requests),
            _ => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(io::Error::other(format!("wrk ended with {}: {said}{why}", output.status)))
            }
        }
    }
}
