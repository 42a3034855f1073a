//! Where images lie: two maps of one value each, in the two slots of `images`.
//!
//! A swap writes the slot that no packet uses and then flips one word. From then on every new packet takes the new image; one
//! that was judged by the old image at an earlier hook may still ask for it, until the kernel has said that all such packets
//! are through. Only then may the old slot be written again, so a packet never reads what is being written, and a
//! process that dies at any point leaves an image in force.
//!
//! Values come in size classes, since programs address a value by a mask that is fixed when they are loaded. A larger class
//! is another pair of slots, which takes over the image in force before any program is loaded for it.

use super::error::DatapathError;
use super::mapping::Mapping;
use super::syscall::{self, ARRAY, ARRAY_OF_MAPS, Creation, MMAPABLE, RawMap};
use std::fs;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use weir_abi::layout::{Header, MAX_IMAGE_BYTES};
use weir_abi::state::{CURRENT_SLOT, GENERATION_SHIFT, PREVIOUS_HOLDS, RECORD_ROOM, SLOTS, Settings};
use zerocopy::FromBytes;

/// Sizes of values, each four times the one before but for the last, which is what the verifier allows.
const CLASSES: &[usize] = &[256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, MAX_IMAGE_BYTES];
/// Pins of `images` begin with this; the size of the class follows.
const PREFIX: &str = "images-";
const GENERATION: usize = offset_of!(Settings, generation);

/// The smallest class that holds so many bytes.
pub(super) fn class_for(bytes: usize) -> Result<usize, DatapathError> {
    let fits = CLASSES.iter().copied().find(|&class| bytes <= class);
    fits.ok_or(DatapathError::TooLarge { bytes, most: MAX_IMAGE_BYTES })
}

/// The two slots of one size class.
#[derive(Debug)]
pub(super) struct Slots {
    class: usize,
    path: PathBuf,
    outer: RawMap,
    inner: [(OwnedFd, Mapping); SLOTS as usize],
}

impl Slots {
    /// Those that an earlier run left in `folder`; of several the largest, which holds a copy of whatever is in force.
    pub(super) fn find(folder: &Path) -> Result<Option<Self>, DatapathError> {
        let largest = pins(folder)?.into_iter().max();
        largest.map(|(class, path)| Self::open(class, &path)).transpose()
    }

    fn open(class: usize, path: &Path) -> Result<Self, DatapathError> {
        let outer = syscall::open(path).and_then(|fd| RawMap::new(fd, 1)).map_err(fail("open"))?;
        let inner = |slot: u32| {
            let mut id = [0u8; 4];
            if !outer.get(&slot.to_ne_bytes(), &mut id)? {
                return Err(io::Error::from(io::ErrorKind::NotFound));
            }
            let fd = syscall::by_id(u32::from_ne_bytes(id))?;
            let mapping = Mapping::new(fd.as_fd(), class)?;
            Ok((fd, mapping))
        };
        let inner = [inner(0).map_err(fail("open a slot"))?, inner(1).map_err(fail("open a slot"))?];
        Ok(Slots { class, path: path.to_owned(), outer, inner })
    }

    /// Makes slots of a class and fills the one that packets take with `image`, before they get a name: whoever finds them
    /// by name finds them whole.
    pub(super) fn create(
        folder: &Path,
        class: usize,
        slot: usize,
        image: &[u8],
    ) -> Result<Self, DatapathError> {
        let size = u32::try_from(class).unwrap_or(u32::MAX).saturating_add(RECORD_ROOM);
        let value =
            |name| Creation { kind: ARRAY, value_size: size, entries: 1, flags: MMAPABLE, inner: None, name };
        let inner = |name| {
            let fd = syscall::create(&value(name))?;
            let mapping = Mapping::new(fd.as_fd(), class)?;
            Ok((fd, mapping))
        };
        let mut inner =
            [inner("weir_slot_0").map_err(fail("create"))?, inner("weir_slot_1").map_err(fail("create"))?];
        if let Some((_, mapping)) = inner.get_mut(slot) {
            mapping.write(image);
        }
        let outer = Creation {
            kind: ARRAY_OF_MAPS,
            value_size: 4,
            entries: SLOTS,
            flags: 0,
            inner: Some(inner[0].0.as_fd()),
            name: "images",
        };
        let outer = syscall::create(&outer).and_then(|fd| RawMap::new(fd, 1)).map_err(fail("create"))?;
        let path = folder.join(format!("{PREFIX}{class}"));
        let slots = Slots { class, path, outer, inner };
        for slot in 0..SLOTS as usize {
            slots.place(slot).map_err(fail("fill a slot"))?;
        }
        let refused = |what| {
            let path = slots.path.clone();
            move |source| DatapathError::Pin { what, path, source }
        };
        // One that was left there was given up: what is in force lies elsewhere.
        if slots.path.exists() {
            fs::remove_file(&slots.path).map_err(refused("unpin"))?;
        }
        syscall::pin(slots.outer.fd(), &slots.path).map_err(refused("pin"))?;
        Ok(slots)
    }

