//! The datapath as a value: programs loaded, images in force, maps that say who is who.
//!
//! ```text
//! Datapath::open ─ pinned maps and links of an earlier run are taken over
//!   install_image ─ checked, written beside the one in force, one word flipped     (slots.rs)
//!   set_address, set_endpoint ─ who is who                                    (parties.rs)
//!   set_proxy_port ─ who reads requests                                       (proxies.rs)
//!   attach, detach ─ where policy stands                                      (attach.rs)
//!   ask, send ─ one packet through the very programs that are attached        (question.rs)
//!   counters, sweep, events ─ what the programs left for us                   (counting.rs, connections.rs, events.rs)
//! ```
//!
//! Invariants: only this folder speaks to the kernel's BPF; a bad image changes nothing; what ends this process leaves enforcement
//! as it is. Calls may wait for the kernel (a swap some 20 ms): keep them off an executor.
//!
//! Not here: which image, which pods.

mod attach;
mod balancing;
mod connections;
mod counting;
mod enforcing;
mod error;
mod events;
mod load;
mod mapping;
mod parties;
mod pins;
mod proxies;
mod question;
mod slots;
mod syscall;
mod table;
mod temporary;

pub use balancing::KernelBalancer;
pub use error::DatapathError;
pub use pins::{balancing_folder, connection_folder, version_folder};
pub use question::{Answer, Arrival, Departure, Fate, Question};
pub use temporary::{Temporary, remove_abandoned};

use crate::plan::Renaming;
use attach::Standing;
use aya::programs::{TestRun, TestRunOptions};
use load::Programs;
use mapping::Mapping;
use nix::fcntl::Flock;
use pins::{Located, Versions};
use slots::Slots;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use table::Table;
use tracing::warn;
use weir_abi::layout::Header;
use weir_abi::state::{
    AddressRecord, Aggregation, BLOCKS, ConntrackKeyV4, ConntrackKeyV6, ConntrackRecord, CounterRecord,
    FragmentKey, FragmentRecord, Hook, InterfaceRecord, LEARNED_CLASSES, LearnedKey, LearnedRecord,
    MARK_QUESTION, SLOTS, Settings,
};
use weir_abi::{Identity, Image, PeerClass};

/// How the datapath is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// A folder in a BPF file system; it is made, and the file system mounted, if it is not there.
    pub pin_root: PathBuf,
    /// How much events tell.
    pub aggregation: Aggregation,
    /// Drops told per CPU and second; the rest are counted.
    pub drops_per_second: u32,
    /// IPv4 connections.
    pub conntrack_v4: u32,
    /// IPv6 connections.
    pub conntrack_v6: u32,
    /// Addresses of the cluster, of each family.
    pub addresses: u32,
    /// Pods on this node.
    pub interfaces: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pin_root: PathBuf::from("/sys/fs/bpf/weir"),
            aggregation: Aggregation::Flags,
            drops_per_second: 256,
            conntrack_v4: 1 << 18,
            conntrack_v6: 1 << 17,
            addresses: 1 << 20,
            interfaces: 4096,
        }
    }
}

/// A pod behind the host's side of its veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its identity.
    pub identity: Identity,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

/// How an image came into force.
#[derive(Clone, Copy, Debug)]
pub struct Installation {
    /// Its checksum.
    pub checksum: u64,
    /// Bytes of its kernel part.
    pub bytes: usize,
    /// Bytes of the value it lies in.
    pub class: usize,
    /// Whether programs were replaced for a larger class.
    pub grown: bool,
    /// From the call until it was in force.
    pub in_force: Duration,
    /// From the call until nothing used the old one any more.
    pub settled: Duration,
}

