//! What is on disk: from paths to policies, cluster and locks; and files replaced in one step.
//!
//! ```text
//! paths ─ Project::read ─> Project ─ Project::compile ─> Compiled ─ replace ─> a file
//!              locks ────────┤  └─ findings, one line each
//!              flows ────────┼─ answer (with an Engine) ─> JSON lines
//!          recording ────────┴─ Recording::replay (with an Engine) ─> what would change
//! paths and git revisions ─ Comparison::read ─> Comparison ─ differences ─> what changes from set to set
//! ```
//!
//! Invariants: what is wrong inside a file is a finding, what cannot be read or written is a
//! [`ProjectError`]; a file that is replaced is seen old or new, never in part; nothing is printed.
//!
//! Not here: command lines, terminals, colours, clocks and threads; what policies mean
//! (weir-compiler) and how they are written (weir-grammar).

mod balancing;
mod comparison;
mod error;
pub mod finding;
mod flows;
mod includes;
mod inputs;
mod locks;
mod on_node;
pub mod place;
mod project;
mod refusal;
mod replace;
mod replay;
mod revision;
pub mod visible;

#[cfg(test)]
mod shop;

pub use balancing::refused_services;
pub use comparison::Comparison;
pub use error::{ProjectError, UnreadableFile};
pub use flows::answer;
pub use inputs::{is_manifest, is_stdin, name, policy_files, read_bytes, read_objects, refuse_stdin_twice};
pub use locks::IdentityFile;
pub use on_node::OnNode;
pub use project::{Project, Step, addresses_of};
pub use replace::replace;
pub use replay::{Change, Changes, Recording};
pub use revision::RevisionError;
