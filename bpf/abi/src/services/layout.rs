//! Every record of the service image, and what the numbers in it mean.
//!
//! ```text
//! header | kernel part: sections 0..KERNEL_SECTIONS | user part: the rest
//! ```
//!
//! Places are bytes from the start of the image. Addresses are 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`; ports are numbers.

use super::Scope;
use crate::layout::{Extent, Text};
use crate::shape::{Numbers, numbered, records};

/// First bytes of every service image.
pub const SERVICE_MAGIC: [u8; 8] = *b"WEIR\0SVC";
/// The largest service image: as the policy image.
pub const MAX_SERVICE_BYTES: usize = crate::layout::MAX_IMAGE_BYTES;
/// What hashes multiply by.
pub const HASH_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
/// Where [`super::flow_hash`] begins. All nodes must agree, so no image has its own.
pub const FLOW_SEED: u64 = 0x5745_4952_464C_4F57;
/// Frontends that share a displacement, on average.
pub const GROUP_FRONTENDS: u32 = 4;
/// A table's width for backends below 128: slots are bytes.
pub const BYTE_SLOTS: u32 = 1;
/// For backends below 32,768.
pub const HALF_SLOTS: u32 = 2;
/// For all others.
pub const WORD_SLOTS: u32 = 4;
/// Slots of the largest table.
pub const MAX_SLOTS: u32 = 1_280_896;
/// Backends of one table, at most: ten slots each in the largest table.
pub const MAX_TABLE_BACKENDS: u32 = MAX_SLOTS / 10;
/// [`ScopeRecord::table`], [`FrontendRecord::sources`] and [`SlotTableRecord::previous`] of none.
pub const NO_RECORD: u32 = u32::MAX;

/// [`FrontendRecord::flags`]: the service asks for Direct Server Return.
pub const FORWARD_DSR: u32 = 1;
/// [`FrontendRecord::flags`]: the service asks for source NAT. Neither: as the node is set.
pub const FORWARD_SNAT: u32 = 2;
/// [`FrontendRecord::flags`]: the service's backends are chosen at random, with no regard to the next image.
pub const CHOOSE_AT_RANDOM: u32 = 4;
/// [`FrontendRecord::flags`]: from outside only backends of this node; the client's address stays.
pub const EXTERNAL_LOCAL: u32 = 8;
/// [`FrontendRecord::flags`]: from inside only backends of this node.
pub const INTERNAL_LOCAL: u32 = 16;
/// All flags.
pub const FRONTEND_FLAGS: u32 =
    FORWARD_DSR | FORWARD_SNAT | CHOOSE_AT_RANDOM | EXTERNAL_LOCAL | INTERNAL_LOCAL;

/// Where the [`Choice`] for new flows from outside stands in [`FrontendRecord::flags`], four bits.
pub const EXTERNAL_CHOICE_SHIFT: u32 = 8;
/// That for new flows from inside.
pub const INTERNAL_CHOICE_SHIFT: u32 = 12;
/// Where the width of the external scope's slots stands, eight bits.
pub const EXTERNAL_WIDTH_SHIFT: u32 = 16;
/// That of the internal scope's.
pub const INTERNAL_WIDTH_SHIFT: u32 = 24;

/// Where a scope's choice stands.
pub const fn choice_shift(scope: Scope) -> u32 {
    match scope {
        Scope::External => EXTERNAL_CHOICE_SHIFT,
        Scope::Internal => INTERNAL_CHOICE_SHIFT,
    }
}

/// Where the width of a scope's slots stands.
pub const fn width_shift(scope: Scope) -> u32 {
    match scope {
        Scope::External => EXTERNAL_WIDTH_SHIFT,
        Scope::Internal => INTERNAL_WIDTH_SHIFT,
    }
}

/// [`BackendRecord::flags`]: on this image's node.
pub const BACKEND_LOCAL: u8 = 1;

/// [`SourceSetRecord::deny`]: those in the set are refused; 0: all others.
pub const SOURCES_DENIED: u32 = 1;

