//! Compiles the programs of `bpf/` here, against the product's own headers and by the product's own rules.

#[path = "../bpf/build/clang.rs"]
mod clang;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Programs, one file for each object.
const PROGRAMS: &[&str] = &["arrival", "decision", "flow", "flow_table", "packet", "steps", "tries"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: the benchmarks' programs cannot be built: {what}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-changed=../bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?);
    let header = out.join("abi.h");
    std::fs::write(&header, weir_object::C_HEADER)
        .map_err(|error| format!("{}: {error}", header.display()))?;
    let clang = clang::find()?;
    for program in PROGRAMS {
        let source = format!("bpf/{program}.bpf.c");
        let object = out.join(format!("{program}.bpf.o"));
        let program = clang::Program {
            source: Path::new(&source),
            headers: &[&out, Path::new("../bpf")],
            folder: "benches",
            object: &object,
        };
        clang::compile(&clang, &program)?;
    }
    Ok(())
}
