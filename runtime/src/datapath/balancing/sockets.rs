//! Programs at a cgroup, where sockets name their peers: links pinned by cgroup and program, so that they outlive this process and are found by
//! the next.
//!
//! A pinned link keeps its program in place beside others' at the same cgroup; replacing the program is one update of the link. What
//! another version left is taken over in the same way, and then its name moves here. Sockets that a cgroup has no more, because another one
//! is asked for, connect by themselves again.
//!
//! Not here: what the programs do (`bpf/services/socket.bpf.c`), which cgroup.

use crate::datapath::error::DatapathError;
use crate::datapath::load::{make_folder, refused, useful_line};
use crate::datapath::syscall;
use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, Program};
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every program. Those that name the service come before those that hide it.
const PROGRAMS: [&str; 11] = [
    "recvmsg4",
    "recvmsg6",
    "getpeername4",
    "getpeername6",
    "bind4",
    "bind6",
    "sock_release",
    "sendmsg4",
    "sendmsg6",
    "connect4",
    "connect6",
];

/// The folder of a version's links, one folder for each cgroup in it.
const FOLDER: &str = "sockets";

type Source = Box<dyn Error + Send + Sync>;

/// The cookie of this thread's network namespace, by which programs tell the node's own sockets.
///
/// # Errors
/// No socket can be made here.
pub(super) fn network_cookie() -> io::Result<u64> {
    syscall::network_cookie(std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?.as_fd())
}

/// Loads the programs of the object.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), DatapathError> {
    for name in PROGRAMS {
        let loaded = match ebpf.program_mut(name) {
            Some(Program::CgroupSockAddr(program)) => program.load(),
            Some(Program::CgroupSock(program)) => program.load(),
            _ => return Err(refused(&name, "a program is missing in the object".to_owned())),
        };
        loaded.map_err(|error| refused(&error, useful_line(&format!("{error:?}"))))?;
    }
    Ok(())
}

/// Puts the loaded programs at a cgroup, in place of those that an earlier run, size class or version left there, and takes them from
/// all others. `own` is this version's folder, `others` are those of other versions.
///
/// # Errors
/// What the kernel refused first.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    cgroup: &Path,
    own: &Path,
    others: &[PathBuf],
) -> Result<(), DatapathError> {
    let fail =
        |what| move |source: Source| DatapathError::Cgroup { path: cgroup.to_owned(), what, source };
    let opened = File::open(cgroup).map_err(|error| fail("open it")(error.into()))?;
    let number = opened.metadata().map_err(|error| fail("open it")(error.into()))?.ino().to_string();
    let folder = own.join(FOLDER).join(&number);
    make_folder(&folder)?;
    for name in PROGRAMS {
        let link = folder.join(name);
        let theirs = || others.iter().map(|other| other.join(FOLDER).join(&number).join(name));
        let replaced = std::iter::once(link.clone())
            .chain(theirs())
            .find_map(|pin| replace(ebpf, name, &pin).map(|found| found.then_some(pin)).transpose())
            .transpose()
            .map_err(fail("replace a program"))?;
        match replaced {
            Some(pin) if pin != link => fs::rename(&pin, &link)
                .map_err(|source| DatapathError::Pin { what: "move", path: pin, source })?,
            Some(_) => {}
            None => put(ebpf, name, &opened, &link).map_err(fail("attach a program"))?,
        }
    }
    detach_all_but(own, Some(&number))?;
    others.iter().try_for_each(|other| detach_all_but(other, None))
}

/// Takes the programs from all cgroups where a version has them.
///
/// # Errors
/// A link that cannot be undone.
pub(super) fn detach(version: &Path) -> Result<(), DatapathError> {
    detach_all_but(version, None)
}

/// Attaches a program beside those that are there, as every link to a cgroup does.
fn put(ebpf: &mut Ebpf, name: &str, cgroup: &File, pin: &Path) -> Result<(), Source> {
    let link: FdLink = match ebpf.program_mut(name) {
        Some(Program::CgroupSockAddr(program)) => {
            let id = program.attach(cgroup, CgroupAttachMode::Single)?;
            program.take_link(id)?.try_into()?
        }
        Some(Program::CgroupSock(program)) => {
            let id = program.attach(cgroup, CgroupAttachMode::Single)?;
            program.take_link(id)?.try_into()?
        }
        _ => return Err("a program is missing in the object".into()),
    };
    link.pin(pin)?;
    Ok(())
}

/// Replaces the program of a pinned link by the loaded one. False, and the pin is gone, if there is no such link or it was undone.
fn replace(ebpf: &Ebpf, name: &str, pin: &Path) -> Result<bool, Source> {
    if !pin.exists() {
        return Ok(false);
    }
    let program = ebpf.program(name).ok_or("a program is missing in the object")?.fd()?;
    match syscall::update_link(syscall::open(pin)?.as_fd(), program.as_fd()) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
            fs::remove_file(pin)?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Undoes all links of a version but those at one cgroup.
fn detach_all_but(version: &Path, cgroup: Option<&str>) -> Result<(), DatapathError> {
    let parent = version.join(FOLDER);
    for (name, folder) in entries(&parent)? {
        if cgroup == Some(name.as_str()) {
            continue;
        }
        // The other way round: a socket that still asks is still told what it was given.
        for program in PROGRAMS.iter().rev() {
            let pin = folder.join(program);
            if !pin.exists() {
                continue;
            }
            let detached = syscall::open(&pin).and_then(|link| syscall::detach_link(link.as_fd()));
            let fail = |what| {
                let path = pin.clone();
                move |source| DatapathError::Pin { what, path, source }
            };
            detached.map_err(fail("undo the link"))?;
            fs::remove_file(&pin).map_err(fail("unpin"))?;
        }
        fs::remove_dir_all(&folder).map_err(|source| DatapathError::Pin {
            what: "remove",
            path: folder,
            source,
        })?;
    }
    Ok(())
}

/// Names and paths of what is in a folder; nothing if there is no folder.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, DatapathError> {
    let fail = |source| DatapathError::Pin { what: "list", path: folder.to_owned(), source };
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(fail(source)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let path = entry.map_err(fail)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            found.push((name.to_owned(), path));
        }
    }
    Ok(found)
}
