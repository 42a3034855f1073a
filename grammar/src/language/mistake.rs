//! What is not well-formed, in a person's words: what stands there, what was expected, what was meant.

use super::Rule;
use super::statements::is_word;
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::hint;
use crate::span::Span;
use pest::error::{Error, ErrorVariant, InputLocation};

/// Parts as they are asked for; a part that is not here is asked for by its first words.
const PARTS: &[(Rule, &str)] = &[
    (Rule::EOI, "the end of the statement"),
    (Rule::peer, "a peer such as `app=web`, `10.0.0.0/8` or `world`"),
    (Rule::block, "an address block or a group"),
    (Rule::selector, "a label such as `app=web`"),
    (Rule::requirement, "a label such as `app=web`"),
    (Rule::equal, "a label such as `app=web`"),
    (Rule::values, "values such as `(a, b)`"),
    (Rule::address, "an address block"),
    (Rule::name, "the name of a set"),
    (Rule::port, "a port such as `tcp/80`"),
    (Rule::request, "a request such as `GET \"/path\"`"),
    (Rule::dns_name, "a DNS name in quotes"),
    (Rule::string, "text in quotes"),
    (Rule::word, "a word"),
    (Rule::direction, "`ingress` or `egress`"),
    (Rule::action, "`allow` or `deny`"),
    (Rule::ingress, "`ingress`"),
    (Rule::egress, "`egress`"),
    (Rule::on, "`on`"),
    (Rule::auth, "`auth`"),
    (Rule::http, "`http`"),
    (Rule::dns, "`dns`"),
    (Rule::labels, "`with`"),
    (Rule::namespace, "`in`"),
    (Rule::namespace_of, "`in`"),
    (Rule::except, "`except`"),
    (Rule::equals, "`=`"),
    (Rule::opened, "`{`"),
    (Rule::closed, "`}`"),
    (Rule::paren, "`(`"),
    (Rule::empty, "`[]`"),
];

/// The finding for a statement that its rule does not accept. `statement` begins at `at`.
pub(super) fn malformed(error: &Error<Rule>, statement: &str, at: Span) -> Diagnostic {
    let offset = match error.location {
        InputLocation::Pos(offset) | InputLocation::Span((offset, _)) => offset,
    };
    let rest = statement.get(offset..).unwrap_or("");
    let rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
    let offset = statement.len() - rest.len();
    let found = found(rest);
    let start = at.start + u32::try_from(offset).unwrap_or(0);
    let span = Span { start, end: start + u32::try_from(found.len()).unwrap_or(0), ..at };
    let positives = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
        ErrorVariant::CustomError { .. } => &[],
    };
    let message = match found {
        "" => "the statement ends too early".to_owned(),
        "\"" => {
            "a string is opened and not closed on its line, or has an escape that there is not".to_owned()
        }
        found => format!("`{}` does not belong here", hint::short(found)),
    };
    let finding = Diagnostic::new(Code::PolicySyntax, span, message).labelled(expected(positives));
    let keywords: Vec<String> = positives.iter().filter_map(|&rule| keyword(rule)).collect();
    let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
    if let Some(meant) = hint::nearest(found, &keywords) {
        return finding.help(format!("did you mean `{meant}`?"));
    }
    match found {
        "\"" => finding
            .help("escapes are \\\" \\\\ \\n \\r \\t \\u{…}; a backslash that is meant is written \\\\"),
        "," => {
            finding.help("`or` and a comma widen a list of peers; a comma between labels narrows a selector")
        }
        _ => finding,
    }
}

/// The finding for a first word that opens nothing here.
pub(super) fn unknown_word(word: &str, at: Span, known: &[&str], place: &str) -> Diagnostic {
    let shown = hint::short(word);
    let finding = Diagnostic::new(Code::UnknownWord, at, format!("{place} does not begin with `{shown}`"))
        .labelled("no statement begins so");
    finding.help(match hint::nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("statements here begin with {}", hint::list(known)),
    })
}

fn expected(rules: &[Rule]) -> String {
    let mut words: Vec<String> = Vec::new();
    for &rule in rules {
        let part = PARTS.iter().find(|(part, _)| *part == rule).map(|(_, word)| (*word).to_owned());
        let word = part.or_else(|| keyword(rule).map(|word| format!("`{word}`")));
        if let Some(word) = word
            && !words.contains(&word)
        {
            words.push(word);
        }
    }
    match words.as_slice() {
        [] => "not well-formed".to_owned(),
        [one] => format!("expected {one}"),
        [rest @ .., last] => format!("expected {} or {last}", rest.join(", ")),
    }
}

/// The word of a rule that is a keyword: those are named in camel case.
pub(super) fn keyword(rule: Rule) -> Option<String> {
    let name = format!("{rule:?}");
    let mut letters = name.chars();
    let is_keyword = letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase);
    is_keyword.then(|| name.to_lowercase())
}

/// The word or the character that stands first; nothing at an end.
fn found(rest: &str) -> &str {
    let word = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
    let end = if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) };
    rest.get(..end).unwrap_or("")
}
