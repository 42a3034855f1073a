//! One file per command. A command reads, works, tells, and says how it went; `main` makes that an exit code.

pub(crate) mod check;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod fmt;
pub(crate) mod graph;
pub(crate) mod inspect;
mod inspect_services;
pub(crate) mod man;
pub(crate) mod replay;
pub(crate) mod services;
pub(crate) mod test;
pub(crate) mod verdict;

/// How a command that could do its work went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing is wrong.
    Fine,
    /// Something is wrong with what was read, and has been told.
    Findings,
}
