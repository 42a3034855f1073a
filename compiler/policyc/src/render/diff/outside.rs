//! Addresses outside in words: blocks, or the world but for others where that is shorter, and names.

use super::listed;
use super::requests::quoted;
use ipnet::IpNet;
use weir_compiler::classes::aggregate::complement;
use weir_compiler::diff::{NameTerm, Names, Outside};

/// Blocks that are written out.
const BLOCKS: usize = 5;
/// Names that are written out.
const NAMES: usize = 4;

pub(super) fn words(outside: &Outside) -> String {
    match &outside.names {
        Names::Any => blocks(outside),
        Names::NoneOf(terms) => format!("{} unless known as {}", blocks(outside), names(terms)),
        Names::Of(terms) => match blocks(outside) {
            world if world == WORLD => names(terms),
            blocks => format!("{} at {blocks}", names(terms)),
        },
    }
}

const WORLD: &str = "world";

fn blocks(outside: &Outside) -> String {
    let blocks = &outside.blocks;
    let rest = complement(blocks);
    match rest.len() {
        0 => WORLD.to_owned(),
        rests if rests < blocks.len() => format!("{WORLD} but {}", cut(&texts(&rest))),
        _ => cut(&texts(blocks)),
    }
}

/// What of the world is not meant, if anything.
pub(super) fn rest(outside: &Outside) -> Option<String> {
    let rest = complement(&outside.blocks);
    (!rest.is_empty()).then(|| cut(&texts(&rest)))
}

fn texts(blocks: &[IpNet]) -> Vec<String> {
    blocks.iter().map(ToString::to_string).collect()
}

fn cut(blocks: &[String]) -> String {
    if blocks.len() > BLOCKS + 1 {
        format!("{} blocks ({}, …)", blocks.len(), blocks[..BLOCKS].join(", "))
    } else {
        blocks.join(", ")
    }
}

fn names(terms: &[NameTerm]) -> String {
    let texts: Vec<String> = terms.iter().map(term).collect();
    format!("fqdn {}", listed(&texts, NAMES))
}

fn term(term: &NameTerm) -> String {
    let texts = |names: &[(String, bool)]| names.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>();
    let all = texts(&term.all_of).join(" and ");
    if term.none_of.is_empty() {
        all
    } else {
        format!("{all} but not {}", listed(&texts(&term.none_of), NAMES))
    }
}
