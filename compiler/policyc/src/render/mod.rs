//! Findings for people and machines: one file per format, all from the same list.

pub(crate) mod cost;
pub(crate) mod diff;
pub(crate) mod expectations;
pub(crate) mod explanation;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod page;
pub(crate) mod rewrite;
pub(crate) mod sarif;
pub(crate) mod services;
pub(crate) mod text;
mod window;
pub(crate) mod xml;

/// `1 error`, `2 errors`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// `1 policy`, `2 policies`.
pub(crate) fn policies(number: usize) -> String {
    if number == 1 { "1 policy".to_owned() } else { format!("{number} policies") }
}
