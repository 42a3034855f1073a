//! What the tokens of a statement are for, told by the rule of the grammar that reads it.
//!
//! Parts that the layout does not ask about are passed over, so that a new form of the grammar is laid out
//! as words with spaces between them until something is said about it here.

use super::tokens::{Quotes, Starts, Tokens};
use crate::language::{Grammar, Rule};
use pest::Parser;
use pest::iterators::Pair;
use std::ops::Range;

/// Tells the tokens of a statement what they are for. False if the rule does not read it.
pub(super) fn assign(tokens: &mut Tokens<'_>, part: Range<usize>, rule: Rule) -> bool {
    let Some((first, last)) = tokens.list.get(part.clone()).and_then(|list| list.first().zip(list.last()))
    else {
        return false;
    };
    let base = first.start;
    let text = tokens.text.get(base..last.end).unwrap_or("");
    let Ok(pairs) = Grammar::parse(rule, text) else { return false };
    let mut roles = Roles { tokens, base, at: part.start, is_asked: false };
    for pair in pairs {
        roles.of(pair);
    }
    true
}

struct Roles<'a, 't> {
    tokens: &'a mut Tokens<'t>,
    base: usize,
    /// A token before which all have their roles.
    at: usize,
    /// One request is spoken of, whose words are no expressions.
    is_asked: bool,
}

impl Roles<'_, '_> {
    /// Goes through the parts of a part, as deep as the grammar is.
    fn of(&mut self, part: Pair<'_, Rule>) {
        let rule = part.as_rule();
        match rule {
            Rule::on | Rule::auth => self.starts(&part, Starts::Clause),
            Rule::equals => self.starts(&part, Starts::Definition),
            Rule::arrow => self.starts(&part, Starts::Arrow),
            Rule::verdict => self.starts(&part, Starts::Verdict),
            _ => {}
        }
        let close = part.as_span().end();
        let (mut texts, mut peers, mut brackets) = (0, 0, Vec::new());
        for piece in part.into_inner() {
            match (rule, piece.as_rule()) {
                (Rule::ingress | Rule::egress | Rule::ends, Rule::Or) => self.starts(&piece, Starts::Peer),
                (Rule::ingress | Rule::egress | Rule::ends, Rule::also) => peers = 1,
                (Rule::ingress | Rule::egress | Rule::ends, _) => {
                    if peers > 0 {
                        self.starts(&piece, Starts::Peer);
                    }
                    peers = 0;
                }
                (Rule::fqdn, Rule::dns_name) | (Rule::cidr | Rule::cidrset, Rule::block) => {
                    if peers > 0 {
                        self.starts(&piece, Starts::Peer);
                    }
                    peers = 1;
                }
                (_, Rule::opened | Rule::paren) => brackets.push(self.place(&piece)),
                (Rule::set, Rule::block) | (Rule::group, Rule::address | Rule::name) | (Rule::values, _) => {
                    self.starts(&piece, Starts::Entry);
                }
                (Rule::except, Rule::address | Rule::name) if !brackets.is_empty() => {
                    self.starts(&piece, Starts::Entry);
                }
                (_, Rule::request) => self.starts(&piece, Starts::Request),
                _ => {}
            }
            if let Rule::string | Rule::word | Rule::dotted | Rule::slashed = piece.as_rule() {
                let quotes = match (rule, piece.as_rule()) {
                    // Without quotes it would be a name.
                    (Rule::expect, Rule::string) => Quotes::Kept,
                    (Rule::expect, _) => Quotes::Spared,
                    _ if self.is_asked => Quotes::Spared,
                    _ => quotes(rule, texts),
                };
                let place = self.place(&piece);
                if let Some(token) = self.tokens.list.get_mut(place) {
                    token.quotes = quotes;
                }
                texts += 1;
            }
            if piece.as_rule() == Rule::except
                && !piece.clone().into_inner().any(|inner| inner.as_rule() == Rule::opened)
            {
                self.starts(&piece, Starts::LoneException);
            }
            self.is_asked |= piece.as_rule() == Rule::asked;
            self.of(piece);
        }
        if let Some(&open) = brackets.first() {
            self.separators(open, self.base + close);
        }
    }

    /// Marks what stands between the entries of the bracket at `open`.
    fn separators(&mut self, open: usize, end: usize) {
        let mut is_between = true;
        for place in (open + 1..self.tokens.at(open, end)).rev() {
            let is_separator = self.tokens.is(place, ",") || self.tokens.is(place, ";");
            let is_close = self.tokens.is(place, "}") || self.tokens.is(place, ")");
            let Some(token) = self.tokens.list.get_mut(place) else { continue };
            if is_separator && is_between {
                token.starts = Starts::Separator;
            } else {
                let is_entry = matches!(token.starts, Starts::Entry | Starts::Request);
                is_between = is_entry || is_close && is_between;
            }
        }
    }

    fn starts(&mut self, part: &Pair<'_, Rule>, what: Starts) {
        let place = self.place(part);
        if let Some(token) = self.tokens.list.get_mut(place) {
            token.starts = what;
        }
    }

    /// The token that a part begins with.
    fn place(&mut self, part: &Pair<'_, Rule>) -> usize {
        self.at = self.tokens.at(self.at, self.base + part.as_span().start());
        self.at
    }
}

/// Whether the text that is a part's `place`th needs its quotes. Names, labels and other words do without;
/// patterns, DNS names and what is written for people have them, whatever they are made of.
fn quotes(part: Rule, place: usize) -> Quotes {
    match part {
        Rule::equal | Rule::unequal | Rule::one_of | Rule::none_of | Rule::has | Rule::lacks
            if place == 0 =>
        {
            Quotes::SparedOnKeys
        }
        Rule::policy if place > 0 => Quotes::Kept,
        Rule::spec
        | Rule::log
        | Rule::dns_name
        | Rule::method
        | Rule::path
        | Rule::host
        | Rule::value
        | Rule::server_names
        | Rule::asked_name
        | Rule::include => Quotes::Kept,
        _ => Quotes::Spared,
    }
}
