//! What the tests that cross rooms have in common: worlds read from manifests, cases with expected
//! verdicts, the engines that must agree, and random worlds.
//!
//! ```text
//! manifests ─ World::read ─> World ─ an Engine of ENGINES ─> verdicts ─ Case::failures ─> a report
//! ```
//!
//! [`lab`] is apart: namespaces that play nodes and pods, for tests in a real kernel, which need root.
//!
//! Not here: tests of one room (they are beside what they test), and what needs a cluster.

pub mod case;
pub mod engines;
pub mod inquiry;
pub mod lab;
pub mod random;
pub mod world;
