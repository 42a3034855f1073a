//! Every record of the image, and what the numbers in it mean.
//!
//! ```text
//! header | kernel part: sections 0..KERNEL_SECTIONS | user part: the rest
//! ```
//!
//! The kernel part holds the tables, the user part what only user space reads: the source map, the
//! labels of identities, request rules, names. The tables never depend on the source map, so moving
//! a policy to another file or line changes the user part alone.
//!
//! What the kernel follows from record to record is a *place*: bytes from the start of the image, so that a step is one addition
//! and one load.

use crate::shape::{Numbers, numbered, records};

/// First bytes of every image.
pub const MAGIC: [u8; 8] = *b"WEIR\0IMG";
/// Sections begin at multiples of this, counted from the start of the image.
pub const SECTION_ALIGNMENT: usize = 64;
/// The largest image: what the kernel's verifier lets a program address with a variable offset.
pub const MAX_IMAGE_BYTES: usize = 512 << 20;

/// Peers told apart by one image, at most.
pub const MAX_PEER_CLASSES: u32 = 1 << 24;
/// Ports told apart by one image, at most; also columns of one table.
pub const MAX_PORT_CLASSES: u32 = 1 << 16;
/// Tables times peer and port classes, at most: what an image is checked for when it is opened.
pub const MAX_TABLE_ENTRIES: u64 = 1 << 30;
/// Peer classes per page of [`Section::PeerPages`].
pub const PEER_PAGE: usize = 32;
/// Ports per page of [`Section::PortPages`].
pub const PORT_PAGE: usize = 128;
/// Entries of one port directory: 65,536 ports in pages.
pub const PORT_DIRECTORY: usize = 65536 / PORT_PAGE;
/// Keys per block of the IPv6 search tree: one cache line of `u64`.
pub const V6_BLOCK: usize = 8;
/// IPv6 values are `u16`, in which [`INDIRECT`] is the highest bit too: every class and low table that one names is below 32,768.
pub const V6_HALF_VALUES: u32 = 1;
/// IPv6 values are `u32`.
pub const V6_WORD_VALUES: u32 = 2;
/// Set in an IPv6 value that names a low table in place of a class.
pub const INDIRECT: u32 = 1 << 31;
/// IPv4 ranges are narrow, and there are at most 256 classes: [`V4ByteBlock`].
pub const V4_BYTE_CLASSES: u32 = 1;
/// IPv4 ranges are narrow, and there are at most 65,536 classes: [`V4HalfBlock`].
pub const V4_HALF_CLASSES: u32 = 2;
/// IPv4 ranges are wide: [`V4Range`].
pub const V4_WIDE: u32 = 3;
/// Bits of a narrow start's offset: narrow tables need a shift of at most this.
pub const V4_NARROW_SHIFT: u32 = 15;
/// Ranges of a [`V4ByteBlock`].
pub const V4_BYTE_BLOCK: usize = 21;
/// Ranges of a [`V4HalfBlock`].
pub const V4_HALF_BLOCK: usize = 16;
/// Narrow starts that are compared at once.
pub const V4_LANES: usize = 4;
/// Chunks of a [`V4Group`].
pub const V4_GROUP: usize = 16;
/// Of a group's base: it is the number of the first of as many groups as the group has chunks.
pub const V4_SPREAD: u32 = 1 << 31;

