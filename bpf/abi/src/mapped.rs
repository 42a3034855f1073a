//! An image file, mapped into memory.
#![expect(unsafe_code, reason = "mapping a file is the one thing here that safe Rust cannot express")]

use crate::image::Image;
use crate::open::ImageError;
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;

/// An image file in memory. [`MappedImage::image`] checks it and reads it in place.
#[derive(Debug)]
pub struct MappedImage {
    bytes: Mmap,
}

impl MappedImage {
    /// Maps the file; nothing is checked yet.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped.
    pub fn open(path: &Path) -> std::io::Result<MappedImage> {
        let file = File::open(path)?;
        // SAFETY: the mapping is private and read-only. If another process changes or truncates the
        // file, reads may see other bytes (lookups check every index, so they stay in bounds) or
        // raise SIGBUS; weir's own writers replace image files by rename and never write in place.
        let bytes = unsafe { Mmap::map(&file) }?;
        Ok(MappedImage { bytes })
    }

    /// The image. Checks every byte, so call it once and keep the result.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn image(&self) -> Result<Image<'_>, ImageError> {
        Image::open(&self.bytes)
    }
}
