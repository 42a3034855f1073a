//! The kernel as a judge of flows: every side of a flow is a packet through the very programs, under the image of the subject's node.
//!
//! ```text
//! flow ─ the subject's node ─> a datapath that stands for it ─ Datapath::ask, once a family ─> Side
//! ```
//!
//! The datapaths are attached nowhere: they hold what a node's would hold and are asked by test runs, at the loopback interface, so no
//! packet of the host meets them. A pod or node that lacks an address of one family is given one, so that a flow within the cluster is
//! asked over both; both must say the same. Names that a flow's destination has are learnt before the packet comes.
//!
//! Not here: connections, whose packets are more than the first; the daemon's own datapath ([`crate::inquiry`]).

use crate::datapath::{Answer, DatapathError, Endpoint, Options, Question, Temporary};
use crate::inquiry::side_of;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::rc::Rc;
use weir_abi::state::Hook;
use weir_abi::{Image, PeerClass};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::flow::{Engine, Flow, Side};
use weir_compiler::fqdn::{FqdnLock, FqdnPattern};
use weir_compiler::interpret::Interpreter;
use weir_compiler::ir::{Direction, protocol};
use weir_compiler::parties::PartyIdentities;

/// The interface that test runs begin at; there is no network namespace without it.
pub const LOOPBACK: u32 = 1;
/// Datapaths that stand for nodes at a time; beyond them they change places.
const MOST_STANDS: usize = 8;

/// What has been asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sides of flows that were answered.
    pub sides: usize,
    /// Packets over IPv4.
    pub v4: usize,
    /// Packets over IPv6.
    pub v6: usize,
    /// Images put in force.
    pub images: usize,
    /// Sides that no packet can ask for, such as ICMP between IPv6 addresses; the interpreter answered.
    pub no_packet: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { sides, v4, v6, images, no_packet } = self;
        write!(
            f,
            "{sides} sides asked of the kernel under {images} images: {v4} packets over IPv4, {v6} over IPv6"
        )?;
        write!(f, "; {no_packet} sides that make no packet")
    }
}

/// Datapaths that stand for nodes, used for one cluster after the other. They are taken out of the kernel with the value.
#[derive(Debug)]
pub struct Stands {
    options: Options,
    stands: Vec<Stand>,
    voices: u64,
    tally: Tally,
}

/// A datapath in the place of a node.
#[derive(Debug)]
struct Stand {
    datapath: Temporary,
    /// The voice and the home that it stands for now.
    role: (u64, Option<usize>),
    addresses: BTreeSet<IpAddr>,
}

impl Stands {
    /// None yet. What `options` say holds for each, but for where it is pinned: a number follows there.
    pub const fn new(options: Options) -> Self {
        let tally = Tally { sides: 0, v4: 0, v6: 0, images: 0, no_packet: 0 };
        Stands { options, stands: Vec::new(), voices: 0, tally }
    }

    /// Opens the first, to see whether the kernel can be asked.
    ///
    /// # Errors
    /// It cannot.
    pub fn open_first(&mut self) -> Result<(), DatapathError> {
        self.at(0).map(drop)
    }

    /// What has been asked so far.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    fn at(&mut self, place: usize) -> Result<&mut Stand, DatapathError> {
        let place = place % MOST_STANDS;
        while self.stands.len() <= place {
            let mut name = self.options.pin_root.clone().into_os_string();
            name.push(format!("-{}", self.stands.len()));
            let pin_root = PathBuf::from(name);
            let datapath = Temporary::open(&Options { pin_root, ..self.options.clone() })?;
            self.stands.push(Stand { datapath, role: (0, None), addresses: BTreeSet::new() });
        }
        self.stands.get_mut(place).ok_or(DatapathError::Question("no datapath stands for its node"))
    }
}

/// What is known of an image besides its bytes.
struct View<'w> {
    bytes: &'w [u8],
    image: Image<'w>,
    interpreter: Interpreter<'w>,
    parties: PartyIdentities,
    names: Vec<(FqdnPattern, PeerClass)>,
}

/// The kernel, for one cluster and its images.
pub struct Voice<'w> {
    number: u64,
    stands: Rc<RefCell<Stands>>,
    cluster: &'w Cluster,
    lock: Option<&'w FqdnLock>,
    addresses: BTreeMap<Party, (Ipv4Addr, Ipv6Addr)>,
    /// By place of the node; the last is for all others.
    views: Vec<View<'w>>,
    failure: RefCell<Option<String>>,
}

