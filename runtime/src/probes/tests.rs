//! Checks of servers that come and go, by real sockets on this machine; and of how many are under way at once, by a clock that stands still.

use super::*;
use plan::HealthCheck;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use weir_abi::services::{Question, Scope, ServiceImage};
use weir_compiler::services::{Input, compile};
use weir_grammar::tree::HttpCheck;
use weir_project::Project;

/// So long anything here may take before the test has failed.
const LONG: Duration = Duration::from_secs(60);

fn check(http: Option<&str>) -> HealthCheck {
    HealthCheck {
        interval: Duration::from_millis(20),
        // No answer is late because the machine is slow.
        timeout: LONG,
        healthy: 2,
        unhealthy: 2,
        quarantine: Duration::ZERO,
        http: http.map(|path| HttpCheck { path: path.to_owned(), is_head: false, host: None }),
    }
}

fn plan(backends: &[SocketAddr], check: &HealthCheck) -> Arc<Plan> {
    let target = |backend: &SocketAddr| Target {
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        address: backend.ip(),
        port: backend.port(),
    };
    let check = Arc::new(check.clone());
    let targets = backends.iter().map(|backend| (Arc::new(target(backend)), Arc::clone(&check)));
    Arc::new(Plan { targets: targets.collect(), left_out: 0 })
}

/// Waits until these backends are unfit and no other.
async fn until_unfit(probes: &mut Probes, wanted: &[SocketAddr]) {
    let wanted: BTreeSet<SocketAddr> = wanted.iter().copied().collect();
    let all = |found: &Found| -> BTreeSet<SocketAddr> {
        found.unfit.iter().map(|(_, _, (address, port, _))| (address, port).into()).collect()
    };
    let reached = async {
        while all(&probes.found()) != wanted {
            probes.changed().await;
        }
    };
    timeout(LONG, reached).await.unwrap();
}

/// A server that takes connections and does nothing with them; how many it took.
async fn listening(at: &str) -> (SocketAddr, Arc<AtomicUsize>, JoinHandle<()>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&taken);
    let task = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, taken, task)
}

async fn close(server: JoinHandle<()>) {
    server.abort();
    _ = server.await;
}

#[tokio::test]
async fn a_listener_that_closes_is_unfit_until_it_is_back() {
    let (first, taken, _first) = listening("127.0.0.1:0").await;
    let (second, _, server) = listening("[::1]:0").await;
    let mut probes = Probes::spawn();
    probes.set(plan(&[first, second], &check(None)));
    assert_eq!(probes.checked(), 2);
    let asked = async {
        while taken.load(Ordering::Relaxed) < 5 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, asked).await.unwrap();
    assert_eq!(*probes.found(), Found::default());

    close(server).await;
    until_unfit(&mut probes, &[second]).await;
    let found = probes.found();
    // Refused, or reset if it was being made.
    assert!(matches!(found.failures[0].1, Failure::Connection(_)), "{found:?}");
    assert_eq!(found.failures[0].0.to_string(), format!("backend {second} of shop/web"));

    let (back, _, server) = listening(&second.to_string()).await;
    assert_eq!(back, second);
    until_unfit(&mut probes, &[]).await;

    // Who is checked no more is not unfit.
    close(server).await;
    until_unfit(&mut probes, &[second]).await;
    probes.set(plan(&[first], &check(None)));
    until_unfit(&mut probes, &[]).await;
}

