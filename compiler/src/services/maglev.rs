//! Maglev tables: which backend has which slot, so that all nodes agree and a change moves few slots.
//!
//! As in the published algorithm every backend walks through the table by a permutation of its own, from its name alone. There each takes in turn the next
//! slot that is free. Here all take one step at a time: who comes to a slot first has it, and who has its share stops. A backend that comes then takes
//! what it comes to first, and nobody else is early or late for that: fewer of the others' slots move (docs/decisions/0017).
//!
//! Walks go through [`BLOCKS`] blocks in tables of every size, and a block is one slot or more. So a larger table is nearly the smaller one with its slots
//! cut in pieces, and a size that changes moves few slots too. A backend of twice the weight takes twice the steps and has twice the share.
//!
//! Not here: flows, and what was before.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use weir_abi::services::layout::MAX_SLOTS;
use weir_abi::services::mix;

/// Blocks of every table of several backends. Prime, so that every step through them meets every block.
pub const BLOCKS: u32 = 10_007;
/// Slots of a block, by size of the table. Each is a multiple of the one before, as the sizes themselves then are.
const PIECES: [u32; 5] = [1, 4, 16, 64, MAX_SLOTS / BLOCKS];
/// Slots for each backend, at least: half as many again as the published rule of thumb. The last size has fewer.
const SLOTS_EACH: u32 = 150;
/// What times a number is 1 modulo [`BLOCKS`]; 0 for 0. Walks with steps alike would follow one another through the blocks; by inverses they do not
/// (inversive congruential sequences: Eichenauer and Lehn, 1986).
static INVERSES: [u16; BLOCKS as usize] = {
    let mut inverses = [0; BLOCKS as usize];
    inverses[1] = 1;
    let mut number = 2;
    while number < BLOCKS {
        let of_rest = inverses[(BLOCKS % number) as usize] as u32;
        inverses[number as usize] = ((BLOCKS - BLOCKS / number) * of_rest % BLOCKS) as u16;
        number += 1;
    }
    inverses
};
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

/// Slots for so many backends: at least 150 for each of up to 4,269, and ten for more.
pub fn size(members: usize) -> u32 {
    // With one backend there is nothing to choose.
    if members <= 1 {
        return 1;
    }
    let is_enough = |size: &u32| members.saturating_mul(SLOTS_EACH as usize) <= *size as usize;
    PIECES.map(|pieces| BLOCKS * pieces).into_iter().find(is_enough).unwrap_or(MAX_SLOTS)
}

/// The place of the member that has each of `size` slots. `size` is one that [`size`] gives; without members it is empty.
pub fn slots(members: &[Member], size: u32) -> Vec<u32> {
    if members.is_empty() || size == 0 {
        return Vec::new();
    }
    let pieces = size / BLOCKS;
    if members.len() == 1 || pieces == 0 {
        return vec![0; size as usize];
    }
    let mut filling = Filling::new(pieces);
    let mut rounds = rounds(members, size);
    while let Some(mut round) = rounds.pop() {
        filling.steps(&mut round.walks);
        // The last of one weight need not be asked whose turn it is.
        while rounds.is_empty() && filling.free > 0 && !round.walks.is_empty() {
            filling.steps(&mut round.walks);
        }
        if filling.free == 0 {
            break;
        }
        if !round.walks.is_empty() {
            round.number += 1;
            rounds.push(round);
        }
    }
    filling.slots()
}

/// A member's walk through the blocks: steps of one length through numbers, whose inverses, moved by an offset, are the blocks.
#[derive(PartialEq, Eq)]
struct Walk {
    next: u32,
    step: u32,
    offset: u32,
    /// Slots that it has not got yet.
    wants: u32,
    /// The member.
    place: u32,
}

/// A table that is being filled.
struct Filling {
    pieces: u32,
    /// Free slots, in all and by block: bytes stay in the nearest cache.
    free: u32,
    free_of: Vec<u8>,
    /// Who has a block of one slot.
    owners: Vec<u32>,
    /// Block, place of a member, and how many slots it has there, where a block has several.
    parts: Vec<(u32, u32, u32)>,
}

impl Filling {
    fn new(pieces: u32) -> Filling {
        let blocks = BLOCKS as usize;
        Filling {
            pieces,
            free: BLOCKS * pieces,
            free_of: vec![pieces as u8; blocks],
            owners: if pieces == 1 { vec![0; blocks] } else { Vec::new() },
            parts: Vec::new(),
        }
    }

    /// One step of each, in the order of places; who has its share is not among them any more.
    fn steps(&mut self, walks: &mut Vec<Walk>) {
        let mut is_anyone_done = false;
        for walk in walks.iter_mut() {
            let block = u32::from(INVERSES[walk.next as usize]) + walk.offset;
            let block = if block >= BLOCKS { block - BLOCKS } else { block };
            walk.next += walk.step;
            if walk.next >= BLOCKS {
                walk.next -= BLOCKS;
            }
            let free = &mut self.free_of[block as usize];
            if *free == 0 {
                continue;
            }
            let taken = u32::from(*free).min(walk.wants);
            *free -= taken as u8;
            self.free -= taken;
            walk.wants -= taken;
            is_anyone_done |= walk.wants == 0;
            if self.pieces == 1 {
                self.owners[block as usize] = walk.place;
            } else {
                self.parts.push((block, walk.place, taken));
            }
        }
        if is_anyone_done {
            walks.retain(|walk| walk.wants > 0);
        }
    }

