//! Live state of balancing: the keys and values of the maps that its programs and the daemon share beside the service image.
//!
//! It survives every swap and restart. But for the settings it knows no image, so versions with other images go on with it. Another [`BALANCE_VERSION`] begins with empty maps. Addresses are 16 bytes in network order, IPv4 as
//! `::ffff:a.b.c.d`; ports are numbers in host order; ticks are those of [`crate::state::TICK_SHIFT`].
//!
//! Not here: the image ([`super::layout`]); what the maps are for is told where they are declared, in `bpf/services/maps.h`.

use crate::shape::{Numbers, numbered, records};
use crate::state::SLOTS;

/// Version of these shapes. Any change takes the next number.
pub const BALANCE_VERSION: u32 = 4;

/// [`TranslationRecord::state`]: the first side sent FIN.
pub const CLIENT_FINISHED: u8 = 1;
/// [`TranslationRecord::state`]: the other side sent FIN.
pub const BACKEND_FINISHED: u8 = 2;
/// [`TranslationRecord::state`]: reset, aborted, or finished by both sides.
pub const FLOW_CLOSED: u8 = 4;
/// [`TranslationRecord::state`]: of TCP, the other side sent something.
pub const FLOW_ANSWERED: u8 = 8;
/// [`TranslationRecord::state`]: this entry rewrites replies, so its tuple is told by the backend's side.
pub const OF_REPLIES: u8 = 16;
/// [`TranslationRecord::state`]: the packet goes to the pod that sent it, without passing policy.
pub const HAIRPIN: u8 = 32;

numbered! {
/// Where a packet is rewritten.
#[repr(u8)]
named Place {
    /// A device of the node, inward: requests from outside, and replies to what SNAT sent.
    FromWire = 1, "from wire";
    /// A device of the node, outward: replies of backends on this node.
    ToWire = 2, "to wire";
    /// The host's side of a pod's veth, from the pod.
    FromPod = 3, "from pod";
    /// The host's side of a pod's veth, to the pod.
    ToPod = 4, "to pod";
}
}

numbered! {
/// What balancing counts.
#[repr(u8)]
named BalanceCounter {
    /// Flows that were given a backend and are on record as translations.
    FlowsTranslated = 0, "flows-translated";
    /// Packets sent on by Direct Server Return, by XDP.
    DirectFast = 1, "direct-fast";
    /// Packets sent on by Direct Server Return, by tc.
    Direct = 2, "direct";
    /// Packets sent on with the node's address as source, and their replies, by XDP.
    MasqueradedFast = 3, "masqueraded-fast";
    /// Packets sent on with the node's address as source, and their replies, by tc.
    Masqueraded = 4, "masqueraded";
    /// Packets handed to a backend of this node.
    Delivered = 5, "delivered";
    /// Packets of another node's balancer that were unwrapped.
    Unwrapped = 6, "unwrapped";
    /// Packets that met an unsettled slot, and so a lookup of their flow.
    Unsettled = 7, "unsettled";
    /// Answered or dropped: the service has no backend.
    NoBackend = 8, "no-backend";
    /// Dropped: the service asks for a backend of this node.
    NoLocalBackend = 9, "no-local-backend";
    /// Dropped: the client may not come.
    SourceRefused = 10, "source-refused";
    /// Dropped: the address is a service's, the port is not.
    UnknownPort = 11, "unknown-port";
    /// Dropped: a cluster address, asked from outside.
    NotFromOutside = 12, "not-from-outside";
    /// Dropped: no port of the node was free for the flow.
    NoPort = 13, "no-port";
    /// Dropped: there is no way to the backend.
    NoRoute = 14, "no-route";
    /// Dropped: a translation could not be recorded.
    NoRoom = 15, "no-room";
    /// Dropped: it cannot be read.
    Malformed = 16, "malformed";
    /// Dropped: its time to live ended.
    HopsEnded = 17, "hops-ended";
    /// Answered: with what the way to the backend adds it is too big.
    TooBig = 18, "too-big";
    /// Sockets that were given a backend.
    SocketsConnected = 19, "sockets-connected";
    /// Datagrams of unconnected sockets that were given a backend.
    DatagramsSent = 20, "datagrams-sent";
    /// Sockets refused a port that is a service's on this node.
    BindsRefused = 21, "binds-refused";
}
}

