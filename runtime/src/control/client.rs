//! The other side of the socket, for commands: asks and waits.

use super::{MAX_RESPONSE, Request, Response};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why the daemon does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens.
    #[error("policyd is not running: cannot connect to {}: {source}", .path.display())]
    NotRunning {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("policyd does not answer: {0}")]
    Broken(#[from] io::Error),
    /// What came is no answer.
    #[error("policyd answers in an unknown way: {0}")]
    Foreign(#[from] serde_json::Error),
    /// It refused.
    #[error("{told}")]
    Refused {
        /// What it said.
        told: String,
    },
    /// It answered something else.
    #[error("policyd answers something else than what was asked")]
    Other,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`].
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path)
            .map_err(|source| ClientError::NotRunning { path: path.to_owned(), source })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Asks, and gives the answer.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] if the daemon says that it cannot be done.
    pub fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        self.next()?.ok_or_else(|| ClientError::Broken(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Begins to listen; [`Client::next`] gives what comes, however long it takes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn listen(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        self.stream.get_mut().set_read_timeout(None)?;
        Ok(())
    }

    /// The next line; `None` when the daemon has gone.
    ///
    /// # Errors
    /// [`ClientError`].
    #[expect(clippy::should_implement_trait, reason = "what fails here ends the listening")]
    pub fn next(&mut self) -> Result<Option<Response>, ClientError> {
        let mut line = Vec::new();
        let most = u64::try_from(MAX_RESPONSE).unwrap_or(u64::MAX);
        (&mut self.stream).take(most).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice(&line)? {
            Response::Error(told) => Err(ClientError::Refused { told }),
            response => Ok(Some(response)),
        }
    }
}
