//! The third voice: every side of a flow is a packet through the very programs, under the image of the subject's node.
//!
//! ```text
//! flow ─ the subject's node ─> a datapath that stands for it ─ Datapath::ask, once a family ─> Side
//! ```
//!
//! A pod or node that lacks an address of one family is given one, so that a flow within the cluster is asked over both; both must say
//! the same. The kernel only hands a connection to the proxy: whether the proxy lets a request pass is the interpreter's to say, and
//! which rule then admits it, as far as that rule is among those that the kernel handed on. Names that a flow's destination has are
//! learnt before the packet comes.
//!
//! Datapaths are kept by thread and used for one world after the other, one for each place of a node.
//!
//! Not here: connections, whose packets are more than the first.

use super::{Kernel, LOOPBACK};
use crate::world::World;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use weir_abi::state::Hook;
use weir_abi::{Action, Image, PeerClass};
use weir_compiler::cluster::Party;
use weir_compiler::flow::{Engine, Flow, Side};
use weir_compiler::fqdn::{FqdnLock, FqdnPattern};
use weir_compiler::image::write::ImageBytes;
use weir_compiler::interpret::Interpreter;
use weir_compiler::ir::{Direction, protocol};
use weir_compiler::parties::PartyIdentities;
use weir_runtime::datapath::{Answer, DatapathError, Endpoint, Question};

/// What this thread has asked the kernel so far.
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

/// A datapath in the place of a node.
struct Stand {
    kernel: Kernel,
    /// The voice whose world it has now.
    voice: u64,
    addresses: BTreeSet<IpAddr>,
}

thread_local! {
    static STANDS: RefCell<Vec<Stand>> = const { RefCell::new(Vec::new()) };
    static TALLY: Cell<Tally> = const { Cell::new(Tally { sides: 0, v4: 0, v6: 0, images: 0, no_packet: 0 }) };
}

/// What this thread has asked the kernel so far.
pub fn tally() -> Tally {
    TALLY.get()
}

fn count(what: impl FnOnce(&mut Tally)) {
    let mut tally = TALLY.get();
    what(&mut tally);
    TALLY.set(tally);
}

/// What is known of an image besides its bytes.
struct View<'w> {
    bytes: &'w ImageBytes,
    image: Image<'w>,
    interpreter: Interpreter<'w>,
    parties: PartyIdentities,
    names: Vec<(FqdnPattern, PeerClass)>,
}

struct Voice<'w> {
    number: u64,
    world: &'w World,
    addresses: BTreeMap<Party, (Ipv4Addr, Ipv6Addr)>,
    /// By place of the node; the last is of the whole cluster, for who is on no node.
    views: Vec<View<'w>>,
}

/// Whether this thread can ask the kernel; otherwise that is said aloud.
///
/// # Panics
/// As [`Kernel::open`] does.
pub fn available() -> bool {
    STANDS.with_borrow_mut(|stands| {
        if stands.is_empty() {
            stands.extend(Kernel::open().map(Stand::new));
        }
        !stands.is_empty()
    })
}

/// The kernel, for a world.
///
/// # Errors
/// Why there is an image missing, or what is wrong with one.
pub fn voice(world: &World) -> Result<Box<dyn Engine + '_>, String> {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let images = world.node_images()?.iter().chain([world.image()?]);
    let views: Result<_, String> = images.map(|bytes| View::new(world, bytes)).collect();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(Box::new(Voice { number, world, addresses: addresses(world), views: views? }))
}

