//! Where it is measured: one CPU, a network namespace of this process's own, a folder for pins that goes when the run ends.

use aya::{Ebpf, EbpfLoader};
use std::cell::Cell;
use std::path::PathBuf;
use weir_benches::alone;
use weir_runtime::datapath::{DatapathError, Options, Temporary, version_folder};

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static TRIES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/tries.bpf.o")));

/// The interface that test runs are at.
pub(crate) const LOOPBACK: u32 = 1;

/// The place.
pub(crate) struct Laboratory {
    opened: Cell<u32>,
}

/// A datapath of one measurement, taken out of the kernel with it.
pub(crate) struct Bed {
    pub(crate) datapath: Temporary,
    pin_root: PathBuf,
}

impl Laboratory {
    /// Moves this process there.
    pub(crate) fn open() -> Result<Self, String> {
        alone::on_one_cpu()?;
        alone::in_a_network()?;
        Ok(Laboratory { opened: Cell::new(0) })
    }

    /// A datapath without an image.
    pub(crate) fn bed(&self) -> Result<Bed, DatapathError> {
        let number = self.opened.replace(self.opened.get() + 1);
        let pin_root = PathBuf::from(format!("/sys/fs/bpf/weir-bench-{}-{number}", std::process::id()));
        let options = Options { pin_root: pin_root.clone(), ..Options::default() };
        Ok(Bed { datapath: Temporary::open(&options)?, pin_root })
    }
}

impl Laboratory {
    /// Tries alone, with room for so many addresses: no datapath, no program.
    pub(crate) fn tries(&self, addresses: usize) -> Ebpf {
        let room = u32::try_from(addresses).unwrap_or(u32::MAX);
        EbpfLoader::new().map_max_entries("ipcache", room).load(&TRIES.0).unwrap()
    }
}

impl Bed {
    /// Where its maps are pinned.
    pub(crate) fn state(&self) -> PathBuf {
        version_folder(&self.pin_root)
    }
}
