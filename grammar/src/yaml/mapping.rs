//! The pairs of a mapping: every key once, and merge keys replaced by what they merge.
//!
//! `<<: *anchor` is no part of YAML 1.2, but the API server's YAML library honours it, so it is
//! honoured here: keys written in the mapping go before merged ones, earlier merged ones before later.

use super::tree::{Content, Node, NodeId, Tag, Tree};
use crate::diagnostic::{Code, Diagnostic};
use crate::findings::Findings;
use crate::span::{FileId, Span};
use hashbrown::{HashMap, HashSet};

/// Up to here comparing every key with every other is faster than hashing.
const FEW: usize = 16;

/// Appends the pairs of `pending` (key, value, key, …) to the tree's children. Returns whether they
/// are free of problems; keys that are no text were reported before and are left out.
pub(super) fn fill(tree: &mut Tree<'_>, pending: &[NodeId], file: FileId, findings: &mut Findings) -> bool {
    let first = tree.children.len();
    let (mut sound, mut merges) = (true, Vec::new());
    let mut seen: HashMap<String, NodeId> = HashMap::new();
    for pair in pending.chunks_exact(2) {
        let (key, value) = (pair[0], pair[1]);
        let Some(text) = key_text(tree, key) else {
            sound = false;
            continue;
        };
        if text == "<<" && is_plain(tree, key) {
            merges.push(value);
            continue;
        }
        let earlier = if pending.len() <= 2 * FEW {
            tree.children[first..]
                .chunks_exact(2)
                .map(|pair| pair[0])
                .find(|&earlier| key_text(tree, earlier) == Some(text))
        } else {
            let text = text.to_owned();
            let earlier = seen.get(&text).copied();
            seen.entry(text).or_insert(key);
            earlier
        };
        if let Some(earlier) = earlier {
            sound = false;
            findings.push(
                Diagnostic::new(
                    Code::DuplicateKey,
                    span(tree, key, file),
                    format!("the key `{text}` is given twice"),
                )
                .labelled("given again here")
                .also(span(tree, earlier, file), "given first here")
                .help("keep one of the two; strict decoding refuses both"),
            );
            continue;
        }
        tree.children.extend([key, value]);
    }
    for merge in merges {
        sound &= merge_in(tree, first, merge, file, findings);
    }
    sound
}

/// Appends the pairs of a merged mapping, or of each mapping in a merged list.
fn merge_in(tree: &mut Tree<'_>, first: usize, merge: NodeId, file: FileId, findings: &mut Findings) -> bool {
    let sources: Vec<NodeId> = match content(tree, merge) {
        Some(&Content::Sequence { first, count }) => {
            tree.children.get(first as usize..(first + count) as usize).unwrap_or(&[]).to_vec()
        }
        _ => vec![merge],
    };
    let mut present: HashSet<String> = tree.children[first..]
        .chunks_exact(2)
        .filter_map(|pair| key_text(tree, pair[0]).map(str::to_owned))
        .collect();
    for source in sources {
        let Some(&Content::Mapping { first, count }) = content(tree, source) else {
            if !matches!(content(tree, source), Some(Content::Broken)) {
                findings.push(
                    Diagnostic::new(
                        Code::WrongType,
                        span(tree, source, file),
                        "a merge key `<<` takes a mapping or a list of mappings",
                    )
                    .labelled("not a mapping")
                    .help("quote the key if `<<` is meant as text"),
                );
            }
            return false;
        };
        // A merged mapping was closed before this one, so its pairs lie before ours.
        for at in (first as usize..).step_by(2).take(count as usize) {
            let (Some(&key), Some(&value)) = (tree.children.get(at), tree.children.get(at + 1)) else {
                break;
            };
            let Some(text) = key_text(tree, key).map(str::to_owned) else { continue };
            if present.insert(text) {
                tree.children.extend([key, value]);
            }
        }
    }
    true
}

fn content<'a, 't>(tree: &'a Tree<'t>, id: NodeId) -> Option<&'a Content<'t>> {
    tree.nodes.get(id.0 as usize).map(|node| &node.content)
}

fn key_text<'a>(tree: &'a Tree<'_>, id: NodeId) -> Option<&'a str> {
    match content(tree, id) {
        Some(Content::Scalar(text, _)) => Some(text),
        _ => None,
    }
}

fn is_plain(tree: &Tree<'_>, id: NodeId) -> bool {
    matches!(content(tree, id), Some(Content::Scalar(_, Tag::None)))
}

fn span(tree: &Tree<'_>, id: NodeId, file: FileId) -> Span {
    match tree.nodes.get(id.0 as usize) {
        Some(&Node { start, end, .. }) => Span { file, start, end },
        None => Span::point(file, 0),
    }
}
