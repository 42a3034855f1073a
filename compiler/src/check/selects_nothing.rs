//! W601: the policy selects no endpoint. What it asks, and why, is on its page, `docs/codes/W601.md`.

use super::implication;
use super::near_miss::{NearMisses, Role, Whom};
use super::view::{View, parts, selector_span};
use crate::ir::{PolicyKind, Rule};
use crate::labels::{self, POD_NAMESPACE};
use rustc_hash::FxHashSet;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::tree::{LabelSource, Requirement};

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let mut near = NearMisses::new(view);
    let mut seen = FxHashSet::default();
    for rule in &view.set.rules {
        if view.is_idle(rule) && seen.insert((rule.policy, rule.path.spec)) {
            found.extend(subject(view, rule, &mut near));
        }
    }
    for rule in view.elements().filter(|rule| !view.is_idle(rule)) {
        for selector in &view.peers(rule).selectors {
            found.extend(peer(view, rule, selector, &mut near));
        }
    }
}

/// A selector that is impossible in any cluster is [`super::never_matches`]' to tell.
fn is_impossible(selector: &[Requirement]) -> bool {
    implication::contradiction(selector).is_some() || implication::foreign_source(selector).is_some()
}

fn subject(view: &View<'_>, rule: &Rule, near: &mut NearMisses<'_>) -> Option<Diagnostic> {
    let (of_nodes, selector) = parts(&view.set.subjects[rule.subject]);
    if is_impossible(selector) {
        return None;
    }
    let what = if rule.path.spec.is_some() { "spec" } else { "policy" };
    let whom = if of_nodes { "node" } else { "pod" };
    let within = match &view.set.policies[rule.policy] {
        policy if policy.kind == PolicyKind::CiliumClusterwide => String::new(),
        policy => format!(" of namespace `{}`", policy.namespace.as_deref().unwrap_or("default")),
    };
    let message = format!("the {what} selects no {whom}{within}");
    let finding = view
        .finding(Code::SelectsNothing, rule, rule.subject_span, message)
        .labelled(format!("no {whom} of the cluster fits"));
    let entity = selector.iter().any(|requirement| requirement.key.value.source == LabelSource::Reserved);
    let help = if entity {
        Some("entities are peers; the subjects of policies are pods and nodes".to_owned())
    } else {
        near.advice(rule, Role::Subject, if of_nodes { Whom::Nodes } else { Whom::Pods }, selector)
    };
    Some(Diagnostic { help, ..finding })
}

fn peer(
    view: &View<'_>,
    rule: &Rule,
    selector: &[Requirement],
    near: &mut NearMisses<'_>,
) -> Option<Diagnostic> {
    let of_source = |source| selector.iter().any(|requirement| requirement.key.value.source == source);
    let names_pods = selector.iter().any(|requirement| requirement.key.value.name == POD_NAMESPACE);
    let known = if of_source(LabelSource::Reserved) { view.has_nodes && !names_pods } else { view.has_pods };
    if !known || is_impossible(selector) || !view.index.select(selector).is_empty() {
        return None;
    }
    let span = selector_span(selector)?;
    // All of a service's requirements stand where the service is named; of other selectors only the
    // namespace and the cluster are added.
    let of_service = selector.len() > 1
        && selector.iter().all(|requirement| {
            requirement.key.span == selector[0].key.span && requirement.key.value.name != labels::CLUSTER
        });
    let message = match (of_service, of_source(LabelSource::Reserved)) {
        (true, false) => "there is no pod behind the service",
        (_, true) => "the peer selects no node",
        (false, false) => "the peer selects no pod",
    };
    let mut finding =
        view.finding(Code::SelectsNothing, rule, span, message).labelled("nobody of the cluster fits");
    finding.help = if of_service {
        Some("it stands for the pods of its namespace that have all labels of its selector".to_owned())
    } else {
        near.advice(rule, Role::Peer, if names_pods { Whom::Pods } else { Whom::Nodes }, selector)
    };
    Some(finding)
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found, network};

    #[test]
    fn a_subject_in_another_namespace() {
        let text = cnp("", "app: prometheus", "ingress: [{fromEntities: [all]}]");
        let finding = &found(&text, CLUSTER)[0];
        assert!(finding.starts_with("W601 5:"), "{finding}");
        assert!(finding.contains("the policy selects no pod of namespace `shop`"), "{finding}");
        assert!(finding.contains("are in namespace `ops`; a policy selects"), "{finding}");
    }

    #[test]
    fn a_misspelt_value_and_a_misspelt_key() {
        let text = cnp("", "app: wep", "ingress: [{fromEntities: [all]}]");
        assert!(
            found(&text, CLUSTER)[0]
                .contains("of those that fit otherwise label `app` is `checkout`, `db` or `web`")
        );
        let text = cnp("", "appp: web", "ingress: [{fromEntities: [all]}]");
        assert!(
            found(&text, CLUSTER)[0].contains(
                "none of those that fit otherwise has label `appp`, but there is label `app`: `web`"
            )
        );
    }

    #[test]
    fn a_peer_in_another_namespace() {
        let text = cnp("", "app: db", "ingress: [{fromEndpoints: [{matchLabels: {app: prometheus}}]}]");
        let finding = &found(&text, CLUSTER)[0];
        assert!(finding.contains("the peer selects no pod"), "{finding}");
        assert!(finding.contains("write `io.kubernetes.pod.namespace: ops` in the selector"), "{finding}");
        let text = network("app: db", "ingress: [{from: [{podSelector: {matchLabels: {app: prometheus}}}]}]");
        assert!(
            found(&text, CLUSTER)[0]
                .contains("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ops}}")
        );
    }

    #[test]
    fn a_namespace_by_a_label_that_it_lacks() {
        let text = network("app: db", "ingress: [{from: [{namespaceSelector: {matchLabels: {name: ops}}}]}]");
        let finding = &found(&text, CLUSTER)[0];
        assert!(finding.contains("none of those that fit otherwise has namespace label `name`, but there is namespace label `kubernetes.io/metadata.name`: `ops`"), "{finding}");
    }

    #[test]
    fn an_empty_namespace_and_an_empty_service() {
        let peer = "ingress: [{fromEndpoints: [{matchLabels: {io.kubernetes.pod.namespace: opps}}]}]";
        assert!(found(&cnp("", "app: db", peer), CLUSTER)[0].contains("there is no pod in namespace `opps`"));
        let service = "---\n{apiVersion: v1, kind: Service, metadata: {name: cache, namespace: shop}, spec: {selector: {app: cache}}}\n";
        let rules = "egress: [{toServices: [{k8sService: {serviceName: cache, namespace: shop}}]}]";
        let lines = found(&cnp("", "app: db", rules), &format!("{CLUSTER}{service}"));
        assert!(lines[0].contains("there is no pod behind the service"), "{lines:?}");
    }

    #[test]
    fn pods_on_their_nodes_network() {
        let text = cnp("", "app: agent", "ingress: [{fromEntities: [all]}]");
        assert!(
            found(&text, CLUSTER)[0].contains("pod shop/agent has these labels but is on its node's network")
        );
    }

    #[test]
    fn who_is_selected_is_no_surprise() {
        let text = cnp("", "app: db", "ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]");
        assert_eq!(found(&text, CLUSTER), [""; 0]);
        let text = cnp("", "app: nobody", "ingress: [{fromEntities: [all]}]");
        assert_eq!(found(&text, ""), [""; 0]);
        let text = cnp("", "app: db", "ingress: [{fromEntities: [cluster, world, kube-apiserver]}]");
        assert_eq!(found(&text, CLUSTER), [""; 0]);
    }
}
