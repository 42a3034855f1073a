//! Where in its policy a rule stands: `specs[1].egressDeny[0].toPorts[2]`, packed into eight bytes.

use crate::layout::RuleRecord;
use core::fmt;

/// The lists of rules that a policy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RuleSection {
    /// `ingress`.
    Ingress = 0,
    /// `ingressDeny`.
    IngressDeny = 1,
    /// `egress`.
    Egress = 2,
    /// `egressDeny`.
    EgressDeny = 3,
}

impl RuleSection {
    /// The field's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            RuleSection::Ingress => "ingress",
            RuleSection::IngressDeny => "ingressDeny",
            RuleSection::Egress => "egress",
            RuleSection::EgressDeny => "egressDeny",
        }
    }
}

/// Which part of an element a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The section as such: isolation without any rule.
    Section,
    /// The element as a whole.
    Whole,
    /// `toPorts[i]`.
    Ports(u16),
    /// `icmps`.
    Icmps,
}

/// Where in its policy a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RulePath {
    /// `specs[i]`; `None` for `spec`. Below [`RulePath::MAX_SPECS`].
    pub spec: Option<u16>,
    /// The list.
    pub section: RuleSection,
    /// The element of the list.
    pub element: u32,
    /// The part of the element.
    pub part: Part,
}

impl RulePath {
    /// `specs` that can be told apart.
    pub const MAX_SPECS: u16 = 0xFFF;

    /// Packs the path: spec in the upper twelve bits (all ones: none), section and part below.
    pub const fn to_record(self) -> RuleRecord {
        let (part, list) = match self.part {
            Part::Section => (0, 0),
            Part::Whole => (1, 0),
            Part::Ports(list) => (2, list),
            Part::Icmps => (3, 0),
        };
        let spec = match self.spec {
            Some(spec) if spec < Self::MAX_SPECS => spec,
            _ => Self::MAX_SPECS,
        };
        RuleRecord { element: self.element, list, place: spec << 4 | (self.section as u16) << 2 | part }
    }

    pub(crate) const fn from_record(record: &RuleRecord) -> RulePath {
        let section = match record.place >> 2 & 3 {
            0 => RuleSection::Ingress,
            1 => RuleSection::IngressDeny,
            2 => RuleSection::Egress,
            _ => RuleSection::EgressDeny,
        };
        let part = match record.place & 3 {
            0 => Part::Section,
            1 => Part::Whole,
            2 => Part::Ports(record.list),
            _ => Part::Icmps,
        };
        let spec = record.place >> 4;
        let spec = if spec == Self::MAX_SPECS { None } else { Some(spec) };
        RulePath { spec, section, element: record.element, part }
    }
}

impl fmt::Display for RulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(spec) = self.spec {
            write!(f, "specs[{spec}].")?;
        }
        write!(f, "{}", self.section.as_str())?;
        if self.part == Part::Section {
            return Ok(());
        }
        write!(f, "[{}]", self.element)?;
        match self.part {
            Part::Section | Part::Whole => Ok(()),
            Part::Ports(list) => write!(f, ".toPorts[{list}]"),
            Part::Icmps => write!(f, ".icmps"),
        }
    }
}
