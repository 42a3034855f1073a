//! The protocol, between a real socket's two ends.

use super::*;
use crate::control::client::{Client, ClientError};
use crate::event::Naming;
use crate::observer::Observer;
use crate::town::Model;
use std::io::{BufRead, BufReader as BlockingReader, Write};
use std::time::Duration;
use tempfile::TempDir;
use weir_abi::state::{EventKind, EventRecord};

struct Served {
    folder: TempDir,
    model: Model,
    observer: Observer,
    _serving: tokio::task::JoinHandle<()>,
}

impl Served {
    fn path(&self) -> PathBuf {
        self.folder.path().join("run/policyd.sock")
    }
}

/// A server with a daemon that knows one pod.
fn serve() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::bind(&folder.path().join("run/policyd.sock")).unwrap();
    let model = Model::default();
    let observer = Observer::spawn(Box::new(model.clone()), Naming::new("n1")).unwrap();
    let (asking, mut requests) = Server::queue();
    tokio::spawn(async move {
        while let Some(Asked { request, reply }) = requests.recv().await {
            let response = match request {
                Request::Unregister { pod } => Response::Unregistered { known: pod == "shop/web" },
                _ => Response::Error("not here".to_owned()),
            };
            _ = reply.send(response);
        }
    });
    let _serving = tokio::spawn(server.serve(asking, observer.clone()));
    Served { folder, model, observer, _serving }
}

/// What the daemon says to lines, one answer each.
async fn say(path: PathBuf, lines: Vec<String>) -> Vec<String> {
    let speak = move || {
        let mut stream = BlockingReader::new(BlockingStream::connect(path).unwrap());
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let answer = |line: String| {
            // A peer that has hung up says so when it is read.
            _ = stream.get_mut().write_all(format!("{line}\n").as_bytes());
            let mut answer = String::new();
            stream.read_line(&mut answer).unwrap();
            answer
        };
        lines.into_iter().map(answer).collect()
    };
    tokio::task::spawn_blocking(speak).await.unwrap()
}

#[tokio::test]
async fn requests_are_answered_in_order() {
    let served = serve();
    let lines = ["shop/web", "shop/db"].map(|pod| format!(r#"{{"op": "unregister", "pod": "{pod}"}}"#));
    let answers = say(served.path(), lines.to_vec()).await;
    assert_eq!(answers, ["{\"unregistered\":{\"known\":true}}\n", "{\"unregistered\":{\"known\":false}}\n"]);
}

#[tokio::test]
async fn nonsense_is_told_and_the_connection_stays() {
    let served = serve();
    let nonsense = [
        "",
        "{",
        "[]",
        "null",
        r#"{"op": "shutdown"}"#,
        r#"{"op": "unregister", "pod": 1}"#,
        r#"{"op": "unregister", "pod": "a/b", "more": 1}"#,
        "\u{0}\u{ff}",
    ];
    let mut lines: Vec<String> = nonsense.iter().map(|line| (*line).to_owned()).collect();
    lines.push(r#"{"op": "unregister", "pod": "shop/web"}"#.to_owned());
    let answers = say(served.path(), lines).await;
    let (last, rest) = answers.split_last().unwrap();
    for answer in rest {
        assert!(answer.starts_with(r#"{"error":"this is no request: "#), "{answer}");
    }
    assert_eq!(last, "{\"unregistered\":{\"known\":true}}\n");
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_connection() {
    let served = serve();
    let answers = say(served.path(), vec!["x".repeat(MAX_REQUEST + 1), String::new()]).await;
    assert!(answers[0].contains("a request is one line of at most"), "{answers:?}");
    assert_eq!(answers[1], "");
    // And others are served.
    let line = r#"{"op": "unregister", "pod": "shop/web"}"#.to_owned();
    assert_eq!(say(served.path(), vec![line]).await.len(), 1);
}

#[tokio::test]
async fn events_come_until_the_daemon_ends() {
    let served = serve();
    let (path, observer) = (served.path(), served.observer.clone());
    let listening = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(&path).unwrap();
        client.listen(&Request::Monitor { drops: true, party: None, last: 1 }).unwrap();
        let mut events = Vec::new();
        while let Some(Response::Event(event)) = client.next().unwrap() {
            events.push(serde_json::from_str::<crate::event::Event>(event.get()).unwrap());
            if events.len() == 2 {
                observer.end();
            }
        }
        events
    });
    for kind in [EventKind::Drop, EventKind::Connection, EventKind::Drop] {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let record = EventRecord { kind: kind as u8, ..EventRecord::default() };
        served.model.memory.lock().unwrap().events.push_back(record);
    }
    let events = tokio::time::timeout(Duration::from_secs(10), listening).await.unwrap().unwrap();
    assert!(events.len() == 2 && events.iter().all(|event| event.kind == "drop"), "{events:?}");
}

#[tokio::test]
async fn a_refusal_is_an_error_of_the_client() {
    let served = serve();
    let path = served.path();
    let asked = tokio::task::spawn_blocking(move || Client::connect(&path).unwrap().ask(&Request::Status));
    assert!(matches!(asked.await.unwrap(), Err(ClientError::Refused { told }) if told == "not here"));
}

#[tokio::test]
async fn only_root_may_open_it_and_one_daemon_may_listen() {
    let served = serve();
    let mode = fs::metadata(served.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(Server::bind(&served.path()), Err(ServerError::InUse { .. })));
    let left: Vec<_> = fs::read_dir(served.path().parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn a_socket_that_nobody_listens_at_is_replaced_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policyd.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::bind(&path).unwrap();
    drop(server);
    assert!(!path.exists());
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&path), Err(ServerError::Listen { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn without_a_daemon_the_client_says_so() {
    let error = Client::connect(Path::new("/nowhere/policyd.sock")).unwrap_err();
    assert!(error.to_string().starts_with("policyd is not running"), "{error}");
}
