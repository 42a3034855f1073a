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
use super::load::make_folder;
use super::pins::Versions;
use super::syscall;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact};
use aya::programs::{Link, LinkOrder, MultiProgram, ProgramError, ProgramFd, SchedClassifier, TcAttachType};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

const HANDLE: TcHandle = TcHandle::new(0x57, 0x45);

type Source = Box<dyn Error + Send + Sync>;

/// A program that stands at interfaces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// Its name in the object, and in pins.
    pub(super) program: &'static str,
    /// Inward or outward.
    pub(super) side: TcAttachType,
    /// Its place in clsact: lower goes first, and before all others that ask for no place.
    pub(super) priority: u16,
    /// Its place in a chain of tcx, which has no priorities.
    pub(super) order: Order,
}

/// A place in a chain. A program before ours that accepts a packet would end the chain, so most go first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Before all that are there.
    First,
    /// Right behind a program of ours by that name, if it is there; else before all.
    Behind(&'static str),
    /// After all that are there.
    Last,
}

/// Loaded programs that stand at interfaces together.
pub(super) trait Standing {
    /// Which.
    fn stands(&self) -> &'static [Stand];

    /// One of them.
    fn program(&self, stand: &Stand) -> Option<&SchedClassifier>;

    /// One of them, to attach it.
    fn program_mut(&mut self, stand: &Stand) -> Option<&mut SchedClassifier>;
}

/// One program at one interface, as a version has it written down.
struct Place<'a> {
    version: &'a Path,
    interface: u32,
    stand: &'static Stand,
}

fn link_folder(version: &Path) -> PathBuf {
    version.join("links")
}

impl<'a> Place<'a> {
    const fn new(version: &'a Path, interface: u32, stand: &'static Stand) -> Self {
        Place { version, interface, stand }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.interface, self.stand.program)
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
    programs: &mut impl Standing,
    versions: &Versions,
    interface: u32,
    by_tcx: bool,
) -> Result<(), DatapathError> {
    make_folder(&link_folder(&versions.own))?;
    for stand in programs.stands() {
        let place = Place::new(&versions.own, interface, stand);
        if place.is_taken() && replace(programs, &place)? || take_over(programs, versions, &place)? {
            continue;
        }
        let Some(program) = programs.program_mut(stand) else { continue };
        if by_tcx {
            attach_tcx(program, &place).map_err(|source| place.error("attach a program", source))?;
        } else {
            make_folder(&place.mark())?;
            if let Err(source) = put_filter(program, stand, interface) {
                // A mark would have the next run try again what this one reports as failed.
                let _ = fs::remove_dir(place.mark());
                return Err(place.error("attach a program", source));
            }
        }
    }
    Ok(())
}

/// Puts the loaded program in the place of one that another version left there. False if none did.
fn take_over(
    programs: &mut impl Standing,
    versions: &Versions,
    place: &Place<'_>,
) -> Result<bool, DatapathError> {
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
pub(super) fn take_over_all(programs: &mut impl Standing, versions: &Versions) -> Result<(), DatapathError> {
    make_folder(&link_folder(&versions.own))?;
    for other in &versions.others {
        for (interface, stand) in attached(other, programs.stands())? {
            if name_of(interface).is_err() {
                detach_one(&Place::new(other, interface, stand))?;
            } else {
                take_over(programs, versions, &Place::new(&versions.own, interface, stand))?;
            }
        }
    }
    Ok(())
}

/// The name of an interface; an error if there is none.
pub(super) fn name_of(interface: u32) -> Result<String, Source> {
    let name = nix::net::if_::if_indextoname(interface)?;
    // nix does not notice that there is none, and gives an empty name.
    if name.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV).into());
    }
    Ok(name.to_str()?.to_owned())
}

fn attach_tcx(program: &mut SchedClassifier, place: &Place<'_>) -> Result<(), Source> {
    let name = name_of(place.interface)?;
    let side = place.stand.side;
    // Held until the kernel has been told of it.
    let other = match place.stand.order {
        Order::Behind(other) => find(other, &name, side)?,
        _ => None,
    };
    let order = match (&place.stand.order, &other) {
        (Order::Last, _) => LinkOrder::last(),
        (_, Some(other)) => LinkOrder::after_program(other)?,
        _ => LinkOrder::first(),
    };
    let id = program.attach_with_options(&name, side, TcAttachOptions::TcxOrder(order))?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(place.link())?;
    Ok(())
}

/// A program that stands at an interface.
struct Neighbour(ProgramFd);

impl MultiProgram for Neighbour {
    fn fd(&self) -> Result<BorrowedFd<'_>, ProgramError> {
        Ok(self.0.as_fd())
    }
}

/// The last program of a name at an interface.
fn find(program: &str, interface: &str, side: TcAttachType) -> Result<Option<Neighbour>, Source> {
    // The kernel cuts names to this.
    const SHOWN: usize = 15;
    let (_, there) = SchedClassifier::query_tcx(interface, side)?;
    let shown = program.get(..SHOWN).unwrap_or(program);
    let found = there.iter().rev().find(|info| info.name_as_str() == Some(shown));
    Ok(found.map(|info| info.fd().map(Neighbour)).transpose()?)
}

/// Our filter at an interface, whether it stands there or not.
fn filter(stand: &Stand, interface: u32) -> Result<SchedClassifierLink, Source> {
    Ok(SchedClassifierLink::attached(&name_of(interface)?, stand.side, stand.priority, HANDLE, None)?)
}

