//! Where images lie: each in a map of one value, in one of the two slots of `images`.
//!
//! A swap writes the slot that no packet uses and then flips one word. From then on every new packet takes the new image; one
//! that was judged by the old image at an earlier hook may still ask for it, until the kernel has said that all such packets
//! are through. Only then may the old slot be written again, so a packet never reads what is being written, and a
//! process that dies at any point leaves an image in force. The old slot keeps its memory for the next swap, until it is emptied.
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

/// The smallest size of a value. Each class is twice the one before, up to what the verifier allows.
pub(super) const SMALLEST_CLASS: usize = 256 << 10;
/// Pins of `images` begin with this; the size of the class follows.
const PREFIX: &str = "images-";
const GENERATION: usize = offset_of!(Settings, generation);
const IMAGES: usize = offset_of!(Settings, images);

/// The smallest class that holds so many bytes.
pub(super) fn class_for(bytes: usize) -> Result<usize, DatapathError> {
    let class = bytes.max(SMALLEST_CLASS).checked_next_power_of_two().filter(|&class| is_class(class));
    class.ok_or(DatapathError::TooLarge { bytes, most: MAX_IMAGE_BYTES })
}

fn is_class(bytes: usize) -> bool {
    bytes.is_power_of_two() && (SMALLEST_CLASS..=MAX_IMAGE_BYTES).contains(&bytes)
}

/// The two slots of one size class.
#[derive(Debug)]
pub(super) struct Slots {
    class: usize,
    path: PathBuf,
    outer: RawMap,
    values: [Option<Value>; SLOTS as usize],
}

/// A map of one value, which holds an image.
#[derive(Debug)]
struct Value {
    map: OwnedFd,
    mapping: Mapping,
}

impl Value {
    /// Of zeros.
    fn new(class: usize) -> io::Result<Self> {
        let value_size = u32::try_from(class).unwrap_or(u32::MAX).saturating_add(RECORD_ROOM);
        let name = "weir_image";
        let map = Creation { kind: ARRAY, value_size, entries: 1, flags: MMAPABLE, inner: None, name };
        Self::open(syscall::create(&map)?, class)
    }

    fn open(map: OwnedFd, class: usize) -> io::Result<Self> {
        let mapping = Mapping::new(map.as_fd(), class)?;
        Ok(Value { map, mapping })
    }

    /// The header; `None` if no image was written there.
    fn header(&self) -> Option<Header> {
        let header = Header::read_from_bytes(&self.mapping.read(size_of::<Header>())).ok()?;
        (header.version != 0).then_some(header)
    }
}

impl Slots {
    /// Those that an earlier run left in `folder`; of several the largest, which holds a copy of whatever is in force.
    pub(super) fn find(folder: &Path) -> Result<Option<Self>, DatapathError> {
        let largest = pins(folder)?.into_iter().max();
        largest.map(|(class, path)| Self::open(class, &path)).transpose()
    }

    fn open(class: usize, path: &Path) -> Result<Self, DatapathError> {
        let outer = syscall::open(path).and_then(|fd| RawMap::new(fd, 1)).map_err(fail("open"))?;
        let value = |slot: u32| {
            let mut id = [0u8; 4];
            if !outer.get(&slot.to_ne_bytes(), &mut id)? {
                return Ok(None);
            }
            Value::open(syscall::by_id(u32::from_ne_bytes(id))?, class).map(Some)
        };
        let values = [value(0).map_err(fail("open a slot"))?, value(1).map_err(fail("open a slot"))?];
        Ok(Slots { class, path: path.to_owned(), outer, values })
    }

