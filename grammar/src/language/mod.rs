//! The policy language: another way to write the very manifests.
//!
//! A file is cut into statements (`statements`), each is parsed by its own rule of `policy.pest`, and its
//! parts become the values that YAML would have given, with the places of the words that stand for them.
//! From there on the decoders of `manifest` read them, so that a value is checked in one place, and a
//! policy means the same whichever way it was written. One statement's mistake does not hide the next's.
//!
//! Bounded as YAML is: nothing here recurses over input, and values are counted, those of sets once a use.
//!
//! Not here: what a value may be (`manifest`), and reading the files that a file includes: it names them, and is
//! told what they define.

mod blocks;
mod build;
mod escape;
mod expect;
mod file;
mod format;
mod include;
mod mistake;
mod peers;
mod policy;
mod ports;
mod print;
mod print_expect;
mod print_rule;
mod print_selector;
mod selector;
mod statements;
mod words;

pub(crate) use file::pass;
pub(crate) use format::{laid_out, pieces};
pub(crate) use include::{Exported, paths};
pub(crate) use print::item;
pub(crate) use words::{put as put_into_words, put_in_files as put_files_into_words};

use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use build::Build;
use pest::iterators::Pair;
use pest_derive::Parser;

#[derive(Parser)]
#[grammar = "language/policy.pest"]
struct Grammar;

/// Whether a file is written in the language: its name says so, or where that has no ending, as stdin's and a pipe's,
/// the word that it begins with.
pub(crate) fn is_used(name: &str, text: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((_, ending)) => ending.eq_ignore_ascii_case("policy"),
        None => statements::begin(text),
    }
}

/// The words and strings among a part's pieces.
fn texts(part: Pair<'_, Rule>) -> impl Iterator<Item = Pair<'_, Rule>> {
    part.into_inner()
        .filter(|piece| matches!(piece.as_rule(), Rule::word | Rule::string | Rule::capitals | Rule::slashed))
}

/// Reports a part that the grammar knows and this kind of policy does not.
fn misplaced(build: &mut Build<'_, '_>, at: Span, what: &str, place: &str, help: &str) {
    build.findings.push(
        Diagnostic::new(Code::Misplaced, at, format!("{what} has no place in {place}"))
            .labelled("not possible here")
            .help(help),
    );
}
