//! CiliumCIDRGroup.

use super::cidr::{self, Bare};
use super::context::Context;
use super::decode::Shape;
use super::metadata::{self, metadata};
use crate::tree::CidrGroup;
use crate::yaml::Value;

const GROUP: Shape = Shape {
    what: "a CiliumCIDRGroup",
    fields: &["apiVersion", "kind", "metadata", "spec", "status"],
    elsewhere: &[("externalCIDRs", "put it into `spec`")],
};

const SPEC: Shape = Shape {
    what: "the `spec` of a CiliumCIDRGroup",
    fields: &["externalCIDRs"],
    elsewhere: &[("cidrs", "did you mean `externalCIDRs`?")],
};

/// Reads one group.
pub(crate) fn group(cx: &mut Context<'_>, object: Value<'_>) -> Option<CidrGroup> {
    let meta = metadata(cx, object, metadata::Rules { namespaced: false, strict: true });
    let mut spec = None;
    cx.fields(object, &GROUP, |cx, field, value, _| match field {
        "spec" => {
            let mut cidrs = None;
            let is_object = cx.fields(value, &SPEC, |cx, field, value, _| {
                cidrs = Some(cidr::prefixes(cx, value, field, Bare::Refused));
            });
            if is_object && cidrs.is_none() && !SPEC.is_misspelt(value) {
                cx.missing(
                    value.head(),
                    "`spec`",
                    "externalCIDRs",
                    "for an empty group write `externalCIDRs: []`",
                );
            }
            spec = Some(cidrs.flatten());
        }
        "status" => cx.is_object(value, field),
        _ => {}
    });
    if spec.is_none() {
        cx.missing(object.head(), "a CiliumCIDRGroup", "spec", "add `spec: {externalCIDRs: […]}`");
    }
    Some(CidrGroup { cidrs: spec??, meta: meta? })
}
