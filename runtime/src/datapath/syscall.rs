//! The calls of bpf(2) that aya has no word for: maps of a size chosen at run time, batches, whole values as bytes, links updated. And what a
//! socket tells of its network.
//!
//! Every buffer that the kernel reads or writes is a slice whose length was checked against the map's own sizes here.

#![expect(unsafe_code, reason = "system calls take pointers")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
/// `BPF_NOEXIST`.
const NOEXIST: u64 = 1;
/// `BPF_F_LOCK`.
const F_LOCK: u64 = 4;

/// `BPF_MAP_TYPE_ARRAY`.
pub(super) const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
pub(super) const ARRAY_OF_MAPS: u32 = 12;
/// `BPF_F_MMAPABLE`.
pub(super) const MMAPABLE: u32 = 1 << 10;

/// The start of `union bpf_attr` for `BPF_MAP_CREATE`.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    map_ifindex: u32,
}

/// For calls about one element.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// For `BPF_OBJ_PIN` and `BPF_OBJ_GET`.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct PinAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

/// For `BPF_MAP_GET_FD_BY_ID`.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// For `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

/// For `BPF_LINK_DETACH`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct LinkAttr {
    link_fd: u32,
}

/// For `BPF_LINK_UPDATE`.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// For batches.
#[derive(Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The start of `struct bpf_map_info`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct MapInfo {
    map_type: u32,
    /// The map's number.
    pub(super) id: u32,
    /// Bytes of a key.
    pub(super) key_size: u32,
    /// Bytes of a value.
    pub(super) value_size: u32,
    /// Its capacity.
    pub(super) max_entries: u32,
    map_flags: u32,
}

/// What a new map is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creation<'a> {
    /// `BPF_MAP_TYPE_…`.
    pub(super) kind: u32,
    /// Bytes of a value; keys are four bytes.
    pub(super) value_size: u32,
    /// Entries.
    pub(super) entries: u32,
    /// `BPF_F_…`.
    pub(super) flags: u32,
    /// What the inner maps are like.
    pub(super) inner: Option<BorrowedFd<'a>>,
    /// Shown by tools; at most fifteen letters.
    pub(super) name: &'a str,
}

fn call<A: IntoBytes + Immutable>(command: libc::c_long, attr: &A) -> io::Result<libc::c_long> {
    // SAFETY: `attr` lives through the call and its size is given; each caller vouches for the pointers inside it. Commands
    // that write into the attribute itself take a `&mut` below.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // An open descriptor is never negative.
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

fn address<T: ?Sized>(of: &T) -> u64 {
    std::ptr::from_ref(of).cast::<u8>() as u64
}

fn address_mut<T: ?Sized>(of: &mut T) -> u64 {
    std::ptr::from_mut(of).cast::<u8>() as u64
}

/// Makes a map.
pub(super) fn create(creation: &Creation<'_>) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        map_type: creation.kind,
        key_size: 4,
        value_size: creation.value_size,
        max_entries: creation.entries,
        map_flags: creation.flags,
        inner_map_fd: creation.inner.map_or(0, number),
        ..CreateAttr::default()
    };
    for (to, from) in attr.map_name.iter_mut().take(15).zip(creation.name.bytes()) {
        *to = from;
    }
    owned(call(MAP_CREATE, &attr)?)
}

/// Sizes of a map.
pub(super) fn info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    let len = u32::try_from(size_of::<MapInfo>()).unwrap_or(0);
    call(OBJ_GET_INFO_BY_FD, &InfoAttr { fd: number(map), len, info: address_mut(&mut info) })?;
    Ok(info)
}

/// A map by its number.
pub(super) fn by_id(id: u32) -> io::Result<OwnedFd> {
    owned(call(MAP_GET_FD_BY_ID, &IdAttr { id, ..IdAttr::default() })?)
}

fn pathname(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Gives an object a name in bpffs.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = pathname(path)?;
    let attr = PinAttr { path: address(path.as_bytes_with_nul()), fd: number(object), flags: 0 };
    call(OBJ_PIN, &attr).map(drop)
}

/// Opens an object by its name in bpffs.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = pathname(path)?;
    let attr = PinAttr { path: address(path.as_bytes_with_nul()), ..PinAttr::default() };
    owned(call(OBJ_GET, &attr)?)
}

/// Takes a link's program from where it stands. Done when this returns, which the end of a link's last name is not.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    call(LINK_DETACH, &LinkAttr { link_fd: number(link) }).map(drop)
}

/// Has a link lead to another program of its kind, in one step.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr =
        LinkUpdateAttr { link_fd: number(link), new_prog_fd: number(program), ..LinkUpdateAttr::default() };
    call(LINK_UPDATE, &attr).map(drop)
}

