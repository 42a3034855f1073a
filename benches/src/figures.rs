//! Figures: samples taken in turns, and the rows they are told in.

use std::borrow::Cow;
use std::fmt;
use std::process::ExitCode;

/// Rounds in which everything that is compared has its turn.
pub const ROUNDS: usize = 9;

/// Samples of one thing.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    each: Vec<f64>,
}

/// The least and the median.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The least.
    pub least: f64,
    /// The median.
    pub median: f64,
}

impl Samples {
    /// Adds one.
    pub fn take(&mut self, sample: f64) {
        self.each.push(sample);
    }

    /// What they come to.
    pub fn figure(&self) -> Figure {
        let mut sorted = self.each.clone();
        sorted.sort_by(f64::total_cmp);
        let least = sorted.first().copied().unwrap_or(f64::NAN);
        Figure { least, median: sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN) }
    }
}

impl Figure {
    /// What is above a floor, for one of `parts`.
    pub fn above(self, floor: Figure, parts: usize) -> Figure {
        let parts = parts as f64;
        Figure { least: (self.least - floor.least) / parts, median: (self.median - floor.median) / parts }
    }

    /// How many times more another is.
    pub fn times(self, other: Figure) -> Figure {
        Figure { least: other.least / self.least, median: other.median / self.median }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 10.0 { 1 } else { 0 };
        write!(out, "{:.digits$} / {:.digits$}", self.least, self.median)
    }
}

/// A figure that should be no more than so much.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The most it may be.
    pub most: f64,
    /// In which unit.
    pub unit: &'static str,
}

impl Goal {
    /// The goal and whether one value meets it.
    pub fn judge_one(self, value: f64) -> Cow<'static, str> {
        self.judge(Figure { least: value, median: value })
    }

    /// The goal and whether the least of the samples meets it, and the median too.
    pub fn judge(self, figure: Figure) -> Cow<'static, str> {
        let Goal { most, unit } = self;
        let verdict = match (figure.least <= most, figure.median <= most) {
            (true, true) => "met",
            (true, false) => "met, missed by the median",
            (false, _) => "missed",
        };
        format!("≤ {most} {unit}, {verdict}").into()
    }
}

/// A row of the table.
#[derive(Debug, Default)]
pub struct Row {
    /// What it is measured on.
    pub workload: String,
    /// What is measured.
    pub figure: String,
    /// What it stands beside.
    pub compared: String,
    /// What came out.
    pub measured: String,
    /// What should have.
    pub goal: Cow<'static, str>,
}

impl Row {
    /// The table's head.
    const HEAD: &str = "| workload | figure | compared with | measured | goal |\n|---|---|---|---|---|";
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { workload, figure, compared, measured, goal } = self;
        write!(out, "| {workload} | {figure} | {compared} | {measured} | {goal} |")
    }
}

/// A part of a benchmark, by the name to ask for it.
pub type Part<L> = (&'static str, fn(&L, &mut dyn FnMut(Row)));

/// The whole of a benchmark's main function: prints the table of the parts that are asked for, of all if none is. Where they are measured is opened
/// first, and if that fails it is said and nothing is measured.
pub fn tell_parts<L>(parts: &[Part<L>], open: impl FnOnce() -> Result<L, String>) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| parts.iter().all(|(part, _)| part != name)) {
        let known: Vec<&str> = parts.iter().map(|(part, _)| *part).collect();
        eprintln!("there is no part `{unknown}`, only {}", known.join(", "));
        return ExitCode::from(2);
    }
    let place = match open() {
        Ok(place) => place,
        Err(why) => {
            eprintln!("NOT MEASURED: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", Row::HEAD);
    for (name, measure) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure(&place, &mut |row| println!("{row}"));
        }
    }
    ExitCode::SUCCESS
}
