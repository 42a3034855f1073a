//! Port classes into directories and pages, equal ones shared.

use crate::classes::ports::PortClasses;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use weir_abi::layout::PORT_PAGE;

/// The sections. Places are within sections, until the image is put together.
#[derive(Debug, Default)]
pub struct PortImage {
    /// Directories by protocol.
    pub protocols: Vec<u32>,
    /// Pages by port / [`PORT_PAGE`].
    pub directories: Vec<u32>,
    /// Classes.
    pub pages: Vec<u16>,
}

/// Lays out the classes of all ports of all protocols. Class numbers fit 16 bits.
pub fn lay_out(ports: &PortClasses) -> PortImage {
    let mut image = PortImage::default();
    let mut pages: FxHashMap<Vec<u16>, u32> = FxHashMap::default();
    let mut directories: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
    let mut directory_of = |starts: &[(u16, u32)]| {
        let mut classes = Vec::with_capacity(1 << 16);
        for (at, &(_, class)) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map_or(1 << 16, |&(next, _)| usize::from(next));
            classes.resize(end, u16::try_from(class).unwrap_or(u16::MAX));
        }
        let directory: Vec<u32> =
            classes.chunks(PORT_PAGE).map(|page| place_of(page, &mut image.pages, &mut pages)).collect();
        place_of(&directory, &mut image.directories, &mut directories)
    };
    let mut protocols = vec![directory_of(&[(0, 0)]); 256];
    for (&protocol, starts) in &ports.protocols {
        protocols[usize::from(protocol)] = directory_of(starts);
    }
    image.protocols = protocols;
    image
}

/// Where a run is among equal-sized ones, equal ones kept once; bytes.
fn place_of<T: Copy + Eq + Hash>(run: &[T], kept: &mut Vec<T>, known: &mut FxHashMap<Vec<T>, u32>) -> u32 {
    if let Some(&place) = known.get(run) {
        return place;
    }
    let place = u32::try_from(size_of_val(kept.as_slice())).unwrap_or(u32::MAX);
    kept.extend_from_slice(run);
    known.insert(run.to_vec(), place);
    place
}
