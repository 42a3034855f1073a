//! W602: the rule can never match. What it asks, and why, is on its page, `docs/codes/W602.md`.

mod cidrs;
mod ports;

use super::implication;
use super::view::{View, parts, selector_span, side};
use crate::ir::Rule;
use rustc_hash::FxHashSet;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::tree::{LabelSource, Requirement};

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let mut seen = FxHashSet::default();
    for rule in &view.set.rules {
        if seen.insert((rule.policy, rule.path.spec)) {
            found.extend(subject(view, rule));
        }
        ports::check(view, rule, found);
    }
    for rule in view.elements() {
        for selector in &view.peers(rule).selectors {
            found.extend(peer(view, rule, selector));
        }
        cidrs::check(view, rule, found);
    }
}

/// The findings of a rule that can never match, or of a part of it.
fn finding(view: &View<'_>, rule: &Rule, span: weir_grammar::span::Span, message: String) -> Diagnostic {
    view.finding(Code::NeverMatches, rule, span, message)
}

/// The spans of a subject's requirements may be those of an equal subject elsewhere, so they are not
/// pointed at.
fn subject(view: &View<'_>, rule: &Rule) -> Option<Diagnostic> {
    let (_, selector) = parts(&view.set.subjects[rule.subject]);
    let (message, label, help) = fault(view, rule, selector)?;
    Some(finding(view, rule, rule.subject_span, message).labelled(label).help(help))
}

fn peer(view: &View<'_>, rule: &Rule, selector: &[Requirement]) -> Option<Diagnostic> {
    let (message, label, help) = fault(view, rule, selector)?;
    Some(
        match implication::contradiction(selector) {
            Some((first, second)) if first.key.span != second.key.span => {
                finding(view, rule, second.key.span, message).labelled(label).also(first.key.span, "and this")
            }
            _ => finding(view, rule, selector_span(selector)?, message).labelled(label),
        }
        .help(help),
    )
}

/// Message, label and help for a selector that is impossible in any cluster.
fn fault(view: &View<'_>, rule: &Rule, selector: &[Requirement]) -> Option<(String, String, String)> {
    if let Some(foreign) = implication::foreign_source(selector) {
        let LabelSource::Other(source) = &foreign.key.value.source else { return None };
        return Some((
            format!("nothing has labels of the source `{source}`"),
            "selects nobody".to_owned(),
            format!(
                "pods and nodes have labels of the source `k8s`; leave `{source}:` out to mean any source"
            ),
        ));
    }
    let (first, _) = implication::contradiction(selector)?;
    let key = view.key(rule, &first.key.value.name);
    Some((
        format!("the requirements on {key} exclude each other"),
        "all requirements of a selector must hold".to_owned(),
        "to mean one or the other name all values in one `In`, or write two selectors".to_owned(),
    ))
}

/// The peer field with this ending, such as `toPorts`' neighbour `toCIDR`.
fn field(rule: &Rule, name: &str) -> String {
    format!("{}{name}", side(rule.direction))
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found};

    #[test]
    fn requirements_that_exclude_each_other() {
        let rules = "ingress: [{fromEndpoints: [{matchLabels: {app: web}, matchExpressions: [{key: app, operator: NotIn, values: [web]}]}]}]";
        for cluster in ["", CLUSTER] {
            let found = found(&cnp("", "app: db", rules), cluster);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].starts_with("W602 6:81 the requirements on label `app` exclude each other"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_subject_that_contradicts_itself() {
        let text = cnp("", "app: db", "ingress: [{fromEntities: [all]}]")
            .replace("{app: db}", "{app: db}, matchExpressions: [{key: app, operator: DoesNotExist}]");
        let found = found(&text, CLUSTER);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("W602 5:"), "{found:?}");
    }

    #[test]
    fn labels_of_a_source_that_nothing_has() {
        let found = found(
            &cnp("", "app: db", "ingress: [{fromEndpoints: [{matchLabels: {'container:app': web}}]}]"),
            CLUSTER,
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("labels of the source `container`"), "{found:?}");
    }
}
