//! `cargo xtask demo`: the main job on the manifests of examples/shop, each command shown before its output.
//!
//! The demonstration is a test as well: a command that leaves with another code than the one told here fails it, and so does
//! a flow whose verdict is not the one written beside it.

use crate::checkout::{Checkout, line, run as run_command};
use crate::{Failure, takes_nothing};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::process::Command;

/// One thing to show.
struct Scene {
    heading: &'static str,
    arguments: &'static [&'static str],
    /// The exit code that is right.
    code: i32,
}

const SCENES: &[Scene] = &[
    Scene {
        heading: "A policy file with mistakes: each is found in one run, with its place",
        arguments: &["check", "-f", "examples/shop/mistakes.yaml", "-c", "examples/shop/cluster"],
        code: 1,
    },
    Scene {
        heading: "The shop's own policies are fine",
        arguments: &["check", "-f", "examples/shop/policies", "-c", "examples/shop/cluster"],
        code: 0,
    },
    Scene {
        heading: "Policies and cluster become one image",
        arguments: &[
            "compile",
            "-f",
            "examples/shop/policies",
            "-c",
            "examples/shop/cluster",
            "--output",
            "target/demo.wimg",
        ],
        code: 0,
    },
    Scene { heading: "What is in it", arguments: &["inspect", "target/demo.wimg"], code: 0 },
    Scene {
        heading: "Why the checkout reaches the bank",
        arguments: &[
            "explain",
            "-f",
            "examples/shop/policies",
            "-c",
            "examples/shop/cluster",
            "--from",
            "shop/checkout",
            "--to",
            "203.0.113.10",
            "--port",
            "443/tcp",
        ],
        code: 0,
    },
    Scene {
        heading: "Why the web front end does not reach the database",
        arguments: &[
            "explain",
            "-f",
            "examples/shop/policies",
            "-c",
            "examples/shop/cluster",
            "--from",
            "shop/web",
            "--to",
            "shop/db",
            "--port",
            "5432/tcp",
        ],
        code: 0,
    },
];

const FLOWS: &str = "examples/shop/flows.jsonl";

/// The command.
pub(crate) fn run(checkout: &Checkout, arguments: &[String]) -> Result<(), Failure> {
    takes_nothing(arguments)?;
    run_command(&mut checkout.cargo(&["build", "--quiet", "--release", "--package", "policyc"]))?;
    std::fs::create_dir_all(checkout.root().join("target")).map_err(|error| format!("target: {error}"))?;
    let binary = checkout.release_binary("policyc");
    for scene in SCENES {
        heading(scene.heading, scene.arguments)?;
        let mut command = checkout.command(&binary);
        let status = command.args(scene.arguments).status().map_err(|error| format!("policyc: {error}"))?;
        if status.code() != Some(scene.code) {
            return Err(format!("`{}` ended with {status}, not with {}", line(&command), scene.code));
        }
    }
    verdicts(checkout, checkout.command(&binary))
}

/// Shows the verdicts of all recorded flows and compares them with those expected.
fn verdicts(checkout: &Checkout, mut command: Command) -> Result<(), Failure> {
    let arguments =
        ["verdict", "-f", "examples/shop/policies", "-c", "examples/shop/cluster", "--flows", FLOWS];
    heading("Verdicts for recorded flows, with the rule that decided", &arguments)?;
    let output = command.args(arguments).stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|error| format!("policyc: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    print!("{told}");
    if !output.status.success() {
        return Err(format!("`{}` ended with {}", line(&command), output.status));
    }
    let (expected, told) = (by_id(&checkout.read(FLOWS)?, "expect")?, by_id(&told, "verdict")?);
    for (id, verdict) in &expected {
        if told.get(id) != Some(verdict) {
            return Err(format!("flow {id}: the verdict is {:?}, expected was {verdict:?}", told.get(id)));
        }
    }
    println!("\n{} of {} flows as expected", expected.len(), expected.len());
    Ok(())
}

/// The value of `field` in each line, by the line's `id`.
fn by_id(lines: &str, field: &str) -> Result<HashMap<String, String>, Failure> {
    let mut values = HashMap::new();
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
fn heading(text: &str, arguments: &[&str]) -> Result<(), Failure> {
    println!("\n# {text}\n$ policyc {}", arguments.join(" "));
    std::io::stdout().flush().map_err(|error| error.to_string())
}