numbered! {
/// The parts of an image, by their place in [`Header::sections`].
#[repr(usize)]
Section {
    /// [`EndpointRecord`] by identity number, reserved numbers and pods.
    Endpoints = 0,
    /// [`EndpointRecord`] of nodes: as remote node, then as host, in pairs.
    NodeEndpoints = 1,
    /// By the top bits of an address, where the ranges of its chunk begin, and for one chunk more, where they end. Wide: the number of the
    /// range, a `u32`. Narrow: [`V4Group`], and behind those of all chunks the groups of chunks that are spread.
    V4Directory = 2,
    /// [`V4ByteBlock`], [`V4HalfBlock`] or [`V4Range`].
    V4Ranges = 3,
    /// `u64` upper halves of IPv6 range starts, in search-tree blocks.
    V6Keys = 4,
    /// Class, or [`INDIRECT`] and a low table, for each key: [`V6_HALF_VALUES`] or [`V6_WORD_VALUES`].
    V6Values = 5,
    /// [`LowTable`]: upper halves that lower halves tell apart further.
    V6LowTables = 6,
    /// `u64` lower halves, sorted, the first of each table 0.
    V6LowKeys = 7,
    /// `u32` class for each.
    V6LowValues = 8,
    /// 256 × `u32` by IP protocol: the place of its directory.
    Protocols = 9,
    /// `u32` place of a page by port / [`PORT_PAGE`]; [`PORT_DIRECTORY`] entries each.
    PortDirectories = 10,
    /// `u16` port class; [`PORT_PAGE`] entries each. ICMP types stand in as ports.
    PortPages = 11,
    /// [`TableRecord`]; number 0 is "no policy".
    Tables = 12,
    /// `u32` place of a page by peer class / [`PEER_PAGE`], one run per table.
    PeerDirectories = 13,
    /// `u32` bytes from the table's first row, or first entry for a row, to the peer's; [`PEER_PAGE`] entries each.
    PeerPages = 14,
    /// `u16` column by port class, one run per table.
    ColumnMaps = 15,
    /// [`ColumnRecord`], one run per table.
    Columns = 16,
    /// `u16` page by row, for tables whose rows are cut into pages; one run per table.
    RowDirectories = 17,
    /// `u32` words, one run of rows or of pages of rows per table.
    Rows = 18,
    /// [`OutcomeRecord`] by code, one run per column.
    Dictionaries = 19,
    /// [`RuleRecord`] by rule id.
    Rules = 20,
    /// [`PolicyRecord`].
    Policies = 21,
    /// [`IdentityRecord`], sorted by number.
    Identities = 22,
    /// [`RequestSetRecord`].
    RequestSets = 23,
    /// `u32` request rule, one run per set.
    RequestMembers = 24,
    /// [`RequestRuleRecord`].
    RequestRules = 25,
    /// [`HeaderRecord`], one run per request rule.
    Headers = 26,
    /// [`FqdnRecord`].
    Fqdns = 27,
    /// [`FactRecord`]: what the image was compiled from and for.
    Facts = 28,
    /// [`PlaceRecord`] by rule id: the source map's files and lines.
    Places = 29,
    /// UTF-8 text that [`Text`] points into.
    Strings = 30,
}
}

/// How many sections there are.
pub const SECTIONS: usize = Section::Strings as usize + 1;
/// How many of them, from the first, the kernel reads.
pub const KERNEL_SECTIONS: usize = Section::Dictionaries as usize + 1;

