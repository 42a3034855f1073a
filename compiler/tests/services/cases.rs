//! Every case of `cases.txt`: services and slices in short, then questions with their answers.
//!
//! ```text
//! # what it is about
//! service NAME SPEC [| annotations A] [| labels L] [| ingress I]      values are YAML
//! slice [NAMESPACE/]SERVICE PORTS ENDPOINT... [| weight W]            ADDRESS[@NODE][!unready|!ending|!gone][~zone:Z][~node:N]
//! pod [NAMESPACE/]NAME LABELS ADDRESS[,ADDRESS][@NODE][!STATE] [| ports P]   ready, unready, ending, gone, finished; without one nothing is said
//! own ADDRESS...                                                      of the machine, told by no Node object
//! unfit SERVICE ADDRESS:PORT/PROTOCOL...                              by health checks
//! in|out [CLIENT >] ADDRESS:PORT/PROTOCOL @NODE = BACKENDS | REASON   @- for no node
//! ```

use crate::world::{CLUSTER, World, chosen, question};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use weir_abi::services::ServiceImage;

/// Writes the manifests of one line; `number` tells slices apart.
pub(crate) fn manifest(line: &str, number: usize) -> String {
    let (kind, rest) = line.split_once(' ').unwrap();
    let mut parts = rest.split(" | ");
    let (name, rest) = parts.next().unwrap().split_once(' ').unwrap();
    let (mut annotations, mut labels, mut ingress, mut weight) = ("{}", "{}", "[]", "\"1\"");
    let mut container = "[]";
    for part in parts {
        let (what, value) = part.split_once(' ').unwrap();
        *match what {
            "annotations" => &mut annotations,
            "labels" => &mut labels,
            "ingress" => &mut ingress,
            "weight" => &mut weight,
            "ports" => &mut container,
            other => panic!("{other}"),
        } = value;
    }
    if kind == "service" {
        return format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop, labels: {labels}, annotations: {annotations}}}, \
             spec: {rest}, status: {{loadBalancer: {{ingress: {ingress}}}}}}}"
        );
    }
    let (namespace, name) = name.split_once('/').unwrap_or(("shop", name));
    if kind == "pod" {
        let (labels, place) = rest.rsplit_once(' ').unwrap();
        return pod(&format!("name: {name}, namespace: {namespace}, labels: {labels}"), place, container);
    }
    let end = rest.rfind(']').unwrap_or(0);
    // Ports are a list, and addresses hold no bracket.
    let (ports, endpoints) = rest.split_at(end + 1);
    let endpoints: Vec<String> = endpoints.split_whitespace().map(endpoint).collect();
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}-{number}, namespace: {namespace}, \
         labels: {{kubernetes.io/service-name: {name}}}, annotations: {{service.cilium.io/weight: {weight}}}}}, addressType: IPv4, \
         ports: {ports}, endpoints: [{}]}}",
        endpoints.join(", ")
    )
}

fn pod(meta: &str, place: &str, ports: &str) -> String {
    let (place, state) = place.split_once('!').unwrap_or((place, ""));
    let (addresses, node) = place.split_once('@').unwrap_or((place, ""));
    let ends = if matches!(state, "ending" | "gone") { ", deletionTimestamp: now" } else { "" };
    let ready = |status| {
        format!(
            "conditions: [{{type: Initialized, status: \"True\"}}, {{type: Ready, status: \"{status}\"}}], "
        )
    };
    let status = match state {
        "" => String::new(),
        "ready" | "ending" => ready("True"),
        "unready" | "gone" => ready("False"),
        "finished" => "phase: Succeeded, ".to_owned(),
        other => panic!("{other}"),
    };
    let addresses: Vec<String> =
        addresses.split(',').map(|address| format!("{{ip: \"{address}\"}}")).collect();
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{{meta}{ends}}}, spec: {{nodeName: \"{node}\", containers: [{{name: main, ports: {ports}}}]}}, \
         status: {{{status}podIPs: [{}]}}}}",
        addresses.join(", ")
    )
}

fn endpoint(text: &str) -> String {
    let mut hints = text.split('~');
    let rest = hints.next().unwrap();
    let (rest, state) = rest.split_once('!').unwrap_or((rest, ""));
    let (address, node) = rest.split_once('@').map_or((rest, None), |(address, node)| (address, Some(node)));
    let conditions = match state {
        "" => "ready: true",
        "unready" => "ready: false, serving: false, terminating: false",
        "ending" => "ready: false, serving: true, terminating: true",
        "gone" => "ready: false, serving: false, terminating: true",
        other => panic!("{other}"),
    };
    let hints: Vec<String> = hints
        .map(|hint| {
            let (what, name) = hint.split_once(':').unwrap();
            format!("{}: [{{name: {name}}}]", if what == "zone" { "forZones" } else { "forNodes" })
        })
        .collect();
    let node = node.map_or(String::new(), |node| format!(", nodeName: {node}"));
    format!(
        "{{addresses: [\"{address}\"], conditions: {{{conditions}}}{node}, hints: {{{}}}}}",
        hints.join(", ")
    )
}

#[test]
fn every_case_by_both_voices() {
    let text = include_str!("cases.txt");
    let mut titles = BTreeSet::new();
    let mut questions = 0;
    for case in text.split("\n\n") {
        let (title, lines) = case.trim().split_once('\n').unwrap();
        assert!(titles.insert(title), "twice: {title}");
        let (asked, written): (Vec<&str>, Vec<&str>) =
            lines.lines().partition(|line| line.starts_with("in ") || line.starts_with("out "));
        let is_fact = |line: &&str| line.starts_with("own ") || line.starts_with("unfit ");
        let (facts, written): (Vec<&str>, Vec<&str>) = written.into_iter().partition(is_fact);
        let objects = written.iter().enumerate().map(|(number, line)| manifest(line, number));
        let text = objects.fold(CLUSTER.to_owned(), |text, object| format!("{text}---\n{object}\n"));
        let mut world = World::read(&text);
        assert_eq!(world.findings, [""; 0], "{title}");
        facts.into_iter().for_each(|fact| world.learn(fact));
        assert!(!asked.is_empty(), "{title}");
        for line in asked {
            let (asked, expected) = line.split_once(" = ").unwrap();
            let (asked, node) = asked.split_once(" @").unwrap();
            let question = question(asked);
            let node = world.node(node);
            let told = |found: Result<BTreeSet<_>, weir_abi::services::Choice>| match found {
                Ok(targets) => {
                    let told: Vec<String> =
                        targets.into_iter().map(|target| SocketAddr::from(target).to_string()).collect();
                    told.join(" ")
                }
                Err(choice) => choice.as_str().to_owned(),
            };
            assert_eq!(told(world.eligible(node, &question)), expected, "the specification: {title}\n{line}");
            let image = world.image(node);
            let image = ServiceImage::open(image.as_bytes()).unwrap();
            assert_eq!(told(chosen(&image, &question, 300)), expected, "the image: {title}\n{line}");
            questions += 1;
        }
    }
    println!("{} cases, {questions} questions", titles.len());
    assert!(titles.len() >= 60);
}
