//! clang for the kernel's machine: found, and run on one program.
//!
//! weir-benches builds its programs with this file too, so that what is measured is compiled as what is shipped.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tried in this order, unless `WEIR_CLANG` names one.
const CLANGS: &[&str] = &["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];
const OLDEST_CLANG: u32 = 14;

const INSTALL: &str = "install it, for example with `apt-get install clang libbpf-dev linux-libc-dev`";

/// A program and where it is built.
pub(crate) struct Program<'a> {
    /// Its source, seen from the package's folder.
    pub(crate) source: &'a Path,
    /// Folders with headers, the generated one among them.
    pub(crate) headers: &'a [&'a Path],
    /// What the package's folder is called in the object; its real name would be that of one machine.
    pub(crate) folder: &'a str,
    /// The object to make.
    pub(crate) object: &'a Path,
}

/// The first clang that is new enough.
pub(crate) fn find() -> Result<String, String> {
    println!("cargo::rerun-if-env-changed=WEIR_CLANG");
    println!("cargo::rerun-if-env-changed=PATH");
    let named = env::var("WEIR_CLANG").ok();
    // One that was named is used or told of, and no other in its place.
    let candidates = named.as_deref().map_or_else(|| CLANGS.to_vec(), |named| vec![named]);
    let mut too_old = None;
    for candidate in candidates {
        match version(candidate) {
            Some(version) if version >= OLDEST_CLANG => return Ok(candidate.to_owned()),
            Some(version) => too_old = Some(format!("`{candidate}` is version {version}")),
            None => {}
        }
    }
    let missing =
        named.map_or_else(|| "there is no clang".to_owned(), |named| format!("`{named}` is no clang"));
    let found = too_old.unwrap_or(missing);
    Err(format!("{found}, and clang {OLDEST_CLANG} or newer is needed; {INSTALL}, or name one in WEIR_CLANG"))
}

/// The major version of a clang that knows the kernel's machine.
fn version(clang: &str) -> Option<u32> {
    let output =
        Command::new(clang).arg("-dumpversion").output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).trim().split('.').next()?.parse().ok()
}

/// Compiles a program.
pub(crate) fn compile(clang: &str, program: &Program<'_>) -> Result<(), String> {
    let mut command = Command::new(clang);
    command.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-std=gnu11"]);
    command.args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]);
    // Paths in the object would be those of the machine that built it.
    for folder in program.headers {
        command.arg("-I").arg(folder);
        command.arg(format!("-ffile-prefix-map={}={}/out", folder.display(), program.folder));
    }
    for folder in multiarch_folders() {
        command.arg("-idirafter").arg(folder);
    }
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    command.arg(format!("-ffile-prefix-map={folder}={}", program.folder));
    command.arg("-c").arg(program.source).arg("-o").arg(program.object);
    let output = command.output().map_err(|error| format!("{clang}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = told.contains("file not found");
    let hint = if missing { format!("\na header is missing; {INSTALL}") } else { String::new() };
    Err(format!("{clang} refuses {}:\n{told}{hint}", program.source.display()))
}

/// Where Debian and Ubuntu keep the kernel's `asm` headers.
fn multiarch_folders() -> Vec<PathBuf> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let folder = PathBuf::from(format!("/usr/include/{arch}-linux-gnu"));
    if folder.is_dir() { vec![folder] } else { Vec::new() }
}
