//! The kernel and the small programs around it, out of the distribution's packages.
//!
//! Packages are downloaded and unpacked under `target/kernel-6.1`, never installed: this machine keeps its own kernel.
//! What is there once is used again without asking anyone; removing the folder fetches the newest. The folder appears
//! whole or not at all. Not here: other architectures, because the test executables are built for this one.

use super::KERNEL;
use crate::checkout::{Checkout, run, works};
use crate::setup;
use std::fs;
use std::path::{Path, PathBuf};

/// The package that stands for the newest cloud kernel, and the programs of the machine.
const NEWEST_KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";

/// What came out of the packages.
pub(super) struct Distribution {
    /// The kernel, as it is booted.
    pub(super) kernel: PathBuf,
    /// The folder of its modules.
    pub(super) modules: PathBuf,
    /// Many programs in one file.
    pub(super) busybox: PathBuf,
}

impl Distribution {
    /// What an earlier run has left, else what the distribution gives. The failure says what is missing.
    pub(super) fn fetch(checkout: &Checkout, folder: &Path) -> Result<Self, String> {
        let root = folder.join("root");
        if !root.is_dir() {
            unpack(checkout, folder, &root)?;
        }
        let kernel = beginning_with(&root.join("boot"), &format!("vmlinuz-{KERNEL}."))?;
        let modules = beginning_with(&root.join("lib/modules"), &format!("{KERNEL}."))?;
        Ok(Distribution { kernel, modules, busybox: root.join("bin/busybox") })
    }
}

/// Downloads and unpacks beside the place, then moves it there in one step.
fn unpack(checkout: &Checkout, folder: &Path, root: &Path) -> Result<(), String> {
    for (program, package) in [("apt-get", "apt"), ("apt-cache", "apt"), ("dpkg-deb", "dpkg")] {
        if !works(checkout.command(program).arg("--version")) {
            return Err(format!(
                "`{program}` is missing (package {package}): the kernel is Debian 12's, and fetched by Debian's means"
            ));
        }
    }
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let partial = folder.join(format!("partial-{}", std::process::id()));
    fs::create_dir_all(&partial).map_err(|error| told(&partial, error))?;
    let unpacked = download(checkout, &partial);
    let placed = unpacked.and_then(|unpacked| match fs::rename(&unpacked, root) {
        // Another run may have been faster; what it left is as good.
        Err(error) if !root.is_dir() => Err(told(root, error)),
        _ => Ok(()),
    });
    fs::remove_dir_all(&partial).map_err(|error| told(&partial, error))?;
    placed
}

/// Downloads and unpacks within `partial`; where the root is.
fn download(checkout: &Checkout, partial: &Path) -> Result<PathBuf, String> {
    let told = |error: std::io::Error| format!("{}: {error}", partial.display());
    let attempt = || {
        let image = kernel_package(checkout)?;
        let mut download = checkout.command("apt-get");
        run(download.args(["download", &image, BUSYBOX]).current_dir(partial))
    };
    // A fresh machine has no package lists, and old lists name packages that are gone.
    if let Err(first) = attempt() {
        println!("{first}");
        setup::package_lists(checkout);
        attempt()?;
    }
    let unpacked = partial.join("root");
    for entry in fs::read_dir(partial).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(checkout.command("dpkg-deb").arg("-x").arg(&path).arg(&unpacked))?;
        }
    }
    Ok(unpacked)
}

/// The package with the kernel itself.
fn kernel_package(checkout: &Checkout) -> Result<String, String> {
    let output = checkout.command("apt-cache").args(["depends", NEWEST_KERNEL]).env("LC_ALL", "C").output();
    let output = output.map_err(|error| format!("apt-cache: {error}"))?;
    chosen(&String::from_utf8_lossy(&output.stdout))
}

/// The kernel's package out of what `apt-cache depends` prints.
fn chosen(text: &str) -> Result<String, String> {
    let mut images = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let Some(version) = images.next() else {
        return Err(format!(
            "the package lists of this machine do not know {NEWEST_KERNEL}, which Debian 12 has"
        ));
    };
    if version.starts_with(&format!("{KERNEL}.")) {
        Ok(format!("linux-image-{version}"))
    } else {
        Err(format!(
            "the package lists of this machine offer Linux {version}, and {KERNEL} is wanted (Debian 12)"
        ))
    }
}

/// The one entry of a folder that begins so.
fn beginning_with(folder: &Path, prefix: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .collect();
    found.sort();
    found.pop().ok_or_else(|| format!("{} holds nothing that begins with {prefix}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn the_kernel_is_the_one_that_the_newest_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(chosen(text).unwrap(), "linux-image-6.1.0-56-cloud-amd64");
    }

    #[test]
    fn another_kernel_and_none_are_refused() {
        let newer =
            chosen("linux-image-cloud-amd64\n  Depends: linux-image-6.12.1-cloud-amd64\n").unwrap_err();
        assert!(newer.contains("6.12.1-cloud-amd64"), "{newer}");
        assert!(chosen("").is_err());
    }
}
