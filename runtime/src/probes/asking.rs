//! One check of one backend: a connection by TCP, and a request by HTTP where that is asked for.
//!
//! Of an answer only the status is read, and no more than its first line. Not here: thresholds (`health`).

use super::plan::{HealthCheck, Target};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_grammar::tree::HttpCheck;

/// A status line that is longer is none.
const LINE: usize = 1024;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The backend is there.
    Passed,
    /// It is not.
    Failed(Failure),
    /// This machine could not ask: that says nothing of the backend.
    Unasked,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection.
    #[error("no connection: {0}")]
    Connection(io::ErrorKind),
    /// Nothing came in time.
    #[error("no answer in time")]
    Late,
    /// Another status than 200 to 399.
    #[error("it answers with status {0}")]
    Status(u16),
    /// Something that is no answer by HTTP.
    #[error("what it answers is not HTTP")]
    NotHttp,
    /// The connection ended before the answer.
    #[error("the connection ends without an answer")]
    NoAnswer,
}

/// Checks a backend.
pub(super) async fn ask(target: &Target, check: &HealthCheck) -> Answer {
    let backend = SocketAddr::new(target.address, target.port);
    match timeout(check.timeout, connect_and_ask(backend, check.http.as_ref())).await {
        Ok(answer) => answer,
        Err(_) => Answer::Failed(Failure::Late),
    }
}

async fn connect_and_ask(backend: SocketAddr, http: Option<&HttpCheck>) -> Answer {
    let mut stream = match TcpStream::connect(backend).await {
        Ok(stream) => stream,
        Err(error) if is_ours(&error) => return Answer::Unasked,
        Err(error) => return Answer::Failed(Failure::Connection(error.kind())),
    };
    let Some(http) = http else { return Answer::Passed };
    let asked = match stream.write_all(request(backend, http).as_bytes()).await {
        Ok(()) => status(&mut stream).await,
        Err(error) => Err(Failure::Connection(error.kind())),
    };
    match asked {
        Ok(200..=399) => Answer::Passed,
        Ok(other) => Answer::Failed(Failure::Status(other)),
        Err(failure) => Answer::Failed(failure),
    }
}

/// Whether the fault is this machine's: it has no descriptor, memory or local port left.
fn is_ours(error: &io::Error) -> bool {
    let ours = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL, libc::EAGAIN];
    error.raw_os_error().is_some_and(|number| ours.contains(&number))
}

fn request(backend: SocketAddr, http: &HttpCheck) -> String {
    let method = if http.is_head { "HEAD" } else { "GET" };
    let own = backend.to_string();
    let host = http.host.as_deref().unwrap_or(&own);
    let path = &http.path;
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

/// Reads as far as the end of the first line.
async fn status(stream: &mut TcpStream) -> Result<u16, Failure> {
    let mut answer = [0; LINE];
    let mut filled = 0;
    while let Some(free) = answer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match stream.read(free).await {
            Ok(0) if filled == 0 => return Err(Failure::NoAnswer),
            Ok(0) => return Err(Failure::NotHttp),
            Ok(read) => filled += read,
            Err(error) => return Err(Failure::Connection(error.kind())),
        }
        if let Some(code) = code(answer.get(..filled).unwrap_or_default())? {
            return Ok(code);
        }
    }
    Err(Failure::NotHttp)
}

/// The status of an answer as far as it was read; `None` if its first line is not over.
fn code(answer: &[u8]) -> Result<Option<u16>, Failure> {
    let mut response = httparse::Response::new(&mut []);
    match response.parse(answer) {
        // There is no room for a header, as none is looked at.
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            Ok(response.code.filter(|_| response.reason.is_some()))
        }
        Err(_) => Err(Failure::NotHttp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_line_has_the_status() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(Some(200))),
            ("HTTP/1.0 503 Service Unavailable\r\n", Ok(Some(503))),
            ("HTTP/1.1 204\r\n\r\n", Ok(Some(204))),
            ("HTTP/1.1 204\n\n", Ok(Some(204))),
            ("HTTP/1.1 200 O", Ok(None)),
            ("HTTP/1.1 20", Ok(None)),
            ("HTTP/1.1 200", Ok(None)),
            ("", Ok(None)),
            ("HTTP/1.1 2000 x\r\n", Err(Failure::NotHttp)),
            ("HTTP/2 200\r\n", Err(Failure::NotHttp)),
            ("SSH-2.0-OpenSSH_9.2\r\n", Err(Failure::NotHttp)),
        ] {
            assert_eq!(code(answer.as_bytes()), status, "{answer}");
        }
    }

    proptest! {
        /// What is read in pieces says the same as the whole.
        #[test]
        fn an_answer_says_the_same_in_pieces(rest in prop::collection::vec(any::<u8>(), 0..40), prefix in prop::sample::select(vec!["", "HTTP/1.1 ", "HTTP/1.1 2", "HTTP/1.1 503 No\r\n"])) {
            let answer = [prefix.as_bytes(), &rest].concat();
            let first = (0..=answer.len()).map(|end| code(&answer[..end])).find(|found| *found != Ok(None));
            if let Some(Ok(found)) = first {
                prop_assert_eq!(code(&answer).unwrap_or(found), found);
            }
        }
    }

    #[test]
    fn a_request_is_five_lines() {
        let mut http = HttpCheck { path: "/healthz".to_owned(), is_head: false, host: None };
        let backend = "[fd00::1]:8080".parse().unwrap();
        assert!(request(backend, &http).starts_with("GET /healthz HTTP/1.1\r\nHost: [fd00::1]:8080\r\n"));
        http = HttpCheck { is_head: true, host: Some("web.example".to_owned()), ..http };
        let request = request(backend, &http);
        assert!(
            request.starts_with("HEAD /healthz HTTP/1.1\r\nHost: web.example\r\n")
                && request.ends_with("close\r\n\r\n")
        );
    }
}
