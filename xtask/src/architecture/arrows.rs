//! The arrows between rooms, which run one way, and what must never reach a library.
//!
//! Every package of the workspace has a row here. A new arrow between rooms is a change of its own, with a decision record.

use super::{Finding, places};
use crate::Failure;
use crate::checkout::Checkout;
use cargo_metadata::{DependencyKind, Metadata, PackageId};
use std::collections::HashMap;

/// A package of the workspace and the packages of the workspace it may name.
struct Room {
    package: &'static str,
    may_use: MayUse,
}

enum MayUse {
    Only(&'static [&'static str]),
    /// It looks at everything, and nobody looks at it.
    Anything,
}

const ROOMS: &[Room] = &[
    Room { package: "weir-grammar", may_use: MayUse::Only(&[]) },
    Room { package: "weir-abi", may_use: MayUse::Only(&[]) },
    Room { package: "weir-object", may_use: MayUse::Only(&["weir-abi"]) },
    Room {
        package: "weir-runtime",
        may_use: MayUse::Only(&["weir-project", "weir-compiler", "weir-grammar", "weir-abi", "weir-object"]),
    },
    Room { package: "weir-compiler", may_use: MayUse::Only(&["weir-grammar", "weir-abi"]) },
    Room { package: "weir-project", may_use: MayUse::Only(&["weir-compiler", "weir-grammar", "weir-abi"]) },
    Room { package: "policyd", may_use: MayUse::Only(&["weir-runtime", "weir-project", "weir-abi"]) },
    Room {
        package: "policyc",
        may_use: MayUse::Only(&["weir-project", "weir-compiler", "weir-grammar", "weir-abi"]),
    },
    Room {
        package: "weir-example-embedding",
        may_use: MayUse::Only(&["weir-compiler", "weir-grammar", "weir-abi"]),
    },
    Room { package: "weir-lab", may_use: MayUse::Only(&["weir-runtime"]) },
    Room { package: "weir-tests", may_use: MayUse::Anything },
    Room { package: "weir-benches", may_use: MayUse::Anything },
    Room { package: "xtask", may_use: MayUse::Anything },
];

/// Crates that stay out of everything a library builds on, in the library's whole normal closure.
struct KeptOut {
    packages: &'static [&'static str],
    crates: &'static [&'static str],
    why: &'static str,
}

const KEPT_OUT: &[KeptOut] = &[
    KeptOut {
        packages: &["weir-grammar", "weir-abi", "weir-compiler"],
        crates: &["tokio", "kube", "kube-client", "k8s-openapi", "aya", "aya-obj", "libbpf-rs", "libbpf-sys"],
        why: "the compiler is pure and builds on stable Rust alone; effects live in runtime",
    },
    KeptOut {
        packages: &["weir-grammar", "weir-abi", "weir-compiler", "weir-project"],
        crates: &["clap", "anyhow", "indicatif"],
        why: "argument parsing, progress bars and untyped errors belong to binaries",
    },
];

/// Findings for every arrow that runs the wrong way.
pub(crate) fn check(checkout: &Checkout) -> Result<Vec<Finding>, Failure> {
    let metadata = checkout.metadata();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = checkout.shown(package.manifest_path.as_std_path());
        let text = checkout.read(&manifest)?;
        let Some(room) = ROOMS.iter().find(|room| room.package == package.name.as_str()) else {
            findings.push(Finding::new(
                format!("{manifest}:1"),
                format!("the package `{}` has no row in the table of rooms", package.name),
                "give it one in xtask/src/architecture/arrows.rs, with a decision record",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some(why) = refused(room, &dependency.name) {
                let place = places::in_manifest(&manifest, &text, &dependency.name);
                let what = format!("`{}` must not depend on `{}`: {why}", package.name, dependency.name);
                findings.push(Finding::new(place, what, "move what is needed to the room that may have it"));
            }
        }
    }
    findings.extend(kept_out(checkout, metadata)?);
    Ok(findings)
}

/// Why a room may not name a package, if it may not.
fn refused(room: &Room, dependency: &str) -> Option<&'static str> {
    let other = ROOMS.iter().find(|other| other.package == dependency)?;
    match (&other.may_use, &room.may_use) {
        (MayUse::Anything, _) => Some("nobody looks at what looks at everything"),
        (_, MayUse::Only(few)) if !few.contains(&dependency) => Some("the arrow runs the other way"),
        _ => None,
    }
}

fn kept_out(checkout: &Checkout, metadata: &Metadata) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let reached = closure(metadata, &package.id)?;
        for rule in KEPT_OUT.iter().filter(|rule| rule.packages.contains(&package.name.as_str())) {
            for (name, path) in rule.crates.iter().filter_map(|name| reached.get_key_value(*name)) {
                let manifest = checkout.shown(package.manifest_path.as_std_path());
                let text = checkout.read(&manifest)?;
                let first = path.get(1).map_or(*name, String::as_str);
                findings.push(Finding::new(
                    places::in_manifest(&manifest, &text, first),
                    format!("`{}` builds on `{name}` ({}): {}", package.name, path.join(" -> "), rule.why),
                    "drop the dependency or the feature of it that brings this in",
                ));
            }
        }
    }
    Ok(findings)
}

/// Every package that `start` builds on in a normal build, with the shortest way there.
fn closure<'a>(
    metadata: &'a Metadata,
    start: &'a PackageId,
) -> Result<HashMap<&'a str, Vec<String>>, Failure> {
    let resolve = metadata.resolve.as_ref().ok_or("cargo metadata gave no resolved dependencies")?;
    let nodes: HashMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let names: HashMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let name = |id: &PackageId| names.get(id).copied().unwrap_or("?");
    let mut reached = HashMap::new();
    let mut queue = std::collections::VecDeque::from([(start, vec![name(start).to_owned()])]);
    while let Some((id, path)) = queue.pop_front() {
        for dependency in nodes.get(id).into_iter().flat_map(|node| &node.deps) {
            let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if normal && !reached.contains_key(name(&dependency.pkg)) {
                let mut longer = path.clone();
                longer.push(name(&dependency.pkg).to_owned());
                reached.insert(name(&dependency.pkg), longer.clone());
                queue.push_back((&dependency.pkg, longer));
            }
        }
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::{ROOMS, refused};

    fn may_not(from: &str, to: &str) -> bool {
        let room = ROOMS.iter().find(|room| room.package == from).unwrap();
        refused(room, to).is_some()
    }

    #[test]
    fn arrows_run_one_way() {
        assert!(may_not("weir-grammar", "weir-compiler"));
        assert!(may_not("weir-abi", "weir-grammar"));
        assert!(may_not("weir-compiler", "policyc"));
        assert!(!may_not("weir-compiler", "weir-abi"));
        assert!(!may_not("policyc", "weir-grammar"));
        assert!(may_not("weir-compiler", "weir-project"));
        assert!(may_not("weir-project", "policyc"));
        assert!(!may_not("policyc", "weir-project"));
        assert!(!may_not("weir-tests", "policyc"));
    }

    #[test]
    fn nobody_looks_at_tests_benches_and_xtask() {
        for room in ROOMS {
            for watcher in ["weir-tests", "weir-benches", "xtask"] {
                assert!(may_not(room.package, watcher));
            }
        }
    }

    #[test]
    fn foreign_crates_are_no_matter_of_arrows() {
        assert!(!may_not("weir-grammar", "memchr"));
    }
}
