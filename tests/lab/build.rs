//! Compiles the lab's own program for the kernel, by the product's rules.

#[path = "../../bpf/build/clang.rs"]
mod clang;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const SOURCE: &str = "bpf/pass.bpf.c";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: the lab's program cannot be built: {what}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    for input in ["build.rs", SOURCE, "../../bpf/build/clang.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?);
    let object = out.join("pass.bpf.o");
    let program =
        clang::Program { source: Path::new(SOURCE), headers: &[], folder: "tests/lab", object: &object };
    clang::compile(&clang::find()?, &program)
}