/// The maps that say who is who.
#[derive(Debug)]
struct Tables {
    addresses_v4: Table<[u8; 4], AddressRecord>,
    addresses_v6: Table<[u8; 16], AddressRecord>,
    interfaces: Table<u32, InterfaceRecord>,
    learned: Table<LearnedKey, LearnedRecord>,
    conntrack_v4: Table<ConntrackKeyV4, ConntrackRecord>,
    conntrack_v6: Table<ConntrackKeyV6, ConntrackRecord>,
    fragments: Table<FragmentKey, FragmentRecord>,
    rule_counters: Table<u32, CounterRecord>,
    reason_counters: Table<u32, CounterRecord>,
    named_counters: Table<u32, CounterRecord>,
}

impl Tables {
    fn open(Versions { own: folder, connections, .. }: &Versions) -> Result<Self, DatapathError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| DatapathError::Map {
            map: "rule_counters",
            what: "count CPUs",
            source,
        })?;
        Ok(Tables {
            addresses_v4: Table::open(folder, "addresses_v4")?.changed_in_place(),
            addresses_v6: Table::open(folder, "addresses_v6")?.changed_in_place(),
            interfaces: Table::open(folder, "interfaces")?.changed_in_place(),
            learned: Table::open(folder, "learned")?,
            conntrack_v4: Table::open(connections, "conntrack_v4")?,
            conntrack_v6: Table::open(connections, "conntrack_v6")?,
            fragments: Table::open(folder, "fragments")?,
            rule_counters: Table::open_with(folder, "rule_counters", cpus)?,
            reason_counters: Table::open_with(folder, "reason_counters", cpus)?,
            named_counters: Table::open_with(folder, "named_counters", cpus)?,
        })
    }
}

impl Tables {
    /// Tells of maps that were made for other sizes than are asked for now: they stay as they are.
    fn compare(&self, options: &Options) {
        for (map, made_for, asked) in [
            ("addresses_v4", self.addresses_v4.capacity(), options.addresses),
            ("addresses_v6", self.addresses_v6.capacity(), options.addresses),
            ("interfaces", self.interfaces.capacity(), options.interfaces),
            ("conntrack_v4", self.conntrack_v4.capacity(), options.conntrack_v4),
            ("conntrack_v6", self.conntrack_v6.capacity(), options.conntrack_v6),
        ] {
            if made_for != asked {
                warn!(
                    map,
                    made_for,
                    asked,
                    "a map keeps the size that it was made for; `policyd cleanup` and a start make it anew"
                );
            }
        }
    }
}

/// The kernel's programs and maps.
#[derive(Debug)]
pub struct Datapath {
    options: Options,
    versions: Versions,
    programs: Programs,
    slots: Slots,
    settings: Mapping,
    blocks: Mapping,
    tables: Tables,
    sweeps: connections::Sweeps,
    /// By slot, what the image there counts; unknown of one that an earlier process put there.
    counted: [Option<counting::Extent>; SLOTS as usize],
    /// A renaming did not come to its end: what the slots say of parties may differ.
    are_parties_unsettled: bool,
    /// An address or interface was forgotten, and packets may still read who it was.
    has_forgotten: bool,
    /// Addresses that could not be set, and whether an earlier run may have left some.
    missing: BTreeSet<IpAddr>,
    may_miss_more: bool,
    /// A move to larger slots has begun and not come to its end.
    is_split: bool,
    /// When the last image came into force, or this process began.
    swapped: Instant,
    /// The pins are this process's alone.
    _lock: Flock<File>,
    _located: Located,
    has_tcx: bool,
}

