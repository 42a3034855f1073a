//! Live state: the keys and values of the maps that programs and daemon share beside the image.
//!
//! It survives every swap, restart and upgrade, so its version and that of the image are part of the path that maps are pinned
//! under: another version begins with empty maps. Connections have a version of their own, so that an upgrade keeps them wherever it
//! can: whatever they were judged under, another version judges them again. Addresses and ports are in network byte order where a type is
//! an array of bytes, else in host order. IPv4 addresses in sixteen bytes are `::ffff:a.b.c.d`.
//!
//! Not here: the image ([`crate::layout`]); what the maps are for is told where they are declared, in `bpf/maps.h`.

use crate::shape::{Numbers, numbered, records};

/// Version of these shapes. Any change takes the next number.
pub const STATE_VERSION: u32 = 7;
/// Version of [`ConntrackKeyV4`], [`ConntrackKeyV6`] and [`ConntrackRecord`]: of what they look like and of what they say.
pub const CONNTRACK_VERSION: u32 = 1;

/// Images that can be in force at once: the one that new packets take, and the one before it, which packets between
/// two hooks may still hold.
pub const SLOTS: u32 = 2;
/// What the value of a slot has room for behind its size class: a record may begin at the last offset that a program's mask
/// leaves, and is read in place.
pub const RECORD_ROOM: u32 = 64;
/// Rules of one image that have counters of their own.
pub const COUNTED_RULES: u32 = 1 << 15;
/// Request sets of one image that have counters of their own.
pub const COUNTED_SETS: u32 = 1 << 13;
/// Counters of one slot: rules, then request sets.
pub const SLOT_COUNTERS: u32 = COUNTED_RULES + COUNTED_SETS;
/// Classes that the names of one address can give it.
pub const LEARNED_CLASSES: usize = 15;
/// Counters by reason: room for every number, for each [`Hook`].
pub const REASON_COUNTERS: u32 = 64;
/// A tick is 2^30 ns: what time-outs are counted in.
pub const TICK_SHIFT: u32 = 30;

/// [`ConntrackRecord::state`]: the connection was opened from outside the pod (else by the pod).
pub const OPENED_INWARD: u8 = 1;
/// [`ConntrackRecord::state`]: a packet came back.
pub const ANSWERED: u8 = 2;
/// [`ConntrackRecord::state`]: the pod's side sent FIN.
pub const POD_FINISHED: u8 = 4;
/// [`ConntrackRecord::state`]: the peer's side sent FIN.
pub const PEER_FINISHED: u8 = 8;
/// [`ConntrackRecord::state`]: reset, aborted, or finished by both sides.
pub const CLOSED: u8 = 16;

/// [`ConntrackKeyV4::peer_port`] of an ICMP echo: the pod sends the requests.
pub const POD_ASKS: u16 = 1;
/// [`ConntrackKeyV6::peer_port`] of ICMPv6: the record is of no echo, but of a neighbour that has shown itself on the pod's link.
pub const ON_LINK: u16 = 2;

/// [`Settings::generation`]: the slot that new packets take.
pub const CURRENT_SLOT: u64 = 1;
/// [`Settings::generation`]: the other slot still has the image before, for packets that were judged by it at another hook.
pub const PREVIOUS_HOLDS: u64 = 2;
/// [`Settings::generation`]: where the count begins.
pub const GENERATION_SHIFT: u32 = 2;

/// `skb->mark`: bits that the datapath may use; all others are left as they are.
pub const MARK_MASK: u32 = 0x0F00_0000;
/// `skb->mark`: the packet was judged by an image on this node; [`MARK_SLOT`] tells by which.
pub const MARK_JUDGED: u32 = 0x0100_0000;
/// `skb->mark`: the slot of that image.
pub const MARK_SLOT: u32 = 0x0200_0000;
/// `skb->mark`: on its way to a request proxy on this node. The two bits below it are then no slot but the
/// [`crate::RequestKind`].
pub const MARK_PROXY: u32 = 0x0400_0000;
/// Where the bits of [`MARK_MASK`] begin.
pub const MARK_SHIFT: u32 = 24;
/// `skb->mark`, whole: a question in a test run. It leaves no trace: no connection, counter or event.
pub const MARK_QUESTION: u32 = 0x0F57_4549;

