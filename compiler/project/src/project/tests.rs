//! What is read, what is wrong with it, and how that is told.

use super::{Project, Step};
use crate::error::ProjectError;
use crate::shop::{POLICY, Shop};
use std::path::PathBuf;
use weir_compiler::compile::Stage;
use weir_compiler::identity::IdentityLock;
use weir_grammar::diagnostic::Code;
use weir_grammar::span::FileId;

#[test]
fn every_step_is_told_as_it_begins() {
    let shop = Shop::new();
    let mut steps = Vec::new();
    let policies = [shop.path("policy.yaml")];
    let project = Project::read(&policies, &[], &mut |step| steps.push(step)).unwrap();
    assert_eq!(steps, [Step::Read { bytes: POLICY.len() as u64 }, Step::Translate]);
    assert_eq!(project.set.policies.len(), 1);
    let mut stages = Vec::new();
    project.compile(None, &mut IdentityLock::default(), None, &mut |stage| stages.push(stage)).unwrap();
    assert_eq!(stages, [Stage::Resolve, Stage::Classify, Stage::Compact, Stage::Write]);
}

#[test]
fn findings_are_lines_in_order() {
    let shop = Shop::new();
    shop.file("p/b.yaml", POLICY.replace("5432", "543210"));
    shop.file("p/a.yaml", POLICY.replace("5432", "five hundred"));
    let project = Project::read(&[shop.path("p")], &[], &mut |_| ()).unwrap();
    assert!(project.has_errors());
    let folder = shop.path("p").display().to_string();
    let lines: Vec<String> =
        project.finding_lines().map(|line| line.strip_prefix(&folder).unwrap().to_owned()).collect();
    assert!(lines[0].starts_with("/a.yaml:8:31: error[E312]: "), "{lines:?}");
    assert!(lines[1].starts_with("/b.yaml:8:31: error[E312]: "), "{lines:?}");
}

#[test]
fn all_files_that_cannot_be_read_are_told() {
    let paths: Vec<PathBuf> = ["no/a.yaml", "no/b.yaml"].map(PathBuf::from).into();
    let failed = Project::read(&paths[..1], &paths[1..], &mut |_| ()).unwrap_err();
    let told = failed.to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("cannot read no/a.yaml: "), "{told}");
    assert!(lines[1].starts_with("cannot read no/b.yaml: "), "{told}");
    assert!(matches!(failed, ProjectError::Unreadable { files } if files.len() == 2));
}

#[test]
fn stdin_is_read_once() {
    let stdin = [PathBuf::from("-")];
    let failed = Project::read(&stdin, &stdin, &mut |_| ()).unwrap_err();
    assert!(matches!(failed, ProjectError::StdinTwice { count: 2 }));
}

#[test]
fn a_node_that_is_not_there_says_which_are() {
    let project = Shop::new().project();
    assert_eq!(project.node(None).unwrap(), None);
    assert_eq!(project.node(Some("n2")).unwrap(), Some(1));
    let failed = project.node(Some("n3")).unwrap_err();
    assert_eq!(failed.to_string(), "the cluster has no node `n3`; it has n1, n2");
    let empty = Project::read(&[], &[], &mut |_| ()).unwrap();
    let failed = empty.node(Some("n3")).unwrap_err();
    assert_eq!(failed.to_string(), "the cluster has no node `n3`; it has none at all");
}

#[test]
fn surprises_need_what_they_are_about() {
    let shop = Shop::new();
    shop.file("policy.yaml", POLICY.replace("app: db", "app: gone"));
    let mut project = shop.project();
    project.find_surprises();
    assert!(project.findings.iter().any(|finding| finding.code == Code::SelectsNothing));
    assert!(!project.has_errors());
}

#[test]
fn policies_that_meet_on_one_port_are_refused_with_both_places() {
    let shop = Shop::new();
    let of = |rules: &str| {
        let rule =
            format!("    toPorts: [{{ports: [{{port: \"5432\", protocol: TCP}}], rules: {{{rules}}}}}]\n");
        POLICY
            .replace("ingress", "egress")
            .replace("fromEndpoints", "toEndpoints")
            .replace("    toPorts: [{ports: [{port: \"5432\", protocol: TCP}]}]\n", &rule)
    };
    let (http, dns) = (of("http: [{method: GET}]"), of("dns: [{matchPattern: '*'}]"));
    shop.file("policy.yaml", format!("{http}---\n{}", dns.replace("name: db", "name: other")));
    let mut project = shop.project();
    assert!(!project.has_errors(), "{:?}", project.findings);
    let error = project.compile(None, &mut IdentityLock::default(), None, &mut |_| ()).unwrap_err();
    project.refuse(error, None).unwrap();
    let finding = project.findings.first().unwrap();
    assert_eq!((finding.code, finding.labels.len()), (Code::L7Conflict, 1));
    assert_eq!(finding.span.file, FileId(0));
}
