//! What the chores need on a machine, and how it gets there without anyone reading a manual.
//!
//! Each function makes sure of one tool: it looks, installs what can be installed by an ordinary client (rustup, cargo,
//! apt-get as root or through sudo), looks again, and otherwise says what to install. Toolchains are never downloaded here:
//! that is the owner's decision.

use crate::Failure;
use crate::checkout::{Checkout, run, works};
use std::path::PathBuf;
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

/// The emulator that another kernel is booted in.
pub(crate) fn emulator(checkout: &Checkout) -> Result<PathBuf, Failure> {
    installed(checkout, "qemu-system-x86_64", "qemu-system-x86")
}

/// The programs that tests make networks and namespaces with.
pub(crate) fn network_tools(checkout: &Checkout) -> Result<Vec<PathBuf>, Failure> {
    let tools = [
        ("ip", "iproute2"),
        ("ethtool", "ethtool"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("nice", "coreutils"),
        ("tc", "iproute2"),
    ];
    tools.into_iter().map(|(program, package)| installed(checkout, program, package)).collect()
}

/// The programs that labs of network namespaces are made and tried with.
pub(crate) fn lab(checkout: &Checkout) -> Result<(), Failure> {
    network_tools(checkout)?;
    installed(checkout, "ping", "iputils-ping").map(drop)
}

/// The clients whose load tests of services stand.
pub(crate) fn load_tools(checkout: &Checkout) -> Result<(), Failure> {
    installed(checkout, "wrk", "wrk")?;
    installed(checkout, "iperf3", "iperf3").map(drop)
}

/// The programs that packets are balanced with, beside ours.
pub(crate) fn firewall_tools(checkout: &Checkout) -> Result<(), Failure> {
    network_tools(checkout)?;
    installed(checkout, "nft", "nftables").map(drop)
}

/// The programs that traffic is measured with.
pub(crate) fn traffic_tools(checkout: &Checkout) -> Result<(), Failure> {
    lab(checkout)?;
    installed(checkout, "iperf3", "iperf3")?;
    installed(checkout, "nft", "nftables").map(drop)
}

/// Fetches the distribution's package lists anew; the caller looks whether it helped.
pub(crate) fn package_lists(checkout: &Checkout) {
    apt_get(checkout, &["update"]);
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

/// Where a program stands, its package installed if need be.
fn installed(checkout: &Checkout, program: &str, package: &str) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = || {
        // Debian keeps programs for administrators out of the path of everyone else.
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        folders.map(|folder| folder.join(program)).find(|place| place.is_file())
    };
    if let Some(place) = find() {
        return Ok(place);
    }
    distribution_package(checkout, package);
    find().ok_or_else(|| format!("`{program}` is missing: `apt-get install {package}`"))
}

/// Tries the distribution's package; the caller looks whether it helped.
fn distribution_package(checkout: &Checkout, name: &str) {
    if !works(checkout.command("apt-get").arg("--version")) {
        return;
    }
    let install = || apt_get(checkout, &["install", "-y", "--no-install-recommends", name]);
    // A fresh machine has no package lists yet.
    let _ = install() || (apt_get(checkout, &["update"]) && install());
}

/// Runs apt-get with the rights it needs; whether it succeeded.
fn apt_get(checkout: &Checkout, arguments: &[&str]) -> bool {
    let root = crate::checkout::first_line(checkout.command("id").arg("-u")).is_some_and(|id| id == "0");
    let mut command = if root {
        checkout.command("apt-get")
    } else {
        let mut command = checkout.command("sudo");
        command.args(["-n", "apt-get"]);
        command
    };
    attempt(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
}

/// Runs an installation; a failure is printed, and judged by the caller's second look.
fn attempt(command: &mut Command) -> bool {
    run(command).inspect_err(|failure| println!("{failure}")).is_ok()
}