/// `blocks` has a bit for each block of addresses that one of the cluster's may be in, first of IPv4, then of IPv6. What is in
/// no such block need not be looked up, which in a large map costs more than the rest of a verdict. Bits stay when addresses go.
pub const BLOCKS: u32 = 1 << 16;

/// The block of an IPv4 address: its upper half.
pub const fn block_of_v4(address: [u8; 4]) -> u32 {
    u32::from_be_bytes(address) >> 16
}

/// The block of an IPv6 address: its upper 64 bits, folded.
pub const fn block_of_v6(address: [u8; 16]) -> u32 {
    let mut high = (u128::from_be_bytes(address) >> 64) as u64;
    high ^= high >> 32;
    high ^= high >> 16;
    BLOCKS + (high as u32 & (BLOCKS - 1))
}

numbered! {
/// Where a program stands, and so whose policy it asks.
#[repr(u8)]
named Hook {
    /// What a pod sends: egress policy.
    FromPod = 0, "egress";
    /// What is sent to a pod: ingress policy.
    ToPod = 1, "ingress";
}
}

numbered! {
/// What an event is about.
#[repr(u8)]
named EventKind {
    /// A new connection passes or is handed to a proxy.
    Connection = 1, "connection";
    /// A packet was dropped.
    Drop = 2, "drop";
    /// A packet of a known connection, as far as the aggregation level tells of them.
    Packet = 3, "packet";
}
}

numbered! {
/// How much events tell of connections that are known already.
#[repr(u8)]
named Aggregation {
    /// Every packet.
    None = 0, "none";
    /// One event for a connection and interval.
    Interval = 1, "interval";
    /// The same, and the first SYN, FIN and RST of each side.
    Flags = 2, "flags";
}
}

numbered! {
/// What the programs count besides rules and reasons.
#[repr(u8)]
named Counter {
    /// Connections recorded.
    ConnectionsRecorded = 0, "connections-recorded";
    /// Connections that could not be recorded; each was dropped.
    ConnectionsRefused = 1, "connections-refused";
    /// Connections judged again because the image or an identity changed.
    ConnectionsJudgedAgain = 2, "connections-judged-again";
    /// Connections that ended because the change denies them.
    ConnectionsCut = 3, "connections-cut";
    /// Events that found no room in the ring buffer.
    EventsLost = 4, "events-lost";
    /// Drops that the rate limit left out of the events.
    EventsLeftOut = 5, "events-left-out";
    /// First fragments recorded.
    FragmentsRecorded = 6, "fragments-recorded";
    /// Verdicts whose rule or request set has no counter of its own.
    RulesUncounted = 7, "rules-uncounted";
    /// Packets handed to a request proxy.
    ProxyPackets = 8, "proxy-packets";
    /// Packets between two hooks whose image was gone; judged by the present one.
    SlotsGone = 9, "slots-gone";
    /// Entries that the programs put into `conntrack_v4`: connections, not counting those written over.
    ConntrackV4Added = 10, "conntrack-v4-added";
    /// Entries that the programs took out of `conntrack_v4`.
    ConntrackV4Removed = 11, "conntrack-v4-removed";
    /// Entries that the programs put into `conntrack_v6`: connections and neighbours.
    ConntrackV6Added = 12, "conntrack-v6-added";
    /// Entries that the programs took out of `conntrack_v6`.
    ConntrackV6Removed = 13, "conntrack-v6-removed";
}
}

/// How many [`Counter`]s there are.
pub const COUNTERS: u32 = 14;

