//! `cargo xtask fuzz [--seconds N] [TARGET…]`: the targets of tests/fuzz, each for a bounded time.
//!
//! Seeds are kept in the repository and copied into the corpus, which is not. A seed image would be stale with the next
//! layout, so it is compiled afresh from examples/shop. What crashes becomes a named case: tests/fuzz/README.md tells how.

use crate::checkout::{Checkout, forget, run as run_command};
use crate::demo::SHOP;
use crate::setup::Fuzzer;
use crate::{Failure, setup};
use std::fs;
use std::path::{Path, PathBuf};

const FOLDER: &str = "tests/fuzz";

/// The targets whose inputs are images, of policy and of services.
const READS_IMAGES: &[&str] = &["image_loader", "service_image_loader"];

/// The command.
pub(crate) fn run(checkout: &Checkout, arguments: &[String]) -> Result<(), Failure> {
    let all = targets(checkout)?;
    let (mut seconds, mut wanted) = (300, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().ok_or("--seconds wants a number")?;
            seconds = number.parse().map_err(|_| format!("`{number}` is no number of seconds"))?;
        } else if all.contains(argument) {
            wanted.push(argument.clone());
        } else {
            return Err(format!("there is no target `{argument}`; there are {}", all.join(", ")));
        }
    }
    setup::fuzzing(checkout)?;
    let fuzzer = setup::fuzzer(checkout);
    for target in if wanted.is_empty() { &all } else { &wanted } {
        one(checkout, &fuzzer, target, seconds)?;
    }
    Ok(())
}

/// The targets there are.
pub(crate) fn targets(checkout: &Checkout) -> Result<Vec<String>, Failure> {
    let metadata = checkout.metadata_of(FOLDER)?;
    let package = metadata.root_package().ok_or("tests/fuzz holds no package")?;
    let binaries = package.targets.iter().filter(|target| target.is_bin());
    Ok(binaries.map(|target| target.name.clone()).collect())
}

/// Fuzzes one target for so many seconds, building not counted.
pub(crate) fn one(checkout: &Checkout, fuzzer: &Fuzzer, target: &str, seconds: u32) -> Result<(), Failure> {
    let corpus = checkout.root().join(FOLDER).join("corpus").join(target);
    plant_seeds(&checkout.root().join(FOLDER).join("seeds").join(target), &corpus)?;
    if READS_IMAGES.contains(&target) {
        plant_images(checkout, &[corpus.join("shop.wimg"), corpus.join("shop.wsvc")])?;
    }
    let mut command = checkout.cargo(&[]);
    command.args(fuzzer.toolchain).args([
        "fuzz",
        "run",
        "--fuzz-dir",
        FOLDER,
        "--sanitizer",
        fuzzer.sanitizer,
        target,
    ]);
    // A single input that takes ten seconds or two gigabytes is a finding as much as a panic is.
    command.args([
        "--",
        &format!("-max_total_time={seconds}"),
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-verbosity=0",
    ]);
    let dictionary = format!("{FOLDER}/dictionaries/{target}.dict");
    if checkout.root().join(&dictionary).is_file() {
        command.arg(format!("-dict={dictionary}"));
    }
    // The toolchain that runs this program must not decide for the other one.
    if fuzzer.toolchain.is_some() {
        command.env_remove("RUSTUP_TOOLCHAIN");
    }
    run_command(&mut command)
        .map_err(|failure| format!("{failure}; tests/fuzz/README.md tells what to do with a crash"))
}

fn plant_seeds(seeds: &Path, corpus: &Path) -> Result<(), Failure> {
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(corpus).map_err(|error| told(corpus, error))?;
    // A target of images alone has none.
    if !seeds.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(seeds).map_err(|error| told(seeds, error))? {
        let seed = entry.map_err(|error| told(seeds, error))?;
        let target = corpus.join(seed.file_name());
        fs::copy(seed.path(), &target).map_err(|error| told(&target, error))?;
    }
    Ok(())
}

fn plant_images(checkout: &Checkout, [policies, services]: &[PathBuf; 2]) -> Result<(), Failure> {
    let mut command = checkout.cargo(&["run", "--quiet", "--package", "policyc", "--", "compile"]);
    command.args(SHOP);
    for (option, image) in [("--output", policies), ("--services", services)] {
        forget(image)?;
        command.arg(option).arg(checkout.shown(image));
    }
    run_command(&mut command)?;
    let missing = [policies, services].into_iter().find(|image| !image.is_file());
    missing.map_or(Ok(()), |image| Err(format!("policyc did not write {}", checkout.shown(image))))
}
