//! Rules for the files themselves.
//!
//! A Rust file opens with `//!`, fits in a head, has a name that says what is in it, and contains no `unsafe` outside the
//! rooms that may. Grammar and compiler touch no file, environment or clock. No test is ignored. No file knows the machine
//! it was written on.

use super::Finding;
use super::rust_text::{code_only, lines_with};
use crate::Failure;
use crate::checkout::Checkout;
use std::fs;
use std::path::Path;

/// A file longer than this wants to be cut.
const LONGEST: usize = 800;

/// Rooms that may contain `unsafe`, one SAFETY note per block.
const UNSAFE_ROOMS: &[&str] = &["bpf/abi/", "runtime/src/datapath/"];

/// Rooms that are functions of their input.
const PURE_ROOMS: &[&str] = &["grammar/src/", "compiler/src/"];

/// What a pure room would reach the world by.
const EFFECTS: &[&str] = &["fs::", "std::fs", "env::", "std::env", "process::", "Instant::now", "SystemTime"];

/// Names of drawers rather than of things.
const DRAWERS: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "types", "misc", "manager", "stuff", "shared"];

/// Findings for every file.
pub(crate) fn check(checkout: &Checkout) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let root = checkout.root().display().to_string();
    for path in checkout.files()? {
        let shown = checkout.shown(&path);
        // A file that is not text has no lines to judge.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        findings.extend(machine_paths(&shown, &text, &root));
        if path.extension().is_some_and(|extension| extension == "rs") {
            findings.extend(rust_file(&shown, &text));
        }
        if shown == ".cargo/config.toml" || path.file_name().is_some_and(|name| name == "Cargo.toml") {
            findings.extend(registries(&shown, &text));
        }
    }
    Ok(findings)
}

fn rust_file(shown: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: usize, what: &str, instead: &str| {
        findings.push(Finding::new(format!("{shown}:{line}"), what, instead));
    };
    if !text.trim_start().starts_with("//!") {
        find(
            1,
            "the file does not say its job",
            "open it with `//!`: its job, its invariants, what is not in it",
        );
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        let what = format!("{lines} lines are more than {LONGEST}");
        find(lines, &what, "look for the room that wants to be cut out");
    }
    if let Some(drawer) = drawer(Path::new(shown)) {
        let what = format!("`{drawer}` names a drawer, not a thing");
        find(1, &what, "name the file after the noun it is about");
    }
    let code = code_only(text);
    if !UNSAFE_ROOMS.iter().any(|room| shown.starts_with(room)) {
        for line in lines_with(&code, "unsafe") {
            find(
                line,
                "`unsafe` outside bpf/abi and runtime/datapath",
                "find the safe way, or move it there",
            );
        }
    }
    for line in lines_with(&code, "#[ignore") {
        find(
            line,
            "an ignored test",
            "make it a target of its own, or skip aloud when the machine lacks something",
        );
    }
    if PURE_ROOMS.iter().any(|room| shown.starts_with(room)) {
        let tests = lines_with(&code, "#[cfg(test)]").first().copied().unwrap_or(usize::MAX);
        for effect in EFFECTS {
            for line in lines_with(&code, effect).into_iter().filter(|line| *line < tests) {
                let what =
                    format!("`{}` in a room that is a function of its input", effect.trim_end_matches(':'));
                find(line, &what, "let the caller do it and hand over the result");
            }
        }
    }
    findings
}

/// The part of the path that names a drawer.
fn drawer(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let folder = path.parent()?.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = if stem == "mod" { folder? } else { stem };
    DRAWERS.contains(&name.as_str()).then_some(name)
}

/// Lines that name the folder this checkout happens to stand in.
fn machine_paths(shown: &str, text: &str, root: &str) -> Vec<Finding> {
    let ends =
        |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-' || next == '_');
    let named = |line: &str| line.match_indices(root).any(|(at, _)| ends(&line[at + root.len()..]));
    text.lines()
        .enumerate()
        .filter(|(_, line)| named(line))
        .map(|(index, _)| {
            let place = format!("{shown}:{}", index + 1);
            Finding::new(place, "a path of this machine", "write it relative to the repository's root")
        })
        .collect()
}

/// Settings that send Cargo to a registry other than its own.
fn registries(shown: &str, text: &str) -> Vec<Finding> {
    let named = |line: &str| {
        let line = line.trim_start();
        let table = ["[source", "[registries", "[registry"].iter().any(|start| line.starts_with(start));
        table || line.contains("registry =") || line.contains("registry-index =")
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| named(line))
        .map(|(index, _)| {
            let instead = "a mirror belongs into a machine's own Cargo configuration";
            Finding::new(format!("{shown}:{}", index + 1), "the project names a registry", instead)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{drawer, machine_paths, registries, rust_file};
    use std::path::Path;

    fn what(shown: &str, text: &str) -> Vec<String> {
        rust_file(shown, text).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_file_says_its_job_first() {
        assert_eq!(what("grammar/src/a.rs", "fn a() {}\n"), ["the file does not say its job"]);
        assert!(what("grammar/src/a.rs", "//! The job.\n").is_empty());
    }

    #[test]
    fn a_file_fits_in_a_head() {
        let text = format!("//! Long.\n{}", "// line\n".repeat(800));
        assert_eq!(what("grammar/src/a.rs", &text), ["801 lines are more than 800"]);
    }

    #[test]
    fn drawers_are_found_as_files_and_as_folders() {
        assert_eq!(drawer(Path::new("a/utils.rs")).as_deref(), Some("utils"));
        assert_eq!(drawer(Path::new("a/common/mod.rs")).as_deref(), Some("common"));
        assert_eq!(drawer(Path::new("a/selector/mod.rs")), None);
    }

    #[test]
    fn unsafe_has_its_rooms() {
        let text = "//! Job.\nfn a() { unsafe { b() } }\n";
        assert_eq!(what("grammar/src/a.rs", text).len(), 1);
        assert!(what("bpf/abi/src/a.rs", text).is_empty());
    }

    #[test]
    fn effects_stay_out_of_pure_rooms_but_not_out_of_their_tests() {
        let text = "//! Job.\nfn a() { fs::read(b) }\n#[cfg(test)]\nmod tests { fn c() { fs::read(d) } }\n";
        let findings = rust_file("compiler/src/a.rs", text);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "compiler/src/a.rs:2");
        assert!(what("compiler/policyc/src/a.rs", text).is_empty());
    }

    #[test]
    fn the_checkouts_own_path_is_found_whole() {
        let text = "see /home/a/weir/x\nsee /home/a/weir-old\n";
        assert_eq!(machine_paths("README.md", text, "/home/a/weir").len(), 1);
    }

    #[test]
    fn registries_are_found() {
        assert_eq!(registries(".cargo/config.toml", "[alias]\n[source.mirror]\nregistry = \"x\"\n").len(), 2);
        assert!(registries("Cargo.toml", "# the registry\n[dependencies]\n").is_empty());
    }
}