/// Makes our filter at an interface lead to the program: in one step where it stands there already.
fn put_filter(program: &mut SchedClassifier, stand: &Stand, interface: u32) -> Result<(), Source> {
    let id = match program.attach_to_link(filter(stand, interface)?) {
        Ok(id) => id,
        // There is none yet, or somebody removed it together with its clsact.
        Err(_) => {
            let name = name_of(interface)?;
            // There may be one already, ours or another's.
            let _ = qdisc_add_clsact(&name);
            let options = NlOptions { priority: stand.priority, handle: HANDLE, classid: None };
            program.attach_with_options(&name, stand.side, TcAttachOptions::Netlink(options))?
        }
    };
    // Dropped, the link would take the filter with it.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Takes our filter from an interface. That it is not there, or the whole interface, is as good.
fn take_filter(stand: &Stand, interface: u32) -> Result<(), Source> {
    let Ok(filter) = filter(stand, interface) else { return Ok(()) };
    match filter.detach() {
        Err(ProgramError::NetlinkError(error))
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) =>
        {
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Replaces one program by the loaded one, in one step. False, and the pin is gone, if what it stands for is gone: its
/// interface ended, and perhaps another got its number.
fn replace(programs: &mut impl Standing, place: &Place<'_>) -> Result<bool, DatapathError> {
    let Some(program) = programs.program_mut(place.stand) else { return Ok(false) };
    let path = place.link();
    let mut work = || -> Result<(), Source> {
        if path.exists() {
            let link = FdLink::from(PinnedLink::from_pin(&path)?);
            let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
            // The pin holds it on.
            drop(program.take_link(id)?);
            Ok(())
        } else {
            put_filter(program, place.stand, place.interface)
        }
    };
    match work() {
        Ok(()) => Ok(true),
        Err(error) if has_ended(error.as_ref()) => detach_one(place).map(|()| false),
        Err(error) => Err(place.error("replace a program", error)),
    }
}

/// Whether the kernel said that there is no interface behind a link, or no filter where one was.
pub(super) fn has_ended(error: &(dyn Error + 'static)) -> bool {
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
pub(super) fn standing(programs: &mut impl Standing, version: &Path) -> Result<BTreeSet<u32>, DatapathError> {
    let mut found: BTreeMap<u32, usize> = BTreeMap::new();
    for (interface, stand) in attached(version, programs.stands())? {
        if stands(programs, &Place::new(version, interface, stand)) {
            *found.entry(interface).or_default() += 1;
        }
    }
    Ok(found
        .into_iter()
        .filter(|(_, count)| *count == programs.stands().len())
        .map(|(interface, _)| interface)
        .collect())
}

/// Whether a program stands where its pin or mark says. A filter in clsact is put there again to be sure of it: it goes with its clsact,
/// and nothing is told of that.
fn stands(programs: &mut impl Standing, place: &Place<'_>) -> bool {
    let Ok(name) = name_of(place.interface) else { return false };
    if !place.link().exists() {
        return programs
            .program_mut(place.stand)
            .is_some_and(|program| put_filter(program, place.stand, place.interface).is_ok());
    }
    let own = programs.program(place.stand).and_then(|program| program.info().ok()).map(|info| info.id());
    let there = SchedClassifier::query_tcx(&name, place.stand.side);
    there.is_ok_and(|(_, there)| there.iter().any(|info| Some(info.id()) == own))
}

/// Replaces every program that an earlier run or size class of this version attached. Pins of interfaces that are gone are removed.
pub(super) fn replace_all(programs: &mut impl Standing, version: &Path) -> Result<(), DatapathError> {
    for (interface, stand) in attached(version, programs.stands())? {
        let place = Place::new(version, interface, stand);
        match replace(programs, &place) {
            Err(_) if name_of(interface).is_err() => detach_one(&place)?,
            // What had ended has nothing to replace; its interface is no pod's any more.
            replaced => drop(replaced?),
        }
    }
    Ok(())
}

/// Interfaces that have a pin or a mark of one of these programs.
pub(super) fn interfaces(version: &Path, stands: &'static [Stand]) -> Result<BTreeSet<u32>, DatapathError> {
    Ok(attached(version, stands)?.into_iter().map(|(interface, _)| interface).collect())
}

/// Interfaces and hooks that have a pin or a mark.
fn attached(version: &Path, stands: &'static [Stand]) -> Result<Vec<(u32, &'static Stand)>, DatapathError> {
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
        let stand = stands.iter().find(|stand| stand.program == program)?;
        Some((interface.parse().ok()?, stand))
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
        take_filter(place.stand, place.interface).map_err(fail)?;
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
pub(super) fn detach(
    versions: &Versions,
    stands: &'static [Stand],
    interface: u32,
) -> Result<(), DatapathError> {
    for version in versions.all() {
        stands.iter().try_for_each(|stand| detach_one(&Place::new(version, interface, stand)))?;
    }
    Ok(())
}

/// Takes all programs of these versions from all interfaces.
pub(super) fn detach_all<'a>(
    versions: impl Iterator<Item = &'a Path>,
    stands: &'static [Stand],
) -> Result<(), DatapathError> {
    for version in versions {
        let attached = attached(version, stands)?.into_iter();
        attached
            .map(|(at, stand)| Place::new(version, at, stand))
            .try_for_each(|place| detach_one(&place))?;
    }
    Ok(())
}
