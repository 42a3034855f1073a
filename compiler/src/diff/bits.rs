//! Sets of the clauses of two tables, as bits.

/// A set of clauses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bits(pub(super) Box<[u64]>);

impl Bits {
    pub(super) fn new(len: usize) -> Self {
        Bits(vec![0; len.div_ceil(64)].into())
    }

    pub(super) fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(super) fn add(&mut self, other: &Bits) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    pub(super) fn meets(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(one, other)| one & other != 0)
    }

    pub(super) fn meets_both(&self, one: &Bits, other: &Bits) -> bool {
        self.0.iter().zip(&one.0).zip(&other.0).any(|((word, one), other)| word & one & other != 0)
    }

    pub(super) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}
