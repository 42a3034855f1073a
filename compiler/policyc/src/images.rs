//! Image and lock files on disk: opened by mapping, replaced in one step.

use crate::output::Terminal;
use anyhow::Context;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use weir_abi::{Image, MappedImage};

/// Maps an image file.
pub(crate) fn map(path: &Path) -> anyhow::Result<MappedImage> {
    MappedImage::open(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Checks a mapped image; a bad one is told, and `None`.
pub(crate) fn open<'m>(mapped: &'m MappedImage, path: &Path, terminal: &Terminal) -> Option<Image<'m>> {
    match mapped.image() {
        Ok(image) => Some(image),
        Err(error) => {
            terminal.error(&format!("{}: {error}", path.display()));
            None
        }
    }
}

/// Writes a file so that a reader sees either the old or the new one, whole, whatever happens meanwhile.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match fs::metadata(path) {
        // A device or pipe is written to, never replaced.
        Ok(meta) if !meta.is_file() => return OpenOptions::new().write(true).open(path)?.write_all(bytes),
        // A link stays a link.
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_owned(),
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".policyc-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|failed| failed.error)?;
    Ok(())
}
