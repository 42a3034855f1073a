//! Binaries that labs run, built with whatever they are made of: Cargo builds none for a test or binary of another target by itself.
//!
//! They are of the same profile as who asks, and lie where Cargo puts binaries. Not here: running them.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The binary of that name, which is a package's. It is built once a process.
///
/// # Errors
/// It cannot be built.
pub fn built(package: &str, name: &str) -> io::Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let profile = profile_folder()?;
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", package, "--bin", name]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("`{name}` cannot be built ({status})")));
    }
    let path = profile.join(name);
    built.insert(name.to_owned(), path.clone());
    Ok(path)
}

/// Where binaries of this process's profile lie; tests lie one deeper.
fn profile_folder() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let beside = own.parent().unwrap_or(Path::new("/"));
    Ok(if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside }.to_owned())
}