impl Datapath {
    /// Loads the programs. Maps that an earlier run of this version pinned are used on, and programs that it attached are replaced.
    /// Programs of another version enforce what that one left until [`Datapath::attach`] takes their interface over.
    ///
    /// # Errors
    /// [`DatapathError`]; what is attached already stays as it is.
    pub fn open(options: &Options) -> Result<Self, DatapathError> {
        let located = pins::locate(&options.pin_root)?;
        pins::ensure_file_system(&located.path)?;
        let lock = pins::lock(&located.path, &options.pin_root)?;
        pins::claim_network(&located.path, &options.pin_root)?;
        let versions = Versions::find(&located.path)?;
        let folder = &versions.own;
        load::make_folder(folder)?;
        load::make_folder(&versions.connections)?;
        let slots = match Slots::find(folder)? {
            Some(slots) => slots,
            None => Slots::create(folder, slots::SMALLEST_CLASS, 0, &[])?,
        };
        let mut programs = Programs::load(options, &versions, &slots)?;
        let settings = mapped(folder, "settings", size_of::<Settings>())?;
        connections::begin_epoch(&settings)?;
        let blocks = mapped(folder, "blocks", 2 * BLOCKS as usize / 8)?;
        // Slots made anew, because somebody took their pin away, hold another image than the one that was named.
        slots.name_images(&settings);
        slots.settle(&settings)?;
        slots.forget_others(folder)?;
        let tables = Tables::open(&versions)?;
        tables.compare(options);
        attach::replace_all(&mut programs, folder)?;
        let options = options.clone();
        let (sweeps, has_tcx) = (connections::Sweeps::default(), load::has_tcx());
        let (are_parties_unsettled, missing) = (true, BTreeSet::new());
        let mut datapath = Datapath {
            options,
            versions,
            programs,
            slots,
            settings,
            blocks,
            tables,
            sweeps,
            counted: [None; SLOTS as usize],
            are_parties_unsettled,
            has_forgotten: true,
            missing,
            may_miss_more: true,
            is_split: false,
            swapped: Instant::now(),
            _lock: lock,
            _located: located,
            has_tcx,
        };
        datapath.settle_parties()?;
        Ok(datapath)
    }

    /// Whether the kernel has tcx; programs are attached by clsact where it has not.
    pub const fn has_tcx(&self) -> bool {
        self.has_tcx
    }

    /// The checksum of the image in force; `None` before the first.
    pub fn image_in_force(&self) -> Option<u64> {
        self.slots.checksum(&self.settings)
    }

    /// Checks an image and puts it in force, with the classes that DNS names give to addresses under it. A bad image
    /// is refused whole, and the one in force stays.
    ///
    /// # Errors
    /// [`DatapathError::Image`] for a bad image; else what the kernel refused.
    pub fn install_image(
        &mut self,
        bytes: &[u8],
        learned: &[(IpAddr, Vec<PeerClass>)],
    ) -> Result<Installation, DatapathError> {
        self.install_renaming(bytes, learned, &Renaming::default())
    }

    /// The same, and in the same moment those of a renaming have other identities.
    ///
    /// # Errors
    /// As [`Datapath::install_image`]; then nobody is renamed.
    pub fn install_renaming(
        &mut self,
        bytes: &[u8],
        learned: &[(IpAddr, Vec<PeerClass>)],
        renaming: &Renaming,
    ) -> Result<Installation, DatapathError> {
        let began = Instant::now();
        let image = Image::open(bytes)?;
        let header: Header = *image.header();
        let kernel = bytes.get(..header.kernel_bytes as usize).unwrap_or(bytes);
        let class = slots::class_for(kernel.len())?;
        self.reunite()?;
        let grown = class > self.slots.class();
        if grown {
            self.grow(class)?;
        }
        let idle = Slots::idle(&self.settings);
        self.clear_slot(idle)?;
        if let Some(counted) = self.counted.get_mut(idle) {
            *counted = Some(counting::Extent::of(&header));
        }
        self.learn(Slots::idle(&self.settings), learned)?;
        self.settle_parties()?;
        self.announce(renaming)?;
        let mut in_force = Duration::ZERO;
        self.slots.swap(&self.settings, kernel, || in_force = began.elapsed())?;
        self.swapped = Instant::now();
        self.rename(renaming)?;
        if *renaming != Renaming::default() {
            // The same image may come back while a record judged before the renaming is still there.
            self.judge_again();
        }
        let settled = began.elapsed();
        let (checksum, class) = (header.checksum, self.slots.class());
        Ok(Installation { checksum, bytes: kernel.len(), class, grown, in_force, settled })
    }

