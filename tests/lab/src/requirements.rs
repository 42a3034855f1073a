//! What a machine must have for a lab, and what happens where it lacks something.
//!
//! Invariant: a test that does not run says so, and with CI set it fails instead. Not here: what a datapath needs besides.

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const PROGRAMS: &[&str] = &["unshare", "nsenter", "mount", "sh", "ip", "nice", "ping", "ethtool"];

/// What this machine lacks for a lab, if anything.
pub fn missing() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(look).clone()
}

/// Whether labs can be made here. Otherwise says so and why, for a test to return at once.
///
/// # Panics
/// Labs cannot be made, and the environment's `CI` is `true` or `1`: there, a test that is skipped has failed.
pub fn available() -> bool {
    available_with(&[])
}

/// The same for a test that needs these programs besides.
///
/// # Panics
/// As [`available`] does.
#[expect(clippy::panic, reason = "where every test must run, one that cannot has failed")]
pub fn available_with(programs: &[&str]) -> bool {
    let Some(lacking) = missing().or_else(|| lacking_program(programs)) else { return true };
    if matches!(env::var("CI").as_deref(), Ok("true" | "1")) {
        panic!("a lab cannot be made here: {lacking}");
    }
    println!("SKIPPED: {lacking}");
    false
}

fn look() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if effective != Some("0") {
        return Some("a lab needs root".to_owned());
    }
    if let Some(lacking) = lacking_program(PROGRAMS) {
        return Some(lacking);
    }
    let mut attempt = Command::new("unshare");
    attempt.args(["--net", "--mount", "true"]).stdin(Stdio::null());
    match attempt.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Some(format!("namespaces are not permitted: {why}"))
        }
        Err(error) => Some(format!("`unshare` cannot be run: {error}")),
    }
}

fn lacking_program(programs: &[&str]) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = |program: &&str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let lacking = programs.iter().find(|program| !there(program))?;
    Some(format!("a lab needs the program `{lacking}`, which is not in the path"))
}
