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
use crate::datapath::pins::Versions;
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
pub(super) fn network_cookie() -> Result<u64, DatapathError> {
    let any = (std::net::Ipv4Addr::UNSPECIFIED, 0);
    let cookie = std::net::UdpSocket::bind(any).and_then(|socket| syscall::network_cookie(socket.as_fd()));
    cookie.map_err(|error| refused(&error, format!("the network namespace has no cookie: {error}")))
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

/// Puts the loaded programs at a cgroup, in place of those that an earlier run or another version left there, and takes them from all
/// other cgroups. Without one they stand nowhere.
pub(super) fn set(
    sockets: Option<&mut Ebpf>,
    cgroup: Option<&Path>,
    versions: &Versions,
) -> Result<(), DatapathError> {
    let (Some(sockets), Some(path)) = (sockets, cgroup) else { return detach_all(versions.all()) };
    let (cgroup, number) = open(path)?;
    let own = versions.own.join(FOLDER).join(&number);
    make_folder(&own)?;
    for name in PROGRAMS {
        let fail = |what| move |source| DatapathError::Cgroup { path: path.to_owned(), what, source };
        let mut pins = versions.all().map(|version| version.join(FOLDER).join(&number).join(name));
        let replaced = pins.find_map(|pin| match replace(sockets, name, &pin) {
            Ok(replaced) => replaced.then_some(Ok(pin)),
            Err(error) => Some(Err(error)),
        });
        let link = own.join(name);
        match replaced.transpose().map_err(fail("replace a program"))? {
            Some(pin) if pin != link => fs::rename(&pin, &link).map_err(|source| DatapathError::Pin {
                what: "move",
                path: pin,
                source,
            })?,
            Some(_) => {}
            None => put(sockets, name, &cgroup, &link).map_err(fail("attach a program"))?,
        }
    }
    versions
        .all()
        .try_for_each(|version| detach_all_but(version, (version == versions.own).then_some(number.as_str())))
}

/// A cgroup, and the number by which the kernel knows it.
fn open(path: &Path) -> Result<(File, String), DatapathError> {
    let opened = File::open(path).and_then(|cgroup| Ok((cgroup.metadata()?.ino(), cgroup)));
    let fail = |error: io::Error| DatapathError::Cgroup {
        path: path.to_owned(),
        what: "open it",
        source: error.into(),
    };
    opened.map(|(number, cgroup)| (cgroup, number.to_string())).map_err(fail)
}

/// Replaces every program that an earlier size class of this version has at cgroups.
pub(super) fn replace_all(sockets: &Ebpf, version: &Path) -> Result<(), DatapathError> {
    for (_, folder) in entries(&version.join(FOLDER))? {
        for name in PROGRAMS {
            let path = folder.join(name);
            replace(sockets, name, &path).map_err(|source| DatapathError::Cgroup {
                path,
                what: "replace a program",
                source,
            })?;
        }
    }
    Ok(())
}

/// Takes the programs of these versions from all cgroups.
pub(super) fn detach_all<'a>(mut versions: impl Iterator<Item = &'a Path>) -> Result<(), DatapathError> {
    versions.try_for_each(|version| detach_all_but(version, None))
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