    /// Gives back the memory of the image before, which the next one would have been written over. Packets do not notice; the next
    /// image takes a little longer.
    ///
    /// # Errors
    /// The map.
    pub fn let_go_of_old_image(&mut self) -> Result<(), DatapathError> {
        self.slots.empty_idle(&self.settings)
    }

    /// Moves to larger values: the image in force is copied, then programs are replaced one by one. Both generations enforce the
    /// same image until the last is replaced, so no packet meets a mixture. Where that fails the old ones are put back.
    fn grow(&mut self, class: usize) -> Result<(), DatapathError> {
        let folder = &self.versions.own;
        let image = self.slots.image(&self.settings);
        let slot = 1 - Slots::idle(&self.settings);
        let slots = Slots::create(folder, class, slot, &image)?;
        self.is_split = true;
        let moved = Programs::load(&self.options, &self.versions, &slots).and_then(|mut programs| {
            attach::replace_all(&mut programs, folder)?;
            slots.wait_for_programs()?;
            Ok(programs)
        });
        let programs = match moved {
            Ok(programs) => programs,
            Err(error) => {
                // Until they are back no other image is taken, and both generations enforce the same.
                return Err(self.reunite().err().unwrap_or(error));
            }
        };
        (self.slots, self.programs) = (slots, programs);
        self.is_split = false;
        self.slots.forget_others(&self.versions.own)
    }

    /// Has all interfaces judge by the same slots again, after a move to larger ones that failed.
    fn reunite(&mut self) -> Result<(), DatapathError> {
        if self.is_split {
            attach::replace_all(&mut self.programs, &self.versions.own)?;
            self.slots.wait_for_programs()?;
            self.slots.forget_others(&self.versions.own)?;
            self.is_split = false;
        }
        Ok(())
    }

    /// Zeroes the rule counters of a slot and forgets its learnt addresses. No packet uses the slot.
    fn clear_slot(&self, slot: usize) -> Result<(), DatapathError> {
        self.clear_rule_counters(slot)?;
        let slot = u32::try_from(slot).unwrap_or(0);
        if self.settings.load(offset_of!(Settings, learned)) > 0 {
            for (key, _) in self.tables.learned.entries()? {
                if key.slot == slot {
                    self.tables.learned.remove(&key)?;
                }
            }
        }
        Ok(())
    }

    /// Classes beyond those that a record holds are left out, which only ever denies more: names are in no deny rule.
    fn learn(&self, slot: usize, learned: &[(IpAddr, Vec<PeerClass>)]) -> Result<(), DatapathError> {
        for (address, classes) in learned {
            let key = LearnedKey { address: sixteen(*address), slot: u32::try_from(slot).unwrap_or(0) };
            let mut record = LearnedRecord::default();
            for (to, class) in record.classes.iter_mut().zip(classes) {
                *to = class.0;
            }
            record.count = u32::try_from(classes.len().min(LEARNED_CLASSES)).unwrap_or(0);
            self.tables.learned.set(&key, &record)?;
        }
        let count = learned.len() as u64;
        let known = self.settings.load(offset_of!(Settings, learned));
        self.settings.store(offset_of!(Settings, learned), known.max(count));
        Ok(())
    }

    /// Gives an address outside the classes of names that lead to it, under the image in force.
    ///
    /// # Errors
    /// The map.
    pub fn learn_now(&mut self, address: IpAddr, classes: &[PeerClass]) -> Result<(), DatapathError> {
        self.learn(1 - Slots::idle(&self.settings), &[(address, classes.to_vec())])
    }

