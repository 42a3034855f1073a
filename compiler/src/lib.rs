//! What it means: policy trees and a cluster snapshot to one packed image, and the reference
//! evaluator that specifies the answer.
//!
//! ```text
//! trees ─ Cluster::collect ─> Cluster ─┐
//!   └──── translate ──────> PolicySet ─┼─ compile ──> image bytes ─ weir_abi ─> verdicts
//!                                      └─ reference ─────────────────────────> verdicts
//! two PolicySets ─ diff::join ─ diff::differences ─> what changes
//! expectations ─ Judge (an image) ─> which hold, and who they fail for
//! Cluster ─ services::compile ──> service image bytes ─ weir_abi::services ──> backends
//! ```
//!
//! Invariants: pure (no file, clock, environment, thread or kernel); the same inputs give the same
//! bytes; the reference evaluator and the image agree on every flow.
//!
//! Not here: reading files, terminals, and the kernel.

pub mod check;
pub mod classes;
pub mod cluster;
pub mod compile;
pub mod diff;
pub mod expectation;
pub mod flow;
pub mod fqdn;
pub mod graph;
pub mod identity;
pub mod image;
pub mod interpret;
pub mod ir;
mod json;
pub mod labels;
pub mod parties;
pub mod policy_map;
pub mod reference;
pub mod requests;
pub mod resolve;
pub mod services;
pub mod tables;
pub mod translate;
pub mod workload;
