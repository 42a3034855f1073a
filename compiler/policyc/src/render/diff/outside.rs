//! Addresses outside in words: blocks, or the world but for others where that is shorter, and names.

use super::listed;
use super::requests::quoted;
use weir_compiler::classes::aggregate::complement;
use weir_compiler::diff::{NameTerm, Names, Outside};

/// Blocks that are written beside other peers.
const BLOCKS: usize = 5;
/// Blocks that are written in lines of their own.
const LISTED: usize = 200;
/// How wide such a line is.
const WIDTH: usize = 110;
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

fn texts(blocks: &[impl ToString]) -> Vec<String> {
    blocks.iter().map(ToString::to_string).collect()
}

fn cut(blocks: &[String]) -> String {
    if blocks.len() > BLOCKS + 1 { format!("{} blocks", blocks.len()) } else { blocks.join(", ") }
}

/// The blocks that were only counted, in lines.
pub(super) fn lists(outside: &Outside) -> Option<String> {
    let blocks = &outside.blocks;
    let rest = complement(blocks);
    let is_rest = rest.len() < blocks.len();
    let told = if is_rest { &rest } else { blocks };
    if told.len() <= BLOCKS + 1 {
        return None;
    }
    let mut lines = vec![String::new()];
    for block in told.iter().take(LISTED) {
        let block = block.to_string();
        if lines.last().is_some_and(|line| !line.is_empty() && line.len() + block.len() + 2 > WIDTH) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push_str(", ");
            }
            line.push_str(&block);
        }
    }
    let more = told.len().saturating_sub(LISTED);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let what = if is_rest { "blocks that are not meant" } else { "blocks" };
    Some(format!("{what}:\n{}", lines.iter().map(|line| format!("        {line}\n")).collect::<String>()))
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
