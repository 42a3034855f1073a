//! An image file in memory: mapped as it is, or copied where lookups are fastest.
#![expect(unsafe_code, reason = "mapping a file is the one thing here that safe Rust cannot express")]

use crate::image::Image;
use crate::layout::MAX_IMAGE_BYTES;
use crate::open::ImageError;
use crate::services::ServiceImage;
use crate::services::layout::SERVICE_MAGIC;
use memmap2::{Mmap, MmapMut};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// An image in memory. [`MappedImage::image`] checks it and reads it in place.
#[derive(Debug)]
pub struct MappedImage {
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(Mmap),
    Copy(MmapMut),
}

impl MappedImage {
    /// Maps the file; nothing is checked yet. Right for a look at an image.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<MappedImage> {
        let file = File::open(path)?;
        // SAFETY: the mapping is private and read-only. If another process changes or truncates the
        // file, reads may see other bytes (lookups check every index, so they stay in bounds) or
        // raise SIGBUS; weir's own writers replace image files by rename and never write in place.
        let bytes = unsafe { Mmap::map(&file) }?;
        Ok(MappedImage { bytes: Bytes::File(bytes) })
    }

    /// Copies the file into memory of its own, in huge pages where the system gives them: a large image
    /// is looked up at random, and most of what that costs is address translation. Right for many
    /// verdicts, and for a file that may change.
    ///
    /// # Errors
    /// If the file cannot be read, or memory has no room for it.
    pub fn load(path: &Path) -> io::Result<MappedImage> {
        let mut file = File::open(path)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if len > MAX_IMAGE_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any image"));
        }
        let mut bytes = Self::memory(len)?;
        file.read_exact(&mut bytes)?;
        Ok(MappedImage { bytes: Bytes::Copy(bytes) })
    }

    /// Copies an image that is in memory already, as [`MappedImage::load`] does.
    ///
    /// # Errors
    /// If memory has no room for it.
    pub fn copy(image: &[u8]) -> io::Result<MappedImage> {
        let mut bytes = Self::memory(image.len())?;
        bytes.copy_from_slice(image);
        Ok(MappedImage { bytes: Bytes::Copy(bytes) })
    }

    fn memory(len: usize) -> io::Result<MmapMut> {
        let bytes = MmapMut::map_anon(len)?;
        // Advice only: without huge pages everything works, slower.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(bytes)
    }

    /// The image. Checks every byte, so call it once and keep the result.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn image(&self) -> Result<Image<'_>, ImageError> {
        Image::open(self.bytes())
    }

    /// Whether it begins as a service image does.
    pub fn is_of_services(&self) -> bool {
        self.bytes().starts_with(&SERVICE_MAGIC)
    }

    /// The image, if it is one of services. Checks every byte, too.
    ///
    /// # Errors
    /// As [`ServiceImage::open`].
    pub fn service_image(&self) -> Result<ServiceImage<'_>, ImageError> {
        ServiceImage::open(self.bytes())
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::File(bytes) => bytes,
            Bytes::Copy(bytes) => bytes,
        }
    }
}
