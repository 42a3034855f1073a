//! Verdicts from an opened image.

use crate::identity::Identity;
use crate::layout::{
    Action, ColumnRecord, EXACT_PORT, EndpointRecord, FactRecord, FqdnRecord, Header, HeaderRecord, INDIRECT,
    IdentityRecord, NO_RULE, OutcomeRecord, PEER_PAGE, PLAIN, PORT_DIRECTORY, PORT_PAGE, PlaceRecord,
    PolicyRecord, Reason, RequestKind, RequestRuleRecord, RequestSetRecord, RuleRecord, TableRecord,
};
use crate::prefix::{V4Table, V6Table};
use core::net::IpAddr;

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
    pub(crate) port_directories: &'a [u16],
    pub(crate) port_pages: &'a [u16],
    pub(crate) tables: &'a [TableRecord],
    pub(crate) peer_directories: &'a [u32],
    pub(crate) peer_pages: &'a [u32],
    pub(crate) column_maps: &'a [u16],
    pub(crate) columns: &'a [ColumnRecord],
    pub(crate) row_directories: &'a [u16],
    pub(crate) rows: &'a [u32],
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
            let entry = *self.protocols.get(usize::from(protocol))?;
            if entry & INDIRECT != 0 {
                return u16::try_from(entry & !INDIRECT).ok();
            }
            let port = usize::from(port);
            let page = *self.port_directories.get(entry as usize * PORT_DIRECTORY + port / PORT_PAGE)?;
            self.port_pages.get(usize::from(page) * PORT_PAGE + port % PORT_PAGE).copied()
        };
        PortClass(lookup().unwrap_or_default())
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

    #[inline]
    fn column(&self, table: Table, port: PortClass) -> Column<'_> {
        let find = || {
            let table = self.tables.get(table.0 as usize)?;
            let column = *self.column_maps.get(table.column_map as usize + usize::from(port.0))?;
            let column = self.columns.get(table.columns as usize + usize::from(column))?;
            let outcomes = self.dictionaries.get(column.dictionary as usize..)?;
            let pages = self.peer_directories.get(table.peer_directory as usize..)?;
            Some(Column::Coded { table, column, pages, outcomes })
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
    Coded {
        table: &'a TableRecord,
        column: &'a ColumnRecord,
        /// Page of rows by peer class.
        pages: &'a [u32],
        /// Outcome by code.
        outcomes: &'a [OutcomeRecord],
    },
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
            Column::Coded { table, column, pages, outcomes } => self
                .code(table, column, pages, peer)
                .and_then(|code| outcomes.get(code as usize))
                .and_then(|record| self.image.outcome(record))
                .unwrap_or(Outcome::UNKNOWN),
        }
    }

    #[inline]
    fn code(
        &self,
        table: &TableRecord,
        column: &ColumnRecord,
        pages: &[u32],
        peer: PeerClass,
    ) -> Option<u32> {
        if column.width == 0 {
            return Some(0);
        }
        let image = self.image;
        let peer = peer.0 as usize;
        let page = *pages.get(peer / PEER_PAGE)?;
        let row = *image.peer_pages.get(page as usize * PEER_PAGE + peer % PEER_PAGE)? as usize;
        let row_pages = table.row_pages as usize;
        let page = if row_pages == 1 {
            row
        } else {
            let at = table.row_directory as usize + row * row_pages + usize::from(column.page);
            usize::from(*image.row_directories.get(at)?)
        };
        let word = table.rows as usize + page * table.page_words as usize + usize::from(column.word);
        Some(*image.rows.get(word)? >> (column.shift & 31) & ((1u32 << (column.width & 31)) - 1))
    }
}
