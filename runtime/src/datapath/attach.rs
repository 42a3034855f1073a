//! Programs at interfaces: links pinned by interface and hook, so that they outlive this process and are found by the next.
//!
//! A pinned link keeps its program in place; replacing the program is one atomic update of the link. Where the kernel has no
//! tcx (before 6.6) programs stand in clsact, whose filters live with the interface and hold their program themselves; an empty
//! folder marks where. It is made before the filter and removed after it, so no filter of ours is ever forgotten. Either way a
//! program that was detached judges no packet that comes after the call.
//!
//! Each version has its pins and marks beside the maps that its programs use. What another version left stands, and enforces what is
//! in that version's maps, until this one takes the interface over: one update of the link, then its name moves here.

use super::error::DatapathError;
use super::load::{Programs, attach_type, make_folder, program_name};
use super::pins::Versions;
use super::syscall;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact};
use aya::programs::{Link, LinkOrder, ProgramError, SchedClassifier};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use weir_abi::state::Hook;

const HOOKS: [Hook; 2] = [Hook::FromPod, Hook::ToPod];
/// The place of our filters in clsact: before all that do not ask for the very first, since one that accepts a packet ends the chain.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0x57, 0x45);

type Source = Box<dyn Error + Send + Sync>;

/// One hook of one interface, as a version has it written down.
struct Place<'a> {
    version: &'a Path,
    interface: u32,
    hook: Hook,
}

fn link_folder(version: &Path) -> PathBuf {
    version.join("links")
}

impl<'a> Place<'a> {
    const fn new(version: &'a Path, interface: u32, hook: Hook) -> Self {
        Place { version, interface, hook }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.interface, program_name(self.hook))
    }

    /// The pin of a link.
    fn link(&self) -> PathBuf {
        link_folder(self.version).join(self.name())
    }

    /// The mark of a filter in clsact.
    fn mark(&self) -> PathBuf {
        link_folder(self.version).join(format!("{}-clsact", self.name()))
    }

    fn is_taken(&self) -> bool {
        self.link().exists() || self.mark().exists()
    }

    fn error(&self, what: &'static str, source: Source) -> DatapathError {
        DatapathError::Attach { interface: self.interface, what, source }
    }
}

/// Puts both programs at an interface, or replaces those that stand there.
pub(super) fn attach(
    programs: &mut Programs,
    versions: &Versions,
    interface: u32,
    by_tcx: bool,
) -> Result<(), DatapathError> {
    make_folder(&link_folder(&versions.own))?;
    for hook in HOOKS {
        let place = Place::new(&versions.own, interface, hook);
        if place.is_taken() && replace(programs, &place)? || take_over(programs, versions, &place)? {
            continue;
        }
        let Some(program) = programs.program_mut(hook) else { continue };
        if by_tcx {
            attach_tcx(program, &place).map_err(|source| place.error("attach a program", source))?;
        } else {
            make_folder(&place.mark())?;
            if let Err(source) = put_filter(program, hook, interface) {
                // A mark would have the next run try again what this one reports as failed.
                let _ = fs::remove_dir(place.mark());
                return Err(place.error("attach a program", source));
            }
        }
    }
    Ok(())
}

/// Puts the loaded program in the place of one that another version left there. False if none did.
fn take_over(programs: &mut Programs, versions: &Versions, place: &Place<'_>) -> Result<bool, DatapathError> {
    for other in &versions.others {
        let from = Place { version: other, ..*place };
        if !from.is_taken() || !replace(programs, &from)? {
            continue;
        }
        for (from, to) in [(from.link(), place.link()), (from.mark(), place.mark())] {
            match fs::rename(&from, to) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(DatapathError::Pin { what: "move", path: from, source });
                }
                _ => {}
            }
        }
        return Ok(true);
    }
    Ok(false)
}

/// Takes over whatever other versions still have at interfaces. Where nobody said who is there, nothing passes from now on.
pub(super) fn take_over_all(programs: &mut Programs, versions: &Versions) -> Result<(), DatapathError> {
    make_folder(&link_folder(&versions.own))?;
    for other in &versions.others {
        for (interface, hook) in attached(other)? {
            if name_of(interface).is_err() {
                detach_one(&Place::new(other, interface, hook))?;
            } else {
                take_over(programs, versions, &Place::new(&versions.own, interface, hook))?;
            }
        }
    }
    Ok(())
}

/// The name of an interface; an error if there is none.
fn name_of(interface: u32) -> Result<String, Source> {
    let name = nix::net::if_::if_indextoname(interface)?;
    // nix does not notice that there is none, and gives an empty name.
    if name.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV).into());
    }
    Ok(name.to_str()?.to_owned())
}

fn attach_tcx(program: &mut SchedClassifier, place: &Place<'_>) -> Result<(), Source> {
    // A program before ours that accepts a packet would end the chain.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(&name_of(place.interface)?, attach_type(place.hook), options)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(place.link())?;
    Ok(())
}

/// Our filter at an interface, whether it stands there or not.
fn filter(hook: Hook, interface: u32) -> Result<SchedClassifierLink, Source> {
    Ok(SchedClassifierLink::attached(&name_of(interface)?, attach_type(hook), PRIORITY, HANDLE, None)?)
}