impl fmt::Debug for Voice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Voice({})", self.number)
    }
}

impl<'w> Voice<'w> {
    /// `images` are the nodes', by place in the cluster, and last that of whoever has none of his own.
    ///
    /// # Errors
    /// One of the images is refused.
    pub fn new(
        stands: &Rc<RefCell<Stands>>,
        cluster: &'w Cluster,
        lock: Option<&'w FqdnLock>,
        images: impl IntoIterator<Item = &'w [u8]>,
    ) -> Result<Self, weir_abi::ImageError> {
        let views = images.into_iter().map(|bytes| View::new(cluster, lock, bytes));
        let views = views.collect::<Result<_, _>>()?;
        let number = {
            let mut stands = stands.borrow_mut();
            stands.voices += 1;
            stands.voices
        };
        let (addresses, failure) = (addresses(cluster), RefCell::default());
        Ok(Voice { number, stands: Rc::clone(stands), cluster, lock, addresses, views, failure })
    }

    /// Why a flow could not be asked, if one could not since this was last called. Its sides are then of no worth.
    pub fn failure(&self) -> Option<String> {
        self.failure.take()
    }

    fn view(&self, home: Option<usize>) -> Option<&View<'w>> {
        let last = self.views.len().checked_sub(1)?;
        self.views.get(home.unwrap_or(last).min(last))
    }

    /// The addresses of a party, by family.
    fn addresses_of(&self, party: Party) -> [Option<IpAddr>; 2] {
        match party {
            Party::Outside(address @ IpAddr::V4(_)) => [Some(address), None],
            Party::Outside(address @ IpAddr::V6(_)) => [None, Some(address)],
            _ => self.addresses.get(&party).map_or([None; 2], |&(v4, v6)| [Some(v4.into()), Some(v6.into())]),
        }
    }

    fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &'w str> {
        self.lock.map_or(&[][..], |lock| lock.names(address)).iter().map(String::as_str)
    }

    /// Puts a node's image in force at a stand, and who is who as that node sees it.
    fn become_node(
        &self,
        stand: &mut Stand,
        view: &View<'_>,
        home: Option<usize>,
    ) -> Result<(), DatapathError> {
        let outside: BTreeSet<IpAddr> = self
            .lock
            .iter()
            .flat_map(|lock| lock.iter())
            .flat_map(|(_, addresses)| addresses)
            .copied()
            .collect();
        let learned: Vec<_> =
            outside.into_iter().map(|address| (address, view.classes(self.names_of(address)))).collect();
        stand.datapath.install_image(view.bytes, &learned)?;
        for address in std::mem::take(&mut stand.addresses) {
            stand.datapath.remove_address(address)?;
        }
        let given =
            self.addresses.iter().flat_map(|(&party, &(v4, v6))| [(v4.into(), party), (v6.into(), party)]);
        for (address, party) in self.cluster.addresses().chain(given) {
            stand.datapath.set_address(address, view.parties.identity(party, home))?;
            stand.addresses.insert(address);
        }
        stand.role = (self.number, home);
        Ok(())
    }

    /// Asks for one side, once in each family that both ends and the protocol have.
    fn ask(&self, flow: &Flow, direction: Direction, view: &View<'_>) -> Result<Vec<Answer>, DatapathError> {
        let (subject, _) = flow.subject_and_peer(direction);
        let home = self.cluster.home(subject);
        let mut stands = self.stands.borrow_mut();
        let stand = stands.at(home.unwrap_or(self.cluster.nodes.len()))?;
        let is_new = stand.role != (self.number, home);
        if is_new {
            self.become_node(stand, view, home)?;
        }
        let answers = self.ask_at(stand, flow, direction, view)?;
        let tally = &mut stands.tally;
        tally.images += usize::from(is_new);
        for (source, _) in &answers {
            *if source.is_ipv4() { &mut tally.v4 } else { &mut tally.v6 } += 1;
        }
        *if answers.is_empty() { &mut tally.no_packet } else { &mut tally.sides } += 1;
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    fn ask_at(
        &self,
        stand: &mut Stand,
        flow: &Flow,
        direction: Direction,
        view: &View<'_>,
    ) -> Result<Vec<(IpAddr, Answer)>, DatapathError> {
        let (subject, _) = flow.subject_and_peer(direction);
        let identity = view.parties.identity(subject, self.cluster.home(subject));
        let (v4, v6) = self.addresses.get(&subject).copied().unzip();
        stand.datapath.set_endpoint(LOOPBACK, &Endpoint { identity, v4, v6 })?;
        let destination = match flow.destination {
            Party::Outside(address) if !flow.fqdn.is_empty() => Some(address),
            _ => None,
        };
        if let Some(address) = destination {
            stand.datapath.learn_now(address, &view.classes(flow.names(self.lock)))?;
        }
        let hook = match direction {
            Direction::Egress => Hook::FromPod,
            Direction::Ingress => Hook::ToPod,
        };
        // Each family has an ICMP of its own.
        let foreign = [protocol::ICMPV6, protocol::ICMP];
        let ends = self.addresses_of(flow.source).into_iter().zip(self.addresses_of(flow.destination));
        let mut answers = Vec::new();
        for ((source, destination), foreign) in ends.zip(foreign) {
            let (Some(source), Some(destination)) = (source, destination) else { continue };
            if flow.protocol == foreign {
                continue;
            }
            let (protocol, port) = (flow.protocol, flow.port);
            let question = Question { hook, interface: LOOPBACK, source, destination, protocol, port };
            answers.push((source, stand.datapath.ask(&question)?));
        }
        if let Some(address) = destination {
            // Another flow may reach the address under other names.
            stand.datapath.learn_now(address, &view.classes(self.names_of(address)))?;
        }
        Ok(answers)
    }

    fn answer(&self, flow: &Flow, direction: Direction) -> Result<Side, String> {
        let (subject, _) = flow.subject_and_peer(direction);
        let view = self.view(self.cluster.home(subject)).ok_or("there is no image")?;
        let answers = self.ask(flow, direction, view).map_err(|error| format!("{}: {error}", flow.id))?;
        let Some(first) = answers.first() else { return Ok(view.interpreter.side(flow, direction)) };
        if answers.iter().any(|other| other != first) {
            return Err(format!("the families differ on {} ({direction:?}): {answers:?}", flow.id));
        }
        Ok(side_of(&view.image, &view.interpreter, first, flow, direction))
    }
}

