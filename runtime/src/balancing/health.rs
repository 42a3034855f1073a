//! Health-check ports: a load balancer outside asks each node whether it has backends of a service whose traffic stays on the node.
//!
//! As kube-proxy answers (`pkg/proxy/healthcheck/service_health.go`): any path, 200 where a ready backend is on the node, else 503, and
//! the count in a header and in the
//! body. A connection has one answer, and is bounded in bytes and time; so is the number of connections of a port.
//!
//! Not here: health checks of backends.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use weir_abi::services::{BackendState, FrontendKind, Scope, ServiceImage};

/// Bytes of a request's head, at most.
const LONGEST_HEAD: usize = 8 << 10;
/// Headers of a request, at most.
const MOST_HEADERS: usize = 64;
/// A connection's time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of a port at a time.
const CONNECTIONS: usize = 64;

/// What a port says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The port.
    pub port: u16,
    /// The service's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its ready backends on this node.
    pub endpoints: usize,
}

/// The checks of the services of an image, by port and name.
pub(super) fn checks(image: &ServiceImage<'_>) -> Vec<HealthCheck> {
    let mut local: BTreeMap<(u16, &str, &str), [BTreeSet<IpAddr>; 2]> = BTreeMap::new();
    let is_for_outside =
        |kind| matches!(kind, FrontendKind::NodePort | FrontendKind::LoadBalancer | FrontendKind::ExternalIp);
    for frontend in image.frontends() {
        if !is_for_outside(frontend.kind) || !frontend.is_local(Scope::External) {
            continue;
        }
        let Some(service) = frontend.of().map(|port| port.service) else { continue };
        let Some(port) = service.health_check_port else { continue };
        let own = local.entry((port, service.namespace, service.name)).or_default();
        let is_ready = |state| state == BackendState::Active;
        for backend in frontend.backends().filter(|one| one.is_local && is_ready(one.state) && one.weight > 0)
        {
            let [v4, v6] = &mut *own;
            if backend.address.is_ipv4() { v4 } else { v6 }.insert(backend.address);
        }
    }
    // A pod of both families is one.
    let check =
        |((port, namespace, name), [v4, v6]): ((u16, &str, &str), [BTreeSet<IpAddr>; 2])| HealthCheck {
            port,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            endpoints: v4.len().max(v6.len()),
        };
    local.into_iter().map(check).collect()
}

/// The ports that are open. They are closed with the value.
#[derive(Debug)]
pub(super) struct HealthServer {
    /// Where they listen; `None`: at every address.
    address: Option<IpAddr>,
    open: BTreeMap<u16, Open>,
    trouble: BTreeMap<u16, String>,
}

#[derive(Debug)]
struct Open {
    check: watch::Sender<HealthCheck>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HealthServer {
    /// None is open yet.
    pub(super) const fn new(address: Option<IpAddr>) -> Self {
        HealthServer { address, open: BTreeMap::new(), trouble: BTreeMap::new() }
    }

    /// Opens and closes ports so that these checks are answered. A port whose service is gone goes over to the next that has it, open as it is.
    /// What cannot be had is tried again with the next call.
    pub(super) fn set(&mut self, checks: &[HealthCheck]) {
        self.trouble.clear();
        self.open.retain(|port, _| checks.iter().any(|check| check.port == *port));
        for check in checks {
            let HealthCheck { port, namespace, name, .. } = check;
            if let Some(open) = self.open.get(port) {
                let owner = open.check.borrow().clone();
                let is_owners = |check: &HealthCheck| {
                    (check.port, &check.namespace, &check.name) == (*port, &owner.namespace, &owner.name)
                };
                if is_owners(check) || !checks.iter().any(is_owners) {
                    open.check.send_replace(check.clone());
                } else {
                    let told =
                        format!("service {namespace}/{name}: {}/{} has it", owner.namespace, owner.name);
                    self.trouble.insert(*port, told);
                }
                continue;
            }
            match listen(self.address, *port) {
                Ok(listener) => {
                    info!(port, service = format!("{namespace}/{name}"), "a health-check port is open");
                    let (tell, heard) = watch::channel(check.clone());
                    let open = Open { check: tell, task: tokio::spawn(serve(listener, heard)) };
                    self.open.insert(*port, open);
                }
                Err(error) => {
                    self.trouble.insert(*port, format!("service {namespace}/{name}: {error}"));
                }
            }
        }
    }

    /// Ports that could not be had, and why.
    pub(super) fn trouble(&self) -> impl ExactSizeIterator<Item = String> + '_ {
        self.trouble.iter().map(|(port, why)| format!("health-check port {port} cannot be had for {why}"))
    }
}

/// Listens at an address, or at all of both families.
fn listen(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    let listener = match address {
        Some(address) => StdListener::bind(SocketAddr::new(address, port))?,
        None => StdListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| StdListener::bind((Ipv4Addr::UNSPECIFIED, port)))?,
    };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve(listener: TcpListener, check: watch::Receiver<HealthCheck>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (mut stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as no descriptor left; it may pass.
                warn!(%error, "a health-check port cannot accept");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Who comes beyond the bound is closed at once.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let check = check.clone();
        tokio::spawn(async move {
            // A client that is slow or gone has had its chance.
            _ = timeout(PATIENCE, converse(&mut stream, &check)).await;
            drop(place);
        });
    }
}

/// One request and its answer.
async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    check: &watch::Receiver<HealthCheck>,
) -> io::Result<()> {
    let answer = match read_head(stream).await? {
        Head::Whole { is_head } => {
            let check = check.borrow().clone();
            answer(&check, is_head)
        }
        Head::Bad => refusal("400 Bad Request"),
        Head::TooLong => refusal("431 Request Header Fields Too Large"),
        Head::Gone => return Ok(()),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // What the client sends beside its head is read, or closing would take the answer away from it.
    let mut rest = [0; 1024];
    let mut left = LONGEST_HEAD;
    while left > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// What came of reading a request.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    Whole { is_head: bool },
    Bad,
    TooLong,
    Gone,
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(if bytes.is_empty() { Head::Gone } else { Head::Bad });
        }
        bytes.extend_from_slice(part.get(..read).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(_)) => {
                return Ok(Head::Whole { is_head: request.method == Some("HEAD") });
            }
            Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Ok(Head::TooLong),
            Err(_) => return Ok(Head::Bad),
        }
    }
}

/// The body of an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'c> {
    service: Named<'c>,
    local_endpoints: usize,
    /// Ports are open only while services are in force, so it is.
    service_proxy_healthy: bool,
}

#[derive(Serialize)]
struct Named<'c> {
    namespace: &'c str,
    name: &'c str,
}

fn answer(check: &HealthCheck, is_head: bool) -> Vec<u8> {
    let HealthCheck { namespace, name, endpoints, .. } = check;
    let status = if *endpoints > 0 { "200 OK" } else { "503 Service Unavailable" };
    let service = Named { namespace, name };
    let body = Body { service, local_endpoints: *endpoints, service_proxy_healthy: true };
    // Strings and numbers: this does not fail.
    let body = serde_json::to_string(&body).unwrap_or_default() + "\n";
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n\
         X-Load-Balancing-Endpoint-Weight: {endpoints}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    if is_head { head.into_bytes() } else { (head + &body).into_bytes() }
}

fn refusal(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests;
