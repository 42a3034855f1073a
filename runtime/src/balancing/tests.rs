//! Balancing as a whole, with a kernel that only remembers.

use super::model::Model;
use super::*;
use crate::balancer::FlowOnRecord;
use crate::interfaces::Link;
use crate::town::{CLUSTER, POLICY, Town};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use weir_abi::services::{Question, Scope, ServiceImage};

/// How long something may take to come true, by the wall's clock.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service with so many backends on n1, of which the last is as it is said.
fn service(backends: std::ops::RangeInclusive<u8>, more: &str) -> String {
    let endpoints: Vec<String> =
        backends.map(|number| format!("{{addresses: [10.2.0.{number}], nodeName: n1}}")).collect();
    let endpoints = endpoints.join(", ");
    format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{type: LoadBalancer, clusterIP: 10.96.0.1, {more}ports: [{{name: http, port: 80, nodePort: 30080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{endpoints}]
"
    )
}

/// A node with a device.
fn interfaces() -> Interfaces {
    let address: IpAddr = "10.1.0.1".parse().unwrap();
    let eth0 = Link { name: "eth0".to_owned(), addresses: vec![address], ..Link::default() };
    Interfaces { links: [(2, eth0), (5, Link::default())].into(), own: [address].into() }
}

struct Node {
    town: Town,
    model: Model,
    settings: Settings,
}

struct Running<'n> {
    node: &'n Node,
    balancing: Balancing,
    interfaces: watch::Sender<Option<Interfaces>>,
}

impl Node {
    fn new() -> Node {
        let settings = Settings { idle: Duration::ZERO, ..Settings::default() };
        Node { town: Town::new(), model: Model::default(), settings }
    }

    fn services(&self, text: impl AsRef<[u8]>) -> &Self {
        self.town.file("source/services.yaml", text);
        self
    }

    fn project(&self) -> Project {
        Project::read(&[], &[self.town.path("source")], &mut |_| ()).unwrap()
    }

    fn state(&self, name: &str) -> PathBuf {
        self.town.path("state").join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.town.path("state")).unwrap()
    }

    /// What the source's services are for n1 without any past.
    fn fresh(&self) -> Vec<u8> {
        let project = self.project();
        let place = project.node(Some("n1")).unwrap();
        project.compile_services(place, None).unwrap().bytes.as_bytes().to_vec()
    }

    /// Begins balancing, and has it read the source.
    fn begin(&self) -> Running<'_> {
        let running = self.begin_unread();
        running.read();
        running
    }

    fn begin_unread(&self) -> Running<'_> {
        let means = self.model.means(self.settings.clone());
        let (tell, interfaces) = watch::channel(Some(interfaces()));
        let mut interfaces = interfaces;
        interfaces.mark_changed();
        let balancing = Balancing::begin(means, "n1", Arc::new(self.store()), interfaces);
        Running { node: self, balancing, interfaces: tell }
    }
}

impl Running<'_> {
    fn read(&self) {
        self.balancing.ear().hear(&self.node.project());
    }

    /// Waits until the status is as it should be. Time passes as fast as it can.
    async fn until(&self, what: &str, is_so: impl Fn(&BalancingStatus) -> bool) -> BalancingStatus {
        let began = std::time::Instant::now();
        while began.elapsed() < PATIENCE {
            let status = self.balancing.status();
            if is_so(&status) {
                return status;
            }
            std::thread::sleep(Duration::from_millis(1));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what}: {:#?}", self.balancing.status());
    }

    async fn end(self) {
        self.balancing.end().await;
    }
}

fn contents(status: &BalancingStatus) -> crate::status::ServiceContents {
    status.image.as_ref().and_then(|image| image.contents).unwrap_or_default()
}

