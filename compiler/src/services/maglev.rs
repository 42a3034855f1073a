//! Maglev tables: which backend has which slot, so that all nodes agree and a change moves few slots.
//!
//! The published algorithm: every backend has a permutation of the slots of its own, from its name alone; in turns each takes the first slot of
//! its permutation that is free. A backend of twice the weight has twice the turns. Not here: flows, and what was before.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use weir_abi::services::layout::MAX_SLOTS;
use weir_abi::services::mix;

/// Sizes of tables, all prime, so that every step through one meets every slot. They are far apart: a table of another size is another table,
/// and small services grow and shrink the most.
const SIZES: &[u32] = &[4093, 16381, 32749, 65521, 131_071, MAX_SLOTS];
/// Slots for each backend in the sizes that cost little, at least. The hundred of the published rule of thumb let one or two in a hundred of the others'
/// slots move when a backend comes: measured 2.4 for ten backends, and 1.3 with these.
const SLOTS_EACH: usize = 400;
/// Up to here. Larger tables move less with fewer slots for each.
const CHEAP: u32 = 65_521;
/// Slots for each backend in the size [`CHEAP`], and in the next: measured 0.6 in a hundred.
const SLOTS_EACH_OF_MANY: usize = 64;
/// The same for more backends than the last size but one has room for.
const SLOTS_EACH_AT_LEAST: usize = 10;
/// Where names are hashed from. All nodes must agree.
const SEED: u64 = 0x4D41_474C_4556_0001;

/// Who takes slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// What its permutation is made from.
    pub name: u64,
    /// Turns, against the others'; at least 1.
    pub weight: u32,
}

/// The name of a backend, from its address and, where another has the same address, its port (else 0).
pub fn name(address: [u8; 16], port: u16) -> u64 {
    let (high, low) = address.split_at(8);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    mix(mix(mix(SEED, word(high)), word(low)), port.into())
}

/// Slots for so many backends: 400 for each of up to 163, 64 for each of up to 1,023, and at least ten for more.
pub fn size(members: usize) -> u32 {
    // With one backend there is nothing to choose.
    if members <= 1 {
        return 1;
    }
    let fits = |each: usize, size: u32| members.saturating_mul(each) <= size as usize;
    let enough = |&size: &u32| match size {
        ..CHEAP => fits(SLOTS_EACH, size),
        CHEAP => fits(SLOTS_EACH_OF_MANY, size),
        _ => fits(SLOTS_EACH_AT_LEAST, size),
    };
    SIZES.iter().copied().find(enough).unwrap_or(MAX_SLOTS)
}

/// A backend's walk through the slots.
struct Walk {
    next: u32,
    step: u32,
}

/// The place of the member that has each of `size` slots. `size` is one that [`size`] gives; without members it is empty.
pub fn slots(members: &[Member], size: u32) -> Vec<u32> {
    if members.is_empty() || size == 0 {
        return Vec::new();
    }
    if members.len() == 1 || size == 1 {
        return vec![0; size as usize];
    }
    let mut walks: Vec<Walk> = members
        .iter()
        .map(|member| Walk {
            next: ((member.name >> 32) % u64::from(size)) as u32,
            step: ((member.name & 0xFFFF_FFFF) % u64::from(size - 1)) as u32 + 1,
        })
        .collect();
    let mut slots = vec![0; size as usize];
    // Bits stay in the nearest cache, where the slots would not.
    let mut taken = vec![0u64; (size as usize).div_ceil(64)];
    let mut free = size;
    let mut turn = |place: usize| {
        let Some(walk) = walks.get_mut(place) else { return false };
        loop {
            let slot = walk.next as usize;
            walk.next += walk.step;
            if walk.next >= size {
                walk.next -= size;
            }
            let bit = 1 << (slot % 64);
            if taken[slot / 64] & bit == 0 {
                taken[slot / 64] |= bit;
                slots[slot] = place as u32;
                free -= 1;
                return free > 0;
            }
        }
    };
    if members.windows(2).all(|pair| pair[0].weight == pair[1].weight) {
        while (0..members.len()).all(&mut turn) {}
    } else {
        weighted(members, turn);
    }
    slots
}

