//! HTTP requests and DNS queries, and what one request rule says of them.
//!
//! Here is what the reference evaluator and the image have in common: how *one* rule is held against
//! *one* request, from plain text that either of them hands in ([`Matcher::http`], [`Matcher::dns`]).
//! Everything above that is told twice, independently: which rules meet on a connection, when a
//! redirect lets every request pass, and which rule is named for it.
//!
//! Expressions match whole strings. An expression that does not compile within bounds matches nothing;
//! the grammar refuses such text before it comes here.
//!
//! Not here: secrets' contents. A header whose value is in a secret that the cluster has need only be
//! present; if the cluster has no such secret the value written beside it counts, and without one the
//! header fails.

use crate::fqdn::FqdnPattern;
use crate::ir::Requests;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use rustc_hash::FxHashSet;
use weir_abi::{RequestKind, RequestRule};
use weir_grammar::tree;

/// Bytes of one compiled expression; the lazy automaton's cache is bounded by the library.
const EXPRESSION_BYTES: usize = 4 << 20;

/// An HTTP request. Parts left out are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Host.
    pub host: String,
    /// Names and values; no name twice, whatever its case.
    pub headers: Vec<(String, String)>,
}

/// A DNS query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsRequest {
    /// The name asked for.
    pub query: String,
}

/// What is asked over a connection; both absent: only the connection is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'r> {
    /// As HTTP.
    pub http: Option<&'r HttpRequest>,
    /// As DNS.
    pub dns: Option<&'r DnsRequest>,
}

/// The secrets that a cluster has, as (namespace, name).
pub type Secrets = FxHashSet<(String, String)>;

/// An HTTP rule in parts, wherever it is kept.
#[derive(Clone, Debug, Default)]
pub struct HttpParts<'a> {
    /// Method expression.
    pub method: Option<&'a str>,
    /// Path expression.
    pub path: Option<&'a str>,
    /// Host expression.
    pub host: Option<&'a str>,
    /// Headers; all must match.
    pub headers: Vec<HeaderParts<'a>>,
}

/// A header rule in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParts<'a> {
    /// Name, compared without case.
    pub name: &'a str,
    /// The exact value; `None`: presence is enough.
    pub value: Option<&'a str>,
    /// Namespace and name of the secret that holds the value.
    pub secret: Option<(&'a str, &'a str)>,
    /// Whether a mismatch fails the rule.
    pub fails: bool,
}

impl<'a> HeaderParts<'a> {
    /// From an entry of `headers`: `Name`, `Name: value` or `Name value`.
    pub fn from_line(line: &'a str) -> Self {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let value = Some(value).filter(|value| !value.is_empty());
        HeaderParts { name: name.trim_end_matches(':'), value, secret: None, fails: true }
    }

    /// From an entry of `headerMatches` in a policy of `namespace`.
    pub fn from_tree(header: &'a tree::HeaderMatch, namespace: Option<&'a str>) -> Self {
        let secret = header.secret.as_ref();
        HeaderParts {
            name: &header.name,
            value: header.value.as_deref().filter(|value| !value.is_empty()),
            secret: secret.map(|secret| {
                (secret.namespace.as_deref().or(namespace).unwrap_or_default(), secret.name.as_str())
            }),
            fails: header.mismatch == tree::Mismatch::Fail,
        }
    }
}

impl<'a> HttpParts<'a> {
    /// From a rule as written in a policy of `namespace`.
    pub fn from_tree(rule: &'a tree::HttpRule, namespace: Option<&'a str>) -> Self {
        let lines = rule.headers.iter().map(|line| HeaderParts::from_line(&line.value));
        let matches = rule.header_matches.iter().map(|header| HeaderParts::from_tree(header, namespace));
        HttpParts {
            method: rule.method.as_ref().map(|text| text.value.as_str()),
            path: rule.path.as_ref().map(|text| text.value.as_str()),
            host: rule.host.as_ref().map(|text| text.value.as_str()),
            headers: lines.chain(matches).collect(),
        }
    }

    /// From a rule of an image.
    pub fn from_image(rule: &RequestRule<'a>) -> Self {
        let header = |header: weir_abi::HeaderMatch<'a>| HeaderParts {
            name: header.name,
            value: header.value,
            secret: header.secret.map(|secret| secret.split_once('/').unwrap_or(("", secret))),
            fails: header.fails,
        };
        HttpParts {
            method: rule.method(),
            path: rule.path(),
            host: rule.host(),
            headers: rule.headers().map(header).collect(),
        }
    }
}

/// One request rule, compiled.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// HTTP.
    Http(HttpMatcher),
    /// DNS.
    Dns(FqdnPattern),
}

