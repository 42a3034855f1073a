//! Places in a text from which lines were cut, and the places they have in the original.

/// The cuts made in a text, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    /// Offset in the shorter text of the first byte after a cut, and all bytes cut up to there.
    cuts: Vec<(u32, u32)>,
}

impl Offsets {
    /// Notes that `bytes` were cut just before `at` (an offset in the shorter text).
    pub(crate) fn cut(&mut self, at: u32, bytes: u32) {
        let before = self.cuts.last().map_or(0, |&(_, total)| total);
        self.cuts.push((at, before + bytes));
    }

    /// The original place of the byte at `at`.
    pub(crate) fn original(&self, at: u32) -> u32 {
        let after = self.cuts.partition_point(|&(cut, _)| cut <= at);
        at + after.checked_sub(1).and_then(|last| self.cuts.get(last)).map_or(0, |&(_, total)| total)
    }

    /// The original place of an end: of the byte before it, plus one, so that what ends where a
    /// cut begins does not grow over the cut.
    pub(crate) fn original_end(&self, end: u32) -> u32 {
        end.checked_sub(1).map_or(0, |last| self.original(last) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_move_by_what_was_cut_before_them() {
        let mut offsets = Offsets::default();
        offsets.cut(10, 100);
        offsets.cut(20, 5);
        assert_eq!(offsets.original(9), 9);
        assert_eq!(offsets.original(10), 110);
        assert_eq!(offsets.original_end(10), 10);
        assert_eq!(offsets.original(20), 125);
    }
}