/// A server that answers every request with what is in `answer`: a status, 0 for something that is no HTTP, 1 for nothing at all, 2 for an end.
async fn answering(answer: Arc<AtomicU16>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let is_ours = request[..read].starts_with(b"GET /healthz?full=1 HTTP/1.1\r\n");
                let text = match answer {
                    0 => "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
                    1 => return sleep(LONG).await,
                    2 => return,
                    _ if !is_ours => "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
                    status => format!("HTTP/1.1 {status} So\r\nContent-Length: 2\r\n\r\nno"),
                };
                // The line may come in pieces.
                for piece in text.as_bytes().chunks(7) {
                    _ = stream.write_all(piece).await;
                    _ = stream.flush().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_server_is_fit_by_its_status() {
    let answer = Arc::new(AtomicU16::new(200));
    let server = answering(Arc::clone(&answer)).await;
    let mut probes = Probes::spawn();
    let check = check(Some("/healthz?full=1"));
    let hasty = HealthCheck { timeout: Duration::from_millis(500), ..check.clone() };
    for (bad, why) in [
        (500, Failure::Status(500)),
        (404, Failure::Status(404)),
        (0, Failure::NotHttp),
        (1, Failure::Late),
        (2, Failure::NoAnswer),
    ] {
        probes.set(plan(&[server], if why == Failure::Late { &hasty } else { &check }));
        answer.store(bad, Ordering::Relaxed);
        until_unfit(&mut probes, &[server]).await;
        assert_eq!(probes.found().failures[0].1, why);
        answer.store(if bad == 404 { 302 } else { 204 }, Ordering::Relaxed);
        until_unfit(&mut probes, &[]).await;
    }
}

#[tokio::test]
async fn a_service_is_served_by_those_that_pass() {
    let (up, _, _server) = listening("127.0.0.1:0").await;
    let (down, _, server) = listening(&format!("127.0.0.2:{}", up.port())).await;
    close(server).await;
    let folder = tempfile::tempdir().unwrap();
    let manifests = format!(
        "
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {{service.cilium.io/health-check-probe-interval: 100ms, service.cilium.io/health-check-threshold-unhealthy: '1'}}
spec: {{selector: {{app: web}}, externalIPs: [198.51.100.1], ports: [{{port: 80, targetPort: {port}}}, {{name: dns, port: 53, protocol: UDP}}]}}
---
{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {{app: web}}}}, status: {{podIP: 127.0.0.1}}}}
---
{{apiVersion: v1, kind: Pod, metadata: {{name: b, labels: {{app: web}}}}, status: {{podIP: 127.0.0.2}}}}
",
        port = up.port()
    );
    std::fs::write(folder.path().join("balancer.yaml"), manifests).unwrap();
    let project = Project::read(&[], &[folder.path().to_owned()], &mut |_| ()).unwrap();
    assert_eq!(project.finding_lines().collect::<Vec<_>>(), [""; 0]);
    let mut probes = Probes::spawn();
    let plan = Arc::new(Plan::of(&project.cluster));
    assert_eq!(plan.len(), 2);
    probes.set(plan);
    until_unfit(&mut probes, &[down]).await;

    let found = probes.found();
    let input = Input { unfit: &found.unfit, ..Input::new(&project.cluster, &project.sources) };
    let image = compile(&input).unwrap().bytes;
    let image = ServiceImage::open(image.as_bytes()).unwrap();
    let address: IpAddr = "198.51.100.1".parse().unwrap();
    let client = "192.0.2.9".parse().unwrap();
    let chosen: BTreeSet<SocketAddr> = (1024..1200)
        .map(|client_port| {
            let question =
                Question { address, port: 80, protocol: 6, scope: Scope::External, client, client_port };
            let backend = image.ask(&question).backend.unwrap();
            (backend.address, backend.port).into()
        })
        .collect();
    assert_eq!(chosen, BTreeSet::from([up]));
}

#[tokio::test(start_paused = true)]
async fn so_many_are_asked_at_once_and_nobody_is_forgotten() {
    let (now, most, done) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_seen, most_seen, done_seen) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&done));
    let probes = Probes::asking_by(move |target, check| {
        let (now, most, done) = (Arc::clone(&now_seen), Arc::clone(&most_seen), Arc::clone(&done_seen));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(check.interval * 2).await;
            now.fetch_sub(1, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
            if target.port.is_multiple_of(2) { Answer::Failed(Failure::Late) } else { Answer::Passed }
        }
    });
    let backends: Vec<SocketAddr> = (0..3000u16).map(|port| ([10, 0, 0, 1], port + 1).into()).collect();
    probes.set(plan(&backends, &HealthCheck { interval: Duration::from_secs(1), ..check(None) }));
    // Twelve times two seconds for a round of 3,000, of 256 at once.
    sleep(Duration::from_secs(30)).await;
    assert_eq!(most.load(Ordering::Relaxed), AT_ONCE);
    assert!(done.load(Ordering::Relaxed) >= 3000, "{done:?}");
    let found = probes.found();
    assert_eq!((found.unfit.len(), found.failures.len()), (1500, 1500));
}
