//! Policies and a cluster, given as text, are compiled in memory and asked: the whole engine without a file, a process or a kernel.
//!
//! ```sh
//! cargo run -p weir-example-embedding
//! ```
//!
//! An admission webhook, a controller or a dashboard does the same. Files and directories are `weir-project`'s; a program that only
//! reads images that others compiled needs `weir-abi` alone (`bpf/abi/examples/verdict.rs`).

use std::error::Error;
use weir_abi::Image;
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::{Input, Options, compile};
use weir_compiler::flow::{VerdictLine, judge, read_line};
use weir_compiler::identity::IdentityLock;
use weir_compiler::interpret::Interpreter;
use weir_compiler::translate::translate;
use weir_grammar::diagnostic::Severity;
use weir_grammar::span::FileId;
use weir_grammar::{Limits, Reading, read};

const POLICIES: &str = r#"
policy api in shop "the web reaches the API" {
    for app=api
    allow ingress from app=web on tcp/8080
}
"#;

const CLUSTER: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- {apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}}, status: {podIP: 10.0.0.1}}
- {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, status: {podIP: 10.0.0.2}}
";

const QUESTIONS: [&str; 3] = [
    r#"{"id": "web", "src": "shop/web", "dst": "shop/api", "proto": "TCP", "dport": 8080, "direction": "both"}"#,
    r#"{"id": "web, another port", "src": "shop/web", "dst": "shop/api", "proto": "TCP", "dport": 22, "direction": "both"}"#,
    r#"{"id": "stranger", "src": "198.51.100.7", "dst": "shop/api", "proto": "TCP", "dport": 8080, "direction": "both"}"#,
];

fn main() -> Result<(), Box<dyn Error>> {
    for answer in answers(POLICIES, CLUSTER, &QUESTIONS)? {
        println!("{answer}");
    }
    Ok(())
}

/// A line for each question.
fn answers(policies: &str, cluster: &str, questions: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    // A name that ends in `.policy` is read as the policy language, any other as manifests.
    let mut reading = Reading::default();
    read(&mut reading, "shop.policy", policies.into(), &Limits::default());
    read(&mut reading, "cluster.yaml", cluster.into(), &Limits::default());
    let Reading { sources, mut objects, mut diagnostics, .. } = reading;
    let cluster = Cluster::collect(&mut objects, &mut diagnostics);
    let policies = translate(objects, &cluster, &mut diagnostics);
    // Mistakes in the texts are findings, all of them at once, each with its place.
    if let Some(mistake) = diagnostics.iter().find(|finding| finding.code.severity() == Severity::Error) {
        return Err(format!("{}: {}", mistake.code.as_str(), mistake.message).into());
    }
    let input =
        Input { set: &policies, cluster: &cluster, sources: &sources, addresses_of: &|_, _| Vec::new() };
    let compiled = compile(&input, &mut IdentityLock::default(), &Options::default(), &mut |_| ())?;
    // The bytes could as well be written to a file, sent to a node, or put into the kernel.
    let image = Image::open(compiled.bytes.as_bytes())?;
    let engine = Interpreter::new(image, &cluster, None);
    let mut answers = Vec::new();
    for question in questions {
        let flow = read_line(FileId(0), 0, question, &cluster).map_err(|finding| finding.message)?;
        let Some(flow) = flow else { continue };
        let judgement = judge(&engine, &flow);
        let line = VerdictLine::new(&flow, &judgement, &image);
        let mut answer = format!("{}: {}, {}", line.id, line.verdict, line.reason);
        for rule in &line.by {
            answer += &format!(" ({} {} {}:{})", rule.policy, rule.rule, rule.file, rule.line);
        }
        answers.push(answer);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::{CLUSTER, POLICIES, QUESTIONS, answers};

    #[test]
    fn it_answers() {
        assert_eq!(
            answers(POLICIES, CLUSTER, &QUESTIONS).unwrap(),
            [
                "web: allow, allowed-by-rule (shop/api ingress[0].toPorts[0] shop.policy:4)",
                "web, another port: deny, default-deny (shop/api ingress[0].toPorts[0] shop.policy:4)",
                "stranger: deny, default-deny (shop/api ingress[0].toPorts[0] shop.policy:4)",
            ]
        );
        let mistake = answers("policy api { alow ingress }\n", CLUSTER, &[]).unwrap_err().to_string();
        assert!(mistake.starts_with("E111: "), "{mistake}");
    }
}
