//! Crates that nobody may bring in, and places that no crate may come from.
//!
//! As in cargo-deny, a ban with wrappers allows the crate where every direct dependant is one of them.

use super::Finding;
use super::deny_file::Banned;
use crate::Failure;
use cargo_metadata::Metadata;

/// The one registry of the lock file, as Cargo itself writes it.
const USUAL_SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Findings for every use of a banned crate.
pub(crate) fn check(
    metadata: &Metadata,
    banned: &[Banned],
    place: &dyn Fn(&str, &str) -> String,
) -> Result<Vec<Finding>, Failure> {
    let resolve = metadata.resolve.as_ref().ok_or("cargo metadata gave no resolved dependencies")?;
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let Some(ban) = banned.iter().find(|ban| ban.matches(&package.name, &package.version)) else {
            continue;
        };
        let users = resolve.nodes.iter().filter(|node| node.dependencies.contains(&package.id));
        for user in users.filter_map(|node| metadata.packages.iter().find(|package| package.id == node.id)) {
            if ban.wrappers.iter().any(|wrapper| **wrapper == *user.name) {
                continue;
            }
            findings.push(Finding::new(
                place(&package.name, &package.version.to_string()),
                format!("`{}` brings in `{}`, which is banned: {}", user.name, package.name, ban.reason),
                "choose another crate; the list is [bans] of deny.toml",
            ));
        }
    }
    Ok(findings)
}

/// Findings for packages that come from elsewhere than the usual registry or the project itself.
pub(crate) fn foreign_sources(metadata: &Metadata, place: &dyn Fn(&str, &str) -> String) -> Vec<Finding> {
    let foreign = |source: &cargo_metadata::Source| source.repr != USUAL_SOURCE;
    metadata
        .packages
        .iter()
        .filter(|package| package.source.as_ref().is_some_and(foreign))
        .map(|package| {
            Finding::new(
                place(&package.name, &package.version.to_string()),
                format!("`{}` comes from a source of its own", package.name),
                "depend on a released version; a mirror belongs into a machine's own Cargo configuration",
            )
        })
        .collect()
}
