//! Frontends set apart: a place for each, found with one displacement for every few of them (hash and displace).
//!
//! Places are an eighth more than frontends: tighter saves little and takes longer. Not here: the hashes themselves (`weir_abi::services`).

use weir_abi::services::layout::GROUP_FRONTENDS;
use weir_abi::services::{displaced, key_hash, mix, reduce};

/// What a frontend is looked up by.
pub(super) type Key = ([u8; 16], u16, u8);

/// Where everybody is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) seed: u64,
    pub(super) displacements: Vec<u32>,
    /// Places in all.
    pub(super) positions: u32,
    /// By key, in the order given.
    pub(super) of: Vec<u32>,
}

/// Seeds that are tried; two keys of one hash are the reason for another, so the second is rare already.
const SEEDS: u64 = 64;
/// Displacements tried for a group before the seed is given up.
const DISPLACEMENTS: u32 = 1 << 22;

/// Sets the keys apart, which are all different. `None` if no seed does.
pub(super) fn set_apart(keys: &[Key]) -> Option<Places> {
    let positions = u32::try_from(keys.len() + keys.len() / 8 + 1).ok()?;
    let groups = positions.div_ceil(GROUP_FRONTENDS).next_power_of_two();
    (0..SEEDS).find_map(|attempt| by_seed(keys, mix(attempt, 0), groups, positions))
}

fn by_seed(keys: &[Key], seed: u64, groups: u32, positions: u32) -> Option<Places> {
    let hashes: Vec<u64> =
        keys.iter().map(|&(address, port, protocol)| key_hash(seed, address, port, protocol)).collect();
    let group_of = |key: u32| hashes[key as usize] as u32 & (groups - 1);
    let mut order: Vec<u32> = (0..u32::try_from(keys.len()).ok()?).collect();
    order.sort_unstable_by_key(|&key| (group_of(key), key));
    let mut members: Vec<&[u32]> = order.chunk_by(|&a, &b| group_of(a) == group_of(b)).collect();
    // The largest first, while there is room.
    members.sort_by_key(|members| std::cmp::Reverse(members.len()));
    let mut displacements = vec![0; groups as usize];
    let mut taken = vec![false; positions as usize];
    let mut of = vec![0; keys.len()];
    let mut wanted = Vec::new();
    for members in members {
        let fits = |&displacement: &u32| {
            wanted.clear();
            members.iter().all(|&key| {
                let place = reduce(displaced(hashes[key as usize], displacement), positions);
                let is_free = !taken[place as usize] && !wanted.contains(&place);
                wanted.push(place);
                is_free
            })
        };
        // Two keys of one hash would try all of them.
        let mut own: Vec<u64> = members.iter().map(|&key| hashes[key as usize]).collect();
        own.sort_unstable();
        own.dedup();
        if own.len() < members.len() {
            return None;
        }
        let displacement = (0..DISPLACEMENTS).find(fits)?;
        displacements[group_of(*members.first()?) as usize] = displacement;
        for (&key, &place) in members.iter().zip(&wanted) {
            taken[place as usize] = true;
            of[key as usize] = place;
        }
    }
    Some(Places { seed, displacements, positions, of })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_has_a_place_of_their_own() {
        for count in [0u32, 1, 2, 7, 100, 5000] {
            let key = |number: u32| {
                let mut address = [0; 16];
                address[12..].copy_from_slice(&(0x0A60_0000 + number / 3).to_be_bytes());
                (address, 80 + (number % 3) as u16, 6)
            };
            let keys: Vec<Key> = (0..count).map(key).collect();
            let places = set_apart(&keys).unwrap();
            let apart: BTreeSet<u32> = places.of.iter().copied().collect();
            assert_eq!(apart.len(), keys.len());
            assert!(apart.iter().all(|&place| place < places.positions));
        }
    }
}
