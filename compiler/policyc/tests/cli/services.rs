//! `services`: what frontends do on each node; and service images of `compile --services`, inspected.

use crate::session::Session;
use serde_json::Value;

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 172.18.0.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {service.cilium.io/forwarding-mode: dsr}}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  externalTrafficPolicy: Local
  sessionAffinity: ClientIP
  ports: [{name: http, port: 80, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.1.0.1], nodeName: n1}
- {addresses: [10.1.0.2], nodeName: n1, conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.1.0.3], nodeName: n1, conditions: {ready: true}}
---
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {clusterIP: 10.96.0.2, externalIPs: [198.51.100.1], healthCheckNodePort: 30900, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {clusterIP: None, ports: [{port: 5432}]}}
"#;

fn session() -> Session {
    let session = Session::shop();
    session.file("services.yaml", CLUSTER);
    session
}

#[test]
fn every_frontend_tells_who_serves_it_where() {
    let ran = session().run("services -c services.yaml");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "\
shop/api ClusterIP (services.yaml:27)
  80/tcp
    10.96.0.2:80/tcp  ClusterIP  inside  nobody: no backend

shop/web LoadBalancer (services.yaml:8)
  from outside only backends of the node, forwarded by DSR, clients stay for 3 h
  http 80/tcp
    10.96.0.1:80/tcp     ClusterIP     inside         2 of 3: 10.1.0.1:8080 10.1.0.3:8080
    198.51.100.1:80/tcp  LoadBalancer  outside on n1  2 of 3: 10.1.0.1:8080 10.1.0.3:8080
                                       outside on n2  nobody: no local backend
                                       inside         2 of 3: 10.1.0.1:8080 10.1.0.3:8080
    <node>:30080/tcp     NodePort      outside on n1  2 of 3: 10.1.0.1:8080 10.1.0.3:8080
                                       outside on n2  nobody: no local backend
                                       inside         2 of 3: 10.1.0.1:8080 10.1.0.3:8080
      -> 10.1.0.1:8080  active       n1
      -> 10.1.0.2:8080  terminating  n1
      -> 10.1.0.3:8080  active       n1

not balanced
  shop/db: headless
"
    );
    assert!(ran.err.contains("W621") && ran.err.contains("198.51.100.1 port 80 of shop/api"), "{}", ran.err);
}

#[test]
fn one_node_has_its_own_addresses() {
    let ran = session().run("services -c services.yaml --node n2");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("    172.18.0.2:30080/tcp  NodePort      outside  nobody: no local backend\n"),
        "{}",
        ran.out
    );
    let ran = session().run("services -c services.yaml --node n9");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
}

#[test]
fn json_tells_the_same() {
    let told: Value = serde_json::from_str(&session().run("services -c services.yaml -o json").out).unwrap();
    let port = &told["services"][2]["ports"][0];
    assert_eq!(told["services"][1]["left_out"], "headless");
    assert_eq!((port["protocol"].as_str(), port["port"].as_u64()), (Some("TCP"), Some(80)));
    assert_eq!(port["backends"][1]["state"], "terminating");
    let frontends = port["frontends"].as_array().unwrap();
    assert_eq!(frontends[2]["address"], Value::Null);
    let served = frontends[1]["served"].as_array().unwrap();
    assert_eq!(served[0]["nodes"], serde_json::json!([0]));
    assert_eq!(served[0]["external"], serde_json::json!({"backends": [0, 2]}));
    assert_eq!(served[1]["external"], serde_json::json!({"none": "no-local-backend"}));
    assert_eq!(frontends[0]["served"][0]["external"], serde_json::json!({"none": "not-from-outside"}));
}

#[test]
fn a_cluster_without_services_says_so() {
    let session = Session::shop();
    let ran = session.run("services -c cluster.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (0, "no services\n"), "{}", ran.err);
}

#[test]
fn mistakes_are_findings() {
    let session = Session::new();
    session.file(
        "c.yaml",
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: nowhere, ports: [{port: 0}]}}",
    );
    let ran = session.run("services -c c.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("E206") && ran.err.contains("E312"), "{}", ran.err);
}

