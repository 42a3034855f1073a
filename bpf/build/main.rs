//! Compiles the programs of this folder for the kernel.
//!
//! Needs clang 14 or newer, the kernel's user headers and libbpf's (`bpf/bpf_helpers.h`). What is missing is named, with
//! the package that has it. `WEIR_CLANG` names another clang.

mod c_header;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Programs, one file for each object.
const PROGRAMS: &[&str] = &["policy"];

/// Tried in this order, after `WEIR_CLANG`.
const CLANGS: &[&str] = &["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];
const OLDEST_CLANG: u32 = 14;

const INSTALL: &str = "install it, for example with `apt-get install clang libbpf-dev linux-libc-dev`";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: the kernel's programs cannot be built: {what}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    println!("cargo::rerun-if-changed=.");
    println!("cargo::rerun-if-env-changed=WEIR_CLANG");
    println!("cargo::rerun-if-env-changed=PATH");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?);
    let header = out.join("abi.h");
    std::fs::write(&header, c_header::text()).map_err(|error| format!("{}: {error}", header.display()))?;
    let layouts = out.join("layouts.bpf.c");
    std::fs::write(&layouts, c_header::layouts())
        .map_err(|error| format!("{}: {error}", layouts.display()))?;
    let clang = clang()?;
    for program in PROGRAMS {
        compile(&clang, Path::new(&format!("{program}.bpf.c")), &out)?;
    }
    compile(&clang, &layouts, &out)
}

/// The first clang that is new enough.
fn clang() -> Result<String, String> {
    let named = env::var("WEIR_CLANG").ok();
    let candidates = named.as_deref().into_iter().chain(CLANGS.iter().copied());
    let mut too_old = None;
    for candidate in candidates {
        match version(candidate) {
            Some(version) if version >= OLDEST_CLANG => return Ok(candidate.to_owned()),
            Some(version) => too_old = Some(format!("`{candidate}` is version {version}")),
            None => {}
        }
    }
    let found = too_old.unwrap_or_else(|| "there is no clang".to_owned());
    Err(format!("{found}, and clang {OLDEST_CLANG} or newer is needed; {INSTALL}, or name one in WEIR_CLANG"))
}

/// The major version of a clang that knows the kernel's machine.
fn version(clang: &str) -> Option<u32> {
    let output =
        Command::new(clang).arg("-dumpversion").output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).trim().split('.').next()?.parse().ok()
}

fn compile(clang: &str, source: &Path, out: &Path) -> Result<(), String> {
    let object = out.join(source.with_extension("o").file_name().unwrap_or_default());
    let mut command = Command::new(clang);
    command.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-std=gnu11"]);
    command.args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]);
    command.arg("-I").arg(out);
    for folder in multiarch_folders() {
        command.arg("-idirafter").arg(folder);
    }
    // Paths in the object would be those of the machine that built it.
    command
        .arg("-ffile-prefix-map=".to_owned() + &env::var("CARGO_MANIFEST_DIR").unwrap_or_default() + "=bpf")
        .arg(format!("-ffile-prefix-map={}=bpf/out", out.display()));
    command.arg("-c").arg(source).arg("-o").arg(&object);
    let output = command.output().map_err(|error| format!("{clang}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = told.contains("file not found");
    let hint = if missing { format!("\na header is missing; {INSTALL}") } else { String::new() };
    Err(format!("{clang} refuses {}:\n{told}{hint}", source.display()))
}

/// Where Debian and Ubuntu keep the kernel's `asm` headers.
fn multiarch_folders() -> Vec<PathBuf> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let folder = PathBuf::from(format!("/usr/include/{arch}-linux-gnu"));
    if folder.is_dir() { vec![folder] } else { Vec::new() }
}
