//! What the tests that cross rooms have in common: worlds read from manifests, cases with expected
//! verdicts, the engines that must agree, random worlds, spoilt images.
//!
//! ```text
//! manifests ─ World::read ─> World ─ an Engine of engines() ─> verdicts ─ Case::failures ─> a report
//! ```
//!
//! [`kernel`] puts packets through the very programs, and needs root. Namespaces that play nodes and pods are a package of their own, weir-lab.
//!
//! Not here: tests of one room (they are beside what they test), and what needs a cluster.

pub mod btf;
pub mod case;
pub mod engines;
pub mod forgery;
pub mod inquiry;
pub mod kernel;
pub mod random;
pub mod rewriting;
pub mod world;
