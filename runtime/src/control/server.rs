//! The daemon's side of the socket.

use super::{MAX_REQUEST, Request, Response, line};
use crate::observer::{Observer, Subscription};
use serde_json::value::RawValue;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{debug, warn};

/// Clients at a time.
const CLIENTS: usize = 64;
/// Requests that wait for the daemon, at most.
const WAITING: usize = 64;

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked for; never [`Request::Monitor`].
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Response>,
}

/// The socket, which is removed at the end.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It cannot be made.
    #[error("cannot listen at {}: {source}", .path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody listens there.
    #[error("another policyd listens at {}", .path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
}

impl Server {
    /// Makes the socket, for root alone. One that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn bind(path: &Path) -> Result<Server, ServerError> {
        let fail = |source| ServerError::Listen { path: path.to_owned(), source };
        if BlockingStream::connect(path).is_ok() {
            return Err(ServerError::InUse { path: path.to_owned() });
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(fail)?;
        }
        if fs::symlink_metadata(path).is_ok_and(|meta| !meta.file_type().is_socket()) {
            return Err(fail(io::ErrorKind::AlreadyExists.into()));
        }
        // Under its own name the socket is never open to others, not even for a moment.
        let unnamed = path.with_extension(format!("{}.new", std::process::id()));
        _ = fs::remove_file(&unnamed);
        let listener = UnixListener::bind(&unnamed).map_err(fail)?;
        let named = fs::set_permissions(&unnamed, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&unnamed, path));
        if let Err(source) = named {
            _ = fs::remove_file(&unnamed);
            return Err(fail(source));
        }
        Ok(Server { path: path.to_owned(), listener })
    }

    /// Serves clients for as long as the daemon takes requests.
    pub async fn serve(self, daemon: mpsc::Sender<Asked>, observer: Observer) {
        let room = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (daemon, observer) = (daemon.clone(), observer.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve_one(stream, daemon, observer).await {
                            debug!(%error, "a client has gone");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Too many open files, for example; a client may end soon.
                    warn!(%error, "cannot accept a client");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// A queue of requests.
    pub fn queue() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
        mpsc::channel(WAITING)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A socket that stays is replaced by the next daemon.
        _ = fs::remove_file(&self.path);
    }
}

async fn serve_one(stream: UnixStream, daemon: mpsc::Sender<Asked>, observer: Observer) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let line = match line::read(&mut read, MAX_REQUEST).await {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => {
                // What follows in a line that is too long is no request.
                let told = format!("a request is one line of at most {MAX_REQUEST} bytes: {error}");
                return send(&mut write, &Response::Error(told)).await;
            }
        };
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                send(&mut write, &Response::Error(format!("this is no request: {error}"))).await?;
                continue;
            }
        };
        if let Some(filter) = request.filter() {
            match observer.subscribe(filter) {
                Ok(subscription) => return hand_on(subscription, &mut read, &mut write).await,
                Err(error) => send(&mut write, &Response::Error(error.to_string())).await?,
            }
            continue;
        }
        let (reply, answer) = oneshot::channel();
        let gone = || Response::Error("the daemon is about to end".to_owned());
        let response = match daemon.send(Asked { request, reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        };
        send(&mut write, &response).await?;
    }
}

/// Hands events on until the client or the daemon goes.
async fn hand_on(
    mut subscription: Subscription,
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
) -> io::Result<()> {
    loop {
        tokio::select! {
            event = subscription.next() => {
                let Some(event) = event else { return Ok(()) };
                let lost = subscription.lost();
                if lost > 0 {
                    send(write, &Response::Lost(lost)).await?;
                }
                let event = RawValue::from_string(event.to_string()).map_err(io::Error::from)?;
                send(write, &Response::Event(event)).await?;
            }
            // A client that listens says nothing more; that it goes is seen even while nothing happens.
            said = line::read(read, 0) => if !matches!(said, Ok(Some(_))) { return Ok(()) },
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    write.write_all(&line).await
}

#[cfg(test)]
mod tests;
