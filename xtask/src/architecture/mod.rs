//! `cargo xtask architecture`: the fences of the project, checked.
//!
//! Fences, cheapest first: crate boundaries, clippy, and this. Each finding names a place and says what to do about it.
//! The lists of licences and banned crates are read from deny.toml, so that there is one of each.
//!
//! Not here: the advisory database, which needs a network (`cargo deny check`); formatting and lints, which cargo knows.

mod arrows;
mod bans;
mod deny_file;
mod licences;
mod places;
mod rust_text;
mod sources;

use crate::checkout::Checkout;
use crate::{Failure, takes_nothing};
use deny_file::DenyFile;
use std::fmt;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// `file:line`, or a file.
    place: String,
    /// What is wrong.
    what: String,
    /// What to do.
    instead: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Finding { place: place.into(), what: what.into(), instead: instead.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}\n    {}", self.place, self.what, self.instead)
    }
}

/// The command.
pub(crate) fn run(checkout: &Checkout, arguments: &[String]) -> Result<(), Failure> {
    takes_nothing(arguments)?;
    check(checkout)
}

/// The check, as a step of `test` too: prints each finding and tells how many there are.
pub(crate) fn check(checkout: &Checkout) -> Result<(), Failure> {
    let deny = DenyFile::parse(&checkout.read("deny.toml")?)?;
    let fuzz = checkout.metadata_of("tests/fuzz")?;
    let mut findings = arrows::check(checkout)?;
    for (metadata, lock) in [(checkout.metadata(), "Cargo.lock"), (&fuzz, "tests/fuzz/Cargo.lock")] {
        let lock_text = checkout.read(lock)?;
        let place = |name: &str, version: &str| places::in_lock(lock, &lock_text, name, version);
        findings.extend(licences::check(metadata, &deny.licences, &place));
        findings.extend(bans::check(metadata, &deny.banned, &place)?);
        findings.extend(bans::foreign_sources(metadata, &place));
    }
    findings.extend(sources::check(checkout)?);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("arrows, licences, banned crates and source files are as they should be");
            Ok(())
        }
        1 => Err("1 finding".into()),
        number => Err(format!("{number} findings")),
    }
}
