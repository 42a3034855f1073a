//! What the tests that cross rooms have in common: worlds read from manifests, cases with expected
//! verdicts, the engines that must agree, random worlds, spoilt images.
//!
//! ```text
//! manifests ─ World::read ─> World ─ an Engine of engines() ─> verdicts ─ Case::failures ─> a report
//! ```
//!
//! [`kernel`] puts packets through the very programs, [`lab`] is apart: namespaces that play nodes and pods, for packets on wires. Both
//! need root.
//!
//! Not here: tests of one room (they are beside what they test), and what needs a cluster.

pub mod btf;
pub mod case;
pub mod engines;
pub mod forgery;
pub mod inquiry;
pub mod kernel;
pub mod lab;
pub mod random;
pub mod world;
