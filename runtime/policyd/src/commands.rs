//! What each command does.

pub(crate) mod cleanup;
pub(crate) mod monitor;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod verdict;

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Fine,
    /// Something is wrong with what was read, or with what is in force.
    Findings,
}
