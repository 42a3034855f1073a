//! What balances, as a value: its programs loaded, service images in force, what stands at devices, pods and sockets.
//!
//! ```text
//! KernelBalancer::open ─ pinned maps and links of an earlier run are taken over
//!   install ─ checked, written beside the image in force, one word flipped        (../slots.rs)
//!   set_devices ─ XDP where it can be, and tc                                    (devices.rs)
//!   set_pods ─ around policy's programs                                          (pods.rs)
//!   set_sockets ─ programs at a cgroup                                           (sockets.rs)
//!   finish_upgrade ─ what another version left is taken away
//!   flows, sweep, counters ─ what the programs left for us                       (records.rs)
//! ```
//!
//! Invariants: as those of [`super::Datapath`]; its pins are in a folder of their own, so either may be opened without the other.
//!
//! Not here: policy, what is wanted.

mod devices;
mod load;
mod pods;
mod records;
mod sockets;

use super::attach;
use super::connections::now;
use super::error::DatapathError;
use super::mapping::Mapping;
use super::pins::{self, Located, Versions, balancing_folder};
use super::slots::{self, Slots};
use super::{Installation, load::has_tcx, load::make_folder, mapped};
use crate::balancer::{BalanceReport, Balancer, BalancerOptions, DeviceReport, FlowOnRecord};
use aya::programs::ProgramError;
use load::Programs;
use nix::fcntl::Flock;
use records::Tables;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use weir_abi::services::ServiceImage;
use weir_abi::services::live::{BalanceCounter, ServiceSettings};

/// Where the word is that holds the node's IPv4 address, and above it since when slots are unsettled.
const NODE_V4: usize = offset_of!(ServiceSettings, node_v4);
const _: () =
    assert!(offset_of!(ServiceSettings, unsettled_since) == NODE_V4 + 4 && NODE_V4.is_multiple_of(8));

/// The kernel's programs and maps of balancing.
#[derive(Debug)]
pub struct KernelBalancer {
    options: BalancerOptions,
    versions: Versions,
    programs: Programs,
    slots: Slots,
    settings: Mapping,
    tables: Tables,
    /// A move to larger slots has begun and not come to its end.
    is_split: bool,
    has_tcx: bool,
    /// The pins are this process's alone.
    _lock: Flock<File>,
    _located: Located,
}

impl KernelBalancer {
    /// Loads the programs. Maps that an earlier run of this version pinned are used on, and programs that it attached are replaced. Programs
    /// of another version balance by the image that it left until those of this one are put in their place.
    ///
    /// # Errors
    /// [`DatapathError`]; what is attached already stays as it is.
    pub fn open(options: &BalancerOptions) -> Result<Self, DatapathError> {
        let located = pins::locate(&options.pin_root)?;
        pins::ensure_file_system(&located.path)?;
        let (folder, name) = (balancing_folder(&located.path), balancing_folder(&options.pin_root));
        let lock = pins::lock(&folder, &name)?;
        pins::claim_network(&folder, &name)?;
        let versions = Versions::find_of_balancing(&folder)?;
        let own = &versions.own;
        make_folder(own)?;
        make_folder(&versions.connections)?;
        let slots = match Slots::find(own)? {
            Some(slots) => slots,
            None => Slots::create(own, slots::SMALLEST_CLASS, 0, &[])?,
        };
        let mut programs = Programs::load(options, &versions, &slots)?;
        let settings = mapped(own, "service_settings", size_of::<ServiceSettings>())?;
        slots.name_images(&settings);
        slots.settle(&settings)?;
        slots.forget_others(own)?;
        let tables = Tables::open(&versions)?;
        programs.replace_all(&versions)?;
        let (options, has_tcx) = (options.clone(), has_tcx());
        Ok(KernelBalancer {
            options,
            versions,
            programs,
            slots,
            settings,
            tables,
            is_split: false,
            has_tcx,
            _lock: lock,
            _located: located,
        })
    }

    /// The XDP program, for who measures it.
    ///
    /// # Errors
    /// It is not loaded.
    pub fn fast_program(&self) -> Result<BorrowedFd<'_>, ProgramError> {
        self.programs.fast().ok_or(ProgramError::NotLoaded)?.fd().map(|fd| fd.as_fd())
    }

    /// Whether the node has an IPv6 address.
    fn has_v6(&self) -> bool {
        let at = offset_of!(ServiceSettings, node_v6);
        self.settings.load(at) | self.settings.load(at + 8) != 0
    }

    /// As policy's: the image in force is copied into larger slots, then programs are replaced one by one.
    fn grow(&mut self, class: usize) -> Result<(), DatapathError> {
        let folder = &self.versions.own;
        let image = self.slots.image(&self.settings);
        let slot = 1 - Slots::idle(&self.settings);
        let slots = Slots::create(folder, class, slot, &image)?;
        self.is_split = true;
        let moved = Programs::load(&self.options, &self.versions, &slots).and_then(|mut programs| {
            programs.replace_all(&self.versions)?;
            slots.wait_for_programs()?;
            Ok(programs)
        });
        match moved {
            Ok(programs) => (self.slots, self.programs) = (slots, programs),
            Err(error) => return Err(self.reunite().err().unwrap_or(error)),
        }
        self.is_split = false;
        self.slots.forget_others(&self.versions.own)
    }

    /// Has all programs use the same slots again, after a move to larger ones that failed.
    fn reunite(&mut self) -> Result<(), DatapathError> {
        if self.is_split {
            self.programs.replace_all(&self.versions)?;
            self.slots.wait_for_programs()?;
            self.slots.forget_others(&self.versions.own)?;
            self.is_split = false;
        }
        Ok(())
    }
}