/// How many [`BalanceCounter`]s there are.
pub const BALANCE_COUNTERS: u32 = 22;

records! {
    /// Every record of balancing's live state.
    BALANCE_SHAPES;

    /// The one value of `service_settings`. Written through a mapping, each word in one store.
    ServiceSettings {
        /// As [`crate::state::Settings::generation`].
        generation: u64,
        /// As [`crate::state::Settings::images`].
        images: [u64; SLOTS as usize],
        /// The node's IPv6 address; zero if it has none.
        node_v6: [u8; 16],
        /// The node's IPv4 address; zero if it has none.
        node_v4: [u8; 4],
        /// The tick at which slots last became unsettled; 0: nobody knows. A flow that is on no record and has not been heard of for longer than it may be idle is a new
        /// one, whatever its packets say.
        unsettled_since: u32,
    }

    /// Key of `translations`: a packet as it arrives.
    TranslationKey {
        /// Source.
        source: [u8; 16],
        /// Destination.
        destination: [u8; 16],
        /// Source port; of an ICMP echo the identifier.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
        /// IP protocol.
        protocol: u8,
        /// [`Place`].
        place: u8,
        /// Lower half of the index of a pod's interface, so that none speaks for another; 0 at devices.
        interface: u16,
    }

    /// Value of `translations`: the packet as it goes on.
    TranslationRecord {
        /// Source.
        source: [u8; 16],
        /// Destination.
        destination: [u8; 16],
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
        /// Tick at which it ends.
        expires: u32,
        /// Lower half of the checksum of the image under which the backend was last seen fit.
        seen_under: u32,
        /// The [`Place`] of the entry for the other direction.
        other_place: u8,
        /// [`CLIENT_FINISHED`] and the like; [`FLOW_CLOSED`] and [`FLOW_ANSWERED`] stand in both entries.
        state: u8,
        /// Always 0.
        reserved: [u8; 2],
    }

    /// Key of `flows`: a flow from outside, or under session affinity a client.
    FlowKey {
        /// The client. A socket's cookie is behind `ff00:7765:6972::/64`, that of a network namespace behind `ff00:7765:6972:1::/64`.
        client: [u8; 16],
        /// The service's address, as the packet names it.
        address: [u8; 16],
        /// The client's port; 0 under session affinity.
        client_port: u16,
        /// The service's port.
        port: u16,
        /// IP protocol.
        protocol: u8,
        /// Always 0.
        reserved: [u8; 3],
    }

    /// Value of `flows`: the backend that it is settled on while its slot is not.
    FlowRecord {
        /// Its address.
        address: [u8; 16],
        /// Its port.
        port: u16,
        /// Always 0.
        reserved: u16,
        /// Tick at which it ends.
        expires: u32,
    }

    /// Value of `next_hops`, by address: how it is reached.
    NextHopRecord {
        /// The device.
        interface: u32,
        /// Tick at which it is asked again.
        expires: u32,
        /// Bytes of the largest packet.
        mtu: u32,
        /// Link-layer address of the next hop.
        destination: [u8; 6],
        /// That of the device.
        source: [u8; 6],
    }

    /// Key of `socket_services`: a socket, and a backend that it was given.
    SocketKey {
        /// The socket's cookie.
        cookie: u64,
        /// The backend's address.
        address: [u8; 16],
        /// Its port.
        port: u16,
        /// IP protocol.
        protocol: u8,
        /// Always 0.
        reserved: [u8; 5],
    }

    /// Value of `socket_services`: what the socket asked for.
    SocketRecord {
        /// The service's address.
        address: [u8; 16],
        /// Its port.
        port: u16,
        /// Always 0.
        reserved: [u8; 6],
    }
}

/// The enums of balancing's live state that C shares.
pub const BALANCE_NUMBERS: &[Numbers] = &[Place::NUMBERS, BalanceCounter::NUMBERS];

// What swaps images writes either.
const _: () = {
    use crate::state::Settings;
    use core::mem::offset_of;
    assert!(offset_of!(Settings, generation) == offset_of!(ServiceSettings, generation));
    assert!(offset_of!(Settings, images) == offset_of!(ServiceSettings, images));
};
