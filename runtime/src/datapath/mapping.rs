//! A map's value in this process's memory: written here, read by programs.
//!
//! The memory is shared with the kernel's programs, so it is written through raw copies and atomic stores only; no
//! reference to it as plain bytes is ever made while a program may read it.

#![expect(unsafe_code, reason = "memory shared with the kernel is no value of Rust's")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A mapping of the one value of an array map made with `BPF_F_MMAPABLE`.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone, and its memory is reached through `&mut self` or atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of the value.
    pub(super) fn new(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at a place of the kernel's choosing touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(start.cast::<u8>()) {
            Some(start) => Ok(Mapping { start, len }),
            None => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// Copies bytes to the start; false if they do not fit. For values that no program reads now.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.len {
            return false;
        }
        // SAFETY: both ranges are valid for `bytes.len()`, and they cannot overlap: one is a slice, the other our mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr(), bytes.len()) };
        true
    }

    /// Copies the first bytes out; fewer if the value is smaller.
    pub(super) fn read(&self, most: usize) -> Vec<u8> {
        let len = most.min(self.len);
        let mut bytes = vec![0u8; len];
        // SAFETY: both ranges are valid for `len` and cannot overlap. Programs never write to these values.
        unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr(), bytes.as_mut_ptr(), len) };
        bytes
    }

    /// The word of eight bytes at `offset`, which programs read while it changes.
    pub(super) fn word(&self, offset: usize) -> Option<&AtomicU64> {
        let is_inside = offset.is_multiple_of(8) && offset.checked_add(8).is_some_and(|end| end <= self.len);
        // SAFETY: in bounds and aligned (mappings begin at a page), alive as long as `self`, and only ever used atomically.
        is_inside.then(|| unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) })
    }

    /// Stores a word, after everything that was written before.
    pub(super) fn store(&self, offset: usize, value: u64) {
        if let Some(word) = self.word(offset) {
            word.store(value, Ordering::Release);
        }
    }

    /// Sets a bit, counted through the words from the start.
    pub(super) fn set_bit(&self, bit: usize) {
        if let Some(word) = self.word(bit / 64 * 8) {
            word.fetch_or(1 << (bit % 64), Ordering::Release);
        }
    }

    /// Loads a word.
    pub(super) fn load(&self, offset: usize) -> u64 {
        self.word(offset).map_or(0, |word| word.load(Ordering::Acquire))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
