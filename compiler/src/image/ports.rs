//! Port classes into directories and pages, equal ones shared.

use crate::classes::ports::PortClasses;
use rustc_hash::FxHashMap;
use weir_abi::layout::{INDIRECT, PORT_DIRECTORY, PORT_PAGE};

/// The sections.
#[derive(Debug, Default)]
pub struct PortImage {
    /// By protocol.
    pub protocols: Vec<u32>,
    /// Pages by port / [`PORT_PAGE`].
    pub directories: Vec<u16>,
    /// Classes.
    pub pages: Vec<u16>,
}

/// Lays out the classes of all ports of all protocols. Class numbers fit 16 bits.
pub fn lay_out(ports: &PortClasses) -> PortImage {
    let mut image = PortImage { protocols: vec![INDIRECT; 256], ..PortImage::default() };
    let mut pages: FxHashMap<Vec<u16>, u16> = FxHashMap::default();
    let mut directories: FxHashMap<Vec<u16>, u32> = FxHashMap::default();
    for (&protocol, starts) in &ports.protocols {
        let entry = &mut image.protocols[usize::from(protocol)];
        if let [(_, class)] = starts[..] {
            *entry = INDIRECT | class;
            continue;
        }
        let mut classes = Vec::with_capacity(1 << 16);
        for (at, &(_, class)) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map_or(1 << 16, |&(next, _)| usize::from(next));
            classes.resize(end, u16::try_from(class).unwrap_or(u16::MAX));
        }
        let directory: Vec<u16> = classes
            .chunks(PORT_PAGE)
            .map(|page| {
                let next = u16::try_from(pages.len()).unwrap_or(u16::MAX);
                *pages.entry(page.to_vec()).or_insert_with_key(|page| {
                    image.pages.extend_from_slice(page);
                    next
                })
            })
            .collect();
        let out = &mut image.directories;
        *entry = *directories.entry(directory).or_insert_with_key(|directory| {
            let number = u32::try_from(out.len() / PORT_DIRECTORY).unwrap_or(u32::MAX);
            out.extend_from_slice(directory);
            number
        });
    }
    image
}