/// `struct bpf_spin_lock` of `linux/bpf.h`: in the value of a hash map it has the kernel change an entry in place (`BPF_F_LOCK`).
/// Without one an entry is put in the old one's place, whose memory the next entry gets at once, while a packet that looked the old one up
/// may still read it. Programs take no lock: what they read is a word, old or new.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C)]
pub struct BpfSpinLock {
    /// The kernel's; always 0 outside of it.
    pub val: u32,
}

records! {
    /// Every record of the live state.
    SHAPES;

    /// Value of `addresses_v4` and `addresses_v6`: whose an address is. Keys are the address's bytes.
    AddressRecord {
        /// Its identity under the image of each slot: whoever changes labels changes identity together with the image.
        identities: [u32; SLOTS as usize],
        /// For changes in place.
        lock: BpfSpinLock,
    }

    /// Value of `interfaces`, by interface index: the pod behind the host's side of a veth.
    InterfaceRecord {
        /// The pod's identity under the image of each slot, as in [`AddressRecord`].
        identities: [u32; SLOTS as usize],
        /// Its IPv4 address; zero if it has none.
        v4: [u8; 4],
        /// Its IPv6 address; zero if it has none.
        v6: [u8; 16],
        /// For changes in place.
        lock: BpfSpinLock,
    }

    /// Key of `conntrack_v4`: the same for both directions, as seen from the pod.
    ConntrackKeyV4 {
        /// The pod's address.
        pod: [u8; 4],
        /// The other side's.
        peer: [u8; 4],
        /// The pod's port; for ICMP echo the identifier.
        pod_port: u16,
        /// The other side's; for ICMP echo [`POD_ASKS`], or 0 if the other side asks.
        peer_port: u16,
        /// IP protocol.
        protocol: u8,
        /// Always 0.
        reserved: [u8; 3],
    }

    /// Key of `conntrack_v6`.
    ConntrackKeyV6 {
        /// The pod's address.
        pod: [u8; 16],
        /// The other side's.
        peer: [u8; 16],
        /// As in [`ConntrackKeyV4`].
        pod_port: u16,
        /// As in [`ConntrackKeyV4`].
        peer_port: u16,
        /// IP protocol.
        protocol: u8,
        /// Always 0.
        reserved: [u8; 3],
    }

    /// Value of both: a connection that was allowed.
    ConntrackRecord {
        /// What it was judged under, the image's checksum and the [`Settings::epoch`] added; what came of it (action, reason,
        /// request kind and rule, as one word); and its key, word for word: all by exclusive or. Two processors may judge one
        /// connection under two images at once, or one may still hold a record that has become another connection's: what each
        /// wrote part of holds under neither.
        seal: u64,
        /// The rule or request set that decided, or [`crate::layout::NO_RULE`].
        rule_or_set: u32,
        /// The interface that it was seen on; on another it counts for nothing.
        interface: u32,
        /// Tick at which it ends.
        expires: u32,
        /// Tick of its last event.
        reported: u32,
        /// [`OPENED_INWARD`] and the like.
        state: u8,
        /// Of TCP's SYN, FIN and RST those seen from the side that opened it, then from the other.
        flags: [u8; 2],
        /// [`crate::Action`].
        action: u8,
        /// [`crate::Reason`].
        reason: u8,
        /// [`crate::RequestKind`] of a redirect, else 0.
        requests: u8,
        /// The ICMP type that opened it, else 0.
        icmp_type: u8,
        /// Always 0.
        reserved: u8,
    }

    /// Key of `fragments`: a datagram on an interface.
    FragmentKey {
        /// Source.
        source: [u8; 16],
        /// Destination.
        destination: [u8; 16],
        /// Its identification, IPv4 or IPv6.
        id: u32,
        /// The interface.
        interface: u32,
        /// IP protocol.
        protocol: u8,
        /// Always 0.
        reserved: [u8; 3],
    }

    /// Value of `fragments`: what only the first fragment tells.
    FragmentRecord {
        /// Source port; for ICMP echo the identifier.
        source_port: u16,
        /// Destination port; for ICMP the type.
        destination_port: u16,
        /// Tick at which it ends.
        expires: u32,
        /// IP protocol, which behind IPv6 extension headers only the first fragment tells.
        protocol: u8,
        /// Always 0.
        reserved: u8,
        /// Bytes of the datagram's beginning that hold headers: a later fragment that begins among them could replace them.
        headers: u16,
    }

    /// Key of `learned`: an address outside that DNS names lead to, as one slot's image sees it.
    LearnedKey {
        /// The address.
        address: [u8; 16],
        /// The slot of the image whose classes these are.
        slot: u32,
    }

    /// Value of `learned`: the classes of those names, besides the address's own.
    LearnedRecord {
        /// How many.
        count: u32,
        /// The classes.
        classes: [u32; LEARNED_CLASSES],
    }

    /// The one value of `settings`. Written through a mapping, each word in one store.
    Settings {
        /// Counts images put in force, from bit [`GENERATION_SHIFT`] on; below it [`CURRENT_SLOT`] and [`PREVIOUS_HOLDS`].
        /// One word, so that all of it changes at once.
        generation: u64,
        /// The image in each slot, by its checksum; 0 if there is none. Written while the slot is idle.
        images: [u64; SLOTS as usize],
        /// Counts changes of identities, so that known connections are judged again.
        epoch: u64,
        /// Ports on which request proxies listen, by [`crate::RequestKind`]; 0: none does.
        proxy_ports: [u16; 4],
        /// How many addresses stand in `learned`; 0 spares the look.
        learned: u64,
        /// Not 0 while some address of the cluster has found no room: then one that is not found may be of the cluster, and is
        /// unknown rather than outside.
        addresses_missing: u64,
    }

    /// Value of the counter maps.
    CounterRecord {
        /// Packets, or whatever is counted.
        packets: u64,
        /// Their bytes; 0 where there are none to count.
        bytes: u64,
    }

    /// The one value of `event_budget`, for each CPU: how many drops may still be told in this tick.
    BudgetRecord {
        /// The tick.
        tick: u32,
        /// Events told in it.
        told: u32,
        /// Events left out since the last one told.
        left_out: u32,
        /// Always 0.
        reserved: u32,
    }

    /// A record of the ring buffer `events`.
    EventRecord {
        /// Nanoseconds since boot.
        time: u64,
        /// The image that judged, by its checksum; 0 if none did.
        image: u64,
        /// Source.
        source: [u8; 16],
        /// Destination.
        destination: [u8; 16],
        /// Rule, or request set of a redirect, or [`crate::layout::NO_RULE`].
        rule_or_set: u32,
        /// Identity of the pod.
        pod: u32,
        /// Identity of the other side; 0 if it is outside.
        peer: u32,
        /// The interface.
        interface: u32,
        /// Bytes of the packet.
        length: u32,
        /// Drops that the rate limit left out on this CPU before this one.
        left_out: u32,
        /// Source port; for ICMP 0.
        source_port: u16,
        /// Destination port; for ICMP the type.
        destination_port: u16,
        /// IP protocol.
        protocol: u8,
        /// TCP flags of this packet.
        flags: u8,
        /// [`EventKind`].
        kind: u8,
        /// [`Hook`].
        hook: u8,
        /// [`crate::Action`].
        action: u8,
        /// [`crate::Reason`].
        reason: u8,
        /// 1 if the packet goes back on a connection that the other side opened.
        is_reply: u8,
        /// Always 0.
        reserved: [u8; 5],
    }
}

/// The enums of the live state that C shares.
pub const NUMBERS: &[Numbers] = &[Hook::NUMBERS, EventKind::NUMBERS, Aggregation::NUMBERS, Counter::NUMBERS];

/// What a question in a test run is answered with, in `skb->cb`: the words' places.
pub mod answer {
    /// Rule or request set.
    pub const RULE_OR_SET: usize = 0;
    /// `action | reason << 8 | requests << 16`.
    pub const OUTCOME: usize = 1;
}