numbered! {
/// The parts of a service image, by their place in [`ServiceHeader::sections`].
#[repr(usize)]
ServiceSection {
    /// `u32` displacement by group of frontends.
    Displacements = 0,
    /// [`FrontendRecord`], each in the place where its hash leads.
    Frontends = 1,
    /// [`SlotTableRecord`].
    Tables = 2,
    /// `u8`, `u16` or `u32` local numbers of backends, one run per table and one for what was before it.
    Slots = 3,
    /// [`BackendRecord`], one run per service port and family.
    Backends = 4,
    /// [`SourceSetRecord`].
    SourceSets = 5,
    /// [`SourceRangeRecord`], one sorted run per set.
    SourceRanges = 6,
    /// [`FrontendPortRecord`].
    Ports = 7,
    /// [`ServiceRecord`].
    Services = 8,
    /// `Text` name of a node by its number.
    Nodes = 9,
    /// `FactRecord`: what the image was compiled for.
    Facts = 10,
    /// UTF-8 text.
    Strings = 11,
}
}

/// How many sections there are.
pub const SERVICE_SECTIONS: usize = ServiceSection::Strings as usize + 1;
/// How many of them, from the first, the kernel reads.
pub const SERVICE_KERNEL_SECTIONS: usize = ServiceSection::SourceRanges as usize + 1;

records! {
    /// Every record of the service image.
    SERVICE_SHAPES;

    /// The first bytes of a service image. Its first fields are those of the policy image.
    ServiceHeader {
        /// [`SERVICE_MAGIC`].
        magic: [u8; 8],
        /// [`super::SERVICE_VERSION`].
        version: u32,
        /// Size of this header.
        header_bytes: u32,
        /// Size of the image.
        image_bytes: u32,
        /// Size of header and kernel part, padding included.
        kernel_bytes: u32,
        /// [`crate::checksum`] of all bytes but this field.
        checksum: u64,
        /// Where the hash of a frontend begins.
        seed: u64,
        /// Displacements; a power of two.
        groups: u32,
        /// Places of frontends, at least 1.
        positions: u32,
        /// The sections, by [`ServiceSection`].
        sections: [Extent; SERVICE_SECTIONS],
    }

    /// Where a scope's flows go.
    ScopeRecord {
        /// The number of the table; [`NO_RECORD`]: there are no slots.
        table: u32,
        /// Place of the first slot; the table has it too, and this saves reading that.
        slots: u32,
        /// Slots; 0: no flow has a backend. Where new flows are refused, slots are for those that are there.
        count: u32,
    }

    /// An address, port and protocol that leads to backends: one cache line.
    FrontendRecord {
        /// The address.
        address: [u8; 16],
        /// The port; 0 for an address as a whole.
        port: u16,
        /// The IP protocol; 0 for an address as a whole.
        protocol: u8,
        /// [`FrontendKind`]; 0: nobody is here.
        kind: u8,
        /// Bits such as [`FORWARD_DSR`]; for each scope what comes of new flows ([`EXTERNAL_CHOICE_SHIFT`]), and the width of its slots
        /// ([`EXTERNAL_WIDTH_SHIFT`]).
        flags: u32,
        /// Number of its port in [`ServiceSection::Ports`].
        number: u32,
        /// Seconds for which a client stays with its backend; 0: no affinity.
        affinity: u32,
        /// Place of its first backend.
        backends: u32,
        /// Number of its set of sources; [`NO_RECORD`]: anyone.
        sources: u32,
        /// Flows from outside the cluster.
        external: ScopeRecord,
        /// Flows from inside.
        internal: ScopeRecord,
    }

    /// A table of slots. Frontends with the same choices share it, whatever their backends' ports.
    SlotTableRecord {
        /// Place of the first slot.
        slots: u32,
        /// Slots.
        count: u32,
        /// [`BYTE_SLOTS`], [`HALF_SLOTS`] or [`WORD_SLOTS`]. The highest bit of a slot is set where flows may be on record with another backend.
        width: u32,
        /// Backends that it numbers, with those that have no slots: flows may be with them.
        backends: u32,
        /// Place of the first slot of what was settled before, of the same width, without highest bits; [`NO_RECORD`]: all slots are settled.
        previous: u32,
        /// Slots of that; another number where the table changed its size.
        previous_count: u32,
    }

    /// A backend, as a frontend's table numbers it.
    BackendRecord {
        /// Its address.
        address: [u8; 16],
        /// Its port.
        port: u16,
        /// [`BackendState`].
        state: u8,
        /// [`BACKEND_LOCAL`].
        flags: u8,
        /// Its share of new flows, against the others'; 0: none.
        weight: u32,
        /// The same for the same address, port and protocol throughout the image: what counters and health checks go by.
        number: u32,
        /// Number of its node's name; [`NO_RECORD`] if it names none.
        node: u32,
    }

    /// Who may come, or may not.
    SourceSetRecord {
        /// Place of the first range.
        ranges: u32,
        /// Ranges.
        count: u32,
        /// [`SOURCES_DENIED`] or 0.
        deny: u32,
    }

    /// Addresses from the first to the last.
    SourceRangeRecord {
        /// The first.
        first: [u8; 16],
        /// The last.
        last: [u8; 16],
    }

    /// A port of a service, in one family.
    FrontendPortRecord {
        /// Number of the service.
        service: u32,
        /// Place of its first backend.
        backends: u32,
        /// Backends.
        backend_count: u32,
        /// Its name; empty if it has none.
        name: Text,
    }

    /// A service, as people name it.
    ServiceRecord {
        /// Namespace.
        namespace: Text,
        /// Name.
        name: Text,
        /// The file it is in.
        file: Text,
        /// Line from 1.
        line: u32,
        /// Column from 1.
        column: u32,
        /// `healthCheckNodePort`; 0: none.
        health_check_port: u32,
    }
}

