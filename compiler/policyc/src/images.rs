//! Image files, opened by mapping.
//!
//! Not here: writing them (weir-project).

use crate::output::Terminal;
use anyhow::Context;
use std::path::Path;
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