    /// Makes slots of a class and fills the one that packets take with `image`, or with zeros for none, before they get a name: whoever
    /// finds them by name finds them whole.
    pub(super) fn create(
        folder: &Path,
        class: usize,
        slot: usize,
        image: &[u8],
    ) -> Result<Self, DatapathError> {
        let mut value = Value::new(class).map_err(fail("create"))?;
        let outer = Creation {
            kind: ARRAY_OF_MAPS,
            value_size: 4,
            entries: SLOTS,
            flags: 0,
            inner: Some(value.map.as_fd()),
            name: "images",
        };
        let outer = syscall::create(&outer).and_then(|fd| RawMap::new(fd, 1)).map_err(fail("create"))?;
        let path = folder.join(format!("{PREFIX}{class}"));
        let mut slots = Slots { class, path, outer, values: [None, None] };
        value.mapping.write(image);
        slots.fill(slot, value)?;
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

    /// Puts a value in an empty slot.
    fn fill(&mut self, slot: usize, value: Value) -> Result<(), DatapathError> {
        self.outer.set(&key_of(slot), &value.map.as_raw_fd().to_ne_bytes()).map_err(fail("fill a slot"))?;
        if let Some(to) = self.values.get_mut(slot) {
            *to = Some(value);
        }
        Ok(())
    }

    /// Gives back the memory of the old image, unless a packet may still ask for it.
    pub(super) fn empty_idle(&mut self, settings: &Mapping) -> Result<(), DatapathError> {
        if settings.load(GENERATION) & PREVIOUS_HOLDS != 0 {
            return Ok(());
        }
        let idle = Self::idle(settings);
        if let Some(value) = self.values.get_mut(idle).filter(|value| value.is_some()) {
            self.outer.remove(&key_of(idle)).map_err(fail("empty a slot"))?;
            *value = None;
        }
        Ok(())
    }

    /// Gives back the memory of both images. No program that reads them stands anywhere.
    pub(super) fn empty(&mut self, settings: &Mapping) -> Result<(), DatapathError> {
        for slot in 0..self.values.len() {
            if let Some(value) = self.values.get_mut(slot).filter(|value| value.is_some()) {
                self.outer.remove(&key_of(slot)).map_err(fail("empty a slot"))?;
                *value = None;
            }
            self.name_image(settings, slot);
        }
        Ok(())
    }

    /// Returns when every program that began before this call has ended: the kernel does so when a slot is filled, here with what is
    /// in it already.
    pub(super) fn wait_for_programs(&self) -> Result<(), DatapathError> {
        for (slot, value) in self.values.iter().enumerate() {
            if let Some(value) = value {
                let again = self.outer.set(&key_of(slot), &value.map.as_raw_fd().to_ne_bytes());
                return again.map_err(fail("wait for programs"));
            }
        }
        Ok(())
    }

    /// Bytes of a value.
    pub(super) const fn class(&self) -> usize {
        self.class
    }

    /// Where the outer map is pinned.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn in_force(&self, settings: &Mapping) -> Option<(&Value, Header)> {
        let value = self.values.get(current(settings))?.as_ref()?;
        value.header().map(|header| (value, header))
    }

    /// The image in force: its kernel part; empty if there is none.
    pub(super) fn image(&self, settings: &Mapping) -> Vec<u8> {
        let found = self.in_force(settings);
        found.map_or_else(Vec::new, |(value, header)| value.mapping.read(header.kernel_bytes as usize))
    }

    /// The checksum of the image in force.
    pub(super) fn checksum(&self, settings: &Mapping) -> Option<u64> {
        self.in_force(settings).map(|(_, header)| header.checksum)
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
        let is_first = self.checksum(settings).is_none();
        let idle = Self::idle(settings);
        if let Some(Some(value)) = self.values.get_mut(idle) {
            value.mapping.write(image);
        } else {
            let mut value = Value::new(self.class).map_err(fail("create"))?;
            value.mapping.write(image);
            self.fill(idle, value)?;
        }
        self.name_image(settings, idle);
        let count = (settings.load(GENERATION) >> GENERATION_SHIFT).wrapping_add(1) << GENERATION_SHIFT;
        let next = count | idle as u64;
        settings.store(GENERATION, if is_first { next } else { next | PREVIOUS_HOLDS });
        in_force();
        self.settle(settings)
    }

    /// Tells programs which image lies in each slot, as far as they do not know.
    pub(super) fn name_images(&self, settings: &Mapping) {
        (0..self.values.len()).for_each(|slot| self.name_image(settings, slot));
    }

    fn name_image(&self, settings: &Mapping, slot: usize) {
        let header = self.values.get(slot).and_then(Option::as_ref).and_then(Value::header);
        settings.store(IMAGES + slot * size_of::<u64>(), header.map_or(0, |header| header.checksum));
    }

    /// Waits for what may still use the other image, be it that an earlier process left it.
    pub(super) fn settle(&self, settings: &Mapping) -> Result<(), DatapathError> {
        // Packets on their way between two hooks are through when this returns; then nobody may begin with the old image.
        self.wait_for_programs()?;
        settings.store(GENERATION, settings.load(GENERATION) & !PREVIOUS_HOLDS);
        // And nobody still reads it when this returns.
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

fn key_of(slot: usize) -> [u8; 4] {
    u32::try_from(slot).unwrap_or(u32::MAX).to_ne_bytes()
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
        if let Some(class) = class.and_then(|class| class.parse().ok()).filter(|&class| is_class(class)) {
            found.push((class, path));
        }
    }
    Ok(found)
}
