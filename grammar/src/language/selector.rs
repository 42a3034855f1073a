//! Selectors: `app=web, tier in (front, middle), !legacy`.

use super::Rule;
use super::build::{Build, Field};
use crate::span::Span;
use crate::tree::Selector;
use crate::yaml::NodeId;
use pest::iterators::Pair;

/// The label that `in NAMESPACE` behind pods stands for, in Cilium's policies.
pub(super) const POD_NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";
/// The label that it stands for on a namespace, in a NetworkPolicy.
pub(super) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The selector among `part`'s pieces, none for `all …`; with one more label if a namespace is asked for.
pub(super) fn selector(
    build: &mut Build<'_, '_>,
    part: &Pair<'_, Rule>,
    namespace: Option<NodeId>,
) -> NodeId {
    let mut at = build.span(part);
    let mut expressions = Vec::new();
    for piece in part.clone().into_inner().filter(|piece| piece.as_rule() == Rule::selector) {
        at = build.span(&piece);
        for requirement in piece.into_inner().flat_map(Pair::into_inner) {
            expressions.push(expression(build, requirement));
        }
    }
    if let Some(namespace) = namespace {
        let namespace_at = build.span_of(namespace);
        let key = build.scalar(namespace_at, POD_NAMESPACE);
        expressions.push(one_of(build, namespace_at, key, namespace));
    }
    of_expressions(build, at, &expressions)
}

/// A selector of the one namespace of a name.
pub(super) fn namespace_named(build: &mut Build<'_, '_>, name: NodeId) -> NodeId {
    let at = build.span_of(name);
    let key = build.scalar(at, NAMESPACE_NAME);
    let expression = one_of(build, at, key, name);
    of_expressions(build, at, &[expression])
}

/// A selector that was read elsewhere.
pub(super) fn written(build: &mut Build<'_, '_>, at: Span, selector: &Selector) -> NodeId {
    let mut expressions = Vec::new();
    for requirement in &selector.requirements {
        let key = build.scalar(at, requirement.key.value.with_source());
        let operator = requirement.operator.as_str();
        let values: Vec<NodeId> =
            requirement.values.iter().map(|value| build.scalar(at, value.clone())).collect();
        let values = (!values.is_empty()).then(|| build.list(at, &values));
        expressions.push(of_operator(build, at, key, operator, values));
    }
    of_expressions(build, at, &expressions)
}

fn of_expressions(build: &mut Build<'_, '_>, at: Span, expressions: &[NodeId]) -> NodeId {
    if expressions.is_empty() {
        return build.object(at, &[]);
    }
    let list = build.list(at, expressions);
    build.wrapped(at, "matchExpressions", list)
}

fn one_of(build: &mut Build<'_, '_>, at: Span, key: NodeId, value: NodeId) -> NodeId {
    let values = build.list(at, &[value]);
    of_operator(build, at, key, "In", Some(values))
}

fn expression(build: &mut Build<'_, '_>, requirement: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&requirement);
    let operator = match requirement.as_rule() {
        Rule::equal | Rule::one_of => "In",
        Rule::unequal | Rule::none_of => "NotIn",
        Rule::has => "Exists",
        _ => "DoesNotExist",
    };
    let mut pieces = requirement
        .into_inner()
        .filter(|piece| matches!(piece.as_rule(), Rule::word | Rule::string | Rule::values));
    let Some(key) = pieces.next() else { return build.broken(at) };
    let key = build.text(&key);
    let values = pieces.next().map(|piece| {
        let values_at = build.span(&piece);
        let is_list = piece.as_rule() == Rule::values;
        let texts: Vec<Pair<'_, Rule>> = if is_list { piece.into_inner().collect() } else { vec![piece] };
        build.texts(values_at, texts.into_iter().filter(|text| text.as_rule() != Rule::paren))
    });
    of_operator(build, at, key, operator, values)
}

fn of_operator(
    build: &mut Build<'_, '_>,
    at: Span,
    key: NodeId,
    operator: &'static str,
    values: Option<NodeId>,
) -> NodeId {
    let key_at = build.span_of(key);
    let operator = build.scalar(at, operator);
    let mut fields: Vec<Field> = vec![build.field(key_at, "key", key), build.field(at, "operator", operator)];
    if let Some(values) = values {
        fields.push(build.field(at, "values", values));
    }
    build.object(at, &fields)
}