fn has_backends(count: usize) -> impl Fn(&BalancingStatus) -> bool {
    move |status| {
        contents(status).backends == count && status.problems.is_empty() && !status.devices.is_empty()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_stands_in_the_way_until_there_is_something_to_balance() {
    let node = Node::new();
    let running = node.begin();
    running.balancing.set_pods([5].into());
    running.until("nothing wrong", |status| status.problems.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(node.model.look().opened, 0);

    node.services(service(1..=2, ""));
    running.read();
    let status = running.until("the service", has_backends(2)).await;
    let contents = contents(&status);
    assert_eq!((contents.services, contents.frontends, contents.unsettled), (1, 2, 0));
    assert!(status.sockets && status.image.unwrap().since.is_some());
    running.until("the pods", |status| status.pods == 1).await;
    let told = node.model.look();
    assert_eq!((told.devices, told.pods), ([2].into(), [5].into()));
    assert!(told.has_sockets && told.upgraded > 0);
    assert_eq!(told.node, ("10.1.0.1".parse().ok(), None));
    let status = running.until("a sweep", |status| status.sweep.translations == 2).await;
    assert_eq!(status.counters, [("delivered".to_owned(), 7)]);

    // The last service goes.
    fs::remove_file(node.town.path("source/services.yaml")).unwrap();
    running.read();
    running.until("nothing", |status| status.image.is_none()).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let told = node.model.look();
    assert!(told.image.is_none() && told.devices.is_empty() && told.pods.is_empty() && !told.has_sockets);
    assert!(!node.state("services.weir").exists());
    assert_eq!(running.balancing.status().devices, []);

    // And comes again.
    node.services(service(1..=1, ""));
    running.read();
    running.until("the service again", has_backends(1)).await;
    assert_eq!(node.model.look().devices, [2].into());
    running.end().await;
    assert_eq!(node.model.look().devices, [2].into(), "what is in force stays");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_left_goes_where_nothing_is_to_be_balanced_any_more() {
    let node = Node::new();
    run_once(&node, 2).await;
    assert_eq!(node.model.look().devices, [2].into());
    // The disk is lost, or another version's; and so is the last service.
    node.store().forget_services().unwrap();
    fs::remove_file(node.town.path("source/services.yaml")).unwrap();
    let running = node.begin();
    running.until("nothing wrong", |status| status.problems.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = node.model.look();
    assert!(told.image.is_none() && told.devices.is_empty() && !told.has_sockets);
    assert_eq!(told.opened, 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_did_not_change_is_not_put_in_force_again() {
    let node = Node::new();
    node.services(service(1..=2, ""));
    let running = node.begin();
    running.until("the service", has_backends(2)).await;
    node.town.file("source/policies/db.yaml", POLICY.replace("5432", "5433"));
    running.read();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(node.model.look().installed, 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_mistake_holds_services_back_only_if_it_may_hide_one() {
    let node = Node::new();
    node.services(service(1..=1, ""));
    let running = node.begin();
    running.until("the service", has_backends(1)).await;
    // In a policy's own fields, and in a file that can be read no more.
    for (backends, policy) in
        [(2, POLICY.replace("endpointSelector", "endpointSelect0r")), (3, "spec: [".to_owned())]
    {
        node.town.file("source/policies/db.yaml", policy);
        node.services(service(1..=backends, ""));
        running.read();
        running.until("more backends", has_backends(usize::from(backends))).await;
    }
    // In a service, in who serves it, and in a file of theirs.
    for (bad, code) in [
        (service(1..=4, "").replace("LoadBalancer", "Balancer"), "E334"),
        (service(1..=4, "").replace("10.2.0.4", "10.2.0.400"), "E206"),
        (service(1..=4, "") + "---\n{", "E102"),
    ] {
        node.services(&bad);
        running.read();
        let status = running.until("the refusal", |status| status.problems.len() == 1).await;
        let told = &status.problems[0];
        assert!(
            told.starts_with("services stay as they were: ") && told.contains("services.yaml:"),
            "{told}"
        );
        assert!(told.contains("error["), "{told} {code}");
        assert_eq!(contents(&status).backends, 3);
        node.services(service(1..=3, ""));
        running.read();
        running.until("the mended source", |status| status.problems.is_empty()).await;
    }
    // A file that is gone, and one that cannot be read: it may be what the other was.
    fs::rename(node.town.path("source/services.yaml"), node.town.path("source/renamed.yaml")).unwrap();
    node.town.file("source/renamed.yaml", "{");
    running.read();
    running.until("the refusal", |status| status.problems.len() == 1).await;
    assert_eq!(contents(&running.balancing.status()).backends, 3);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_this_node_changes_nothing() {
    let node = Node::new();
    node.services(service(1..=1, ""));
    let running = node.begin();
    running.until("the service", has_backends(1)).await;
    node.town.file("source/cluster.yaml", CLUSTER.replace("name: n1", "name: n9"));
    node.services(service(1..=2, ""));
    running.read();
    let status = running.until("the refusal", |status| status.problems.len() == 1).await;
    assert_eq!(status.problems, ["services stay as they were: the cluster has no node n1"]);
    assert_eq!(contents(&status).backends, 1);
    running.end().await;
}

/// Has one daemon run to its end with a service of so many backends.
async fn run_once(node: &Node, backends: u8) {
    node.services(service(1..=backends, ""));
    let running = node.begin();
    running.until("the service", has_backends(usize::from(backends))).await;
    running.end().await;
}

/// Has one begin with a service of so many backends; the slots that are unsettled then.
async fn run_again(node: &Node, backends: u8) -> usize {
    node.services(service(1..=backends, ""));
    let running = node.begin();
    let is_there = |status: &BalancingStatus| contents(status).backends == usize::from(backends);
    running.until("the service after a restart", is_there).await;
    running.end().await;
    node.model.unsettled()
}

#[tokio::test(start_paused = true)]
async fn a_restart_knows_what_was_there_before() {
    let node = Node { settings: Settings::default(), ..Node::new() };
    run_once(&node, 2).await;
    assert!(run_again(&node, 3).await > 0, "slots of a third backend are unsettled");
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_short_leaves_the_image_in_force_on_disk() {
    // It died before the next image came into force,
    let node = Node { settings: Settings::default(), ..Node::new() };
    run_once(&node, 2).await;
    node.services(service(1..=5, ""));
    node.store().keep_next_services(&node.fresh()).unwrap();
    assert!(run_again(&node, 3).await > 0);
    // or after.
    let node = Node { settings: Settings::default(), ..Node::new() };
    run_once(&node, 5).await;
    node.services(service(1..=2, ""));
    let next = node.fresh();
    node.store().keep_next_services(&next).unwrap();
    node.model.change(|memory| memory.image = Some(next));
    assert!(run_again(&node, 3).await > 0);
    let image = fs::read(node.state("services.weir")).unwrap();
    assert_eq!(Some(image), node.model.look().image);
}

#[tokio::test(start_paused = true)]
async fn an_image_on_disk_that_is_not_in_force_says_nothing() {
    // The kernel has another, of which nothing is known: it stays until there are services.
    let node = Node { settings: Settings::default(), ..Node::new() };
    run_once(&node, 2).await;
    node.services(service(1..=7, ""));
    let other = node.fresh();
    node.model.change(|memory| memory.image = Some(other.clone()));
    let running = node.begin_unread();
    let status = running.until("the kernel's", |status| status.image.is_some()).await;
    assert!(status.problems[0].ends_with("of which nothing is on disk"), "{:?}", status.problems);
    assert_eq!((node.model.look().image, node.model.look().installed), (Some(other), 1));
    running.end().await;
    assert_eq!(run_again(&node, 3).await, 0);

    // Nothing is on disk, or nothing of use.
    for lose in [
        |node: &Node| fs::remove_file(node.state("services.weir")).unwrap(),
        |node: &Node| {
            fs::write(node.state("services.weir"), "damaged").unwrap();
        },
    ] {
        let node = Node { settings: Settings::default(), ..Node::new() };
        run_once(&node, 2).await;
        lose(&node);
        assert_eq!(run_again(&node, 3).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_lost_everything_has_the_last_services_before_a_source_answers() {
    let node = Node::new();
    run_once(&node, 2).await;
    let before = node.model.checksum();
    node.model.change(|memory| *memory = model::Memory::default());
    let running = node.begin_unread();
    let status = running.until("the last services", |status| status.image.is_some()).await;
    assert!(status.image.unwrap().is_restored);
    assert_eq!(node.model.checksum(), before);
    running.read();
    running.until("the source", |status| status.image.as_ref().is_some_and(|image| !image.is_restored)).await;
    assert_eq!(node.model.look().installed, 1);
    running.end().await;
}

/// A kernel that does not know since when slots are unsettled takes every datagram's flow for one from before, and what is new never gets one.
#[tokio::test(start_paused = true)]
async fn a_kernel_that_lost_everything_is_told_since_when_slots_are_unsettled() {
    let node = Node { settings: Settings::default(), ..Node::new() };
    run_once(&node, 2).await;
    assert!(run_again(&node, 3).await > 0);
    node.model.change(|memory| *memory = model::Memory::default());
    let running = node.begin_unread();
    running.until("the last services", |status| status.image.is_some()).await;
    let memory = node.model.look();
    assert_eq!((memory.installed, memory.unsettled), (1, 1));
    running.end().await;
}

/// Flows of a client with these ports, each with the backend that the image in force gives it.
fn flows(model: &Model, ports: std::ops::Range<u16>) -> Vec<FlowOnRecord> {
    let bytes = model.look().image.unwrap();
    let image = ServiceImage::open(&bytes).unwrap();
    let address: IpAddr = "10.96.0.1".parse().unwrap();
    let flow = |client_port| {
        let client = "10.2.0.9".parse().unwrap();
        let question =
            Question { address, port: 80, protocol: 6, scope: Scope::Internal, client, client_port };
        let backend = image.ask(&question).backend.unwrap();
        let backend = (backend.address, backend.port);
        FlowOnRecord { client, client_port, address, port: 80, protocol: 6, backend }
    };
    ports.map(flow).collect()
}

#[tokio::test(start_paused = true)]
async fn slots_settle_once_no_record_needs_them() {
    let node = Node::new();
    node.services(service(1..=2, ""));
    let running = node.begin();
    running.until("the service", has_backends(2)).await;
    let flows = flows(&node.model, 1024..1124);
    node.model.change(|memory| memory.flows = flows);

    node.services(service(1..=3, ""));
    running.read();
    let status = running.until("a third backend", |status| contents(status).backends == 3).await;
    let first = contents(&status).unsettled;
    // Said once, for the image that came with other backends, and not for those in which slots settle.
    assert_eq!(node.model.look().unsettled, 1);
    assert!(first > 100, "{status:?}");
    // Slots without a flow on record settle; those that flows keep do not, however long it takes.
    let status = running.until("fewer", |status| contents(status).unsettled < first).await;
    let kept = contents(&status).unsettled;
    assert!((1..=100).contains(&kept), "{kept}");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(contents(&running.balancing.status()).unsettled, kept);
    let installed = node.model.look().installed;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(node.model.look().installed, installed, "nothing is put in force for nothing");

    // They end, and a sweep finds them.
    node.model.change(|memory| (memory.ended, memory.flows) = (100, Vec::new()));
    running.until("all settled", |status| contents(status).unsettled == 0).await;
    assert_eq!(node.model.look().unsettled, 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn flows_that_come_while_slots_are_let_settle_do_not_move() {
    let node = Node::new();
    node.services(service(1..=2, ""));
    let running = node.begin();
    running.until("the service", has_backends(2)).await;
    let coming = flows(&node.model, 1024..1124);
    node.services(service(1..=3, ""));
    running.read();
    let status = running.until("a third backend", |status| contents(status).backends == 3).await;
    let first = contents(&status).unsettled;
    // They are there only after the flows were read, and before the image is.
    let installed = node.model.look().installed;
    node.model.change(|memory| memory.coming = coming);
    running.until("the flows", |_| !node.model.look().flows.is_empty()).await;
    let status = running.until("fewer", |status| contents(status).unsettled < first).await;
    assert!(contents(&status).unsettled > 0, "{status:?}");
    assert_eq!(node.model.look().installed, installed + 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_settles_no_sooner_than_a_flow_may_be_idle() {
    let node =
        Node { settings: Settings { idle: Duration::from_secs(900), ..Settings::default() }, ..Node::new() };
    node.services(service(1..=2, ""));
    let running = node.begin();
    running.until("the service", has_backends(2)).await;
    node.services(service(1..=3, ""));
    running.read();
    let status = running.until("a third backend", |status| contents(status).backends == 3).await;
    assert!(contents(&status).unsettled > 0);
    let began = tokio::time::Instant::now();
    running.until("settled", |status| contents(status).unsettled == 0).await;
    assert!(began.elapsed() > Duration::from_secs(800), "{:?}", began.elapsed());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_refuses_is_told_and_tried_again() {
    let node = Node::new();
    node.services(service(1..=1, ""));
    let running = node.begin();
    running.until("the service", has_backends(1)).await;
    node.model.change(|memory| memory.refuses = Some("the model was told to refuse"));
    node.services(service(1..=2, ""));
    running.read();
    let status = running.until("the refusal", |status| !status.problems.is_empty()).await;
    let told = "cannot put the services in force: no packet is like that: the model was told to refuse";
    assert_eq!(status.problems, [told]);
    assert_eq!(contents(&status).backends, 1);
    node.model.change(|memory| memory.refuses = None);
    running.until("the second try", has_backends(2)).await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_balances_cannot_be_opened_at_first() {
    let node = Node::new();
    node.services(service(1..=1, ""));
    let model = node.model.clone();
    let open: Open = Arc::new(move || {
        let mut memory = model.memory.lock().unwrap();
        memory.opened += 1;
        if memory.opened < 3 {
            return Err(DatapathError::Question("not yet"));
        }
        Ok(Box::new(model.clone()))
    });
    let means = Means { open, ..node.model.means(node.settings.clone()) };
    let (_tell, mut interfaces) = watch::channel(Some(interfaces()));
    interfaces.mark_changed();
    let balancing = Balancing::begin(means, "n1", Arc::new(node.store()), interfaces);
    let running = Running { node: &node, balancing, interfaces: watch::channel(None).0 };
    running.read();
    running.until("the failure", |status| status.problems.iter().any(|told| told.contains("not yet"))).await;
    running.until("the third try", has_backends(1)).await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn health_checks_and_devices_are_told() {
    let mut node = Node::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    node.settings.health_checks = "127.0.0.1".parse().ok();
    node.settings.devices = ["eth0".to_owned(), "eth9".to_owned()].into();
    let local = format!("externalTrafficPolicy: Local, healthCheckNodePort: {port}, ");
    // Two backends on the node, one elsewhere.
    let text = service(1..=3, &local).replace("[10.2.0.3], nodeName: n1", "[10.2.0.3], nodeName: n2");
    node.services(text);
    let running = node.begin();
    let status = running.until("the check", |status| !status.health_checks.is_empty()).await;
    let [check] = status.health_checks.as_slice() else { panic!("{status:?}") };
    assert_eq!((check.port, check.name.as_str(), check.endpoints), (port, "web", 2));
    let status = running.until("the device", |status| !status.devices.is_empty()).await;
    assert_eq!((status.devices[0].device.as_str(), status.devices.len()), ("eth0", 1));
    assert_eq!(status.problems, ["there is no device eth9 to balance at"]);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    // Under another policy nobody asks.
    node.services(service(1..=3, ""));
    running.read();
    running.until("no check", |status| status.health_checks.is_empty()).await;
    running.end().await;
}

/// A balancer in front of two machines, asked at this machine's addresses: no manifest tells of a node.
#[tokio::test]
async fn a_machine_without_a_cluster_balances_over_who_is_there() {
    let listeners = [listen("127.0.0.1:0").await, listen("127.0.0.1:0").await];
    let [first, second] = [&listeners[0], &listeners[1]].map(|listener| listener.local_addr().unwrap());
    let node = Node::new();
    fs::remove_file(node.town.path("source/cluster.yaml")).unwrap();
    let slice = |name: &str, backend: SocketAddr| {
        format!(
            "---
{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, labels: {{kubernetes.io/service-name: web}}}}, \
 addressType: IPv4, ports: [{{port: {}}}], endpoints: [{{addresses: [{}]}}]}}
",
            backend.port(),
            backend.ip()
        )
    };
    let service = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    service.cilium.io/health-check-probe-interval: 100ms
    service.cilium.io/health-check-probe-timeout: 1m
    service.cilium.io/health-check-threshold-unhealthy: '1'
    service.cilium.io/health-check-threshold-healthy: '1'
spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}
";
    node.services(format!("{service}{}{}", slice("a", first), slice("b", second)));
    let running = node.begin();
    let served = |address: &str| -> BTreeSet<SocketAddr> {
        let bytes = node.model.look().image.unwrap_or_default();
        let Ok(image) = ServiceImage::open(&bytes) else { return BTreeSet::new() };
        let (address, client) = (address.parse().unwrap(), "192.0.2.9".parse().unwrap());
        let backends = (1024..1200).filter_map(|client_port| {
            let scope = Scope::External;
            let asked = Question { address, port: 30080, protocol: 6, scope, client, client_port };
            image.ask(&asked).backend.map(|backend| (backend.address, backend.port).into())
        });
        backends.collect()
    };
    let status = running.until("both", |_| served("10.1.0.1") == [first, second].into()).await;
    assert_eq!((status.probed, status.unfit.len()), (2, 0));

    let [stays, goes] = listeners;
    drop(goes);
    let status =
        running.until("one", |status| served("10.1.0.1") == [first].into() && status.unfit.len() == 1).await;
    assert_eq!(status.unfit[0].service, "default/web");
    assert_eq!(status.unfit[0].backend, second.to_string());
    // Refused, or reset if it was being made.
    assert!(status.unfit[0].why.starts_with("no connection: "), "{status:?}");

    // Another address, then nobody: all are tried.
    let mut moved = interfaces();
    moved.own = ["10.1.0.7".parse().unwrap()].into();
    running.interfaces.send_replace(Some(moved));
    running.until("the other address", |_| served("10.1.0.7") == [first].into()).await;
    assert_eq!(served("10.1.0.1"), [].into());
    drop(stays);
    running
        .until("nobody", |status| served("10.1.0.7") == [first, second].into() && status.unfit.len() == 2)
        .await;

    let back = listen(&second.to_string()).await;
    running.until("the second", |_| served("10.1.0.7") == [second].into()).await;
    drop(back);
    running.end().await;
}

async fn listen(at: &str) -> tokio::net::TcpListener {
    tokio::net::TcpListener::bind(at).await.unwrap()
}
