//! Maglev tables: how long one takes to make, beside the published algorithm as it is written, and what one backend more moves.

use std::hint::black_box;
use weir_benches::figures::{Goal, Row, Samples};
use weir_benches::timed::timed;
use weir_compiler::services::maglev::{self, Member};

/// Tables that are made, in turns.
const ROUNDS: usize = 51;
const BACKENDS: u32 = 1000;
/// The size that is usual elsewhere for so many, and the next prime to theirs here.
const PUBLISHED_SIZES: [u32; 2] = [65_537, 160_117];
/// With the newcomer: few, the fullest tables of three sizes, each with the first of the next size after it, and a thousand.
const COUNTS: [u32; 11] = [3, 6, 11, 41, 66, 67, 160, 266, 267, 1000, 1068];
/// Sets of backends that are asked, with fewer than [`MANY`] and with more.
const SETS: [u32; 2] = [1000, 50];
const MANY: u32 = 300;

/// Both.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    PUBLISHED_SIZES.into_iter().for_each(|size| tell(made(size)));
    COUNTS.into_iter().for_each(|backends| tell(moved(backends)));
}

/// Milliseconds for a table, beside a published one of so many slots.
fn made(published_size: u32) -> Row {
    let members = members(0, BACKENDS);
    let size = maglev::size(members.len());
    let (mut own, mut plain) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        own.take(timed(|| black_box(maglev::slots(black_box(&members), size))).1.wall);
        plain.take(timed(|| black_box(published(black_box(&members), published_size))).1.wall);
    }
    let (own, plain) = (own.figure(), plain.figure());
    Row {
        workload: format!("table of 1,000 backends in {size} slots"),
        figure: "ms".to_owned(),
        compared: format!("the published algorithm as it is written, {published_size} slots: {plain}"),
        measured: format!("**{own}**, {} ×", own.times(plain)),
        goal: Goal { most: 3.0, unit: "ms" }.judge(own),
    }
}

/// How many of the others' slots go elsewhere when the last of so many comes, in a hundred, over many sets of them.
fn moved(backends: u32) -> Row {
    let (size_before, size) = (maglev::size(backends as usize - 1), maglev::size(backends as usize));
    let sets = SETS[usize::from(backends > MANY)];
    let mut shares: Vec<f64> = (0..sets).map(|set| moved_in(&members(set, backends))).collect();
    shares.sort_by(f64::total_cmp);
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let [usual, worst] = [shares.len() * 99 / 100, shares.len()].map(|place| shares[place - 1]);
    Row {
        workload: format!("one backend more, then {backends} in {size} slots, before it {size_before}"),
        figure: format!("of the other backends' slots move: mean of {sets} sets, 99 of 100 below, the most"),
        compared: "flows that are there stay".to_owned(),
        measured: format!("**{mean:.2} %**, {usual:.2} %, {worst:.2} %"),
        goal: Goal { most: 1.0, unit: "%" }.judge_one(mean),
    }
}

/// The same of one set.
fn moved_in(all: &[Member]) -> f64 {
    let Some((_, others)) = all.split_last() else { return 0.0 };
    let (size_before, size) = (maglev::size(others.len()), maglev::size(all.len()));
    let (before, after) = (maglev::slots(others, size_before), maglev::slots(all, size));
    // By the slots of the larger size.
    let pieces = (size / size_before) as usize;
    let before = before.iter().flat_map(|place| std::iter::repeat_n(place, pieces));
    let kept: Vec<bool> = before
        .zip(&after)
        .filter(|(_, after)| **after as usize != others.len())
        .map(|(before, after)| before == after)
        .collect();
    100.0 * kept.iter().filter(|kept| !**kept).count() as f64 / kept.len() as f64
}

/// So many backends, other ones in each set.
fn members(set: u32, backends: u32) -> Vec<Member> {
    let address = |number: u32| (u128::from(set) << 32 | u128::from(number + 1)).to_be_bytes();
    (0..backends).map(|number| Member { name: maglev::name(address(number), 0), weight: 1 }).collect()
}

/// The published algorithm (Eisenbud and others, Maglev, NSDI 2016, section 3.4), with the offsets and skips of ours.
fn published(members: &[Member], size: u32) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let size = u64::from(size);
    let permutation: Vec<(u64, u64)> = members
        .iter()
        .map(|member| ((member.name >> 32) % size, (member.name & 0xFFFF_FFFF) % (size - 1) + 1))
        .collect();
    let mut next = vec![0u64; members.len()];
    let mut entry = vec![FREE; size as usize];
    let mut filled = 0;
    loop {
        for (member, (offset, skip)) in (0..).zip(&permutation) {
            let next = &mut next[member as usize];
            let mut candidate = (offset + *next * skip) % size;
            while entry[candidate as usize] != FREE {
                *next += 1;
                candidate = (offset + *next * skip) % size;
            }
            entry[candidate as usize] = member;
            *next += 1;
            filled += 1;
            if filled == size {
                return entry;
            }
        }
    }
}
