//! Programs on one stream of packets, each in its turn in every round.

use crate::arrivals::{Arrivals, PASS, SENT_BACK, Stream, Way};
use aya::programs::ProgramFd;
use weir_benches::figures::{Figure, ROUNDS, Samples};

/// Packets in one sample; where there are more flows, the next sample goes on with others.
pub(crate) const PACKETS: u32 = 1 << 17;

/// A program, the way to it, and what it says of each packet.
#[derive(Clone, Copy)]
pub(crate) struct Contestant<'a> {
    pub(crate) program: &'a ProgramFd,
    pub(crate) way: Way,
    pub(crate) verdict: u32,
}

impl<'a> Contestant<'a> {
    /// One that wraps packets and sends them back.
    pub(crate) const fn wrapping(program: &'a ProgramFd) -> Self {
        Contestant { program, way: Way::Wrapped, verdict: SENT_BACK }
    }

    /// One that rewrites packets and sends them back.
    pub(crate) const fn rewriting(program: &'a ProgramFd) -> Self {
        Contestant { program, way: Way::AsLong, verdict: SENT_BACK }
    }

    /// One that lets packets pass.
    pub(crate) const fn passing(program: &'a ProgramFd) -> Self {
        Contestant { program, way: Way::AsLong, verdict: PASS }
    }
}

/// What packets cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Nanoseconds for a packet, by what does nothing.
    pub(crate) floor: Figure,
    /// Above that.
    pub(crate) net: Figure,
    /// How many there were, those before the samples too.
    pub(crate) packets: u64,
}

/// What each program costs. Before each sample every flow has been met, unless `new` says that each packet is to be the first of its own.
pub(crate) fn in_turns(
    arrivals: &mut Arrivals,
    stream: &Stream,
    new: bool,
    contestants: &[Contestant<'_>],
) -> Vec<Cost> {
    let mut samples = vec![(Samples::default(), Samples::default()); contestants.len()];
    if !new {
        for contestant in contestants {
            arrivals.measure(contestant.program);
            arrivals.expect(stream, 0);
            arrivals.run(contestant.way, stream.flows, contestant.verdict);
        }
    }
    for round in 0..ROUNDS {
        let turn = PACKETS * u32::try_from(round).unwrap();
        for (contestant, (floors, gross)) in contestants.iter().zip(&mut samples) {
            arrivals.measure(contestant.program);
            arrivals.expect(stream, turn);
            floors.take(arrivals.run_floor(contestant.way, PACKETS));
            if !new {
                // Once for the caches, which hold what the program before has left.
                arrivals.expect(stream, turn.wrapping_sub(stream.flows.min(PACKETS)));
                arrivals.run(contestant.way, stream.flows.min(PACKETS), contestant.verdict);
            }
            arrivals.expect(stream, turn);
            gross.take(arrivals.run(contestant.way, PACKETS, contestant.verdict));
        }
    }
    let mut packets = u64::from(PACKETS) * ROUNDS as u64;
    if !new {
        packets += u64::from(stream.flows) + u64::from(stream.flows.min(PACKETS)) * ROUNDS as u64;
    }
    let cost = |(floors, gross): (Samples, Samples)| {
        let floor = floors.figure();
        Cost { floor, net: gross.figure().above(floor, 1), packets }
    };
    samples.into_iter().map(cost).collect()
}
