//! CIDR lists, kept small: a policy may hold a million.

use super::{Meta, Selector};
use crate::span::{Span, Spanned};
use ipnet::IpNet;

/// A prefix and the byte where it is written (in the file of the list's span).
/// Host bits are already cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlacedCidr {
    /// The prefix, truncated to its network.
    pub net: IpNet,
    /// Byte offset of the text.
    pub at: u32,
}

/// One block of a CIDR list, less its exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CidrBlock {
    /// The prefix.
    pub cidr: PlacedCidr,
    /// Its exceptions, as a range of [`CidrSet::excepts`]. Each lies within the prefix.
    pub except: (u32, u32),
}

/// Where a group entry takes its prefixes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupSource {
    /// `cidrGroupRef`.
    Name(Spanned<String>),
    /// `cidrGroupSelector`, over the labels of the groups.
    Selector(Selector),
}

/// An entry of `fromCIDRSet`/`toCIDRSet` that names groups, less its exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBlock {
    /// Which groups.
    pub source: GroupSource,
    /// Prefixes left out.
    pub except: Vec<PlacedCidr>,
}

/// A list of CIDRs: the union of its blocks and groups.
/// An exception binds its own entry only; it is no deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrSet {
    /// The whole list.
    pub span: Span,
    /// Entries written as prefixes.
    pub blocks: Vec<CidrBlock>,
    /// The exceptions of all blocks.
    pub excepts: Vec<PlacedCidr>,
    /// Entries written as references to groups.
    pub groups: Vec<GroupBlock>,
}

impl CidrSet {
    /// A list with no entries.
    pub const fn empty(span: Span) -> Self {
        CidrSet { span, blocks: Vec::new(), excepts: Vec::new(), groups: Vec::new() }
    }

    /// Whether the list has no entries at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.groups.is_empty()
    }

    /// The exceptions of one of this list's blocks.
    pub fn excepts_of(&self, block: &CidrBlock) -> &[PlacedCidr] {
        self.excepts.get(block.except.0 as usize..block.except.1 as usize).unwrap_or(&[])
    }
}

/// A CiliumCIDRGroup.
#[derive(Clone, Debug)]
pub struct CidrGroup {
    /// Name and labels; cluster-scoped.
    pub meta: Meta,
    /// `spec.externalCIDRs`.
    pub cidrs: Vec<PlacedCidr>,
}
