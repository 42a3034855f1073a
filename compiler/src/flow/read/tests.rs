//! Lines that are flows, and lines that are not, each told in its place.

use super::*;
use weir_grammar::tree::{Meta, Node, Object, Pod};

fn meta(namespace: Option<&str>, name: &str) -> Meta {
    let span = Span::point(FileId(0), 0);
    Meta { namespace: namespace.map(str::to_owned), name: name.to_owned(), labels: Vec::new(), span }
}

fn cluster() -> Cluster {
    let pod = |name: &str, address: &str, host_network| {
        Object::Pod(Pod {
            meta: meta(Some("shop"), name),
            node: Some("n1".to_owned()),
            host_network,
            service_account: None,
            addresses: vec![address.parse().unwrap()],
            ports: Vec::new(),
            owner: None,
            finished: false,
            ready: true,
            ending: false,
        })
    };
    let node = Object::Node(Node {
        meta: meta(None, "n1"),
        addresses: vec!["172.18.0.2".parse().unwrap()],
        pod_cidrs: Vec::new(),
    });
    let mut objects = vec![pod("web", "10.0.0.1", false), pod("agent", "172.18.0.2", true), node];
    Cluster::collect(&mut objects, &mut Vec::new())
}

fn one(line: &str) -> Result<Flow, Box<Diagnostic>> {
    read_line(FileId(0), 0, line, &cluster()).map(Option::unwrap)
}

fn message(line: &str) -> String {
    one(line).unwrap_err().message
}

const REST: &str = r#""proto":"TCP","dport":80,"direction":"both"}"#;

#[test]
fn ends_are_parties() {
    let flow = one(&format!(r#"{{"id":"f","src":"shop/web","dst":"192.0.2.1",{REST}"#)).unwrap();
    assert_eq!(flow.source, Party::Pod(1));
    assert_eq!(flow.destination, Party::Outside("192.0.2.1".parse().unwrap()));
    let flow = one(&format!(r#"{{"id":"f","src":"10.0.0.1","dst":"shop/agent",{REST}"#)).unwrap();
    assert_eq!((flow.source, flow.destination), (Party::Pod(1), Party::Node(0)));
}

#[test]
fn the_port_of_icmp_is_its_type() {
    let flow = one(
        r#"{"id":"f","src":"shop/web","dst":"::1","proto":"ICMPv6","dport":0,"icmp_type":128,"direction":"egress"}"#,
    )
    .unwrap();
    assert_eq!((flow.protocol, flow.port), (58, 128));
}

#[test]
fn mistakes_are_told() {
    let with =
        |src: &str, rest: &str| message(&format!(r#"{{"id":"f","src":"{src}","dst":"1.1.1.1",{rest}"#));
    assert_eq!(with("shop/db", REST), "src: there is no pod shop/db in the cluster");
    assert_eq!(with("shop", REST), "src: `shop` is neither `namespace/pod` nor an address");
    assert!(with("::1", r#""proto":"TCP","dport":80}"#).contains("missing field `direction`"));
    assert!(with("::1", r#""proto":"TCP","direction":"both"}"#).contains("missing field `dport`"));
    assert!(with("::1", r#""proto":"TCP","dport":65536,"direction":"both"}"#).contains("65536"));
    assert!(with("::1", r#""proto":"GRE","dport":1,"direction":"both"}"#).contains("`GRE`"));
    assert!(with("::1", r#""port":1}"#).contains("unknown field `port`"));
    assert!(with("::1", r#""src":"::1"}"#).contains("duplicate field `src`"));
    assert!(with("::1", r#""http":{"headers":{"A":"","a":""}},"#.to_owned().as_str()).contains("EOF"));
    let twice = format!(r#""http":{{"headers":{{"A":"","a":""}}}},{REST}"#);
    assert!(with("::1", &twice).contains("given twice"));
    assert!(message(&" x".repeat(MAX_LINE)).contains("longer"));
}

#[test]
fn a_bad_line_stops_nothing_and_has_its_place() {
    let good = format!(r#"{{"id":"f","src":"::1","dst":"::2",{REST}"#);
    let text = format!("{good}\n\nnot JSON\r\n{good}");
    let mut findings = Vec::new();
    let flows = read(FileId(7), &text, &cluster(), &mut findings);
    assert_eq!((flows.len(), findings.len()), (2, 1));
    let span = findings[0].span;
    assert!(text[..span.start as usize].matches('\n').count() == 2 && span.file == FileId(7));
}
