//! Objects to text, in either way of writing: what is written reads to the same objects, places apart.
//!
//! Comments and annotations are in no object and so are not written.

use crate::tree::Object;
use crate::{language, manifest, yaml};

/// A policy or a group as a YAML document without its `---`; `None` for objects of the cluster.
pub fn yaml(object: &Object) -> Option<String> {
    manifest::write::item(object).map(|item| yaml::document_text(&item))
}

/// A policy or a group as an item of a `.policy` file; `None` for objects of the cluster.
pub fn policy(object: &Object) -> Option<String> {
    language::item(object)
}
