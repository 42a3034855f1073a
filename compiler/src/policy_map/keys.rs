//! Ports as Cilium's policy map keys them: a protocol and a masked prefix of a port.

use crate::compile::named_ports;
use crate::identity::{Entry, Identities};
use crate::ir::{Direction, PortMatch, Ports, Rule};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// A protocol, the first port, and how many bits of it count. Protocol 0 is every protocol.
pub(super) type Key = (u8, u16, u8);

/// The numbers of port names in the cluster.
pub(super) struct PortNames {
    numbers: FxHashMap<(String, u8), BTreeSet<u16>>,
}

impl PortNames {
    pub(super) fn new(identities: &Identities<'_>) -> Self {
        let mut numbers: FxHashMap<(String, u8), BTreeSet<u16>> = FxHashMap::default();
        for (name, number) in identities.entries.iter().flat_map(named_ports) {
            numbers.entry(name).or_default().insert(number);
        }
        PortNames { numbers }
    }

    /// The keys of a rule's port names that are an endpoint's own.
    pub(super) fn own(&self, rule: &Rule, endpoint: &Entry<'_>) -> Vec<Key> {
        match &rule.ports {
            Ports::Any(list) if list.iter().any(|port| matches!(port, PortMatch::Named { .. })) => {
                self.keys(rule, endpoint)
            }
            _ => Vec::new(),
        }
    }

    /// The keys that a rule asks for.
    pub(super) fn keys(&self, rule: &Rule, endpoint: &Entry<'_>) -> Vec<Key> {
        let Ports::Any(list) = &rule.ports else { return vec![(0, 0, 0)] };
        let mut keys = Vec::new();
        for port in list {
            match port {
                &PortMatch::Range { protocol, first, last } => masked(protocol, first, last, &mut keys),
                PortMatch::Named { protocol, name } if rule.direction == Direction::Ingress => {
                    let own =
                        named_ports(endpoint).filter(|((own, number), _)| own == name && number == protocol);
                    keys.extend(own.map(|(_, number)| (*protocol, number, 16)));
                }
                PortMatch::Named { protocol, name } => {
                    let numbers = self.numbers.get(&(name.clone(), *protocol)).into_iter().flatten();
                    keys.extend(numbers.map(|&number| (*protocol, number, 16)));
                }
            }
        }
        keys
    }
}

/// Splits a range into the fewest prefixes.
fn masked(protocol: u8, first: u16, last: u16, keys: &mut Vec<Key>) {
    let (mut next, last) = (u32::from(first), u32::from(last));
    while next <= last {
        // As wide as the port's low zeros allow, and not beyond the last.
        let mut bits = next.trailing_zeros().min(16);
        while bits > 0 && next + (1 << bits) - 1 > last {
            bits -= 1;
        }
        if let (Ok(port), Ok(bits)) = (u16::try_from(next), u8::try_from(bits)) {
            keys.push((protocol, port, 16 - bits));
        }
        next += 1 << bits;
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn ranges_are_split_into_the_fewest_prefixes() {
        let count = |first, last| {
            let mut keys = Vec::new();
            masked(6, first, last, &mut keys);
            keys.len()
        };
        assert_eq!([count(80, 80), count(0, 65535), count(8080, 8081), count(1, 65534)], [1, 1, 1, 30]);
        let mut keys = Vec::new();
        masked(17, 10, 13, &mut keys);
        assert_eq!(keys, [(17, 10, 15), (17, 12, 15)]);
    }
}
