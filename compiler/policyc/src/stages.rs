//! The steps of a run: timed always, shown on a terminal while they last.
//!
//! Short runs show nothing: a line that flickers by helps nobody.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use weir_compiler::compile::Stage;
use weir_project::Step;

/// Runs shorter than this show nothing.
const PATIENCE: Duration = Duration::from_millis(150);
/// Inputs larger than this take longer than [`PATIENCE`] to read.
const LARGE: u64 = 8 << 20;

/// The steps of a run so far.
pub(crate) struct Stages {
    begun: Instant,
    current: Option<(&'static str, Instant)>,
    times: Vec<(&'static str, Duration)>,
    bar: Option<ProgressBar>,
}

impl Stages {
    /// Begins a run.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Stages { begun: now, current: None, times: Vec::new(), bar: None }
    }

    /// Begins a step, which ends the one before. `bytes` are those it reads.
    pub(crate) fn begin(&mut self, name: &'static str, bytes: u64) {
        self.end();
        self.current = Some((name, Instant::now()));
        if self.bar.is_none() && (bytes > LARGE || self.begun.elapsed() > PATIENCE) {
            self.bar = bar();
        }
        if let Some(bar) = &self.bar {
            bar.set_message(name);
        }
    }

    /// Hears of the steps of reading.
    pub(crate) fn reading(&mut self) -> impl FnMut(Step) {
        |step| self.begin(step.as_str(), step.bytes())
    }

    /// Hears of the steps of compiling.
    pub(crate) fn compiling(&mut self) -> impl FnMut(Stage) {
        |stage| self.begin(stage.as_str(), 0)
    }

    fn end(&mut self) {
        if let Some((name, since)) = self.current.take() {
            self.times.push((name, since.elapsed()));
        }
    }

    /// Ends the run and clears the line.
    pub(crate) fn finish(&mut self) {
        self.end();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// How long each step took, in order.
    pub(crate) fn times(&self) -> &[(&'static str, Duration)] {
        &self.times
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A spinner, if stderr is a terminal.
fn bar() -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    Some(bar)
}