records! {
    /// Every record of the image.
    SHAPES;

    /// A part of the image in bytes from its start.
    Extent {
        /// First byte; a multiple of [`SECTION_ALIGNMENT`].
        offset: u32,
        /// Bytes.
        len: u32,
    }

    /// The first bytes of an image.
    Header {
        /// [`MAGIC`].
        magic: [u8; 8],
        /// [`crate::ABI_VERSION`].
        version: u32,
        /// Size of this header.
        header_bytes: u32,
        /// Size of the image.
        image_bytes: u32,
        /// Size of header and kernel part, padding included: what the kernel needs.
        kernel_bytes: u32,
        /// [`crate::checksum`] of all bytes but this field.
        checksum: u64,
        /// Peer classes; class 0 is of peers that no rule names.
        peer_classes: u32,
        /// Port classes; class 0 is every port that no rule names.
        port_classes: u32,
        /// Bits below those that index the IPv4 directory, 8 to 32.
        v4_shift: u32,
        /// [`V4_BYTE_CLASSES`], [`V4_HALF_CLASSES`] or [`V4_WIDE`].
        v4_format: u32,
        /// Ranges in the fullest IPv4 chunk, and starts of no range behind them: bounds the search.
        v4_longest: u32,
        /// Levels of the IPv6 search tree.
        v6_levels: u32,
        /// Entries of the longest low table: bounds the search.
        v6_longest: u32,
        /// [`V6_HALF_VALUES`] or [`V6_WORD_VALUES`].
        v6_format: u32,
        /// The sections, by [`Section`].
        sections: [Extent; SECTIONS],
    }

    /// What an identity is to the image.
    EndpointRecord {
        /// Its class as a peer.
        class: u32,
        /// Table for traffic to it; 0: no policy.
        ingress: u32,
        /// Table for traffic from it; 0: no policy.
        egress: u32,
        /// 0: the image does not know the identity; 1: as a peer; 2: as an endpoint too.
        known: u32,
    }

    /// Where the starts of narrow chunks lie.
    ///
    /// A step is its chunk's distance from the base, which is even, and the chunk's parity in the lowest bit. Chunks that lie too far
    /// apart for that have a group each, which [`V4_SPREAD`] tells and of which the first step counts.
    V4Group {
        /// Bytes from the start of [`Section::V4Ranges`]; or a number of a group, and [`V4_SPREAD`].
        base: u32,
        /// By chunk.
        steps: [u8; V4_GROUP],
    }

    /// Narrow IPv4 ranges, a cache line of them.
    ///
    /// A start is `offset | parity << 15`. The parity is its chunk's, and changes from one chunk that has starts to the next: so
    /// whoever compares [`V4_LANES`] starts from the chunk's first on sees where they end. A chunk's starts and the one behind them, or its
    /// first [`V4_LANES`] if it has as many, lie in one block. Where they do not fit, starts of no range, with the parity of the chunk that
    /// comes next, fill the block.
    V4ByteBlock {
        /// Where ranges start within their chunks.
        starts: [u16; V4_BYTE_BLOCK],
        /// The class of what lies before each start.
        classes: [u8; V4_BYTE_BLOCK],
        /// Always 0.
        reserved: u8,
    }

    /// The same for more classes.
    V4HalfBlock {
        /// Where ranges start within their chunks.
        starts: [u16; V4_HALF_BLOCK],
        /// The class of what lies before each start.
        classes: [u16; V4_HALF_BLOCK],
    }

    /// A wide IPv4 range.
    V4Range {
        /// Where it starts within its chunk.
        start: u32,
        /// Its class.
        class: u32,
    }

    /// A run of [`Section::V6LowKeys`].
    LowTable {
        /// First entry.
        start: u32,
        /// Entries, at least 1.
        len: u32,
    }

    /// The verdicts of all endpoints under one set of rules, in one direction.
    TableRecord {
        /// Place of the first entry in [`Section::PeerDirectories`].
        peer_directory: u32,
        /// Place of the first entry in [`Section::ColumnMaps`].
        column_map: u32,
        /// Place of the first entry in [`Section::Columns`].
        columns: u32,
        /// Columns.
        column_count: u32,
        /// Rows.
        row_count: u32,
        /// Pages of one row. With one page, a row's number is its page's.
        row_pages: u32,
        /// Bytes of one page.
        page_bytes: u32,
        /// Pages of all rows; equal ones are one. Meaningless with one page a row.
        page_count: u32,
        /// Place of the first entry in [`Section::RowDirectories`]; meaningless with one page a row.
        row_directory: u32,
        /// Place of the first word in [`Section::Rows`].
        rows: u32,
    }

    /// Where a row keeps one port class's code. Codes never straddle words.
    ColumnRecord {
        /// Place of the first entry in [`Section::Dictionaries`]; there are as many as codes fit the bits.
        dictionary: u32,
        /// Bytes from the row's first entry in [`Section::RowDirectories`] to its page's; 0 with one page a row.
        page: u32,
        /// Bytes from the start of the page to the word.
        word: u32,
        /// Lowest bit within the word.
        shift: u8,
        /// Bits of the code, 0 to 24; 0: the code is 0 for every row.
        width: u8,
        /// Always 0.
        reserved: u16,
    }

    /// What happens, and why.
    OutcomeRecord {
        /// [`Action`].
        action: u8,
        /// [`Reason`].
        reason: u8,
        /// [`RequestKind`] of a redirect, else 0.
        requests: u8,
        /// [`EXACT_PORT`] and [`PLAIN`].
        flags: u8,
        /// Of a redirect the request set, which names the rule; else the rule that decided, for
        /// default deny the first that isolates, [`NO_RULE`] if none.
        rule_or_set: u32,
    }

    /// Text in [`Section::Strings`].
    Text {
        /// First byte.
        start: u32,
        /// Bytes.
        len: u32,
    }

    /// A rule, as people name it. Its policy is the last whose `first_rule` is not above its id.
    RuleRecord {
        /// Place in its section.
        element: u32,
        /// Place in the element's port lists.
        list: u16,
        /// Section, part and spec: see [`crate::RulePath`].
        place: u16,
    }

    /// Where a rule is written, in its policy's file.
    PlaceRecord {
        /// Line from 1.
        line: u32,
        /// Column from 1.
        column: u32,
    }

    /// A policy.
    PolicyRecord {
        /// Such as `CiliumNetworkPolicy`.
        kind: Text,
        /// Empty for cluster-wide policies.
        namespace: Text,
        /// Its name.
        name: Text,
        /// The file it is in.
        file: Text,
        /// Its first rule; those of the next policy follow.
        first_rule: u32,
    }

    /// The labels of an identity.
    IdentityRecord {
        /// Its number.
        number: u32,
        /// Its labels in canonical form, one `source:key=value` a line, sorted.
        labels: Text,
    }

    /// The request rules that meet in one outcome.
    RequestSetRecord {
        /// The first rule that redirects.
        rule: u32,
        /// [`RequestKind`].
        kind: u16,
        /// 1 if every request passes.
        wildcard: u16,
        /// First entry in [`Section::RequestMembers`].
        start: u32,
        /// Entries.
        len: u32,
    }

    /// One request rule. Absent parts are empty text.
    RequestRuleRecord {
        /// The rule it belongs to.
        rule: u32,
        /// [`RequestKind`].
        kind: u32,
        /// HTTP method expression.
        method: Text,
        /// HTTP path expression.
        path: Text,
        /// HTTP host expression.
        host: Text,
        /// DNS name or pattern; 1 in `dns_is_pattern` for a pattern.
        dns: Text,
        /// See `dns`.
        dns_is_pattern: u32,
        /// First entry in [`Section::Headers`].
        headers: u32,
        /// Entries.
        header_count: u32,
    }

    /// One header to match.
    HeaderRecord {
        /// Name.
        name: Text,
        /// Value; meaningful if `has_value`.
        value: Text,
        /// 1 if the value must be equal, 0 if presence is enough.
        has_value: u32,
        /// What a mismatch does: 0 fails, 1 LOG, 2 ADD, 3 DELETE, 4 REPLACE.
        mismatch: u32,
        /// Secret that holds the value, as `namespace/name`; empty if none.
        secret: Text,
    }

    /// A DNS name or pattern, and the class of addresses that only it selects.
    FqdnRecord {
        /// The name or pattern.
        text: Text,
        /// 1 for a pattern.
        is_pattern: u32,
        /// The class.
        class: u32,
    }

    /// A named fact about the image.
    FactRecord {
        /// Such as `node`.
        key: Text,
        /// Such as `n1`.
        value: Text,
    }
}

