//! What request rules ask, compared by content: two rules that say the same are one, wherever they are written.
//!
//! Not here: whether two expressions match the same text. `GET|POST` and two rules for either are told apart.

use crate::fqdn::FqdnPattern;
use crate::ir::{PolicySet, Requests, Rule};
use crate::requests::{HeaderParts, HttpParts};
use rustc_hash::FxHashMap;
use weir_grammar::tree::{Mismatch, TlsContext};

/// One request rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// HTTP.
    Http(HttpRequestRule),
    /// A name or pattern that may be asked for.
    Dns {
        /// The text.
        name: String,
        /// Whether stars are meant.
        is_pattern: bool,
    },
    /// TLS is intercepted or its server name asked for.
    Tls {
        /// Namespace and name of each secret, with the items that are taken from it.
        contexts: Vec<String>,
        /// The server names.
        server_names: Vec<String>,
    },
}

/// An HTTP rule; parts left out admit anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpRequestRule {
    /// Method expression.
    pub method: Option<String>,
    /// Path expression.
    pub path: Option<String>,
    /// Host expression.
    pub host: Option<String>,
    /// Headers; all must match.
    pub headers: Vec<HeaderRule>,
}

/// A header that an HTTP rule looks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderRule {
    /// Name, lower case.
    pub name: String,
    /// The exact value; `None`: presence is enough.
    pub value: Option<String>,
    /// `namespace/name` of the secret that holds the value.
    pub secret: Option<String>,
    /// What happens where it does not match.
    pub mismatch: Mismatch,
}

/// What a request rule does besides admitting what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effects {
    /// It admits every request.
    pub(super) admits_all: bool,
    /// It changes or watches requests, also where all of them pass.
    pub(super) acts: bool,
}

/// The request rules of a policy set, numbered by content.
#[derive(Debug, Default)]
pub(super) struct Contents {
    numbers: FxHashMap<Request, u32>,
    contents: Vec<(Request, Effects)>,
    /// By rule id.
    of_rule: Vec<Vec<u32>>,
}

impl Contents {
    pub(super) fn new(set: &PolicySet) -> Self {
        let mut contents = Contents::default();
        for rule in &set.rules {
            let namespace = set.policies.get(rule.policy).and_then(|policy| policy.namespace.as_deref());
            let mut numbers: Vec<u32> =
                asked(rule, namespace).into_iter().map(|request| contents.number(request)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            contents.of_rule.push(numbers);
        }
        contents
    }

    fn number(&mut self, request: Request) -> u32 {
        let next = u32::try_from(self.contents.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(request).or_insert_with_key(|request| {
            self.contents.push((request.clone(), request.effects()));
            next
        })
    }

    /// What a rule asks.
    pub(super) fn of(&self, rule: u32) -> &[u32] {
        self.of_rule.get(rule as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn effects(&self, number: u32) -> Effects {
        let found = self.contents.get(number as usize);
        found.map_or(Effects { admits_all: false, acts: false }, |&(_, effects)| effects)
    }

    pub(super) fn request(&self, number: u32) -> Option<&Request> {
        self.contents.get(number as usize).map(|(request, _)| request)
    }
}

fn asked(rule: &Rule, namespace: Option<&str>) -> Vec<Request> {
    let mut asked: Vec<Request> = match &rule.requests {
        None => return Vec::new(),
        Some(Requests::Http(rules)) => {
            let one = |rule| {
                let parts = HttpParts::from_tree(rule, namespace);
                let lines = parts.headers.len() - rule.header_matches.len();
                let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
                let mismatches = std::iter::repeat_n(Mismatch::Fail, lines)
                    .chain(rule.header_matches.iter().map(|header| header.mismatch));
                let mut headers: Vec<HeaderRule> = parts
                    .headers
                    .iter()
                    .zip(mismatches)
                    .map(|(part, mismatch)| header(part, mismatch))
                    .collect();
                headers.sort();
                headers.dedup();
                let (method, path, host) = (some(parts.method), some(parts.path), some(parts.host));
                Request::Http(HttpRequestRule { method, path, host, headers })
            };
            rules.iter().map(one).collect()
        }
        Some(Requests::Dns(names)) => names
            .iter()
            .map(|name| Request::Dns { name: name.text.clone(), is_pattern: name.is_pattern })
            .collect(),
        Some(Requests::Tls) => Vec::new(),
    };
    if matches!(rule.requests, Some(Requests::Tls)) || !rule.tls.is_empty() || !rule.server_names.is_empty() {
        let mut server_names = rule.server_names.clone();
        server_names.sort();
        let contexts = rule.tls.iter().map(|context| self::context(context, namespace)).collect();
        asked.push(Request::Tls { contexts, server_names });
    }
    asked
}

fn header(part: &HeaderParts<'_>, mismatch: Mismatch) -> HeaderRule {
    HeaderRule {
        name: part.name.to_ascii_lowercase(),
        value: part.value.map(str::to_owned),
        secret: part.secret.map(|(namespace, name)| format!("{namespace}/{name}")),
        mismatch,
    }
}

fn context(written: &TlsContext, namespace: Option<&str>) -> String {
    let space = written.secret.namespace.as_deref().or(namespace).unwrap_or_default();
    let mut text = format!("{space}/{}", written.secret.name);
    let items =
        [("ca", &written.trusted_ca), ("certificate", &written.certificate), ("key", &written.private_key)];
    for (name, item) in items {
        if let Some(item) = item {
            text.push_str(&format!(" {name} {item}"));
        }
    }
    text
}

impl Request {
    fn effects(&self) -> Effects {
        match self {
            Request::Http(rule) => {
                let HttpRequestRule { method, path, host, headers } = rule;
                let is_open = method.is_none() && path.is_none() && host.is_none();
                Effects {
                    admits_all: is_open && headers.iter().all(|header| header.mismatch != Mismatch::Fail),
                    acts: headers.iter().any(|header| header.mismatch != Mismatch::Fail),
                }
            }
            Request::Dns { name, is_pattern } => {
                Effects { admits_all: FqdnPattern::from_text(name, *is_pattern).is_everything(), acts: false }
            }
            Request::Tls { .. } => Effects { admits_all: false, acts: true },
        }
    }
}
