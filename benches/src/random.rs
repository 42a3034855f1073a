//! Numbers that look random and are the same on every machine.
//!
//! A linear congruential generator (Knuth's MMIX constants), whose high half alone is handed out because its low bits are
//! weak. No crate for this: a new version of one would change every workload under the same name.

/// The generator.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random { state: seed };
        random.bits();
        random.bits();
        random
    }

    /// 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 32) as u32
    }

    /// A number below `bound`, 0 if `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        // The bias of multiplying instead of rejecting is below 2^-10 for every bound used here.
        ((u64::from(self.bits()) * u64::from(bound)) >> 32) as u32
    }

    /// One of the few.
    pub fn one_of<T: Copy>(&mut self, few: &[T]) -> T {
        let bound = u32::try_from(few.len()).unwrap_or(u32::MAX);
        few[self.below(bound) as usize]
    }

    /// Puts a list into random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let bound = u32::try_from(end + 1).unwrap_or(u32::MAX);
            list.swap(end, self.below(bound) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_is_a_sequence() {
        let take = |seed| {
            let mut random = Random::new(seed);
            [random.bits(), random.bits(), random.bits()]
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn bounds_hold_and_are_reached() {
        let mut random = Random::new(7);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[random.below(10) as usize] = true;
        }
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut list: Vec<u32> = (0..100).collect();
        Random::new(3).shuffle(&mut list);
        assert_ne!(list, (0..100).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }
}