    /// Puts both programs at an interface; they stay there when this process ends.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn attach(&mut self, interface: u32) -> Result<(), DatapathError> {
        attach::attach(&mut self.programs, &self.versions, interface, self.has_tcx)
    }

    /// Takes both programs from an interface.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn detach(&mut self, interface: u32) -> Result<(), DatapathError> {
        attach::detach(&self.versions, &load::STANDS, interface)
    }

    /// Whether programs of another version may stand at interfaces.
    pub const fn is_upgrade(&self) -> bool {
        !self.versions.others.is_empty()
    }

    /// Takes over every interface that another version still has, and removes what it left. Who is not known by now is no pod any more,
    /// and nothing passes there.
    ///
    /// # Errors
    /// What the kernel refused; then it may be called again.
    pub fn finish_upgrade(&mut self) -> Result<(), DatapathError> {
        attach::take_over_all(&mut self.programs, &self.versions)?;
        self.versions.remove_others()
    }

    /// Asks the programs about the first packet of a connection. It leaves no trace.
    ///
    /// # Errors
    /// A question that makes no packet, or a failed test run.
    pub fn ask(&self, question: &Question) -> Result<Answer, DatapathError> {
        let packet = question.packet()?;
        let (_, context) = self.test_run(question.hook, question.interface, MARK_QUESTION, &packet)?;
        question::answer(&context).ok_or_else(|| DatapathError::TestRun("it gave no answer".into()))
    }

    /// Sends a packet through a program as if it had come to an interface. Nobody receives it, but connections, counters and events
    /// are those of a packet that came.
    ///
    /// # Errors
    /// A failed test run, which is also what a packet without an Ethernet header gets.
    pub fn send(&self, arrival: &Arrival<'_>) -> Result<Departure, DatapathError> {
        let Arrival { hook, interface, mark, frame } = *arrival;
        let (returned, context) = self.test_run(hook, interface, mark, frame)?;
        let unknown = || DatapathError::TestRun(format!("it returned {returned}").into());
        question::departure(returned, &context).ok_or_else(unknown)
    }

    fn test_run(
        &self,
        hook: Hook,
        interface: u32,
        mark: u32,
        packet: &[u8],
    ) -> Result<(u32, [u8; question::CONTEXT]), DatapathError> {
        let context = question::context(interface, mark);
        let mut returned = [0; question::CONTEXT];
        let run = TestRunOptions {
            data_in: Some(packet),
            ctx_in: Some(&context),
            ctx_out: Some(&mut returned),
            ..TestRunOptions::default()
        };
        let missing = || DatapathError::TestRun("the program is not loaded".into());
        let program = self.programs.program(load::stand_of(hook)).ok_or_else(missing)?;
        let result = program.test_run(run).map_err(|error| DatapathError::TestRun(Box::new(error)))?;
        Ok((result.return_value, returned))
    }
}

/// The mapping of a pinned map's first bytes.
fn mapped(folder: &Path, name: &'static str, bytes: usize) -> Result<Mapping, DatapathError> {
    let fail = |source: io::Error| DatapathError::Map { map: name, what: "map it", source };
    let map = syscall::open(&folder.join(name)).map_err(fail)?;
    Mapping::new(map.as_fd(), bytes).map_err(fail)
}

/// An address in sixteen bytes.
fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Takes everything of balancing out of the kernel, whichever version left it; policy stays.
///
/// # Errors
/// As [`remove_everything`].
pub fn remove_balancing(pin_root: &Path) -> Result<(), DatapathError> {
    balancing::remove_everything(&pins::locate(pin_root)?.path, pin_root)
}

/// Takes everything of a datapath out of the kernel: programs from interfaces, names of maps. False if there was nothing.
///
/// # Errors
/// A pin that cannot be removed; [`DatapathError::InUse`] while a datapath uses them.
pub fn remove_everything(pin_root: &Path) -> Result<bool, DatapathError> {
    let located = pins::locate(pin_root)?;
    if !located.path.exists() {
        return Ok(false);
    }
    let _lock = pins::lock(&located.path, pin_root)?;
    balancing::remove_everything(&located.path, pin_root)?;
    attach::detach_all(Versions::find(&located.path)?.all(), &load::STANDS)?;
    match std::fs::remove_dir_all(&located.path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::Pin { what: "remove", path: located.path, source })
        }
        _ => Ok(true),
    }
}
