//! Documents to objects: `apiVersion` and `kind`, lists, and what becomes of other kinds.

use super::context::Context;
use super::kind::{Kind, Verdict, verdict};
use super::{cidr_group, cilium, cluster, expectations, hint, metadata, network_policy};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use crate::tree::Object;
use crate::yaml::{Content, Resolved, Value};

/// Objects of kinds that were passed over: version, kind, how many, and where the first stands.
#[derive(Debug, Default)]
pub(crate) struct Skipped(Vec<(String, String, usize, Span)>);

/// The type of a list's items that do not give their own.
#[derive(Clone, Copy, Debug)]
struct Inherited<'d> {
    api_version: &'d str,
    kind: &'d str,
}

/// Reads the object or objects of a document. `sound`: nothing is wrong with its text.
pub(crate) fn document(
    cx: &mut Context<'_>,
    root: Value<'_>,
    sound: bool,
    skipped: &mut Skipped,
    objects: &mut Vec<Object>,
) {
    // A file may begin or end with `---`, or hold only comments between two of them.
    if !root.is_null() {
        object(cx, root, sound, None, skipped, objects);
    }
    cx.object = None;
}

/// Whose a document's problems are, if it is one object.
pub(crate) fn title(root: Value<'_>) -> Option<String> {
    let kind = root.get("kind").and_then(Value::raw).filter(|kind| !kind.ends_with("List"))?;
    Some(metadata::title(kind, root))
}

fn object<'d>(
    cx: &mut Context<'_>,
    value: Value<'d>,
    sound: bool,
    inherited: Option<Inherited<'d>>,
    skipped: &mut Skipped,
    objects: &mut Vec<Object>,
) {
    if value.pairs().is_none() {
        not_an_object(cx, value);
        return;
    }
    let Some((api_version, kind)) = type_of(cx, value, inherited) else { return };
    // A kind that ends in List and has items is one, whoever defined it.
    if let Some(item_kind) = kind.strip_suffix("List")
        && (item_kind.is_empty() || value.get("items").is_some())
    {
        let inherited = (!item_kind.is_empty()).then_some(Inherited { api_version, kind: item_kind });
        list(cx, value, sound, inherited, skipped, objects);
        return;
    }
    cx.object = Some(metadata::title(kind, value));
    let errors = cx.findings.errors();
    let object = match verdict(api_version, kind) {
        Verdict::Read(kind) => read(cx, value, kind),
        Verdict::Skip => {
            skipped.add(api_version, kind, type_span(value));
            None
        }
        Verdict::Refuse => {
            cx.report(
                Diagnostic::new(
                    Code::UnsupportedKind,
                    type_span(value),
                    format!("Weir does not enforce {} ({})", hint::short(kind), hint::short(api_version)),
                )
                .labelled("a policy that would be ignored")
                .help("take it out of the input, or write it as a CiliumClusterwideNetworkPolicy"),
            );
            None
        }
        Verdict::Mistaken(help) => {
            cx.report(
                Diagnostic::new(
                    Code::ApiVersion,
                    type_span(value),
                    format!("there is no kind `{}` in `{}`", hint::short(kind), hint::short(api_version)),
                )
                .labelled("no such kind in this version")
                .help(help),
            );
            None
        }
    };
    cx.object = None;
    // Only what is wholly right is handed on.
    if sound && cx.findings.errors() == errors {
        objects.extend(object);
    }
}

fn read(cx: &mut Context<'_>, value: Value<'_>, kind: Kind) -> Option<Object> {
    match kind {
        Kind::Cilium(scope) => cilium::policy(cx, value, scope).map(Object::Cilium),
        Kind::NetworkPolicy => network_policy::policy(cx, value).map(Object::Network),
        Kind::CidrGroup => cidr_group::group(cx, value).map(Object::CidrGroup),
        Kind::Expectations => expectations::expectations(cx, value).map(Object::Expectations),
        Kind::Namespace => cluster::namespace(cx, value).map(Object::Namespace),
        Kind::Pod => cluster::pod(cx, value).map(Object::Pod),
        Kind::Node => cluster::node(cx, value).map(Object::Node),
        Kind::Service => cluster::service(cx, value).map(Object::Service),
        Kind::EndpointSlice => cluster::endpoint_slice(cx, value).map(Object::EndpointSlice),
        Kind::Secret => cluster::secret(cx, value).map(Object::Secret),
    }
}