    /// The places by slot. Within a block they rise: so a part that grows moves as little else as it can.
    fn slots(mut self) -> Vec<u32> {
        if self.pieces == 1 {
            return self.owners;
        }
        self.parts.sort_unstable();
        let slots =
            self.parts.iter().flat_map(|&(_, place, taken)| std::iter::repeat_n(place, taken as usize));
        slots.collect()
    }
}

/// The next step of all members of one weight that still walk.
#[derive(PartialEq, Eq)]
struct Round {
    number: u64,
    weight: u32,
    walks: Vec<Walk>,
}

impl Round {
    /// When it is, where all members take one step in the time of their weight.
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

/// The first of each weight, in the order of their times, the heavier first.
fn rounds(members: &[Member], slots: u32) -> BinaryHeap<Round> {
    let below = |word: u64, count: u32| (word % u64::from(count)) as u32;
    let mut by_weight = BTreeMap::<u32, Vec<Walk>>::new();
    for ((place, member), wants) in (0..).zip(members).zip(shares(members, slots)) {
        by_weight.entry(member.weight.max(1)).or_default().push(Walk {
            next: below(member.name >> 32, BLOCKS),
            step: below(member.name & 0xFFFF_FFFF, BLOCKS - 1) + 1,
            offset: below(mix(member.name, 0), BLOCKS),
            wants,
            place,
        });
    }
    by_weight.into_iter().map(|(weight, walks)| Round { number: 1, weight, walks }).collect()
}

/// How many of the slots each member is to have, by weight. The lightest has one, and the heaviest have the fewer for that.
fn shares(members: &[Member], slots: u32) -> Vec<u32> {
    let weight = |member: &Member| u64::from(member.weight.max(1));
    let total: u64 = members.iter().map(weight).sum();
    let mut before = 0;
    let share = |member: &Member| {
        let from = u64::from(slots) * before / total;
        before += weight(member);
        ((u64::from(slots) * before / total - from) as u32).max(1)
    };
    let mut shares: Vec<u32> = members.iter().map(share).collect();
    let mut excess = shares.iter().sum::<u32>().saturating_sub(slots);
    if excess > 0 {
        let mut heaviest: Vec<usize> = (0..shares.len()).collect();
        heaviest.sort_by_key(|&place| std::cmp::Reverse(shares[place]));
        for place in heaviest.into_iter().cycle().take(shares.len() * slots as usize) {
            if excess == 0 {
                break;
            }
            if shares[place] > 1 {
                shares[place] -= 1;
                excess -= 1;
            }
        }
    }
    shares
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
    fn every_step_meets_every_block_and_sizes_nest() {
        assert!((2..=BLOCKS.isqrt()).all(|by| !BLOCKS.is_multiple_of(by)), "prime");
        assert!(PIECES.windows(2).all(|pair| pair[1] > pair[0] && pair[1].is_multiple_of(pair[0])));
        assert_eq!(BLOCKS * PIECES[PIECES.len() - 1], MAX_SLOTS);
        for (members, pieces) in
            [(2, 1), (66, 1), (67, 4), (266, 4), (267, 16), (1000, 16), (1068, 64), (4270, 128)]
        {
            assert_eq!(size(members), BLOCKS * pieces, "{members}");
        }
        assert_eq!(size(1), 1);
    }

    /// Of the slots that the last of some members does not have, how many went from another to another when it came, in a hundred.
    fn moved_by_the_last(all: &[Member]) -> f64 {
        let before = slots(&all[..all.len() - 1], size(all.len() - 1));
        let after = slots(all, size(all.len()));
        // By the slots of the larger.
        let pieces = after.len() / before.len();
        let newcomer = all.len() as u32 - 1;
        let others = after.iter().enumerate().filter(|(_, after)| **after != newcomer);
        let moved = others.clone().filter(|&(slot, after)| before[slot / pieces] != *after).count();
        100.0 * moved as f64 / others.count() as f64
    }

    #[test]
    fn no_two_backends_follow_one_another() {
        // Of 13 in a hundred, where steps are alike and blocks are the numbers themselves.
        let worst = (0..400u16).map(|set| {
            let name = |number: u16| name([set as u8 ^ 0x5A; 16], set / 256 * 16 + number + 1);
            let all: Vec<Member> = (0..7).map(|number| Member { name: name(number), weight: 1 }).collect();
            moved_by_the_last(&all)
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 1.5, "{worst:.2} in a hundred");
    }

    #[test]
    fn one_more_moves_less_than_one_in_a_hundred_of_the_others_slots_also_where_the_size_changes() {
        for before in [2, 10, 11, 40, 66, 67, 163, 200, 266, 267, 1000, 1023, 1067, 4269] {
            let sets: u16 = if before < 400 { 30 } else { 3 };
            let moved = |set: u16| {
                let name = |number: u16| name([set as u8 + 1; 16], number + 1);
                let all: Vec<Member> =
                    (0..=before).map(|number| Member { name: name(number), weight: 1 }).collect();
                moved_by_the_last(&all)
            };
            let mean = (0..sets).map(moved).sum::<f64>() / f64::from(sets);
            assert!(mean <= 1.0, "{mean:.2} in a hundred when one comes to {before}");
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
    }

    #[test]
    fn the_largest_weights_end_soon() {
        let mut weights = vec![1; 1000];
        weights[0] = 65_535;
        let slots = slots(&members(&weights), size(1000));
        assert_eq!(slots.len(), 160_112);
        assert!(shares(&slots, 1000).iter().all(|&share| share > 0), "the lightest have a slot too");
        assert_eq!(shares(&slots, 1000).iter().sum::<usize>(), 160_112);
    }
}
