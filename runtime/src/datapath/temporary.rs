//! A datapath that is taken out of the kernel with the value: for questions and tests, attached to nothing that outlives it.
//!
//! Not here: what a process that is killed leaves behind, which [`remove_abandoned`] finds by name.

use super::pins::locate;
use super::{Datapath, DatapathError, Options, remove_everything};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

/// It.
#[derive(Debug)]
pub struct Temporary {
    // Dropped in this order: pins in use are nobody's to remove.
    datapath: Datapath,
    _pins: Pins,
}

#[derive(Debug)]
struct Pins(PathBuf);

impl Temporary {
    /// Opens it.
    ///
    /// # Errors
    /// As [`Datapath::open`]; then nothing stays behind either.
    pub fn open(options: &Options) -> Result<Self, DatapathError> {
        let pins = Pins(options.pin_root.clone());
        Ok(Temporary { datapath: Datapath::open(options)?, _pins: pins })
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // What stays behind is attached nowhere.
        _ = remove_everything(&self.0);
    }
}

impl Deref for Temporary {
    type Target = Datapath;

    fn deref(&self) -> &Datapath {
        &self.datapath
    }
}

impl DerefMut for Temporary {
    fn deref_mut(&mut self) -> &mut Datapath {
        &mut self.datapath
    }
}

/// Removes temporary datapaths of processes that were killed: folders beside `beginning` whose names begin like it, and that nobody uses.
pub fn remove_abandoned(beginning: &Path) {
    let Ok(located) = locate(beginning) else { return };
    let (Some(folder), Some(name)) = (located.path.parent(), located.path.file_name()) else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            // One in use stays.
            _ = remove_everything(&entry.path());
        }
    }
}
