//! Compiles the programs of this folder for the kernel.
//!
//! Needs clang 14 or newer, the kernel's user headers and libbpf's (`bpf/bpf_helpers.h`). What is missing is named, with
//! the package that has it. `WEIR_CLANG` names another clang.

mod c_header;
mod clang;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

/// Programs, one file for each object.
const PROGRAMS: &[&str] =
    &["policy", "services/socket", "services/veth", "services/wire_tc", "services/wire_xdp"];

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
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?);
    let header = out.join("abi.h");
    std::fs::write(&header, c_header::text()).map_err(|error| format!("{}: {error}", header.display()))?;
    let layouts = out.join("layouts.bpf.c");
    std::fs::write(&layouts, c_header::layouts())
        .map_err(|error| format!("{}: {error}", layouts.display()))?;
    let clang = clang::find()?;
    let programs = PROGRAMS.iter().map(|program| PathBuf::from(format!("{program}.bpf.c")));
    for source in programs.chain([layouts]) {
        let object = out.join(source.with_extension("o").file_name().unwrap_or_default());
        let program = clang::Program { source: &source, headers: &[&out], folder: "bpf", object: &object };
        clang::compile(&clang, &program)?;
    }
    Ok(())
}
