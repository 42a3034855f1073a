//! DNS names in classes: which patterns a name may match at once, and no others.
//!
//! All names and patterns are read together, letter by letter, as one automaton whose states are sets of places
//! in patterns. The sets in which some name can end are exactly the combinations there are: `*.a.test` and
//! `b.*.test` meet, two names never do. So nothing is guessed and no combination is missed.
//!
//! A name here is one or more labels, none empty, of letters, digits, `-` and `_`. An address may have several names; then the
//! strongest of their verdicts is its verdict, as everywhere.

use crate::fqdn::{FqdnPattern, Token};
use rustc_hash::FxHashMap;

/// Sets of places that are looked at, at most, counted with their sizes. Patterns with many stars multiply.
pub const MAX_PLACES: usize = 1 << 21;

/// The combinations of patterns that single names match, each sorted, without the empty one. `None` if there are
/// too many to go through.
pub(super) fn combinations(patterns: &[FqdnPattern]) -> Option<Vec<Vec<u32>>> {
    let tokens: Vec<Vec<Token>> = patterns.iter().map(FqdnPattern::tokens).collect();
    let alphabet = alphabet(&tokens);
    let mut start: Vec<Place> = Vec::new();
    for (pattern, tokens) in (0u32..).zip(&tokens) {
        close(Place { pattern, at: 0 }, tokens, &mut start);
    }
    let mut known: FxHashMap<(Vec<Place>, bool), ()> = FxHashMap::default();
    let mut found: FxHashMap<Vec<u32>, ()> = FxHashMap::default();
    let mut places = start.len();
    let mut open = vec![(start.clone(), false)];
    known.insert((start, false), ());
    // The flag tells whether a label has begun; a name ends and goes on behind a dot only if so.
    while let Some((state, in_label)) = open.pop() {
        if in_label {
            let ends = |place: &&Place| place.at as usize == tokens[place.pattern as usize].len();
            let combination: Vec<u32> = state.iter().filter(ends).map(|place| place.pattern).collect();
            if !combination.is_empty() {
                found.insert(combination, ());
            }
        }
        for &byte in &alphabet {
            let is_dot = byte == b'.';
            if is_dot && !in_label {
                continue;
            }
            let mut next = Vec::new();
            for &place in &state {
                step(place, &tokens[place.pattern as usize], byte, &mut next);
            }
            if next.is_empty() {
                continue;
            }
            next.sort_unstable();
            next.dedup();
            let size = next.len();
            let next = (next, !is_dot);
            if !known.contains_key(&next) {
                places += size + 1;
                if places > MAX_PLACES {
                    return None;
                }
                known.insert(next.clone(), ());
                open.push(next);
            }
        }
    }
    let mut found: Vec<Vec<u32>> = found.into_keys().collect();
    found.sort_unstable();
    Some(found)
}

/// Before a token of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    pattern: u32,
    at: u32,
}

/// A place, and those behind it that need no letter.
fn close(mut place: Place, tokens: &[Token], into: &mut Vec<Place>) {
    into.push(place);
    while let Some(Token::Star | Token::Labels) = tokens.get(place.at as usize) {
        place.at += 1;
        into.push(place);
    }
}

fn step(place: Place, tokens: &[Token], byte: u8, into: &mut Vec<Place>) {
    let goes_on = match tokens.get(place.at as usize) {
        Some(Token::Byte(wanted)) if *wanted == byte => Place { at: place.at + 1, ..place },
        Some(Token::Star) if byte != b'.' => place,
        Some(Token::Labels) => place,
        _ => return,
    };
    close(goes_on, tokens, into);
}

/// The letters that patterns name, the dot, and one that stands for all others if there are any.
fn alphabet(tokens: &[Vec<Token>]) -> Vec<u8> {
    let is_label = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let mut named = [false; 256];
    for token in tokens.iter().flatten() {
        if let Token::Byte(byte) = token {
            named[usize::from(*byte)] = true;
        }
    }
    let labels = || (0..=u8::MAX).filter(is_label);
    let other = labels().find(|&byte| !named[usize::from(byte)]);
    labels().filter(|&byte| named[usize::from(byte)]).chain(other).chain([b'.']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined(patterns: &[&str]) -> Vec<Vec<u32>> {
        let patterns: Vec<FqdnPattern> =
            patterns.iter().map(|text| FqdnPattern::from_text(text, text.contains('*'))).collect();
        combinations(&patterns).unwrap()
    }

    #[test]
    fn only_what_a_name_can_match_is_there() {
        assert_eq!(combined(&[]), [[0u32; 0]; 0]);
        assert_eq!(combined(&["a.test", "b.test"]), [[0], [1]]);
        assert_eq!(combined(&["*.test", "a.test"]), [vec![0], vec![0, 1]]);
        assert_eq!(combined(&["*.a.test", "b.*.test"]), [vec![0], vec![0, 1], vec![1]]);
        assert_eq!(combined(&["**.test", "*.test", "*"]), [vec![0, 1, 2], vec![0, 2], vec![2]]);
        assert_eq!(combined(&["a*", "*a"]), [vec![0], vec![0, 1], vec![1]]);
    }

    #[test]
    fn a_name_that_is_written_takes_itself_out() {
        // `a` is the only name that both match and that has no second `a`.
        assert_eq!(combined(&["a*", "*a", "a*a", "a"]), [vec![0], vec![0, 1, 2], vec![0, 1, 3], vec![1]]);
    }

    #[test]
    fn combinations_are_those_that_names_have() {
        let patterns = ["*.x.test", "a*.x.test", "**.test", "*b.*.test", "ab.x.test", "*", "x*z.test"];
        let found = combined(&patterns);
        let patterns = patterns.map(|text| FqdnPattern::from_text(text, text.contains('*')));
        let labels = ["a", "b", "ab", "aab", "x", "xz", "xbz", "q", "test"];
        let mut names: Vec<String> = labels.map(str::to_owned).to_vec();
        let mut all = names.clone();
        for _ in 0..2 {
            names = names.iter().flat_map(|name| labels.map(|label| format!("{label}.{name}"))).collect();
            all.extend(names.clone());
        }
        let mut seen: Vec<Vec<u32>> = all
            .iter()
            .map(|name| (0..).zip(&patterns).filter(|(_, one)| one.matches(name)).map(|(at, _)| at).collect())
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(found, seen);
    }

    #[test]
    fn what_would_not_end_is_refused() {
        let many: Vec<String> = (0..26u8)
            .flat_map(|a| {
                (0..26u8).map(move |b| format!("*{0}*{1}*{0}*", char::from(b'a' + a), char::from(b'a' + b)))
            })
            .collect();
        let patterns: Vec<FqdnPattern> = many.iter().map(|text| FqdnPattern::from_text(text, true)).collect();
        assert!(combinations(&patterns).is_none());
    }
}
