//! Health-check ports over the loopback interface.

use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;

fn check(port: u16, name: &str, endpoints: usize) -> HealthCheck {
    HealthCheck { port, namespace: "shop".to_owned(), name: name.to_owned(), endpoints }
}

/// A port that is free now.
fn free_port() -> u16 {
    StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

async fn ask(port: u16, request: &'static [u8]) -> String {
    let asking = move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        io::Result::Ok(answer)
    };
    tokio::task::spawn_blocking(asking).await.unwrap().unwrap()
}

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: node\r\nUser-Agent: kube\r\n\r\n";

fn server() -> HealthServer {
    HealthServer::new(Some(Ipv4Addr::LOCALHOST.into()))
}

#[tokio::test]
async fn a_port_tells_how_many_backends_are_here() {
    let mut server = server();
    let port = free_port();
    server.set(&[check(port, "web", 2)]);
    let answer = ask(port, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nContent-Type: application/json\r\n"), "{answer}");
    assert!(answer.contains("\r\nX-Load-Balancing-Endpoint-Weight: 2\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let expected =
        r#"{"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}"#;
    assert_eq!(body.trim_end(), expected);

    // The last one goes, and the port stays.
    server.set(&[check(port, "web", 0)]);
    let answer = ask(port, GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("\r\nX-Load-Balancing-Endpoint-Weight: 0\r\n"), "{answer}");
    assert!(answer.contains(r#""localEndpoints":0"#), "{answer}");
    let head = ask(port, b"HEAD / HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(server.trouble().len(), 0);
}

#[tokio::test]
async fn ports_close_with_their_services() {
    let mut server = server();
    let (one, other) = (free_port(), free_port());
    server.set(&[check(one, "web", 1)]);
    ask(one, GET).await;
    server.set(&[check(other, "web", 1)]);
    ask(other, GET).await;
    // The task that had it ends soon.
    let mut tries = 0;
    while StdListener::bind((Ipv4Addr::LOCALHOST, one)).is_err() {
        tries += 1;
        assert!(tries < 1000, "the port is still open");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_had_is_told_and_tried_again() {
    let taken = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut server = server();
    server.set(&[check(port, "web", 1)]);
    let told: Vec<String> = server.trouble().collect();
    let begin = format!("health-check port {port} cannot be had for service shop/web: ");
    assert!(matches!(told.as_slice(), [told] if told.starts_with(&begin)), "{told:?}");
    drop(taken);
    server.set(&[check(port, "web", 1)]);
    assert_eq!(server.trouble().len(), 0);
    assert!(ask(port, GET).await.contains("200 OK"));
}

#[tokio::test]
async fn of_two_services_with_one_port_the_first_by_name_has_it() {
    let mut server = server();
    let port = free_port();
    server.set(&[check(port, "api", 1), check(port, "web", 0)]);
    assert!(ask(port, GET).await.contains("\"api\""));
    let told: Vec<String> = server.trouble().collect();
    assert_eq!(
        told,
        [format!("health-check port {port} cannot be had for service shop/web: shop/api has it")]
    );
    // When it gives it up the other has it.
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        server.set(&[check(port, "web", 0)]);
        if server.trouble().len() == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < until);
        sleep(Duration::from_millis(10)).await;
    }
    assert!(ask(port, GET).await.contains("\"web\""));
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let (_tell, heard) = watch::channel(check(1, "web", 1));
    let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 2 * LONGEST_HEAD]].concat();
    let many = [b"GET / HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(100), b"\r\n".to_vec()].concat();
    for (request, status) in [
        (b"\0\x01\x02\xff".to_vec(), "HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nHost".to_vec(), "HTTP/1.1 400 "),
        (long, "HTTP/1.1 431 "),
        (many, "HTTP/1.1 431 "),
        (GET.to_vec(), "HTTP/1.1 200 "),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_vec(), "HTTP/1.1 200 "),
    ] {
        let (mut client, mut own) = tokio::io::duplex(64 << 10);
        client.write_all(&request).await.unwrap();
        client.shutdown().await.unwrap();
        converse(&mut own, &heard).await.unwrap();
        drop(own);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_given_up_and_keeps_nobody_out() {
    let mut server = server();
    let port = free_port();
    server.set(&[check(port, "web", 1)]);
    let silent: Vec<TcpStream> =
        (0..CONNECTIONS - 1).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    assert!(ask(port, GET).await.contains("200 OK"));
    drop(silent);
}

#[tokio::test]
async fn a_port_goes_over_to_the_service_that_has_it_next() {
    let mut server = server();
    let port = free_port();
    server.set(&[check(port, "web", 1)]);
    ask(port, GET).await;
    server.set(&[check(port, "web-2", 3)]);
    assert_eq!(server.trouble().collect::<Vec<_>>(), Vec::<String>::new());
    let answer = ask(port, GET).await;
    assert!(answer.contains(r#""name":"web-2"},"localEndpoints":3"#), "{answer}");
    // Whoever has it keeps it while it is there.
    server.set(&[check(port, "api", 1), check(port, "web-2", 2)]);
    assert_eq!(server.trouble().len(), 1);
    let answer = ask(port, GET).await;
    assert!(answer.contains(r#""name":"web-2"},"localEndpoints":2"#), "{answer}");
}
