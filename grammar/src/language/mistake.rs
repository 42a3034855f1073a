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
    (Rule::end, "who, such as `shop/web`, `app=web in shop`, `world` or `10.0.0.0/8`"),
    (Rule::workload, "a workload such as `shop/web`"),
    (Rule::arrow, "`->`"),
    (Rule::on_ports, "a port such as `tcp/80`"),
    (Rule::on_port, "a port such as `tcp/80`"),
    (Rule::asked, "a request such as `GET /path`"),
    (Rule::method, "a method such as `GET`"),
    (Rule::capitals, "a method such as `GET`"),
    (Rule::path, "a path such as `/api`"),
    (Rule::asked_name, "`dns`"),
    (Rule::verdict, "a verdict, `allow` or `deny`"),
    (Rule::by, "`by`"),
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
    (Rule::also, "`,`"),
    (Rule::except, "`except`"),
    (Rule::equals, "`=`"),
    (Rule::opened, "`{`"),
    (Rule::closed, "`}`"),
    (Rule::paren, "`(`"),
    (Rule::empty, "`[]`"),
];

/// What people write in places where something else is wanted, by its first word.
const ADVICE: &[(&str, &str)] = &[
    (
        ",",
        "a comma between labels narrows a selector; whole peers are separated by `or`, or by a comma where they are no labels",
    ),
    ("=", "one `=` does: app=web"),
    (
        "or",
        "`for` takes one selector: several values are `app in (a, b)`, several selectors several `spec` blocks",
    ),
    ("and", "labels that must all hold are separated by commas"),
    ("&&", "labels that must all hold are separated by commas"),
    ("to", "ports stand behind `on`; `to` names the peers of egress"),
    ("from", "`from` names the peers of ingress; those of egress stand behind `to`"),
    ("port", "ports stand behind `on`, with their protocol: on tcp/80"),
    ("ports", "ports stand behind `on`, with their protocol: on tcp/80, udp/53"),
    ("\"", "escapes are \\\" \\\\ \\n \\r \\t \\u{…}; a backslash that is meant is written \\\\"),
];

const COMMENT: &str = "comments begin with `#`, and end with their line";

/// Whether a text begins as comments of other languages do.
pub(super) fn is_foreign_comment(text: &str) -> bool {
    text.starts_with("//") || text.starts_with("/*")
}

/// Help that goes by what was wanted, too.
fn advice(found: &str, positives: &[Rule]) -> Option<&'static str> {
    let is_wanted = |part| positives.contains(&part);
    let protocol = found.split('/').next().unwrap_or("");
    // That `or` may not follow is no part that could be wanted.
    let is_or = found == "or" && positives.is_empty();
    if is_wanted(Rule::arrow) || found == ">" {
        Some("` -> ` stands between who connects and to whom, with blanks around it")
    } else if is_wanted(Rule::verdict) {
        match found {
            "" => Some("say what is to happen: allow or deny"),
            "allowed" | "accept" | "pass" | "permit" => Some("did you mean `allow`?"),
            "denied" | "drop" | "reject" | "block" | "blocked" => Some("did you mean `deny`?"),
            _ if hint::nearest(found, &["allow"]).is_some() => Some("did you mean `allow`?"),
            _ if hint::nearest(found, &["deny"]).is_some() => Some("did you mean `deny`?"),
            _ if found.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                Some("a method stands in capitals, GET; any other is written method \"get\"")
            }
            _ => Some(
                "the verdict, `allow` or `deny`, stands last; more is said by `by ingress` and `by egress` alone",
            ),
        }
    } else if is_wanted(Rule::On) && ["tcp", "udp", "sctp", "any", "icmp", "icmpv6"].contains(&protocol) {
        Some("ports stand behind `on`")
    } else if is_wanted(Rule::port) && matches!(found, "http" | "dns") {
        Some("the ports come first: on tcp/80 http { … }, on udp/53 dns \"…\"")
    } else if is_wanted(Rule::request) && found.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Some("a method in capitals stands alone, GET; any other expression is written method \"…\"")
    } else if is_wanted(Rule::Header)
        && (found == "\"" || found.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        Some("requests stand on lines of their own, or between `;`")
    } else if is_or || is_wanted(Rule::opened) && (is_wanted(Rule::address) || found.contains('/')) {
        Some("several exceptions, or one before other blocks, stand in braces: except { 192.0.2.0/28 }")
    } else if let Some((_, help)) = ADVICE.iter().find(|(word, _)| *word == found) {
        Some(help)
    } else if positives == [Rule::EOI] {
        Some("a text of several words stands in quotes; statements are separated by a line's end or a `;`")
    } else {
        None
    }
}

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
    if is_foreign_comment(statement) || is_foreign_comment(found) {
        return finding.help(COMMENT);
    }
    if let Some(help) = advice(found, positives) {
        return finding.help(help);
    }
    match hint::nearest(found, &keywords) {
        Some(meant) => finding.help(format!("did you mean `{meant}`?")),
        None => finding,
    }
}

/// The finding for a first word that opens nothing here.
pub(super) fn unknown_word(word: &str, at: Span, known: &[&str], place: &str) -> Diagnostic {
    let shown = hint::short(word);
    let finding = Diagnostic::new(Code::UnknownWord, at, format!("{place} does not begin with `{shown}`"))
        .labelled("no statement begins so");
    finding.help(match hint::nearest(word, known) {
        _ if is_foreign_comment(word) => COMMENT.to_owned(),
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
