//! What the chores need on a machine, and how it gets there without anyone reading a manual.
//!
//! Each function makes sure of one tool: it looks, installs what can be installed by an ordinary client (rustup, cargo,
//! apt-get as root or through sudo), looks again, and otherwise says what to install. Toolchains are never downloaded here:
//! that is the owner's decision.

use crate::Failure;
use crate::checkout::{Checkout, run, works};
use std::process::Command;

/// `cargo fmt`.
pub(crate) fn rustfmt(checkout: &Checkout) -> Result<(), Failure> {
    component(checkout, "rustfmt", &["fmt", "--version"])
}

/// `cargo clippy`.
pub(crate) fn clippy(checkout: &Checkout) -> Result<(), Failure> {
    component(checkout, "clippy", &["clippy", "--version"])
}

/// clang and the headers that the kernel's programs are built with.
pub(crate) fn clang(checkout: &Checkout) -> Result<(), Failure> {
    // What is needed is known to the build script alone, so it is asked by building.
    let there = || works(&mut checkout.cargo(&["build", "--quiet", "--package", "weir-object"]));
    if !there() {
        for package in ["clang", "libbpf-dev", "linux-libc-dev"] {
            distribution_package(checkout, package);
        }
    }
    if there() {
        Ok(())
    } else {
        Err("the kernel's programs cannot be built; `cargo build --package weir-object` says why".into())
    }
}

/// cargo-fuzz, and the C++ compiler that libFuzzer is built with.
pub(crate) fn fuzzing(checkout: &Checkout) -> Result<(), Failure> {
    let compiler =
        || ["c++", "g++", "clang++"].iter().any(|name| works(checkout.command(name).arg("--version")));
    if !compiler() {
        distribution_package(checkout, "g++");
    }
    if !compiler() {
        return Err("there is no C++ compiler (c++, g++ or clang++); libFuzzer is built with one".into());
    }
    let there = || works(&mut checkout.cargo(&["fuzz", "--version"]));
    if !there() {
        attempt(&mut checkout.cargo(&["install", "cargo-fuzz", "--locked"]));
    }
    if there() { Ok(()) } else { Err("cargo-fuzz is missing: `cargo install cargo-fuzz --locked`".into()) }
}

/// How cargo-fuzz is called here.
pub(crate) struct Fuzzer {
    /// What stands between `cargo` and `fuzz`.
    pub(crate) toolchain: Option<&'static str>,
    /// The sanitizer.
    pub(crate) sanitizer: &'static str,
}

/// The address sanitizer wants the nightly toolchain; without one, coverage alone still finds what panics.
pub(crate) fn fuzzer(checkout: &Checkout) -> Fuzzer {
    if works(&mut checkout.cargo(&["+nightly", "--version"])) {
        Fuzzer { toolchain: Some("+nightly"), sanitizer: "address" }
    } else {
        println!(
            "no nightly toolchain: fuzzing without the address sanitizer (`rustup toolchain install nightly`)"
        );
        Fuzzer { toolchain: None, sanitizer: "none" }
    }
}

/// Whether the standard library of that target is installed for the toolchain in use.
pub(crate) fn has_target(checkout: &Checkout, target: &str) -> bool {
    let mut command = checkout.command("rustc");
    command.args(["--print", "target-libdir", "--target", target]);
    crate::checkout::first_line(&mut command).is_some_and(|folder| std::path::Path::new(&folder).is_dir())
}

fn component(checkout: &Checkout, name: &str, probe: &[&str]) -> Result<(), Failure> {
    let there = || works(&mut checkout.cargo(probe));
    if !there() && works(checkout.command("rustup").arg("--version")) {
        attempt(checkout.command("rustup").args(["component", "add", name]));
    }
    if there() {
        Ok(())
    } else {
        Err(format!(
            "`cargo {}` is missing: `rustup component add {name}`, or the package of the same name",
            probe[0]
        ))
    }
}

/// Tries the distribution's package; the caller looks whether it helped.
fn distribution_package(checkout: &Checkout, name: &str) {
    if !works(checkout.command("apt-get").arg("--version")) {
        return;
    }
    let root = crate::checkout::first_line(checkout.command("id").arg("-u")).is_some_and(|id| id == "0");
    let as_root = |arguments: &[&str]| {
        let mut command = if root {
            checkout.command("apt-get")
        } else {
            let mut command = checkout.command("sudo");
            command.args(["-n", "apt-get"]);
            command
        };
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        attempt(&mut command)
    };
    // A fresh machine has no package lists yet.
    let _ = as_root(&["install", "-y", "--no-install-recommends", name])
        || (as_root(&["update"]) && as_root(&["install", "-y", "--no-install-recommends", name]));
}

/// Runs an installation; a failure is printed, and judged by the caller's second look.
fn attempt(command: &mut Command) -> bool {
    run(command).inspect_err(|failure| println!("{failure}")).is_ok()
}
