//! Sets of ports as people say them: `tcp/80,443 udp/53`, `all but tcp/22`.
//!
//! A set is made of an image's port classes, so what no rule tells apart is never written out.
//!
//! Not here: what happens on them.

use crate::flow::protocol_name;
use std::collections::BTreeMap;
use std::fmt;
use weir_abi::{Image, PortClass};

/// Every port that rules name, by protocol: where a run begins and ends, and its class.
#[derive(Clone, Debug)]
pub(super) struct NamedPorts(BTreeMap<u8, Vec<(u16, u16, PortClass)>>);

/// A set of ports of all protocols.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortSet {
    /// Whether protocols that are not listed are in it, with all their ports.
    pub others: bool,
    /// By protocol, the ranges of ports that are in it, inclusive and apart. For ICMP the types are the ports.
    pub protocols: BTreeMap<u8, Vec<(u16, u16)>>,
}

impl NamedPorts {
    pub(super) fn of(image: &Image<'_>) -> Self {
        let mut named: BTreeMap<u8, Vec<(u16, u16, PortClass)>> = BTreeMap::new();
        for (protocol, first, last, class) in image.port_ranges() {
            let runs = named.entry(protocol).or_default();
            let begin = runs.last().map_or(Some(0), |&(_, last, _)| last.checked_add(1));
            // What lies between the ports that rules name is of the class of all others.
            if let (Some(begin), Some(end)) = (begin, first.checked_sub(1))
                && begin <= end
            {
                runs.push((begin, end, PortClass::default()));
            }
            runs.push((first, last, class));
        }
        for runs in named.values_mut() {
            if let Some(begin) = runs.last().and_then(|&(_, last, _)| last.checked_add(1)) {
                runs.push((begin, u16::MAX, PortClass::default()));
            }
        }
        NamedPorts(named)
    }

    /// The ports of some classes. `holds` says which.
    pub(super) fn set(&self, holds: impl Fn(PortClass) -> bool) -> PortSet {
        let mut protocols = BTreeMap::new();
        for (&protocol, runs) in &self.0 {
            let mut ranges: Vec<(u16, u16)> = Vec::new();
            for &(first, last, class) in runs {
                if !holds(class) {
                    continue;
                }
                match ranges.last_mut() {
                    Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
                    _ => ranges.push((first, last)),
                }
            }
            protocols.insert(protocol, ranges);
        }
        PortSet { others: holds(PortClass::default()), protocols }
    }
}

impl PortSet {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.others && self.protocols.values().all(|ranges| ranges == &[(0, u16::MAX)])
    }

    /// Whether a port is in it.
    pub fn contains(&self, protocol: u8, port: u16) -> bool {
        match self.protocols.get(&protocol) {
            Some(ranges) => ranges.iter().any(|&(first, last)| (first..=last).contains(&port)),
            None => self.others,
        }
    }

    fn complement(&self) -> PortSet {
        let of = |ranges: &Vec<(u16, u16)>| {
            let mut rest = Vec::new();
            let mut next = Some(0);
            for &(first, last) in ranges {
                if let (Some(begin), Some(end)) = (next, first.checked_sub(1))
                    && begin <= end
                {
                    rest.push((begin, end));
                }
                next = last.checked_add(1);
            }
            rest.extend(next.map(|begin| (begin, u16::MAX)));
            rest
        };
        let protocols = self.protocols.iter().map(|(&protocol, ranges)| (protocol, of(ranges))).collect();
        PortSet { others: !self.others, protocols }
    }
}

/// Ranges that are written out; of more the rest is counted.
const WRITTEN: usize = 6;

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("all ports");
        }
        if self.others {
            return write!(f, "all but {}", self.complement());
        }
        let mut space = "";
        for (&protocol, ranges) in self.protocols.iter().filter(|(_, ranges)| !ranges.is_empty()) {
            write!(f, "{space}{}", protocol_name(protocol).to_lowercase())?;
            space = " ";
            // Port 0 is no port, so that without it all are there.
            if matches!(ranges[..], [(0 | 1, u16::MAX)]) {
                continue;
            }
            let mut comma = "/";
            for &(first, last) in ranges.iter().take(WRITTEN) {
                write!(f, "{comma}{first}")?;
                if first != last {
                    write!(f, "-{last}")?;
                }
                comma = ",";
            }
            if let Some(more @ 1..) = ranges.len().checked_sub(WRITTEN) {
                write!(f, ",+{more}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::PortSet;

    #[test]
    fn sets_are_said_the_short_way() {
        let said = |others: bool, protocols: &[(u8, &[(u16, u16)])]| {
            let protocols = protocols.iter().map(|&(number, ranges)| (number, ranges.to_vec())).collect();
            PortSet { others, protocols }.to_string()
        };
        assert_eq!(said(true, &[(6, &[(0, 65535)])]), "all ports");
        assert_eq!(said(true, &[(6, &[(0, 21), (23, 65535)])]), "all but tcp/22");
        assert_eq!(said(false, &[(6, &[(80, 80), (443, 445)]), (17, &[(53, 53)])]), "tcp/80,443-445 udp/53");
        assert_eq!(said(false, &[(6, &[(0, 65535)]), (17, &[])]), "tcp");
        assert_eq!(said(false, &[(1, &[(8, 8)]), (112, &[(0, 65535)])]), "icmp/8 112");
        let many: Vec<(u16, u16)> = (1..=9).map(|port| (port * 10, port * 10)).collect();
        assert_eq!(said(false, &[(6, &many)]), "tcp/10,20,30,40,50,60,+3");
    }
}
