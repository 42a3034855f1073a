//! Figures: samples taken in turns, and the rows they are told in.

use std::fmt;

/// Rounds in which everything that is compared has its turn.
pub(crate) const ROUNDS: usize = 9;

/// Samples of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    each: Vec<f64>,
}

/// The least and the median.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) least: f64,
    pub(crate) median: f64,
}

impl Samples {
    pub(crate) fn take(&mut self, sample: f64) {
        self.each.push(sample);
    }

    pub(crate) fn figure(&self) -> Figure {
        let mut sorted = self.each.clone();
        sorted.sort_by(f64::total_cmp);
        let least = sorted.first().copied().unwrap_or(f64::NAN);
        Figure { least, median: sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN) }
    }
}

impl Figure {
    /// What is above a floor, for one of `parts`.
    pub(crate) fn above(self, floor: Figure, parts: usize) -> Figure {
        let parts = parts as f64;
        Figure { least: (self.least - floor.least) / parts, median: (self.median - floor.median) / parts }
    }

    /// How many times more another is.
    pub(crate) fn times(self, other: Figure) -> Figure {
        Figure { least: other.least / self.least, median: other.median / self.median }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 10.0 { 1 } else { 0 };
        write!(out, "{:.digits$} / {:.digits$}", self.least, self.median)
    }
}

/// A row of the table.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) figure: String,
    pub(crate) compared: String,
    pub(crate) measured: String,
    pub(crate) goal: &'static str,
}

impl Row {
    /// The table's head.
    pub(crate) const HEAD: &str =
        "| workload | figure | compared with | measured | goal |\n|---|---|---|---|---|";
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { workload, figure, compared, measured, goal } = self;
        write!(out, "| {workload} | {figure} | {compared} | {measured} | {goal} |")
    }
}
