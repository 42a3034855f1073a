//! Verdicts from an opened image.

use crate::identity::Identity;
use crate::layout::{
    Action, ColumnRecord, EXACT_PORT, EndpointRecord, FactRecord, FqdnRecord, Header, HeaderRecord,
    IdentityRecord, NO_RULE, OutcomeRecord, PEER_PAGE, PLAIN, PORT_PAGE, PlaceRecord, PolicyRecord, Reason,
    RequestKind, RequestRuleRecord, RequestSetRecord, RuleRecord, TableRecord,
};
use crate::prefix::{V4Table, V6Table};
use core::net::IpAddr;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Peers that no rule of the image tells apart.
///
/// Class 0 is of peers that no rule names; rules for anyone take them in. It is not for a pod or node
/// that the image does not know ([`Image::endpoint`] gives `None`): such a peer could be one that is
/// denied, so whoever asks must deny it wherever the subject's table is not [`Table::NO_POLICY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PeerClass(pub u32);

/// (protocol, port) pairs that no rule of the image tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PortClass(pub u16);

/// The verdict table of an endpoint in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table(pub u32);

impl Table {
    /// No policy selects the endpoint in this direction.
    pub const NO_POLICY: Table = Table(0);
}

/// What an identity is to the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its class as a peer.
    pub class: PeerClass,
    /// Its table for traffic to it.
    pub ingress: Table,
    /// Its table for traffic from it.
    pub egress: Table,
    /// Whether the image has its policy. An image for one node knows the endpoints elsewhere only as
    /// peers; their tables are meaningless.
    pub enforced_here: bool,
}

/// What happens to the first packet of a connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// What happens.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The rule that decided; for default deny the first rule that isolates.
    pub rule: Option<u32>,
    /// The requests that a redirect is about, and the number of their set.
    pub requests: Option<(RequestKind, u32)>,
    /// Whether a plain rule for exactly this port admits the traffic.
    pub exact_port: bool,
    /// Whether any plain rule does.
    pub plain: bool,
}

impl Outcome {
    /// What the image says where nothing selects the endpoint.
    pub const NO_POLICY: Outcome = Outcome {
        action: Action::Allow,
        reason: Reason::NoPolicy,
        rule: None,
        requests: None,
        exact_port: false,
        plain: false,
    };

    /// What is said of an endpoint or index that the image does not hold: closed.
    pub const UNKNOWN: Outcome = Outcome {
        action: Action::Deny,
        reason: Reason::UnknownEndpoint,
        rule: None,
        requests: None,
        exact_port: false,
        plain: false,
    };
}

/// An opened image: every section in place, every offset checked.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) header: &'a Header,
    pub(crate) endpoints: &'a [EndpointRecord],
    pub(crate) node_endpoints: &'a [EndpointRecord],
    pub(crate) v4: V4Table<'a>,
    pub(crate) v6: V6Table<'a>,
    pub(crate) protocols: &'a [u32],
    pub(crate) port_directories: &'a [u32],
    pub(crate) port_pages: &'a [u16],
    pub(crate) tables: &'a [TableRecord],
    pub(crate) peer_directories: &'a [u32],
    pub(crate) peer_pages: &'a [u32],
    pub(crate) column_maps: &'a [u16],
    pub(crate) columns: &'a [ColumnRecord],
    pub(crate) row_directories: &'a [u16],
    pub(crate) dictionaries: &'a [OutcomeRecord],
    pub(crate) rules: &'a [RuleRecord],
    pub(crate) policies: &'a [PolicyRecord],
    pub(crate) identities: &'a [IdentityRecord],
    pub(crate) request_sets: &'a [RequestSetRecord],
    pub(crate) request_members: &'a [u32],
    pub(crate) request_rules: &'a [RequestRuleRecord],
    pub(crate) headers: &'a [HeaderRecord],
    pub(crate) fqdns: &'a [FqdnRecord],
    pub(crate) facts: &'a [FactRecord],
    pub(crate) places: &'a [PlaceRecord],
    pub(crate) strings: &'a str,
}

