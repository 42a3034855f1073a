//! What a piece of work takes of this process.

#![expect(
    clippy::unwrap_used,
    reason = "a kernel that does not tell what a process took has nothing to measure with"
)]

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::time::Instant;

/// Milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// By the clock.
    pub wall: f64,
    /// Of all processors, user and system together.
    pub cpu: f64,
}

/// Does it, and tells what it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (began, before) = (Instant::now(), cpu());
    let done = work();
    let took = Took { wall: began.elapsed().as_secs_f64() * 1e3, cpu: cpu() - before };
    (done, took)
}

fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e3
}
