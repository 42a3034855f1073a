//! Services: labels, and the pods they select.

use super::super::context::Context;
use super::super::metadata::{key_text, metadata};
use super::{NAMESPACED, object};
use crate::tree::Service;
use crate::yaml::Value;

/// Reads a Service.
pub(crate) fn service(cx: &mut Context<'_>, value: Value<'_>) -> Option<Service> {
    let meta = metadata(cx, value, NAMESPACED)?;
    let spec = object(cx, value, "spec");
    // An ExternalName service has no endpoints, whatever its selector says.
    let external = spec.and_then(|spec| spec.get("type")).and_then(Value::raw) == Some("ExternalName");
    let selector = spec.filter(|_| !external).and_then(|spec| object(cx, spec, "selector"));
    let mut labels = Vec::new();
    for (key, value) in selector.and_then(Value::pairs).into_iter().flatten() {
        let Some(name) = key_text(cx, key) else { continue };
        if let Some(text) = cx.text(value, "selector") {
            labels.push((name.to_owned(), text.value.to_owned()));
        }
    }
    let selector = (!labels.is_empty()).then_some(labels);
    Some(Service { meta, selector, span: value.span() })
}
