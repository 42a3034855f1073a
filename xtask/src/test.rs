//! `cargo xtask test`: every check and every test, in one run, as CI runs them.
//!
//! All steps run even after one failed. The last one is `cargo test`, so that the run ends with its lines; below them stand
//! what was skipped, what failed, and the sum of steps and tests.

use crate::checkout::{Checkout, line, run as run_command};
use crate::setup::has_target;
use crate::steps::{Counts, Outcome, Steps};
use crate::{Failure, architecture, fuzz, kernel, setup, takes_nothing};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// How long each fuzz target runs here.
const FUZZ_SECONDS: u32 = 20;

/// A target without a standard library; the image reader must build for it.
const BARE_TARGET: &str = "thumbv7em-none-eabi";

/// The command.
pub(crate) fn run(checkout: &Checkout, arguments: &[String]) -> Result<(), Failure> {
    takes_nothing(arguments)?;
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1");
    let mut steps = Steps::new(ci);
    // Tools first: whoever must install something should learn of it in the first minute.
    let (mut rustfmt, mut clippy, mut fuzzing) = (Ok(()), Ok(()), Ok(()));
    steps.step("clang", || setup::clang(checkout).into());
    steps.step("tools", || {
        rustfmt = setup::rustfmt(checkout);
        clippy = setup::clippy(checkout);
        fuzzing = setup::fuzzing(checkout);
        let (lab, load) = (setup::lab(checkout), setup::load_tools(checkout));
        for missing in
            [&rustfmt, &clippy, &fuzzing, &lab, &load].into_iter().filter_map(|tool| tool.as_ref().err())
        {
            println!("{missing}");
        }
        Outcome::Passed
    });
    let cargo = |arguments: &[&str]| Outcome::from(run_command(&mut checkout.cargo(arguments)));
    steps.step("format", || needs(rustfmt, || cargo(&["fmt", "--all", "--check"])));
    steps.step("architecture", || architecture::check(checkout).into());
    steps.step("clippy", || {
        needs(clippy, || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    steps.step("build", || cargo(&["build", "--workspace", "--all-targets"]));
    steps.step("Linux 6.1", || kernel::loader(checkout).into());
    steps.step("documentation", || {
        let mut command = checkout.cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
        run_command(command.env("RUSTDOCFLAGS", "-D warnings")).into()
    });
    steps.step("image reader without std", || reader_without_std(checkout).into());
    match (fuzzing, fuzz::targets(checkout)) {
        (Ok(()), Ok(targets)) => {
            let fuzzer = setup::fuzzer(checkout);
            for target in targets {
                steps.step(&format!("fuzz {target}, {FUZZ_SECONDS} s"), || {
                    fuzz::one(checkout, &fuzzer, &target, FUZZ_SECONDS).into()
                });
            }
        }
        (Err(missing), _) => steps.step("fuzz", || Outcome::Skipped(missing)),
        (_, Err(failure)) => steps.step("fuzz", || Outcome::Failed(failure)),
    }
    steps.step("tests", || tests(checkout).unwrap_or_else(Outcome::Failed));
    steps.finish()
}

/// The step if its tool is there, else a skip with the tool's own words.
fn needs(tool: Result<(), Failure>, step: impl FnOnce() -> Outcome) -> Outcome {
    tool.map_or_else(Outcome::Skipped, |()| step())
}

/// The reader is embeddable: no operating system, no standard library.
fn reader_without_std(checkout: &Checkout) -> Result<(), Failure> {
    let source = checkout.read("bpf/abi/src/lib.rs")?;
    if !source.lines().any(|line| line.starts_with("#![no_std]")) {
        return Err("bpf/abi/src/lib.rs is not `#![no_std]`".into());
    }
    let mut lines = source.lines().zip(source.lines().skip(1));
    if let Some((_, bare)) =
        lines.find(|(before, now)| now.contains("extern crate std") && !before.contains("cfg("))
    {
        return Err(format!(
            "bpf/abi/src/lib.rs links the standard library without a feature or a test: `{bare}`"
        ));
    }
    let mut arguments = vec!["build", "--package", "weir-abi"];
    if has_target(checkout, BARE_TARGET) {
        arguments.extend(["--target", BARE_TARGET]);
    } else {
        println!(
            "{BARE_TARGET} is not installed, so it is built for this machine, where only the attribute keeps std out"
        );
    }
    run_command(&mut checkout.cargo(&arguments))
}

/// `cargo test`, shown as it comes and counted.
fn tests(checkout: &Checkout) -> Result<Outcome, Failure> {
    let mut command = checkout.cargo(&["test", "--workspace", "--no-fail-fast"]);
    println!("$ {}", line(&command));
    let told = |error: std::io::Error| format!("cargo test: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(told)?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line.map_err(told)?).into_owned();
            counts.take(&line);
            println!("{line}");
        }
    }
    let status = child.wait().map_err(told)?;
    if status.success() || counts.failed > 0 {
        Ok(Outcome::Tested(counts))
    } else {
        Err(format!("cargo test failed before any test did ({status})"))
    }
}