#[test]
fn names_cannot_steer_a_terminal() {
    let session = Session::new();
    let hostile = CLUSTER.replace("nodeName: n1", "nodeName: \"n\\e[2J\\u202e\"");
    session.file("c.yaml", hostile);
    for format in ["text", "json"] {
        let ran = session.run(&format!("services -c c.yaml -o {format}"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{format}");
    }
}

/// A service whose backends are pods, and what is wrong with three others.
const PODS: &str = r#"
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    service.cilium.io/health-check-probe-interval: 500ms
    service.cilium.io/health-check-http-path: /healthz
    service.cilium.io/health-check-http-method: HEAD
    service.cilium.io/health-check-treshold-healthy: '3'
spec: {selector: {app: web}, externalIPs: [198.51.100.1], ports: [{port: 80, targetPort: http}]}
---
{apiVersion: v1, kind: Service, metadata: {name: port}, spec: {selector: {app: web}, externalIPs: [198.51.100.2], ports: [{port: 80, targetPort: htpt}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: wrong-label}, spec: {selector: {app: wbe}, externalIPs: [198.51.100.1], ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: asks}, spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.4, selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {containers: [{name: web, ports: [{name: http, containerPort: 8080}]}]}
status: {podIP: 192.0.2.11}
"#;

#[test]
fn pods_are_backends_where_no_slice_is() {
    let session = Session::new();
    session.file("box.yaml", PODS);
    let ran = session.run("services -c box.yaml");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (_, web) = ran.out.split_once("default/port ").unwrap();
    assert_eq!(
        web,
        "\
ClusterIP (box.yaml:13)
  80/tcp
    198.51.100.2:80/tcp  ExternalIP  both sides  nobody: no backend

default/web ClusterIP (box.yaml:5)
  backends checked every 500 ms by HEAD /healthz
  80/tcp
    198.51.100.1:80/tcp  ExternalIP  both sides  the backend
      -> 192.0.2.11:8080  active

not balanced
  default/asks: no address and port
"
    );
}

/// What is wrong with services is told wherever they are read.
#[test]
fn check_tells_what_is_wrong_with_services() {
    let session = Session::new();
    session.file("box.yaml", PODS);
    session.file("none.policy", "policy none {\n    for all pods\n    allow egress to all\n}\n");
    let codes = |words: &str| -> Vec<String> {
        let ran = session.run(words);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let found: Value = serde_json::from_str(&ran.out).unwrap();
        let found = found.as_array().unwrap().iter();
        found.map(|finding| format!("{} {}", finding["code"].as_str().unwrap(), finding["line"])).collect()
    };
    assert_eq!(
        codes("check -f none.policy -c box.yaml -o json"),
        ["W620 10", "W622 13", "W621 15", "W623 15", "W624 17"]
    );
    let told = session.run("services -c box.yaml").err;
    for said in [
        "did you mean `service.cilium.io/health-check-threshold-healthy`?",
        "no pod of default/port has a port named `htpt`",
        "its pods' ports of that protocol are `http`",
        "default/wrong-label selects no pod, and no EndpointSlice names it",
        "no pod in namespace `default` has `app: wbe`",
    ] {
        assert!(told.contains(said), "{said}\n{told}");
    }
}

/// SCTP keeps its port, whoever says that it should be another.
const SCTP: &str = r#"
{apiVersion: v1, kind: Service, metadata: {name: same}, spec: {clusterIP: 10.96.0.1, selector: {app: sig}, ports: [{protocol: SCTP, port: 2905, targetPort: m3ua}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: named}, spec: {clusterIP: 10.96.0.2, selector: {app: sig}, ports: [{protocol: SCTP, port: 5000, targetPort: m3ua}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: nodes}, spec: {type: NodePort, clusterIP: 10.96.0.3, selector: {app: sig}, ports: [{protocol: SCTP, port: 2905, nodePort: 32905}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: both}, spec: {type: LoadBalancer, clusterIP: 10.96.0.4, ports: [{protocol: SCTP, port: 80, targetPort: 8080, nodePort: 30080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: sliced}, spec: {clusterIP: 10.96.0.5, ports: [{protocol: SCTP, port: 90}, {name: tcp, port: 90, targetPort: 91}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: sliced-1, labels: {kubernetes.io/service-name: sliced}}, addressType: IPv4, ports: [{protocol: SCTP, port: 91}], endpoints: [{addresses: [10.0.0.9]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: sig-1, labels: {app: sig}}
spec: {containers: [{name: sig, ports: [{name: m3ua, protocol: SCTP, containerPort: 2905}]}]}
status: {podIP: 10.0.0.11}
"#;

#[test]
fn sctp_that_would_need_another_port_is_told() {
    let session = Session::new();
    session.file("sctp.yaml", SCTP);
    session.file("none.policy", "policy none {\n    for all pods\n    allow egress to all\n}\n");
    let ran = session.run("check -f none.policy -c sctp.yaml");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let told = format!("{}{}", ran.out, ran.err);
    let found: Vec<&str> = told.lines().filter(|line| line.starts_with("warning[W625]")).collect();
    assert_eq!(
        found,
        [
            "warning[W625]: default/named leads SCTP from port 5000 to port 2905 of backends",
            "warning[W625]: default/nodes leads SCTP from port 32905 of nodes to port 2905 of backends",
            "warning[W625]: default/both leads SCTP from port 80 and port 30080 of nodes to port 8080 of backends",
            "warning[W625]: default/sliced leads SCTP from port 90 to port 91 of backends",
        ],
        "{told}"
    );
}

#[test]
fn compile_writes_an_image_of_services() {
    let session = session();
    let compile = "compile -f policy.yaml -c services.yaml --node n1 --output a.wimg --services a.wsvc";
    let ran = session.run(compile);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("\nservices     2 with 4 frontends, 3 backends and "), "{}", ran.out);
    let first = session.read("a.wsvc");
    session.run(compile);
    assert_eq!(session.read("a.wsvc"), first);
    let ran = session.run("inspect a.wsvc");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let version = weir_abi::services::SERVICE_VERSION;
    let head = format!("services     a.wsvc for node n1\nlayout       version {version}; sound");
    assert!(ran.out.starts_with(&head), "{}", ran.out);
    assert!(ran.out.contains("\nbackends     3: 2 active, 1 terminating\n"), "{}", ran.out);
    let told: Value = serde_json::from_str(&session.run("inspect a.wsvc -o json").out).unwrap();
    assert_eq!((told["kind"].as_str(), told["services"][1]["line"].as_u64()), (Some("services"), Some(8)));
    let mut spoilt = first;
    spoilt[200] ^= 1;
    std::fs::write(session.path("a.wsvc"), spoilt).unwrap();
    let ran = session.run("inspect a.wsvc");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("a.wsvc: the image is damaged"), "{}", ran.err);
}