/// An address of each family for every pod and node: its first, or one that nobody has.
fn addresses(world: &World) -> BTreeMap<Party, (Ipv4Addr, Ipv6Addr)> {
    let cluster = &world.cluster;
    let pods = (0..cluster.pods.len()).map(Party::Pod);
    let parties = pods.chain((0..cluster.nodes.len()).map(Party::Node));
    let mut all: BTreeMap<Party, (Ipv4Addr, Ipv6Addr)> = (1u16..)
        .zip(parties)
        .map(|(number, party)| {
            let v4 = Ipv4Addr::from(0xF000_0000 | u32::from(number));
            (party, (v4, Ipv6Addr::new(0xFDFF, 0x5745, 0x4952, 0, 0, 0, 0, number)))
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

impl<'w> View<'w> {
    fn new(world: &'w World, bytes: &'w ImageBytes) -> Result<Self, String> {
        let image = Image::open(bytes.as_bytes()).map_err(|error| error.to_string())?;
        let names = image
            .fqdns()
            .map(|entry| (FqdnPattern::from_text(entry.text, entry.is_pattern), entry.class))
            .collect();
        Ok(View {
            bytes,
            image,
            interpreter: Interpreter::new(image, &world.cluster, world.lock.as_ref()),
            parties: PartyIdentities::new(&image, &world.cluster),
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

impl Stand {
    const fn new(kernel: Kernel) -> Stand {
        Stand { kernel, voice: 0, addresses: BTreeSet::new() }
    }

    /// Puts a node's image in force, and who is who as that node sees it.
    fn become_node(&mut self, voice: &Voice<'_>, place: usize) -> Result<(), DatapathError> {
        let view = &voice.views[place];
        let locked = voice.world.lock.iter().flat_map(FqdnLock::iter);
        let outside: BTreeSet<IpAddr> = locked.flat_map(|(_, addresses)| addresses).copied().collect();
        let names_of = |address| voice.world.lock.as_ref().map_or(&[][..], |lock| lock.names(address));
        let classes = |address| view.classes(names_of(address).iter().map(String::as_str));
        let learned: Vec<_> = outside.into_iter().map(|address| (address, classes(address))).collect();
        self.kernel.datapath.install_image(view.bytes.as_bytes(), &learned)?;
        for address in std::mem::take(&mut self.addresses) {
            self.kernel.datapath.remove_address(address)?;
        }
        let home = Some(place).filter(|&place| place < voice.world.cluster.nodes.len());
        let given =
            voice.addresses.iter().flat_map(|(&party, &(v4, v6))| [(v4.into(), party), (v6.into(), party)]);
        for (address, party) in voice.world.cluster.addresses().chain(given) {
            self.kernel.datapath.set_address(address, view.parties.identity(party, home))?;
            self.addresses.insert(address);
        }
        self.voice = voice.number;
        count(|tally| tally.images += 1);
        Ok(())
    }
}

impl Voice<'_> {
    /// The addresses of a party, by family.
    fn addresses_of(&self, party: Party) -> [Option<IpAddr>; 2] {
        match party {
            Party::Outside(address @ IpAddr::V4(_)) => [Some(address), None],
            Party::Outside(address @ IpAddr::V6(_)) => [None, Some(address)],
            _ => self.addresses.get(&party).map_or([None; 2], |&(v4, v6)| [Some(v4.into()), Some(v6.into())]),
        }
    }

    /// Asks a stand for one side, once in each family that both ends and the protocol have.
    fn ask(
        &self,
        stand: &mut Stand,
        place: usize,
        flow: &Flow,
        direction: Direction,
    ) -> Result<Vec<Answer>, DatapathError> {
        let view = &self.views[place];
        let (subject, _) = flow.subject_and_peer(direction);
        let identity = view.parties.identity(subject, self.world.cluster.home(subject));
        let addresses = self.addresses.get(&subject).copied();
        let (v4, v6) = addresses.unzip();
        stand.kernel.datapath.set_endpoint(LOOPBACK, &Endpoint { identity, v4, v6 })?;
        let destination = match flow.destination {
            Party::Outside(address) if !flow.fqdn.is_empty() => Some(address),
            _ => None,
        };
        if let Some(address) = destination {
            stand.kernel.datapath.learn_now(address, &view.classes(flow.names(self.world.lock.as_ref())))?;
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
            answers.push(stand.kernel.datapath.ask(&question)?);
            count(|tally| *if source.is_ipv4() { &mut tally.v4 } else { &mut tally.v6 } += 1);
        }
        if let Some(address) = destination {
            // Another flow may reach the address under other names.
            let locked = self.world.lock.as_ref().map_or(&[][..], |lock| lock.names(address));
            let classes = view.classes(locked.iter().map(String::as_str));
            stand.kernel.datapath.learn_now(address, &classes)?;
        }
        Ok(answers)
    }

    /// What an answer is to a judge of flows.
    fn side(view: &View<'_>, answer: Answer, flow: &Flow, direction: Direction) -> Side {
        let Answer { action, reason, rule_or_set, .. } = answer;
        let side = Side { action, reason, rule: rule_or_set, passes: None };
        if action != Action::Redirect {
            return side;
        }
        let set = rule_or_set.and_then(|set| view.image.request_set(set));
        let told = view.interpreter.side(flow, direction);
        let handed_on = set.iter().flat_map(|set| set.rules().map(|rule| rule.rule()).chain([set.rule]));
        let admitting = told.rule.filter(|&rule| handed_on.into_iter().any(|handed_on| handed_on == rule));
        Side { rule: admitting.or(set.map(|set| set.rule)), passes: told.passes, ..side }
    }
}

impl Engine for Voice<'_> {
    #[expect(clippy::panic, reason = "a test in which the kernel does not answer has failed")]
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let (subject, _) = flow.subject_and_peer(direction);
        if matches!(subject, Party::Outside(_)) {
            return Side::NO_POLICY;
        }
        let place = self.world.cluster.home(subject).unwrap_or(self.views.len() - 1);
        let view = &self.views[place];
        let answers = STANDS.with_borrow_mut(|stands| {
            while stands.len() <= place {
                let kernel = Kernel::open().unwrap_or_else(|| panic!("the kernel cannot be asked"));
                stands.push(Stand::new(kernel));
            }
            let stand = &mut stands[place];
            if stand.voice != self.number {
                stand.become_node(self, place)?;
            }
            self.ask(stand, place, flow, direction)
        });
        let answers = answers.unwrap_or_else(|error| panic!("{}: {error}", flow.id));
        let Some(&first) = answers.first() else {
            count(|tally| tally.no_packet += 1);
            return view.interpreter.side(flow, direction);
        };
        count(|tally| tally.sides += 1);
        for &other in &answers[1..] {
            assert_eq!(first, other, "the families differ on {} ({direction:?})", flow.id);
        }
        Self::side(view, first, flow, direction)
    }
}