impl Balancer for KernelBalancer {
    fn image_in_force(&self) -> Option<u64> {
        self.slots.checksum(&self.settings)
    }

    fn install(&mut self, bytes: &[u8]) -> Result<Installation, DatapathError> {
        let began = Instant::now();
        let image = ServiceImage::open(bytes)?;
        let header = *image.header();
        let kernel = bytes.get(..header.kernel_bytes as usize).unwrap_or(bytes);
        let class = slots::class_for(kernel.len())?;
        self.reunite()?;
        let grown = class > self.slots.class();
        if grown {
            self.grow(class)?;
        }
        let mut in_force = Duration::ZERO;
        self.slots.swap(&self.settings, kernel, || in_force = began.elapsed())?;
        let (checksum, class, settled) = (header.checksum, self.slots.class(), began.elapsed());
        Ok(Installation { checksum, bytes: kernel.len(), class, grown, in_force, settled })
    }

    fn unsettle(&mut self) -> Result<(), DatapathError> {
        let tick = u64::from(now()?);
        let word = self.settings.load(NODE_V4) & u64::from(u32::MAX);
        self.settings.store(NODE_V4, word | tick << 32);
        Ok(())
    }

    fn set_node(&mut self, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Result<(), DatapathError> {
        let own = v4.map_or([0; 4], |address| address.octets());
        let word = self.settings.load(NODE_V4) & !u64::from(u32::MAX);
        self.settings.store(NODE_V4, word | u64::from(u32::from_le_bytes(own)));
        let v6 = v6.map_or(0, |address| u128::from_le_bytes(address.octets()));
        for (place, half) in [(0, v6 as u64), (8, (v6 >> 64) as u64)] {
            self.settings.store(offset_of!(ServiceSettings, node_v6) + place, half);
        }
        Ok(())
    }

    fn set_devices(&mut self, devices: &BTreeSet<u32>) -> Result<Vec<DeviceReport>, DatapathError> {
        devices::set(self, devices)
    }

    fn set_pods(&mut self, interfaces: &BTreeSet<u32>) -> Result<(), DatapathError> {
        pods::set(self, interfaces)
    }

    fn set_sockets(&mut self) -> Result<(), DatapathError> {
        let cgroup = self.options.cgroup.as_deref();
        sockets::set(self.programs.sockets_mut(), cgroup, &self.versions)
    }

    fn finish_upgrade(&mut self) -> Result<(), DatapathError> {
        detach_all(self.versions.others())?;
        self.versions.remove_others()
    }

    fn withdraw(&mut self) -> Result<(), DatapathError> {
        detach_all(self.versions.all())?;
        self.slots.empty(&self.settings)
    }

    fn flows(&mut self) -> Result<Vec<FlowOnRecord>, DatapathError> {
        self.tables.flows()
    }

    fn sweep(&mut self, most: usize) -> Result<BalanceReport, DatapathError> {
        self.tables.sweep(most)
    }

    fn counters(&self) -> Result<Vec<(BalanceCounter, u64)>, DatapathError> {
        self.tables.counters()
    }
}

/// Takes everything of balancing out of the kernel. Whoever calls this holds no balancer.
pub(super) fn remove_everything(pin_root: &Path, name: &Path) -> Result<(), DatapathError> {
    let folder = balancing_folder(pin_root);
    if !folder.exists() {
        return Ok(());
    }
    let _lock = pins::lock(&folder, &balancing_folder(name))?;
    detach_all(Versions::find_of_balancing(&folder)?.all())?;
    fs::remove_dir_all(&folder).map_err(|source| DatapathError::Pin { what: "remove", path: folder, source })
}

/// Takes the programs of these versions from wherever they stand.
fn detach_all<'a>(versions: impl Iterator<Item = &'a Path> + Clone) -> Result<(), DatapathError> {
    sockets::detach_all(versions.clone())?;
    attach::detach_all(versions.clone(), &pods::STANDS)?;
    attach::detach_all(versions.clone(), &load::STANDS)?;
    devices::detach_all(versions)
}