/// An HTTP rule, compiled.
#[derive(Clone, Debug)]
pub struct HttpMatcher {
    method: Option<Expression>,
    path: Option<Expression>,
    host: Option<Expression>,
    headers: Vec<HeaderMatcher>,
}

#[derive(Clone, Debug)]
struct HeaderMatcher {
    name: String,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Present,
    Value(String),
    /// The content of a secret that does not exist.
    Unknown,
}

impl Matcher {
    /// An HTTP rule.
    pub fn http(parts: &HttpParts<'_>, secrets: &Secrets) -> Self {
        let expression = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Expression::new);
        let header = |header: &HeaderParts<'_>| HeaderMatcher {
            name: header.name.to_owned(),
            wanted: match (header.secret, header.value) {
                (Some((space, name)), _) if secrets.contains(&(space.to_owned(), name.to_owned())) => {
                    Wanted::Present
                }
                (_, Some(value)) => Wanted::Value(value.to_owned()),
                (Some(_), None) => Wanted::Unknown,
                (None, None) => Wanted::Present,
            },
        };
        Matcher::Http(HttpMatcher {
            method: expression(parts.method),
            path: expression(parts.path),
            host: expression(parts.host),
            // A header whose mismatch only logs or mends the request decides nothing.
            headers: parts.headers.iter().filter(|part| part.fails).map(header).collect(),
        })
    }

    /// A DNS rule.
    pub fn dns(text: &str, is_pattern: bool) -> Self {
        Matcher::Dns(FqdnPattern::from_text(text, is_pattern))
    }

    /// The rules of a list as written in a policy of `namespace`; none for TLS, which asks nothing.
    pub fn from_requests(requests: &Requests, namespace: Option<&str>, secrets: &Secrets) -> Vec<Self> {
        match requests {
            Requests::Http(rules) => rules
                .iter()
                .map(|rule| Matcher::http(&HttpParts::from_tree(rule, namespace), secrets))
                .collect(),
            Requests::Dns(names) => {
                names.iter().map(|name| Matcher::dns(&name.text, name.is_pattern)).collect()
            }
            Requests::Tls => Vec::new(),
        }
    }

    /// A rule of an image; `None` for TLS, which asks nothing.
    pub fn from_image(rule: &RequestRule<'_>, secrets: &Secrets) -> Option<Self> {
        match (rule.kind()?, rule.dns()) {
            (RequestKind::Http, _) => Some(Matcher::http(&HttpParts::from_image(rule), secrets)),
            (RequestKind::Dns, dns) => {
                let (text, is_pattern) = dns.unwrap_or_default();
                Some(Matcher::dns(text, is_pattern))
            }
            (RequestKind::Tls, _) => None,
        }
    }

    /// Whether the rule admits what is asked. What is of another kind is not its business: admitted.
    pub fn admits(&self, asked: Asked<'_>) -> bool {
        match self {
            Matcher::Http(rule) => asked.http.is_none_or(|request| rule.matches(request)),
            Matcher::Dns(pattern) => asked.dns.is_none_or(|request| pattern.matches(&request.query)),
        }
    }
}

impl HttpMatcher {
    /// Whether all parts match.
    pub fn matches(&self, request: &HttpRequest) -> bool {
        let part = |expression: &Option<Expression>, text: &str| {
            expression.as_ref().is_none_or(|expression| expression.matches(text))
        };
        part(&self.method, &request.method)
            && part(&self.path, &request.path)
            && part(&self.host, &request.host)
            && self.headers.iter().all(|header| header.matches(request))
    }
}

impl HeaderMatcher {
    fn matches(&self, request: &HttpRequest) -> bool {
        let found = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.name));
        found.is_some_and(|(_, value)| match &self.wanted {
            Wanted::Present => true,
            Wanted::Value(wanted) => value == wanted,
            Wanted::Unknown => false,
        })
    }
}

/// A regular expression over whole strings; `None` never matches.
#[derive(Clone, Debug)]
struct Expression(Option<Regex>);

impl Expression {
    fn new(text: &str) -> Self {
        // The text alone must be an expression, or it could close the group around it.
        // As in RE2, which the proxy uses, classes such as `\d` are ASCII.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        if syntax::parse_with(text, &syntax).is_err() {
            return Expression(None);
        }
        let bounds =
            Regex::config().nfa_size_limit(Some(EXPRESSION_BYTES)).onepass_size_limit(Some(EXPRESSION_BYTES));
        Expression(Regex::builder().configure(bounds).syntax(syntax).build(&format!(r"\A(?:{text})\z")).ok())
    }

    fn matches(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(Input::new(text).anchored(Anchored::Yes)))
    }
}

#[cfg(test)]
mod tests;