/// Makes our filter at an interface lead to the program: in one step where it stands there already.
fn put_filter(program: &mut SchedClassifier, hook: Hook, interface: u32) -> Result<(), Source> {
    let id = match program.attach_to_link(filter(hook, interface)?) {
        Ok(id) => id,
        // There is none yet, or somebody removed it together with its clsact.
        Err(_) => {
            let name = name_of(interface)?;
            // There may be one already, ours or another's.
            let _ = qdisc_add_clsact(&name);
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
            program.attach_with_options(&name, attach_type(hook), TcAttachOptions::Netlink(options))?
        }
    };
    // Dropped, the link would take the filter with it.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Takes our filter from an interface. That it is not there, or the whole interface, is as good.
fn take_filter(hook: Hook, interface: u32) -> Result<(), Source> {
    let Ok(filter) = filter(hook, interface) else { return Ok(()) };
    match filter.detach() {
        Err(ProgramError::NetlinkError(error))
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) =>
        {
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Replaces the program at one hook by the loaded one, in one step. False, and the pin is gone, if what it stands for is gone: its
/// interface ended, and perhaps another got its number.
fn replace(programs: &mut Programs, place: &Place<'_>) -> Result<bool, DatapathError> {
    let Some(program) = programs.program_mut(place.hook) else { return Ok(false) };
    let path = place.link();
    let mut work = || -> Result<(), Source> {
        if path.exists() {
            let link = FdLink::from(PinnedLink::from_pin(&path)?);
            let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
            // The pin holds it on.
            drop(program.take_link(id)?);
            Ok(())
        } else {
            put_filter(program, place.hook, place.interface)
        }
    };
    match work() {
        Ok(()) => Ok(true),
        Err(error) if has_ended(error.as_ref()) => detach_one(place).map(|()| false),
        Err(error) => Err(place.error("replace a program", error)),
    }
}

/// Whether the kernel said that there is no interface behind a link, or no filter where one was.
fn has_ended(error: &(dyn Error + 'static)) -> bool {
    let ended =
        |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOLINK | libc::ENOENT | libc::ENODEV));
    let mut error = Some(error);
    while let Some(this) = error {
        if this.downcast_ref::<io::Error>().is_some_and(ended) {
            return true;
        }
        error = this.source();
    }
    false
}

/// Interfaces where both loaded programs stand.
pub(super) fn standing(programs: &mut Programs, version: &Path) -> Result<BTreeSet<u32>, DatapathError> {
    let mut hooks: BTreeMap<u32, usize> = BTreeMap::new();
    for (interface, hook) in attached(version)? {
        if stands(programs, &Place::new(version, interface, hook)) {
            *hooks.entry(interface).or_default() += 1;
        }
    }
    Ok(hooks.into_iter().filter(|(_, count)| *count == HOOKS.len()).map(|(interface, _)| interface).collect())
}

/// Whether a program stands where its pin or mark says. A filter in clsact is put there again to be sure of it: it goes with its clsact,
/// and nothing is told of that.
fn stands(programs: &mut Programs, place: &Place<'_>) -> bool {
    let Ok(name) = name_of(place.interface) else { return false };
    if !place.link().exists() {
        return programs
            .program_mut(place.hook)
            .is_some_and(|program| put_filter(program, place.hook, place.interface).is_ok());
    }
    let own = programs.program(place.hook).and_then(|program| program.info().ok()).map(|info| info.id());
    let there = SchedClassifier::query_tcx(&name, attach_type(place.hook));
    there.is_ok_and(|(_, there)| there.iter().any(|info| Some(info.id()) == own))
}

/// Replaces every program that an earlier run or size class of this version attached. Pins of interfaces that are gone are removed.
pub(super) fn replace_all(programs: &mut Programs, version: &Path) -> Result<(), DatapathError> {
    for (interface, hook) in attached(version)? {
        let place = Place::new(version, interface, hook);
        match replace(programs, &place) {
            Err(_) if name_of(interface).is_err() => detach_one(&place)?,
            // What had ended has nothing to replace; its interface is no pod's any more.
            replaced => drop(replaced?),
        }
    }
    Ok(())
}

/// Interfaces and hooks that have a pin or a mark.
fn attached(version: &Path) -> Result<Vec<(u32, Hook)>, DatapathError> {
    let folder = link_folder(version);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(DatapathError::Pin { what: "list", path: folder, source }),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let parse = |name: String| {
        let (interface, program) = name.split_once('-')?;
        let program = program.strip_suffix("-clsact").unwrap_or(program);
        let hook = HOOKS.into_iter().find(|hook| program_name(*hook) == program)?;
        Some((interface.parse().ok()?, hook))
    };
    Ok(names.filter_map(parse).collect())
}

fn detach_one(place: &Place<'_>) -> Result<(), DatapathError> {
    let (path, mark) = (place.link(), place.mark());
    let fail = |source| place.error("detach a program", source);
    if path.exists() {
        let detached = syscall::open(&path).and_then(|link| syscall::detach_link(link.as_fd()));
        detached.map_err(|error| fail(error.into()))?;
    }
    if mark.exists() {
        take_filter(place.hook, place.interface).map_err(fail)?;
    }
    for (path, removed) in [(&path, fs::remove_file(&path)), (&mark, fs::remove_dir(&mark))] {
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(DatapathError::Pin { what: "unpin", path: path.clone(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes both programs from an interface, whichever version left them.
pub(super) fn detach(versions: &Versions, interface: u32) -> Result<(), DatapathError> {
    for version in versions.all() {
        HOOKS.into_iter().try_for_each(|hook| detach_one(&Place::new(version, interface, hook)))?;
    }
    Ok(())
}

/// Takes all programs from all interfaces.
pub(super) fn detach_all(versions: &Versions) -> Result<(), DatapathError> {
    for version in versions.all() {
        let attached = attached(version)?.into_iter();
        attached.map(|(at, hook)| Place::new(version, at, hook)).try_for_each(|place| detach_one(&place))?;
    }
    Ok(())
}