impl Engine for Voice<'_> {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        if matches!(flow.subject_and_peer(direction).0, Party::Outside(_)) {
            return Side::NO_POLICY;
        }
        self.answer(flow, direction).unwrap_or_else(|failure| {
            self.failure.replace(Some(failure));
            Side::NO_POLICY
        })
    }
}

impl<'w> View<'w> {
    fn new(
        cluster: &'w Cluster,
        lock: Option<&'w FqdnLock>,
        bytes: &'w [u8],
    ) -> Result<Self, weir_abi::ImageError> {
        let image = Image::open(bytes)?;
        let names = image
            .fqdns()
            .map(|entry| (FqdnPattern::from_text(entry.text, entry.is_pattern), entry.class))
            .collect();
        Ok(View {
            bytes,
            image,
            interpreter: Interpreter::new(image, cluster, lock),
            parties: PartyIdentities::new(&image, cluster),
            names,
        })
    }

    /// The classes that names give to an address.
    fn classes<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<PeerClass> {
        let selecting = |name: &'n str| self.names.iter().filter(move |(pattern, _)| pattern.matches(name));
        let classes: BTreeSet<PeerClass> = names.flat_map(selecting).map(|&(_, class)| class).collect();
        classes.into_iter().collect()
    }
}

/// An address of each family for every pod and node: its first, or one that nobody has.
fn addresses(cluster: &Cluster) -> BTreeMap<Party, (Ipv4Addr, Ipv6Addr)> {
    let pods = (0..cluster.pods.len()).map(Party::Pod);
    let parties = pods.chain((0..cluster.nodes.len()).map(Party::Node));
    let mut all: BTreeMap<Party, (Ipv4Addr, Ipv6Addr)> = (1u32..)
        .zip(parties)
        .map(|(number, party)| {
            let v6 = 0xFDFF_5745_4952u128 << 80 | u128::from(number);
            (party, (Ipv4Addr::from(0xF000_0000 | number), Ipv6Addr::from(v6)))
        })
        .collect();
    let mut known: Vec<(IpAddr, Party)> = cluster.addresses().collect();
    known.sort_unstable_by(|one, other| other.cmp(one));
    for (address, party) in known {
        match (address, all.get_mut(&party)) {
            (IpAddr::V4(address), Some((v4, _))) => *v4 = address,
            (IpAddr::V6(address), Some((_, v6))) => *v6 = address,
            (_, None) => {}
        }
    }
    all
}