numbered! {
/// What an address and port is to people, or an address as a whole to the kernel.
#[repr(u8)]
named FrontendKind {
    /// Reached from inside the cluster alone.
    ClusterIp = 1, "ClusterIP";
    /// A port of this node's addresses: the address is unspecified.
    NodePort = 2, "NodePort";
    /// An address that the service's owner claims.
    ExternalIp = 3, "ExternalIP";
    /// An address that a load balancer gave.
    LoadBalancer = 4, "LoadBalancer";
    /// An address of services as a whole: ports from outside that none has are dropped.
    Address = 5, "address";
    /// An address of this node as a whole: ports are looked up as [`FrontendKind::NodePort`].
    NodeAddress = 6, "node address";
    /// An address of another node as a whole: who asks from inside, and that node's balancer when it sends a packet here, mean
    /// [`FrontendKind::NodePort`] by it.
    PeerAddress = 7, "peer address";
}
}

numbered! {
/// What a backend is fit for.
#[repr(u8)]
named BackendState {
    /// New flows.
    Active = 1, "active";
    /// Its own flows, and new ones where none is active.
    Terminating = 2, "terminating";
    /// Not ready: nothing, but for connections it has.
    Unready = 3, "not ready";
    /// It is out of the slices; flows that were its own are still told apart.
    Leaving = 4, "leaving";
}
}

numbered! {
/// What came of a lookup.
#[repr(u8)]
named Choice {
    /// A backend.
    Backend = 1, "backend";
    /// No service: the packet goes on as it is.
    NoService = 2, "no-service";
    /// The service has no backend that takes flows.
    NoBackend = 3, "no-backend";
    /// The service asks for a backend of this node, and there is none.
    NoLocalBackend = 4, "no-local-backend";
    /// The client is not among those that may come.
    SourceRefused = 5, "source-refused";
    /// The address is a service's, the port is not.
    UnknownPort = 6, "unknown-port";
    /// A cluster address, asked from outside.
    NotFromOutside = 7, "not-from-outside";
}
}

/// The enums of the service image that C shares.
pub const SERVICE_NUMBERS: &[Numbers] =
    &[ServiceSection::NUMBERS, FrontendKind::NUMBERS, BackendState::NUMBERS, Choice::NUMBERS];

// Readers of either image find these in the same place.
const _: () = {
    use crate::layout::Header;
    use core::mem::offset_of;
    assert!(offset_of!(Header, version) == offset_of!(ServiceHeader, version));
    assert!(offset_of!(Header, kernel_bytes) == offset_of!(ServiceHeader, kernel_bytes));
    assert!(offset_of!(Header, checksum) == offset_of!(ServiceHeader, checksum));
    assert!(size_of::<FrontendRecord>() == 64);
};
