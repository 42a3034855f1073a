//! `policyc` as its users meet it: what is typed, what is printed where, and the exit code.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod check;
mod compile;
mod convert;
mod diff;
mod expectations;
mod explain;
mod findings;
mod fmt;
mod formats;
mod graph;
mod hostile;
mod library;
mod pages;
mod replay;
mod review;
mod schema;
mod services;
mod session;
mod verdict;