/// The cookie of a socket's network namespace, as programs are told it.
pub(super) fn network_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or(0);
    // SAFETY: the kernel writes at most `len` bytes to `cookie`, which has so many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// `struct ethtool_drvinfo`.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// The driver of a network interface, as `ethtool -i` tells it.
pub(super) fn driver_of(interface: &str) -> io::Result<String> {
    const GET_DRIVER: u32 = 3;
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut info = DriverInfo { command: GET_DRIVER, driver: [0; 32], rest: [0; 160] };
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: std::ptr::from_mut(&mut info).cast() },
    };
    // SAFETY: the kernel reads the name and writes a `struct ethtool_drvinfo`, which `info` has the size and layout of; both outlive the
    // call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let end = info.driver.iter().position(|&byte| byte == 0).unwrap_or(info.driver.len());
    Ok(String::from_utf8_lossy(info.driver.get(..end).unwrap_or_default()).into_owned())
}

/// A map whose keys and values have one size each, as bytes.
#[derive(Debug)]
pub(super) struct RawMap {
    fd: OwnedFd,
    info: MapInfo,
    /// Bytes of what a lookup gives: for maps per CPU a value of each.
    looked_up: usize,
}

impl RawMap {
    /// `values` is how many values one entry has: 1, or the number of possible CPUs.
    pub(super) fn new(fd: OwnedFd, values: usize) -> io::Result<Self> {
        let info = info(fd.as_fd())?;
        let value = info.value_size as usize;
        let looked_up = if values == 1 { value } else { value.next_multiple_of(8) * values };
        Ok(RawMap { fd, info, looked_up })
    }

    /// Sizes.
    pub(super) const fn info(&self) -> &MapInfo {
        &self.info
    }

    /// The descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn element(&self, key: &[u8], value: u64, flags: u64) -> io::Result<ElementAttr> {
        if key.len() != self.info.key_size as usize {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        Ok(ElementAttr { map_fd: number(self.fd()), padding: 0, key: address(key), value, flags })
    }

    /// Looks a value up; false if there is none.
    pub(super) fn get(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        if value.len() != self.looked_up {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        match call(MAP_LOOKUP_ELEM, &self.element(key, address_mut(value), 0)?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets a value.
    pub(super) fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.update(key, value, 0)
    }

    /// The same, but what is there is changed where it is. The map's values have a lock.
    pub(super) fn set_in_place(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.update(key, value, F_LOCK)
    }

    /// Sets a value where none is, and says whether it did.
    pub(super) fn add(&self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        match self.update(key, value, NOEXIST) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
        if value.len() != self.looked_up {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        call(MAP_UPDATE_ELEM, &self.element(key, address(value), flags)?).map(drop)
    }

    /// Removes a value; false if there was none.
    pub(super) fn remove(&self, key: &[u8]) -> io::Result<bool> {
        match call(MAP_DELETE_ELEM, &self.element(key, 0, 0)?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a value and gives it, in one; false if there was none.
    pub(super) fn take(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        if value.len() != self.looked_up {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        match call(MAP_LOOKUP_AND_DELETE_ELEM, &self.element(key, address_mut(value), 0)?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Copies up to `most` entries on from `cursor`, which moves on; it is empty at the start and again at the end.
    pub(super) fn batch(&self, cursor: &mut Vec<u8>, most: u32) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (key, count) = (self.info.key_size as usize, most.max(1));
        let mut keys = vec![0u8; key * count as usize];
        let mut values = vec![0u8; self.looked_up * count as usize];
        // For hash maps the cursor is a number of four bytes, for arrays a key.
        let mut next = vec![0u8; key.max(4)];
        let mut attr = BatchAttr {
            in_batch: if cursor.is_empty() { 0 } else { address(cursor.as_slice()) },
            out_batch: address_mut(next.as_mut_slice()),
            keys: address_mut(keys.as_mut_slice()),
            values: address_mut(values.as_mut_slice()),
            count,
            map_fd: number(self.fd()),
            ..BatchAttr::default()
        };
        // SAFETY: all buffers live through the call; keys and values have room for `count` entries of the map's sizes, the
        // cursors for the larger of its two forms. The kernel writes `count` back into the attribute.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                MAP_LOOKUP_BATCH,
                std::ptr::from_mut(&mut attr),
                size_of::<BatchAttr>(),
            )
        };
        let error = io::Error::last_os_error();
        let found = attr.count as usize;
        if result == 0 {
            *cursor = next;
        } else if error.kind() == io::ErrorKind::NotFound {
            // The end; what came before it counts.
            cursor.clear();
        } else {
            return Err(error);
        }
        keys.truncate(key * found);
        values.truncate(self.looked_up * found);
        Ok((keys, values))
    }
}
