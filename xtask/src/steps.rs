//! The steps of a long chore: a heading and a time for each, all of them run, failures listed at the end.
//!
//! A skip is never quiet: it is printed with its reason, and where CI=true it counts as a failure, because a machine that
//! tests for everyone must have what the tests need.

use std::time::Instant;

/// How one step ended.
pub(crate) enum Outcome {
    /// All well.
    Passed,
    /// It ran tests, which were counted.
    Tested(Counts),
    /// It found something, told in a few words; the details are on the screen already.
    Failed(String),
    /// It could not be done here.
    Skipped(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
    }
}

/// Passed and failed, of steps and of tests alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// Takes in a line of a test run if it is the one that sums up a test binary.
    pub(crate) fn take(&mut self, line: &str) {
        let Some((_, sums)) = line.split_once("test result: ") else { return };
        for part in sums.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

/// The steps so far.
pub(crate) struct Steps {
    ci: bool,
    counts: Counts,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Steps {
    /// No step yet.
    pub(crate) fn new(ci: bool) -> Self {
        Steps { ci, counts: Counts::default(), failures: Vec::new(), skips: Vec::new() }
    }

    /// Runs one step under its heading.
    pub(crate) fn step(&mut self, title: &str, work: impl FnOnce() -> Outcome) {
        println!("\n=== {title}");
        let start = Instant::now();
        let outcome = work();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Outcome::Passed => {
                self.counts.passed += 1;
                println!("--- {title}: passed in {seconds:.1} s");
            }
            Outcome::Tested(counts) => {
                self.counts.passed += counts.passed;
                self.counts.failed += counts.failed;
                if counts.failed > 0 {
                    self.failures.push(format!("{title}: {} failed", counts.failed));
                }
            }
            Outcome::Failed(why) => {
                println!("--- {title}: FAILED after {seconds:.1} s");
                self.fail(format!("{title}: {why}"));
            }
            Outcome::Skipped(why) => {
                println!("SKIPPED: {title}, because {why}");
                if self.ci {
                    self.fail(format!("{title}: skipped, which CI=true does not permit: {why}"));
                } else {
                    self.skips.push(format!("{title}, because {why}"));
                }
            }
        }
    }

    /// Lists what failed and what was skipped, ends with the sum, and passes judgement.
    pub(crate) fn finish(self) -> Result<(), String> {
        for skip in &self.skips {
            println!("SKIPPED: {skip}");
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
        println!("{} passed, {} failed", self.counts.passed, self.counts.failed);
        // Nothing more to say: the sum is the last line.
        if self.failures.is_empty() { Ok(()) } else { Err(String::new()) }
    }

    fn fail(&mut self, failure: String) {
        self.counts.failed += 1;
        self.failures.push(failure);
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Outcome, Steps};

    #[test]
    fn test_results_are_summed_over_binaries() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        ] {
            counts.take(line);
        }
        assert_eq!(counts, Counts { passed: 7, failed: 2 });
    }

    #[test]
    fn a_skip_is_a_failure_only_in_ci() {
        for (ci, fine) in [(false, true), (true, false)] {
            let mut steps = Steps::new(ci);
            steps.step("kernel", || Outcome::Skipped("no privilege".into()));
            assert_eq!(steps.finish().is_ok(), fine);
        }
    }

    #[test]
    fn one_failed_step_fails_the_whole_and_the_rest_still_runs() {
        let mut steps = Steps::new(false);
        let mut ran = false;
        steps.step("first", || Outcome::Failed("broken".into()));
        steps.step("second", || {
            ran = true;
            Outcome::Passed
        });
        assert!(ran);
        assert!(steps.finish().is_err());
    }
}
