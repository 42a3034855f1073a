//! Image files, opened by mapping.
//!
//! Not here: writing them (weir-project).

use crate::output::Terminal;
use anyhow::Context;
use std::path::Path;
use weir_abi::services::ServiceImage;
use weir_abi::{Image, ImageError, MappedImage};

/// Maps an image file.
pub(crate) fn map(path: &Path) -> anyhow::Result<MappedImage> {
    MappedImage::open(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Checks a mapped image; a bad one is told, and `None`.
pub(crate) fn open<'m>(mapped: &'m MappedImage, path: &Path, terminal: &Terminal) -> Option<Image<'m>> {
    told(mapped.image(), path, terminal)
}

/// The same, of a service image.
pub(crate) fn open_services<'m>(
    mapped: &'m MappedImage,
    path: &Path,
    terminal: &Terminal,
) -> Option<ServiceImage<'m>> {
    told(mapped.service_image(), path, terminal)
}

fn told<T>(opened: Result<T, ImageError>, path: &Path, terminal: &Terminal) -> Option<T> {
    opened.map_err(|error| terminal.error(&format!("{}: {error}", path.display()))).ok()
}
