//! `cargo xtask demo`: the main job on the manifests of examples/shop, each command shown before its output; then the same policies
//! in the kernel, between real processes (tests/src/bin/lab_demo.rs), and a service there (tests/src/bin/balancing_demo.rs).
//!
//! The demonstration is a test as well: a command that leaves with another code than the one told here fails it, and so does
//! a flow whose verdict is not the one written beside it.

use crate::checkout::{Checkout, forget, line, run as run_command};
use crate::{Failure, setup, takes_nothing};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// The shop's policies and cluster, as arguments of `policyc`.
pub(crate) const SHOP: &[&str] = &["-f", "examples/shop/policies", "-c", "examples/shop/cluster.yaml"];

const MISTAKES: &[&str] = &["-f", "examples/shop/mistakes.yaml", "-c", "examples/shop/cluster.yaml"];
const FLOWS: &str = "examples/shop/flows.jsonl";
const IMAGE: &str = "target/shop.wimg";

/// One thing to show.
struct Scene {
    heading: &'static str,
    verb: &'static str,
    reads: &'static [&'static str],
    also: &'static [&'static str],
    /// The exit code that is right.
    code: i32,
}

const SCENES: &[Scene] = &[
    Scene {
        heading: "Four mistakes in one policy: one run finds them all, each in its place",
        verb: "check",
        reads: MISTAKES,
        also: &[],
        code: 1,
    },
    Scene { heading: "The shop's own policies are fine", verb: "check", reads: SHOP, also: &[], code: 0 },
    Scene {
        heading: "They do what is expected of them, and every rule of them is needed for that",
        verb: "test",
        reads: &["examples/shop/policies"],
        also: &["-c", "examples/shop/cluster.yaml", "--coverage", "--fail-uncovered"],
        code: 0,
    },
    Scene {
        heading: "Policies and cluster become one image",
        verb: "compile",
        reads: SHOP,
        also: &["--output", IMAGE],
        code: 0,
    },
    Scene { heading: "What is in it", verb: "inspect", reads: &[IMAGE], also: &[], code: 0 },
    Scene {
        heading: "Why the checkout reaches the bank",
        verb: "explain",
        reads: SHOP,
        also: &["--from", "shop/checkout", "--to", "203.0.113.10", "--port", "443/tcp"],
        code: 0,
    },
    Scene {
        heading: "Why the web front end does not reach the database",
        verb: "explain",
        reads: SHOP,
        also: &["--from", "shop/web", "--to", "shop/db", "--port", "5432/tcp"],
        code: 0,
    },
];

/// The command.
pub(crate) fn run(checkout: &Checkout, arguments: &[String]) -> Result<(), Failure> {
    takes_nothing(arguments)?;
    run_command(&mut checkout.cargo(&["build", "--quiet", "--release", "--package", "policyc"]))?;
    let policyc = checkout.release_binary("policyc");
    let folder = checkout.root().join("target");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    forget(&checkout.root().join(IMAGE))?;
    for scene in SCENES {
        let mut command = checkout.command(&policyc);
        command.arg(scene.verb).args(scene.reads).args(scene.also);
        open(scene.heading, &command)?;
        let status = command.status().map_err(|error| format!("policyc: {error}"))?;
        if status.code() != Some(scene.code) {
            return Err(format!("`policyc {}` ended with {status}, not with {}", scene.verb, scene.code));
        }
    }
    let mut command = checkout.command(&policyc);
    verdicts(checkout, command.arg("verdict").args(SHOP).args(["--flows", FLOWS]))?;
    in_the_kernel(checkout)
}

/// Shows policies enforced and a service balanced in network namespaces; where there can be none, what the image says of the policies.
fn in_the_kernel(checkout: &Checkout) -> Result<(), Failure> {
    setup::clang(checkout)?;
    // Without a lab the same connections are judged by the interpreted image.
    _ = setup::lab(checkout).inspect_err(|missing| println!("{missing}"));
    for (heading, binary) in [
        ("The same policies, enforced by policyd between processes", "lab_demo"),
        ("A service, balanced by policyd between two nodes", "balancing_demo"),
    ] {
        println!("\n# {heading}");
        std::io::stdout().flush().map_err(|error| error.to_string())?;
        run_command(&mut checkout.cargo(&["run", "--quiet", "--package", "weir-tests", "--bin", binary]))?;
    }
    Ok(())
}

/// Shows the verdicts of all recorded flows and compares them with those expected.
fn verdicts(checkout: &Checkout, command: &mut Command) -> Result<(), Failure> {
    open("Verdicts for recorded flows, with the rule that decided", command)?;
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("policyc: {error}"))?;
    let lines = String::from_utf8_lossy(&output.stdout);
    print!("{lines}");
    if !output.status.success() {
        return Err(format!("`policyc verdict` ended with {}", output.status));
    }
    let (expected, told) = (by_id(&checkout.read(FLOWS)?, "expect")?, by_id(&lines, "verdict")?);
    for (id, verdict) in &expected {
        let found = told.get(id).map_or("missing", String::as_str);
        if found != verdict {
            return Err(format!("the verdict of flow `{id}` is {found}, expected was {verdict}"));
        }
    }
    println!("\nall {} flows as expected", expected.len());
    Ok(())
}

/// The value of `field` in each line, by the line's `id`.
fn by_id(lines: &str, field: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut values = BTreeMap::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let flow: Value = serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
        let text = |key: &str| flow.get(key).and_then(Value::as_str).map(str::to_owned);
        let (Some(id), Some(value)) = (text("id"), text(field)) else {
            return Err(format!("no `id` or no `{field}` in {line}"));
        };
        values.insert(id, value);
    }
    Ok(values)
}

/// The heading, and the command as a user would type it. Flushed: what follows comes from another process.
fn open(heading: &str, command: &Command) -> Result<(), Failure> {
    let typed = line(command);
    let arguments = typed.split_once(' ').map_or("", |(_, arguments)| arguments);
    println!("\n# {heading}\n$ policyc {arguments}");
    std::io::stdout().flush().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::by_id;

    #[test]
    fn values_are_found_by_id() {
        let values = by_id(
            "{\"id\": \"a\", \"verdict\": \"allow\"}\n\n{\"id\": \"b\", \"verdict\": \"deny\"}\n",
            "verdict",
        );
        assert_eq!(values.unwrap().into_values().collect::<Vec<_>>(), ["allow", "deny"]);
        assert!(by_id("{\"id\": \"a\"}", "verdict").is_err());
        assert!(by_id("nonsense", "verdict").is_err());
    }
}
