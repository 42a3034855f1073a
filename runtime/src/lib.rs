//! Who keeps it true: what stands between manifests and the kernel that enforces them.
//!
//! ```text
//! source ─ snapshot ─┐                                  ┌─ store      the last good image, on disk
//! interfaces ────────┼─ wanted ─ plan ─ daemon ─ kernel ┼─ observer   events with names
//! registrations ─────┘                    │             └─ tally      packets by rule
//!                                      control
//! source ─ services ─ balancing ─ kernel                   at a pace of its own
//! ```
//!
//! Invariants: what is wanted and in what order it is done are pure functions; only [`datapath`] speaks to the kernel's BPF;
//! a policy set with an error changes nothing.
//!
//! Not here: what policies mean (weir-compiler), the command line (`policyd`), Kubernetes as a source (to come).

pub mod balancer;
pub mod balancing;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod enforcer;
pub mod event;
pub mod inquiry;
pub mod interfaces;
pub mod kernel;
pub mod legend;
pub mod observer;
pub mod plan;
pub mod probes;
pub mod registrations;
pub mod roster;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod store;
pub mod tally;
pub mod voice;
pub mod wanted;

#[cfg(test)]
mod town;
