//! Good sources and bad ones.

use super::*;
use crate::town::{CLUSTER, POLICY, Town};

#[test]
fn policies_and_cluster_are_read_whole_and_compiled() {
    let snapshot = Town::new().snapshot();
    assert_eq!((snapshot.legend.policies, snapshot.legend.rule_count()), (1, 1));
    assert_eq!(Image::open(&snapshot.image).unwrap().header().checksum, snapshot.legend.checksum);
    let rule = snapshot.legend.rule(0).unwrap();
    assert_eq!((rule.kind.as_str(), rule.policy.as_str()), ("CiliumNetworkPolicy", "shop/db"));
    assert_eq!(rule.rule, "ingress[0].toPorts[0]");
    assert!(rule.file.ends_with("source/policies/db.yaml") && rule.line == 8, "{rule:?}");
    assert_eq!(snapshot.legend.rule(1), None);
}

#[test]
fn identities_keep_their_numbers() {
    let town = Town::new();
    let before = town.snapshot();
    town.file("source/more.yaml", CLUSTER.replace("name: n", "name: m").replace("shop", "attic"));
    town.file("source/more.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: attic}}");
    let after = town.snapshot();
    assert_eq!(before.roster, after.roster);
}

#[test]
fn a_bad_policy_refuses_the_whole_and_says_who_is_there() {
    let town = Town::new();
    let good = town.snapshot();
    town.file("source/policies/bad.yaml", POLICY.replace("endpointSelector", "endpointSelect0r"));
    let more = "\
- apiVersion: v1
  kind: Pod
  metadata: {name: web-2, namespace: shop, labels: {app: web}}
  spec: {nodeName: n1}
  status: {podIPs: [{ip: 10.2.0.3}]}
";
    town.file("source/cluster.yaml", format!("{CLUSTER}{more}"));
    let last = LastGood { image: good.image.clone(), roster: good.roster.clone() };
    let taken = take(&town.source(), "n1", &town.path("identities.json"), Some(&last), &mut |_| ());
    let Taken::Bad(refusal) = taken else { panic!("{taken:?}") };
    assert!(refusal.findings.lines.iter().any(|line| line.contains("bad.yaml:5:3: error[")), "{refusal:?}");
    // The newcomer has the labels of a known identity, so policy stands for it.
    let roster = refusal.roster.unwrap();
    let new = roster.members.iter().find(|member| member.name == "shop/web-2").unwrap();
    let old = roster.members.iter().find(|member| member.name == "shop/web").unwrap();
    assert_eq!(new.identity, old.identity);
}

#[test]
fn a_cluster_that_cannot_be_read_takes_nobody_away() {
    let town = Town::new();
    let good = town.snapshot();
    let last = LastGood { image: good.image.clone(), roster: good.roster.clone() };
    for bad in ["items: [", "", &CLUSTER.replace("name: n1", "name: n9")] {
        town.file("source/cluster.yaml", bad);
        let taken = take(&town.source(), "n1", &town.path("identities.json"), Some(&last), &mut |_| ());
        let Taken::Bad(refusal) = taken else { panic!("{taken:?}") };
        assert!(refusal.roster.is_none(), "{refusal:?}");
        assert!(!refusal.findings.lines.is_empty());
    }
}

/// A balancer in front of machines: services and who is behind them, and nothing of nodes.
const BOX: &str = "
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, externalIPs: [198.51.100.1], ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-1, labels: {app: web}}, status: {podIP: 192.0.2.11}}
";

#[test]
fn a_machine_that_is_no_node_is_one_of_its_own() {
    let town = Town::new();
    town.file("source/cluster.yaml", BOX);
    std::fs::remove_file(town.path("source/policies/db.yaml")).unwrap();
    let snapshot = town.snapshot();
    assert_eq!(snapshot.warnings, Findings::default());
    assert!(snapshot.roster.members.iter().all(|member| !member.here), "{:?}", snapshot.roster);
    let last = LastGood { image: snapshot.image.clone(), roster: snapshot.roster };
    let mut read = 0;
    let identities = town.path("identities.json");
    let taken = take(&town.source(), "n1", &identities, Some(&last), &mut |project| {
        read += project.cluster.services.len();
    });
    assert!(matches!(taken, Taken::Good(_)), "{taken:?}");
    assert_eq!(read, 1);
    // Pods are on nodes: then this machine must be one.
    town.file("source/cluster.yaml", BOX.replace("status:", "spec: {nodeName: n7}, status:"));
    let taken = take(&town.source(), "n1", &identities, Some(&last), &mut |_| ());
    let Taken::Bad(refusal) = taken else { panic!("{taken:?}") };
    assert_eq!(refusal.findings.lines, ["the cluster has no node `n1`; it has none at all"]);
}

#[test]
fn nodes_that_are_gone_take_no_pod_away() {
    let town = Town::new();
    let good = town.snapshot();
    let last = LastGood { image: good.image.clone(), roster: good.roster.clone() };
    town.file("source/cluster.yaml", BOX);
    let taken = take(&town.source(), "n1", &town.path("identities.json"), Some(&last), &mut |_| ());
    let Taken::Bad(refusal) = taken else { panic!("{taken:?}") };
    assert_eq!(refusal.findings.lines, ["the cluster has no node `n1`; it has none at all"]);
    assert!(refusal.roster.is_none());
}

#[test]
fn a_source_that_is_not_there_is_told() {
    let town = Town::new();
    let taken = take(
        &Source::Directory(town.path("no\u{1b}where")),
        "n1",
        &town.path("identities.json"),
        None,
        &mut |_| (),
    );
    let Taken::Bad(refusal) = taken else { panic!("{taken:?}") };
    let [line] = refusal.findings.lines.as_slice() else { panic!("{refusal:?}") };
    assert!(line.starts_with("cannot read ") && line.contains("no\\u{1b}where"), "{line}");
}

#[test]
fn many_findings_are_counted() {
    let findings = Findings::new((0..FINDINGS + 5).map(|number| number.to_string()));
    assert_eq!((findings.lines.len(), findings.more), (FINDINGS, 5));
}