impl<'a> Image<'a> {
    /// The bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Sizes and shapes.
    pub const fn header(&self) -> &'a Header {
        self.header
    }

    /// The IPv4 table.
    pub const fn v4(&self) -> &V4Table<'a> {
        &self.v4
    }

    /// The IPv6 table.
    pub const fn v6(&self) -> &V6Table<'a> {
        &self.v6
    }

    /// The class of an address outside the cluster. Addresses of pods and nodes must be looked up as
    /// identities first: rules about CIDRs never match them.
    #[inline]
    pub fn address_class(&self, address: IpAddr) -> PeerClass {
        match address {
            IpAddr::V4(address) => self.v4.class(address.to_bits()),
            IpAddr::V6(address) => self.v6.class(address.to_bits()),
        }
        .unwrap_or_default()
    }

    /// What an identity is to the image; `None` for one it does not know.
    #[inline]
    pub fn endpoint(&self, identity: Identity) -> Option<Endpoint> {
        let record = match identity.pod_index() {
            Some(index) => self.endpoints.get(index)?,
            None => self.node_endpoints.get(identity.node_index()?)?,
        };
        (record.known > 0).then_some(Endpoint {
            class: PeerClass(record.class),
            ingress: Table(record.ingress),
            egress: Table(record.egress),
            enforced_here: record.known == 2,
        })
    }

    /// The class of an IP protocol and destination port; for ICMP and ICMPv6 the "port" is the type.
    #[inline]
    pub fn port_class(&self, protocol: u8, port: u16) -> PortClass {
        let lookup = || {
            let directory = *self.protocols.get(usize::from(protocol))?;
            let port = usize::from(port);
            let page = self.entry::<u32>(directory, port / PORT_PAGE)?;
            self.entry::<u16>(*page, port % PORT_PAGE).copied()
        };
        PortClass(lookup().unwrap_or_default())
    }

    /// The ports that rules name, in order: protocol, first and last port, class. All others are of class 0.
    pub fn port_ranges(&self) -> impl Iterator<Item = (u8, u16, u16, PortClass)> {
        // Protocols that no rule names share a directory.
        let mut unnamed = None;
        let named = (0..=u8::MAX).zip(self.protocols).filter(move |&(protocol, directory)| {
            if unnamed == Some(directory) {
                return false;
            }
            let is_named = self.runs(protocol).any(|(_, _, class)| class != PortClass::default());
            if !is_named {
                unnamed = Some(directory);
            }
            is_named
        });
        let runs = named.flat_map(move |(protocol, _)| {
            self.runs(protocol).map(move |(first, last, class)| (protocol, first, last, class))
        });
        runs.filter(|&(.., class)| class != PortClass::default())
    }

    /// The ports of a protocol, those of one class that touch together.
    fn runs(&self, protocol: u8) -> impl Iterator<Item = (u16, u16, PortClass)> {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let first = next?;
            let class = self.port_class(protocol, first);
            let same = (first..=u16::MAX).take_while(|&port| self.port_class(protocol, port) == class);
            let last = same.last().unwrap_or(first);
            next = last.checked_add(1);
            Some((first, last, class))
        })
    }

    /// What happens to traffic between an endpoint with this table and such a peer, on such a port.
    #[inline]
    pub fn judge(&self, table: Table, peer: PeerClass, port: PortClass) -> Outcome {
        self.verdicts(table, port).of(peer)
    }

    /// The verdicts of a table on one port, for a caller who asks about many peers.
    #[inline]
    pub fn verdicts(&self, table: Table, port: PortClass) -> Verdicts<'_> {
        let column = if table == Table::NO_POLICY { Column::NoPolicy } else { self.column(table, port) };
        Verdicts { image: self, column }
    }

    /// The entry of so great a number in a run that begins at a place of the image.
    #[inline]
    fn entry<T: FromBytes + Immutable + KnownLayout>(&self, place: u32, number: usize) -> Option<&'a T> {
        let start = number.checked_mul(size_of::<T>())?.checked_add(place as usize)?;
        T::ref_from_bytes(self.bytes.get(start..start.checked_add(size_of::<T>())?)?).ok()
    }

    #[inline]
    fn column(&self, table: Table, port: PortClass) -> Column<'_> {
        let find = || {
            let table = self.tables.get(table.0 as usize)?;
            let column = self.entry::<u16>(table.column_map, usize::from(port.0))?;
            let column = self.entry::<ColumnRecord>(table.columns, usize::from(*column))?;
            Some(Column::Coded { table, column })
        };
        find().unwrap_or(Column::Unknown)
    }

    #[inline]
    fn outcome(&self, record: &OutcomeRecord) -> Option<Outcome> {
        let action = Action::from_number(record.action)?;
        let (rule, requests) = match action {
            Action::Redirect => {
                let set = self.request_sets.get(record.rule_or_set as usize)?;
                (Some(set.rule), Some((RequestKind::from_number(record.requests)?, record.rule_or_set)))
            }
            Action::Allow | Action::Deny => {
                ((record.rule_or_set != NO_RULE).then_some(record.rule_or_set), None)
            }
        };
        let reason = Reason::from_number(record.reason)?;
        let (exact_port, plain) = (record.flags & EXACT_PORT != 0, record.flags & PLAIN != 0);
        Some(Outcome { action, reason, rule, requests, exact_port, plain })
    }
}

/// What a table says on one port.
#[derive(Clone, Copy, Debug)]
enum Column<'a> {
    NoPolicy,
    Unknown,
    Coded { table: &'a TableRecord, column: &'a ColumnRecord },
}

/// The verdicts of one table on one port, by peer.
#[derive(Clone, Copy, Debug)]
pub struct Verdicts<'i> {
    image: &'i Image<'i>,
    column: Column<'i>,
}

impl Verdicts<'_> {
    /// What happens to traffic with such a peer.
    #[inline]
    pub fn of(&self, peer: PeerClass) -> Outcome {
        match self.column {
            Column::NoPolicy => Outcome::NO_POLICY,
            Column::Unknown => Outcome::UNKNOWN,
            Column::Coded { table, column } => self
                .code(table, column, peer)
                .and_then(|code| self.image.entry(column.dictionary, code as usize))
                .and_then(|record| self.image.outcome(record))
                .unwrap_or(Outcome::UNKNOWN),
        }
    }

    #[inline]
    fn code(&self, table: &TableRecord, column: &ColumnRecord, peer: PeerClass) -> Option<u32> {
        if column.width == 0 {
            return Some(0);
        }
        let image = self.image;
        let peer = peer.0 as usize;
        let page = image.entry::<u32>(table.peer_directory, peer / PEER_PAGE)?;
        let row = *image.entry::<u32>(*page, peer % PEER_PAGE)?;
        let page = if table.row_pages == 1 {
            row
        } else {
            let entry = table.row_directory.checked_add(row)?.checked_add(column.page)?;
            u32::from(*image.entry::<u16>(entry, 0)?).checked_mul(table.page_bytes)?
        };
        let word = table.rows.checked_add(page)?.checked_add(column.word)?;
        Some(*image.entry::<u32>(word, 0)? >> (column.shift & 31) & ((1u32 << (column.width & 31)) - 1))
    }
}
