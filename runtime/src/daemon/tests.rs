//! The daemon as a whole, with a datapath that only remembers and the real loopback interface as everyone's veth.

use super::*;
use crate::control::client::{Client, ClientError};
use crate::control::{Answered, Request, Response};
use crate::plan::{Renaming, Step};
use crate::status::Status;
use crate::town::{CLUSTER, Model, POLICY, Town};
use std::future::pending;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything takes to come true.
const SOON: Duration = Duration::from_secs(20);

struct Running {
    town: Arc<Town>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), DaemonError>>,
}

fn settings(town: &Town) -> Settings {
    Settings {
        source: town.source(),
        node: "n1".to_owned(),
        state: town.path("state"),
        socket: town.path("policyd.sock"),
        balancing: None,
    }
}

fn start(town: &Arc<Town>, model: &Model) -> Running {
    start_with(town, model, settings(town))
}

fn start_with(town: &Arc<Town>, model: &Model, settings: Settings) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let enforcer = model.clone();
    let ended = tokio::spawn(run(settings, move || Ok(Box::new(enforcer)), async move {
        if stopped.await.is_err() {
            pending::<()>().await;
        }
    }));
    Running { town: Arc::clone(town), stop: Some(stop), ended }
}

impl Running {
    async fn ask(&self, request: Request) -> Result<Response, ClientError> {
        let path = self.town.path("policyd.sock");
        let ask = move || Client::connect(&path)?.ask(&request);
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    async fn status(&self) -> Status {
        match self.ask(Request::Status).await.unwrap() {
            Response::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the status is as it should be.
    async fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let until = Instant::now() + SOON;
        loop {
            let mut seen = None;
            if self.town.path("policyd.sock").exists() {
                let status = self.status().await;
                if is_so(&status) {
                    return status;
                }
                seen = Some(status);
            }
            assert!(Instant::now() < until, "{what}: {seen:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn register(&self, pod: &str) -> Response {
        let request = Request::Register { pod: pod.to_owned(), interface: "lo".to_owned() };
        self.ask(request).await.unwrap()
    }

    async fn stop(mut self) -> Result<(), DaemonError> {
        _ = self.stop.take().unwrap().send(());
        self.ended.await.unwrap()
    }
}

fn has_image(status: &Status) -> bool {
    status.image.is_some() && status.source.is_good
}

fn loopback() -> u32 {
    nix::net::if_::if_nametoindex("lo").unwrap()
}

#[tokio::test]
async fn a_source_is_enforced_followed_and_left_in_place() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    let status = running.until("the first image", has_image).await;
    let first = status.image.unwrap();
    assert_eq!((first.policies, first.rules, first.is_restored), (1, 1, false));
    assert!(first.since.is_some());
    // Both pods are here, and nobody knows their interfaces.
    assert_eq!(status.unplaced, ["shop/db", "shop/web"]);
    assert_eq!(status.problems.len(), 2);

    let registered = running.register("shop/db").await;
    assert!(matches!(registered, Response::Registered { enforced: true, why: None }), "{registered:?}");
    let state = model.look().state;
    assert_eq!(state.attached, [loopback()].into());
    assert_eq!(
        state.addresses.get(&"10.2.0.2".parse().unwrap()),
        Some(&state.endpoints[&loopback()].identity)
    );

    town.file("source/policies/db.yaml", POLICY.replace("5432", "5433"));
    let status = running
        .until("the second image", |status| {
            status.image.as_ref().is_some_and(|image| image.checksum != first.checksum)
        })
        .await;
    assert_eq!(status.endpoints.len(), 1);
    assert!(status.endpoints[0].attached);

    running.stop().await.unwrap();
    assert!(!town.path("policyd.sock").exists());
    let left = model.look();
    assert_eq!(left.state.attached, [loopback()].into());
    assert!(!left.steps.iter().any(|step| matches!(step, Step::Detach(_) | Step::RemoveEndpoint(_))));
}

#[tokio::test]
async fn a_bad_policy_changes_no_policy_and_is_told() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    let good = running.until("the first image", has_image).await.image.unwrap();
    let steps = model.look().steps.len();

    town.file("source/policies/bad.yaml", POLICY.replace("endpointSelector", "endpointSelect0r"));
    let status = running.until("the refusal", |status| !status.source.is_good).await;
    assert_eq!(status.image.unwrap().checksum, good.checksum);
    assert!(status.source.findings[0].contains("bad.yaml:5:3: error["), "{:?}", status.source);
    assert!(status.problems[0].starts_with("the source is refused: "), "{:?}", status.problems);
    assert_eq!(model.look().steps.len(), steps);

    std::fs::remove_file(town.path("source/policies/bad.yaml")).unwrap();
    running.until("the mended source", |status| status.source.is_good).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_last_good_image_is_enforced_without_a_source() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    let image = running.until("the first image", has_image).await.image.unwrap();
    running.register("shop/db").await;
    let kept =
        || std::fs::read_to_string(town.path("state/state.json")).is_ok_and(|text| text.contains("\"lo\""));
    while !kept() || !town.path("state/image.weir").exists() {
        sleep(Duration::from_millis(20)).await;
    }
    let before = model.look().state;
    running.stop().await.unwrap();

    // The node starts anew: the kernel has lost everything, and the source is not there.
    std::fs::rename(town.path("source"), town.path("elsewhere")).unwrap();
    let after = Model::default();
    let running = start(&town, &after);
    let status = running.until("the restored image", |status| status.image.is_some()).await;
    let restored = status.image.unwrap();
    assert_eq!((restored.checksum, restored.is_restored), (image.checksum, true));
    running.until("the endpoint", |status| status.endpoints.iter().any(|endpoint| endpoint.attached)).await;
    assert_eq!(after.look().state, before);
    running.until("the missing source", |status| status.source.read.is_some()).await;

    std::fs::rename(town.path("elsewhere"), town.path("source")).unwrap();
    let status = running.until("the source", has_image).await;
    assert!(!status.image.unwrap().is_restored);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_the_kernel_holds_is_taken_over() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    running.until("the first image", has_image).await;
    running.register("shop/db").await;
    running.stop().await.unwrap();

    model.memory.lock().unwrap().steps.clear();
    let running = start(&town, &model);
    running.until("the image again", has_image).await;
    running.until("the endpoint", |status| !status.endpoints.is_empty()).await;
    running.stop().await.unwrap();
    // Connections are judged again, and nothing else was to be done.
    assert_eq!(model.look().steps, [Step::JudgeAgain]);
}

#[tokio::test]
async fn a_start_with_damaged_state_and_a_bad_source_touches_nothing() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    running.until("the first image", has_image).await;
    running.register("shop/db").await;
    running.stop().await.unwrap();
    let before = model.look().state;

    for name in ["state/state.json", "state/image.weir", "state/identities.json"] {
        town.file(name, "\u{0}damaged");
    }
    town.file("source/policies/db.yaml", "spec: [");
    let running = start(&town, &model);
    let status = running.until("the refusal", |status| status.source.read.is_some()).await;
    assert!(status.image.is_some() && !status.source.is_good, "{status:#?}");
    assert_eq!(model.look().state, before);
    // And when the source is whole again, so is everything.
    town.file("source/policies/db.yaml", POLICY);
    running.until("the mended source", has_image).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_fails_is_told_and_tried_again() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    model.memory.lock().unwrap().refuses.push(Step::Attach(loopback()));
    let running = start(&town, &model);
    running.until("the first image", has_image).await;
    let registered = running.register("shop/db").await;
    let told = matches!(&registered, Response::Registered { enforced: false, why: Some(why) }
        if why.starts_with("cannot enforce policy of pod shop/db at lo: "));
    assert!(told, "{registered:?}");
    let status = running.status().await;
    assert!(status.problems.iter().any(|problem| problem.contains("pod shop/db at lo")), "{status:#?}");
    assert!(!status.endpoints[0].attached);

    model.memory.lock().unwrap().refuses.clear();
    running.until("the second try", |status| status.endpoints[0].attached).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_pod_that_comes_while_an_image_is_refused_lets_nothing_pass() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    let first = running.until("the first image", has_image).await.image.unwrap();
    model.memory.lock().unwrap().refuses.push(Step::InstallImage(Renaming::default()));
    town.file("source/policies/db.yaml", POLICY.replace("5432", "5433"));
    let refused = |status: &Status| {
        status.problems.iter().any(|problem| problem.contains("cannot put the image in force"))
    };
    running.until("the refusal", refused).await;
    running.register("shop/db").await;
    let state = model.look().state;
    assert!(state.attached.contains(&loopback()), "the programs stand there");
    assert!(!state.endpoints.contains_key(&loopback()), "and know no pod, so that nothing passes");
    assert_eq!(running.status().await.image.unwrap().checksum, first.checksum);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_the_kernel_holds_is_not_given_up_for_an_older_image_on_disk() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    running.until("the first image", has_image).await;
    running.stop().await.unwrap();
    let older = [town.read("state/image.weir"), town.read("state/state.json")];
    town.file("source/policies/db.yaml", POLICY.replace("5432", "5433"));
    let running = start(&town, &model);
    let newer = running.until("the second image", has_image).await.image.unwrap();
    running.stop().await.unwrap();

    // A disk that was full kept the older one, and then the source is bad.
    town.file("state/image.weir", &older[0]).file("state/state.json", &older[1]);
    town.file("source/policies/db.yaml", "spec: [");
    let running = start(&town, &model);
    let status = running.until("the refusal", |status| status.source.read.is_some()).await;
    assert_eq!(status.image.unwrap().checksum, newer.checksum);
    let installs = |step: &Step| matches!(step, Step::InstallImage(_));
    assert_eq!(model.look().steps.iter().filter(|step| installs(step)).count(), 2);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_registration_outlives_a_restart_without_an_image() {
    let town = Arc::new(Town::new());
    town.file("source/policies/db.yaml", "spec: [");
    let model = Model::default();
    let running = start(&town, &model);
    running.until("the refusal", |status| status.source.read.is_some()).await;
    running.register("shop/db").await;
    running.stop().await.unwrap();
    assert!(String::from_utf8(town.read("state/state.json")).unwrap().contains("shop/db"));
}

#[tokio::test]
async fn a_pod_that_is_registered_before_it_is_known_is_enforced_when_it_comes() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    running.until("the first image", has_image).await;
    let registered = running.register("shop/late").await;
    assert!(matches!(registered, Response::Registered { enforced: false, why: Some(_) }), "{registered:?}");
    let late = CLUSTER.replace("name: db, namespace: shop, labels", "name: late, namespace: shop, labels");
    town.file("source/cluster.yaml", late);
    running
        .until("the pod", |status| status.endpoints.iter().any(|pod| pod.pod == "shop/late" && pod.attached))
        .await;
    // Its object goes, and its interface stays: nothing passes there, and that is told.
    town.file("source/cluster.yaml", CLUSTER);
    let is_told =
        |status: &Status| status.problems.iter().any(|told| told.contains("interface lo was a pod's"));
    running.until("a closed interface", |status| status.endpoints.is_empty() && is_told(status)).await;
    assert_eq!(model.look().state.attached, [loopback()].into());
    // Who registered it may say that it is no pod's.
    let unregistered = running.ask(Request::Unregister { pod: "shop/late".to_owned() }).await.unwrap();
    assert!(matches!(unregistered, Response::Unregistered { known: true }));
    running.until("its end", |status| !is_told(status)).await;
    assert!(model.look().state.attached.is_empty());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn flows_are_asked_of_the_datapath() {
    let town = Arc::new(Town::new());
    let model = Model::default();
    let running = start(&town, &model);
    running.until("the first image", has_image).await;
    running.register("shop/db").await;
    let flow = |source: &str, port: u16| {
        format!(
            r#"{{"id": "x", "src": "{source}", "dst": "shop/db", "proto": "TCP", "dport": {port}, "direction": "ingress"}}"#
        )
    };
    let flows = vec![
        flow("shop/web", 5432),
        flow("shop/web", 1),
        flow("shop/nobody", 1),
        String::new(),
        flow("shop/db", 5432).replace("\"dst\": \"shop/db\"", "\"dst\": \"shop/web\""),
        flow("192.0.2.1", 5432).replace("\"dst\": \"shop/db\"", "\"dst\": \"shop/job\""),
    ];
    let Response::Answers(answers) = running.ask(Request::Ask { flows }).await.unwrap() else { panic!() };
    let told: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            Answered::Line(line) | Answered::Finding(line) => line.as_str(),
        })
        .collect();
    assert!(told[0].contains(r#""verdict":"allow""#) && told[0].contains("allowed-by-rule"), "{told:#?}");
    assert!(told[1].contains(r#""verdict":"deny""#) && told[1].contains("shop/db"), "{told:#?}");
    assert_eq!(told[2], "src: there is no pod shop/nobody in the cluster");
    assert_eq!(told[3], "this is not a flow: the line is empty");
    assert_eq!(told[4], "pod shop/web has no known interface on this node");
    assert!(told[5].contains("enforced-elsewhere"), "{told:#?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn one_daemon_at_a_time() {
    let town = Arc::new(Town::new());
    let running = start(&town, &Model::default());
    running.until("the first image", has_image).await;
    let second = run(settings(&town), || Ok(Box::new(Model::default())), pending()).await;
    assert!(matches!(second, Err(DaemonError::Store(StoreError::InUse { .. }))), "{second:?}");
    // Whoever was there is there still.
    running.status().await;
    running.stop().await.unwrap();
}

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: \"\", port: 8080}]
endpoints: [{addresses: [10.2.0.1], nodeName: n1}]
";

#[tokio::test]
async fn services_are_balanced_beside_policy_and_whatever_is_wrong_with_it() {
    let town = Arc::new(Town::new());
    town.file("source/services.yaml", SERVICE);
    let (model, balancer) = (Model::default(), crate::balancing::model::Model::default());
    let means = balancer.means(crate::balancing::Settings::default());
    let balanced = Settings { balancing: Some(means), ..settings(&town) };
    let running = start_with(&town, &model, balanced.clone());
    let backends = |status: &Status| {
        let contents = status.balancing.as_ref()?.image.as_ref()?.contents?;
        Some((contents.services, contents.backends))
    };
    running.until("both images", |status| has_image(status) && backends(status) == Some((1, 1))).await;
    running.register("shop/web").await;
    running.until("the pod", |status| status.balancing.as_ref().is_some_and(|told| told.pods == 1)).await;
    assert_eq!(balancer.look().pods, [loopback()].into());

    // A mistake in a policy holds no service up.
    town.file("source/policies/db.yaml", POLICY.replace("endpointSelector", "endpointSelect0r"));
    town.file(
        "source/services.yaml",
        SERVICE.replace("[10.2.0.1], n", "[10.2.0.1], nodeName: n1}, {addresses: [10.2.0.2], n"),
    );
    running
        .until("a backend more", |status| !status.source.is_good && backends(status) == Some((1, 2)))
        .await;
    // One in a service changes nothing, and is told.
    town.file("source/services.yaml", SERVICE.replace("port: 80}", "port: 800000}"));
    let refused = |status: &Status| {
        status.problems.iter().any(|problem| problem.starts_with("services stay as they were: "))
    };
    let status = running.until("the refusal", refused).await;
    assert_eq!(backends(&status), Some((1, 2)));
    running.stop().await.unwrap();
    assert!(balancer.look().image.is_some());

    // Where nothing is to be balanced nothing is told of it.
    let kept = || Store::open(&town.path("state")).unwrap().load_services().0.len();
    assert_eq!(kept(), 1);
    let running = start(&town, &model);
    let status = running.until("the refusal", |status| status.source.read.is_some()).await;
    assert_eq!(status.balancing, None);
    running.stop().await.unwrap();
    assert_eq!(kept(), 0);
}