fn list<'d>(
    cx: &mut Context<'_>,
    value: Value<'d>,
    sound: bool,
    inherited: Option<Inherited<'d>>,
    skipped: &mut Skipped,
    objects: &mut Vec<Object>,
) {
    for (key, _) in value.pairs().into_iter().flatten() {
        if let Some(name) =
            key.raw().filter(|name| !matches!(*name, "apiVersion" | "kind" | "metadata" | "items"))
        {
            let shape = super::decode::Shape {
                what: "a list of objects",
                fields: &["apiVersion", "kind", "metadata", "items"],
                elsewhere: &[],
            };
            cx.report(hint::unknown_field(name, key.span(), &shape));
        }
    }
    let Some(items) = value.get("items") else { return };
    cx.items(items, "items", |cx, item| object(cx, item, sound, inherited, skipped, objects));
}

/// `apiVersion` and `kind`, the object's own or the list's.
fn type_of<'d>(
    cx: &mut Context<'_>,
    value: Value<'d>,
    inherited: Option<Inherited<'d>>,
) -> Option<(&'d str, &'d str)> {
    let mut field = |name: &str, default: Option<&'d str>, help: &str| match value.get(name) {
        None => {
            if default.is_none() {
                cx.missing(value.head(), "an object", name, help);
            }
            default
        }
        Some(value) => {
            let text = cx.text(value, name)?;
            if text.value.is_empty() {
                cx.missing(text.span, "an object", name, help);
                return None;
            }
            Some(text.value)
        }
    };
    let api_version =
        field("apiVersion", inherited.map(|list| list.api_version), "such as `apiVersion: cilium.io/v2`");
    let kind = field("kind", inherited.map(|list| list.kind), "such as `kind: CiliumNetworkPolicy`");
    Some((api_version?, kind?))
}

/// The place of the object's type: `kind`, or the object if it has none of its own.
fn type_span(value: Value<'_>) -> Span {
    value.get("kind").map_or(value.head(), Value::span)
}

fn not_an_object(cx: &mut Context<'_>, value: Value<'_>) {
    if value.is_broken() {
        return;
    }
    let (found, help) = match (value.content(), value.scalar()) {
        (Content::Sequence { .. }, _) => (
            "a list",
            "write one document per object, separated by `---`, or an object of `kind: List` with `items`",
        ),
        (_, Some(Resolved::Text(_))) => ("text", "a manifest begins with `apiVersion:` and `kind:`"),
        _ => ("a lone value", "a manifest begins with `apiVersion:` and `kind:`"),
    };
    let span = value.items().and_then(|mut items| items.next()).map_or(value.span(), Value::head);
    cx.report(
        Diagnostic::new(Code::NotAnObject, span, format!("the document is {found}, not a Kubernetes object"))
            .labelled("not an object")
            .help(help),
    );
}

impl Skipped {
    fn add(&mut self, api_version: &str, kind: &str, at: Span) {
        if let Some(known) = self.0.iter_mut().find(|known| known.0 == api_version && known.1 == kind) {
            known.2 += 1;
        } else if self.0.len() < 1000 {
            self.0.push((api_version.to_owned(), kind.to_owned(), 1, at));
        }
    }

    /// One warning for each kind.
    pub(crate) fn report(self, cx: &mut Context<'_>) {
        for (api_version, kind, count, at) in self.0 {
            let (objects, were) = if count == 1 { ("object", "was") } else { ("objects", "were") };
            let finding = Diagnostic::new(
                Code::SkippedKind,
                at,
                format!(
                    "{count} {objects} of kind `{}` ({}) {were} skipped",
                    hint::short(&kind),
                    hint::short(&api_version)
                ),
            )
            .labelled(if count == 1 { "no policy" } else { "the first one" });
            cx.report(match (api_version.as_str(), kind.as_str()) {
                ("v1", "Endpoints") => finding.help("backends of services are read from EndpointSlices"),
                _ => finding,
            });
        }
    }
}