/// A round of all members of one weight.
#[derive(PartialEq, Eq)]
struct Round {
    number: u64,
    weight: u32,
    members: Vec<usize>,
}

impl Round {
    /// When it is, where all members have one turn in the time of their weight.
    fn is_before(&self, other: &Round) -> Ordering {
        let (own, others) = (self.number * u64::from(other.weight), other.number * u64::from(self.weight));
        own.cmp(&others).then(other.weight.cmp(&self.weight))
    }
}

impl Ord for Round {
    fn cmp(&self, other: &Self) -> Ordering {
        other.is_before(self)
    }
}

impl PartialOrd for Round {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Rounds in the order of their times, the heavier first. Every round takes a slot, so there are no more of them than slots.
fn weighted(members: &[Member], mut turn: impl FnMut(usize) -> bool) {
    let mut by_weight = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (place, member) in members.iter().enumerate() {
        by_weight.entry(member.weight.max(1)).or_default().push(place);
    }
    let first = |(weight, members)| Round { number: 1, weight, members };
    let mut rounds: BinaryHeap<Round> = by_weight.into_iter().map(first).collect();
    while let Some(mut round) = rounds.pop() {
        if !round.members.iter().all(|&place| turn(place)) {
            return;
        }
        round.number += 1;
        rounds.push(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(weights: &[u32]) -> Vec<Member> {
        let named =
            |(place, &weight): (usize, &u32)| Member { name: name([7; 16], place as u16 + 1), weight };
        weights.iter().enumerate().map(named).collect()
    }

    fn shares(slots: &[u32], members: usize) -> Vec<usize> {
        let mut shares = vec![0; members];
        slots.iter().for_each(|&member| shares[member as usize] += 1);
        shares
    }

    #[test]
    fn sizes_are_prime_and_rise() {
        let is_prime = |size: u32| (2..=size.isqrt()).all(|by| !size.is_multiple_of(by));
        assert!(SIZES.iter().all(|&size| is_prime(size)) && SIZES.is_sorted());
        for (members, expected) in [
            (1, 1),
            (2, 4093),
            (10, 4093),
            (11, 16381),
            (81, 32749),
            (1000, 65_521),
            (13_107, 131_071),
            (13_108, MAX_SLOTS),
        ] {
            assert_eq!(size(members), expected, "{members}");
        }
    }

    proptest! {
        #[test]
        fn everybody_has_a_share(count in 2usize..300) {
            let slots = slots(&members(&vec![3; count]), size(count));
            let shares = shares(&slots, count);
            let even = slots.len() / count;
            prop_assert!(shares.iter().all(|&share| share == even || share == even + 1));
        }

        #[test]
        fn a_share_is_as_the_weight(weights in prop::collection::vec(1u32..50, 2..60)) {
            let slots = slots(&members(&weights), size(weights.len()));
            let total: u32 = weights.iter().sum();
            for (share, weight) in shares(&slots, weights.len()).into_iter().zip(&weights) {
                let due = slots.len() as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((share as f64 - due).abs() <= 2.0 + due * 0.02, "{share} for {due}");
            }
        }

        #[test]
        fn one_more_moves_few_slots(count in 3usize..200) {
            let all = members(&vec![1; count]);
            // The same size before and after: another one is another table.
            let size = size(count);
            let (before, after) = (slots(&all[1..], size), slots(&all, size));
            let moved = before.iter().zip(&after).filter(|&(before, after)| *after != 0 && *before + 1 != *after);
            let moved = moved.count();
            // What the new one takes is its own share; of the others' slots about one in a hundred moves.
            prop_assert!(moved * 40 <= before.len(), "{moved} of {}", before.len());
        }
    }

    #[test]
    fn the_largest_weights_end_soon() {
        let mut weights = vec![1; 1000];
        weights[0] = 65_535;
        let slots = slots(&members(&weights), size(1000));
        assert_eq!(slots.len(), 65_521);
        assert_eq!(shares(&slots, 1000).iter().sum::<usize>(), 65_521);
    }
}