    /// Puts a slot's map in its place, again if it is there already. The kernel returns when no program that began before
    /// still runs, which is what this is mostly called for.
    fn place(&self, slot: usize) -> io::Result<()> {
        let Some((fd, _)) = self.inner.get(slot) else { return Ok(()) };
        let key = u32::try_from(slot).unwrap_or(u32::MAX);
        self.outer.set(&key.to_ne_bytes(), &fd.as_raw_fd().to_ne_bytes())
    }

    /// Returns when every program that began before this call has ended.
    pub(super) fn wait_for_programs(&self) -> Result<(), DatapathError> {
        self.place(0).map_err(fail("wait for programs"))
    }

    /// Bytes of a value.
    pub(super) const fn class(&self) -> usize {
        self.class
    }

    /// Where the outer map is pinned.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The image in force: its kernel part.
    pub(super) fn image(&self, settings: &Mapping) -> Vec<u8> {
        let Some((_, mapping)) = self.inner.get(current(settings)) else { return Vec::new() };
        let bytes = header(mapping).map_or(0, |header| header.kernel_bytes as usize);
        mapping.read(bytes)
    }

    /// The checksum of the image in force.
    pub(super) fn checksum(&self, settings: &Mapping) -> Option<u64> {
        let (_, mapping) = self.inner.get(current(settings))?;
        header(mapping).map(|header| header.checksum)
    }

    /// The slot that the next image goes to.
    pub(super) fn idle(settings: &Mapping) -> usize {
        1 - current(settings)
    }

    /// Puts an image in force. On return its kernel part is what every packet meets, and the other slot is idle.
    ///
    /// `in_force` runs right after the image is in force, before the waiting for what still uses the old one.
    pub(super) fn swap(
        &mut self,
        settings: &Mapping,
        image: &[u8],
        in_force: impl FnOnce(),
    ) -> Result<(), DatapathError> {
        // A swap that failed while it waited left packets the right to the old image, which lies where this one goes.
        if settings.load(GENERATION) & PREVIOUS_HOLDS != 0 {
            self.settle(settings)?;
        }
        let idle = Self::idle(settings);
        let generation = settings.load(GENERATION);
        let is_first = self.checksum(settings).is_none();
        if let Some((_, mapping)) = self.inner.get_mut(idle) {
            mapping.write(image);
        }
        let count = (generation >> GENERATION_SHIFT).wrapping_add(1) << GENERATION_SHIFT;
        let next = count | idle as u64;
        settings.store(GENERATION, if is_first { next } else { next | PREVIOUS_HOLDS });
        in_force();
        // Packets on their way between two hooks are through when this returns; then nobody may begin with the old image.
        self.wait_for_programs()?;
        settings.store(GENERATION, next);
        // And nobody still reads it when this returns.
        self.wait_for_programs()
    }

    /// Brings slots that an earlier process left into the state between two swaps.
    pub(super) fn settle(&self, settings: &Mapping) -> Result<(), DatapathError> {
        self.wait_for_programs()?;
        settings.store(GENERATION, settings.load(GENERATION) & !PREVIOUS_HOLDS);
        self.wait_for_programs()
    }

    /// Takes the names of all other classes away; programs that still use one keep it.
    pub(super) fn forget_others(&self, folder: &Path) -> Result<(), DatapathError> {
        for (_, path) in pins(folder)?.into_iter().filter(|(class, _)| *class != self.class) {
            fs::remove_file(&path).map_err(|source| DatapathError::Pin { what: "unpin", path, source })?;
        }
        Ok(())
    }
}

fn current(settings: &Mapping) -> usize {
    usize::from(settings.load(GENERATION) & CURRENT_SLOT != 0)
}

/// The header in a slot; `None` if no image was written there.
fn header(mapping: &Mapping) -> Option<Header> {
    let header = Header::read_from_bytes(&mapping.read(size_of::<Header>())).ok()?;
    (header.version != 0).then_some(header)
}

fn fail(what: &'static str) -> impl Fn(io::Error) -> DatapathError {
    move |source| DatapathError::Map { map: "images", what, source }
}

/// Classes that have a pin.
fn pins(folder: &Path) -> Result<Vec<(usize, PathBuf)>, DatapathError> {
    let fail = |source| DatapathError::Pin { what: "list", path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let class =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PREFIX));
        if let Some(class) =
            class.and_then(|class| class.parse().ok()).filter(|class| CLASSES.contains(class))
        {
            found.push((class, path));
        }
    }
    Ok(found)
}
