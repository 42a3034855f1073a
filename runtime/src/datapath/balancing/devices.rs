//! Programs at the node's devices: tc always, and XDP where the driver has it.
//!
//! XDP is asked of the driver itself: in the kernel's own stead of one it would be slower than tc. A veth has it too, but what it sends
//! back is lost unless the other end has it as well, so of itself we use none there.
//!
//! Not here: which devices.

use super::KernelBalancer;
use super::load::{FAST, Programs, STANDS};
use crate::balancer::{DeviceHook, DeviceMode, DeviceReport};
use crate::datapath::attach;
use crate::datapath::error::DatapathError;
use crate::datapath::load::make_folder;
use crate::datapath::pins::Versions;
use crate::datapath::syscall;
use crate::snapshot::chain;
use aya::programs::Xdp;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tracing::warn;

type Source = Box<dyn Error + Send + Sync>;

/// Drivers whose XDP loses what it sends back.
const LOSING: &[&str] = &["veth"];

fn link(version: &Path, device: u32) -> PathBuf {
    version.join("links").join(format!("{device}-{FAST}"))
}

/// Devices that have a link of XDP.
fn linked(version: &Path) -> Result<BTreeSet<u32>, DatapathError> {
    let folder = version.join("links");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(source) => return Err(DatapathError::Pin { what: "list", path: folder, source }),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_suffix(FAST)?.strip_suffix('-')?.parse().ok()).collect())
}

/// Puts the programs at these devices and takes them from all others.
pub(super) fn set(
    balancer: &mut KernelBalancer,
    devices: &BTreeSet<u32>,
) -> Result<Vec<DeviceReport>, DatapathError> {
    let has_v6 = balancer.has_v6();
    let KernelBalancer { options, versions, programs, has_tcx, .. } = balancer;
    make_folder(&versions.own.join("links"))?;
    for device in attach::interfaces(&versions.own, &STANDS)? {
        if !devices.contains(&device) {
            attach::detach(versions, &STANDS, device)?;
        }
    }
    for device in linked(&versions.own)? {
        if !devices.contains(&device) {
            detach(versions, device)?;
        }
    }
    let mut reports = Vec::new();
    for &device in devices {
        let mut report =
            DeviceReport { index: device, stands: true, by: DeviceHook::Tc, no_xdp: None, trouble: None };
        if let Err(error) = attach::attach(programs, versions, device, *has_tcx) {
            (report.stands, report.trouble) = (false, Some(chain(&error)));
        } else {
            let refused = match options.device_mode {
                DeviceMode::Tc => Some(None),
                DeviceMode::Auto => unfit_for_fast(device).map(Some),
                DeviceMode::Xdp => None,
            };
            let refused = refused.or_else(|| {
                let stands = stand_fast(programs, versions, device);
                stands.err().map(|error| Some(format!("no XDP: {}", chain(error.as_ref()))))
            });
            match refused {
                None => report.by = DeviceHook::Xdp,
                Some(why) => {
                    detach(versions, device)?;
                    let to_tell = match options.device_mode {
                        DeviceMode::Xdp => &mut report.trouble,
                        _ => &mut report.no_xdp,
                    };
                    *to_tell = why;
                }
            }
        }
        report.trouble = report.trouble.or_else(|| not_forwarding(device, has_v6));
        reports.push(report);
    }
    Ok(reports)
}

/// Why XDP is not even tried at a device, of ourselves.
fn unfit_for_fast(device: u32) -> Option<String> {
    let driver = attach::name_of(device).and_then(|name| Ok(syscall::driver_of(&name)?));
    match driver {
        Ok(driver) if LOSING.contains(&driver.as_str()) => {
            Some(format!("its driver, {driver}, loses what XDP sends back"))
        }
        Ok(_) => None,
        Err(error) => Some(format!("its driver is not known: {}", chain(error.as_ref()))),
    }
}

/// Where the kernel is told to forward nothing that comes in at a device it tells no way to a backend either. Of IPv6 it is asked only where the
/// node has an address.
fn not_forwarding(device: u32, has_v6: bool) -> Option<String> {
    let name = attach::name_of(device).ok()?;
    let is_off = |family: &str| {
        let told = fs::read_to_string(format!("/proc/sys/net/{family}/conf/{name}/forwarding"));
        told.is_ok_and(|told| told.trim() == "0")
    };
    let off = ["ipv4", "ipv6"].into_iter().find(|family| is_off(family) && (*family == "ipv4" || has_v6))?;
    Some(format!("what is for backends elsewhere is dropped: net.{off}.conf.{name}.forwarding is 0"))
}

/// Puts the XDP program at a device, or replaces the one that stands there, whichever version left it.
fn stand_fast(programs: &mut Programs, versions: &Versions, device: u32) -> Result<(), Source> {
    let path = link(&versions.own, device);
    let program = programs.fast_mut().ok_or("the program is missing in the object")?;
    for left in versions.all().map(|version| link(version, device)) {
        if replace(program, &left)? {
            fs::rename(&left, &path)?;
            return Ok(());
        }
    }
    let id = program.attach_to_if_index(device, XdpMode::Driver)?;
    let there: FdLink = program.take_link(id)?.try_into()?;
    there.pin(&path)?;
    Ok(())
}

/// Replaces the program of a pinned link. False, and the pin is gone, if there is no such link, or its device ended and another got its number.
fn replace(program: &mut Xdp, pin: &Path) -> Result<bool, Source> {
    if !pin.exists() {
        return Ok(false);
    }
    let there = FdLink::from(PinnedLink::from_pin(pin)?);
    match program.attach_to_link(XdpLink::try_from(there)?) {
        Ok(id) => drop(program.take_link(id)?),
        Err(error) if attach::has_ended(&error) => {
            fs::remove_file(pin)?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// Replaces every XDP program that an earlier run or size class of this version attached.
pub(super) fn replace_all(programs: &mut Programs, versions: &Versions) -> Result<(), DatapathError> {
    for device in linked(&versions.own)? {
        if let Err(source) = stand_fast(programs, versions, device) {
            if attach::name_of(device).is_ok() {
                return Err(DatapathError::Attach {
                    interface: device,
                    what: "replace the XDP program",
                    source,
                });
            }
            warn!(device, "a device is gone");
            detach(versions, device)?;
        }
    }
    Ok(())
}

/// Takes the XDP program from a device, whichever version left it.
fn detach(versions: &Versions, device: u32) -> Result<(), DatapathError> {
    versions.all().try_for_each(|version| detach_one(version, device))
}

fn detach_one(version: &Path, device: u32) -> Result<(), DatapathError> {
    let path = link(version, device);
    if !path.exists() {
        return Ok(());
    }
    let detached = syscall::open(&path).and_then(|link| syscall::detach_link(link.as_fd()));
    detached.map_err(|error| DatapathError::Attach {
        interface: device,
        what: "detach the XDP program",
        source: error.into(),
    })?;
    fs::remove_file(&path).map_err(|source| DatapathError::Pin { what: "unpin", path, source })
}

/// Takes the XDP programs of these versions from all devices.
pub(super) fn detach_all<'a>(versions: impl Iterator<Item = &'a Path>) -> Result<(), DatapathError> {
    for version in versions {
        linked(version)?.into_iter().try_for_each(|device| detach_one(version, device))?;
    }
    Ok(())
}
