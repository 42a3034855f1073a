//! The user part of an image: names, places, labels, request rules.

use crate::identity::Identity;
use crate::image::{Image, PeerClass};
use crate::layout::{FqdnRecord, RequestKind, RequestRuleRecord, Text};
use crate::rule_path::RulePath;

/// A rule, its policy, and where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleEntry<'a> {
    /// Its policy.
    pub policy: PolicyEntry<'a>,
    /// Such as `egress[0].toPorts[1]`.
    pub path: RulePath,
    /// Line from 1.
    pub line: u32,
    /// Column from 1.
    pub column: u32,
}

/// A policy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyEntry<'a> {
    /// Such as `CiliumNetworkPolicy`.
    pub kind: &'a str,
    /// Empty for cluster-wide policies.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The file it is in.
    pub file: &'a str,
}

/// An identity's number and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityEntry<'a> {
    /// The number.
    pub identity: Identity,
    /// One `source:key=value` a line, sorted.
    pub labels: &'a str,
}

/// A DNS name or pattern of a `toFQDNs` rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FqdnEntry<'a> {
    /// The name or pattern.
    pub text: &'a str,
    /// Whether stars are meant.
    pub is_pattern: bool,
    /// The class of what only this selects. An address that has several names has several classes
    /// besides its own; the strongest verdict of all holds.
    pub class: PeerClass,
}

/// The request rules that meet in one outcome.
#[derive(Clone, Copy, Debug)]
pub struct RequestSet<'a> {
    image: Image<'a>,
    /// The first rule that redirects.
    pub rule: u32,
    /// What the requests are.
    pub kind: RequestKind,
    /// Whether every request passes.
    pub wildcard: bool,
    members: &'a [u32],
}

/// One request rule; absent parts are `None`.
#[derive(Clone, Copy, Debug)]
pub struct RequestRule<'a> {
    image: Image<'a>,
    record: &'a RequestRuleRecord,
}

/// A header to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderMatch<'a> {
    /// Name, compared without case.
    pub name: &'a str,
    /// The exact value; `None`: presence is enough.
    pub value: Option<&'a str>,
    /// Whether a mismatch fails the rule (otherwise the request passes, changed or logged).
    pub fails: bool,
    /// Secret that holds the value, `namespace/name`.
    pub secret: Option<&'a str>,
}

impl<'a> Image<'a> {
    fn text(&self, text: Text) -> &'a str {
        let start = text.start as usize;
        // An end past all numbers (32 bits, a file that changed) is a range that holds nothing.
        self.strings.get(start..start.wrapping_add(text.len as usize)).unwrap_or_default()
    }

    fn some_text(&self, text: Text) -> Option<&'a str> {
        (text.len > 0).then(|| self.text(text))
    }

    /// A rule by its id.
    pub fn rule(&self, id: u32) -> Option<RuleEntry<'a>> {
        let rule = self.rules.get(id as usize)?;
        let place = self.places.get(id as usize)?;
        let policy = self.policies.partition_point(|policy| policy.first_rule <= id).checked_sub(1)?;
        Some(RuleEntry {
            policy: self.policy(u32::try_from(policy).ok()?)?,
            path: RulePath::from_record(rule),
            line: place.line,
            column: place.column,
        })
    }

    /// How many rules there are.
    pub const fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// A policy by its number.
    pub fn policy(&self, number: u32) -> Option<PolicyEntry<'a>> {
        let policy = self.policies.get(number as usize)?;
        Some(PolicyEntry {
            kind: self.text(policy.kind),
            namespace: self.text(policy.namespace),
            name: self.text(policy.name),
            file: self.text(policy.file),
        })
    }

    /// How many policies there are.
    pub const fn policy_count(&self) -> usize {
        self.policies.len()
    }

    /// The identities, by rising number.
    pub fn identities(&self) -> impl ExactSizeIterator<Item = IdentityEntry<'a>> {
        let image = *self;
        self.identities.iter().map(move |record| IdentityEntry {
            identity: Identity(record.number),
            labels: image.text(record.labels),
        })
    }

    /// The DNS names and patterns that rules select by.
    pub fn fqdns(&self) -> impl ExactSizeIterator<Item = FqdnEntry<'a>> {
        let image = *self;
        self.fqdns.iter().map(move |record: &'a FqdnRecord| FqdnEntry {
            text: image.text(record.text),
            is_pattern: record.is_pattern == 1,
            class: PeerClass(record.class),
        })
    }

    /// Named facts: what the image was compiled for.
    pub fn facts(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> {
        let image = *self;
        self.facts.iter().map(move |fact| (image.text(fact.key), image.text(fact.value)))
    }

    /// One fact by name.
    pub fn fact(&self, key: &str) -> Option<&'a str> {
        self.facts().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A request set by its number.
    pub fn request_set(&self, number: u32) -> Option<RequestSet<'a>> {
        let record = self.request_sets.get(number as usize)?;
        let start = record.start as usize;
        Some(RequestSet {
            image: *self,
            rule: record.rule,
            kind: RequestKind::from_number(u8::try_from(record.kind).ok()?)?,
            wildcard: record.wildcard == 1,
            members: self.request_members.get(start..start.wrapping_add(record.len as usize))?,
        })
    }

    /// How many request sets there are.
    pub const fn request_set_count(&self) -> usize {
        self.request_sets.len()
    }
}

impl<'a> RequestSet<'a> {
    /// The rules; a request passes if one matches.
    pub fn rules(&self) -> impl Iterator<Item = RequestRule<'a>> {
        let image = self.image;
        self.members.iter().filter_map(move |&member| {
            image.request_rules.get(member as usize).map(|record| RequestRule { image, record })
        })
    }
}

impl<'a> RequestRule<'a> {
    /// The rule id it belongs to.
    pub const fn rule(&self) -> u32 {
        self.record.rule
    }

    /// HTTP or DNS.
    pub fn kind(&self) -> Option<RequestKind> {
        RequestKind::from_number(u8::try_from(self.record.kind).ok()?)
    }

    /// Method expression, over the whole string.
    pub fn method(&self) -> Option<&'a str> {
        self.image.some_text(self.record.method)
    }

    /// Path expression, over the whole string.
    pub fn path(&self) -> Option<&'a str> {
        self.image.some_text(self.record.path)
    }

    /// Host expression, over the whole string.
    pub fn host(&self) -> Option<&'a str> {
        self.image.some_text(self.record.host)
    }

    /// DNS name or pattern, and whether it is a pattern.
    pub fn dns(&self) -> Option<(&'a str, bool)> {
        self.image.some_text(self.record.dns).map(|text| (text, self.record.dns_is_pattern == 1))
    }

    /// Headers; all must match.
    pub fn headers(&self) -> impl Iterator<Item = HeaderMatch<'a>> {
        let image = self.image;
        let start = self.record.headers as usize;
        let records =
            image.headers.get(start..start.wrapping_add(self.record.header_count as usize)).unwrap_or(&[]);
        records.iter().map(move |record| HeaderMatch {
            name: image.text(record.name),
            value: (record.has_value == 1).then(|| image.text(record.value)),
            fails: record.mismatch == 0,
            secret: image.some_text(record.secret),
        })
    }
}