/// [`OutcomeRecord::rule_or_set`] where no rule decided.
pub const NO_RULE: u32 = u32::MAX;
/// [`OutcomeRecord::flags`]: a plain rule for exactly this port admits the traffic, which makes it a
/// wildcard for DNS requests too.
pub const EXACT_PORT: u8 = 1;
/// [`OutcomeRecord::flags`]: a plain rule admits the traffic, which makes it a wildcard for HTTP requests.
pub const PLAIN: u8 = 2;

numbered! {
/// What a packet of a new connection meets.
#[repr(u8)]
Action {
    /// Passes.
    Allow = 1,
    /// Is handed to the request proxy.
    Redirect = 2,
    /// Is dropped.
    Deny = 3,
}
}

numbered! {
/// Why. Those of policy come from an image; those from [`Reason::FIRST_OF_DATAPATH`] on are the datapath's own.
#[repr(u8)]
named Reason {
    /// No policy selects the endpoint in this direction.
    NoPolicy = 1, "no-policy";
    /// An allow rule matched.
    AllowedByRule = 2, "allowed-by-rule";
    /// A deny rule matched.
    DeniedByRule = 3, "denied-by-rule";
    /// Policies isolate the endpoint and none admits the traffic.
    DefaultDeny = 4, "default-deny";
    /// Policies select the endpoint, none isolates it (`enableDefaultDeny: false`).
    DefaultAllow = 5, "default-allow";
    /// The endpoint's own node may always reach it.
    OwnNode = 6, "own-node";
    /// The image does not know the endpoint whose traffic it is, or its peer.
    UnknownEndpoint = 7, "unknown-endpoint";
    /// The image is for another node, which decides.
    EnforcedElsewhere = 8, "enforced-elsewhere";
    /// A packet back on a connection that was allowed.
    Reply = 32, "reply";
    /// An ICMP error about a connection that was allowed.
    Related = 33, "related";
    /// Neighbour discovery on the pod's own link, or ARP.
    Neighbour = 34, "neighbour-discovery";
    /// The packet is cut off or contradicts itself.
    Malformed = 35, "malformed";
    /// Neither IPv4 nor IPv6 nor ARP.
    UnsupportedProtocol = 36, "unsupported-protocol";
    /// A pod sent from an address that is not its own.
    SpoofedSource = 37, "spoofed-source";
    /// The interface has no endpoint, because none was registered or the map of interfaces is full.
    UnknownInterface = 38, "unknown-interface";
    /// No image is installed yet.
    NoImage = 39, "no-image";
    /// A fragment whose first fragment was not seen.
    UnknownFragment = 40, "unknown-fragment";
    /// The connection could not be recorded.
    ConntrackFull = 41, "conntrack-full";
    /// Policy hands the connection to a request proxy, and none listens.
    ProxyUnavailable = 42, "proxy-unavailable";
    /// The image has more tables than the program can address. Never for a checked image.
    BadImage = 43, "bad-image";
}
}

impl Reason {
    /// Numbers from here on never stand in an image.
    pub const FIRST_OF_DATAPATH: u8 = 32;
}

numbered! {
/// The kind of requests that a redirect is about.
#[repr(u8)]
RequestKind {
    /// HTTP.
    Http = 1,
    /// DNS.
    Dns = 2,
    /// TLS: server names or interception, no request rules.
    Tls = 3,
}
}

/// The enums of the image that C shares.
pub const NUMBERS: &[Numbers] = &[Section::NUMBERS, Action::NUMBERS, Reason::NUMBERS, RequestKind::NUMBERS];
