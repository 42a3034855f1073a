//! DNS names: the patterns that select them, and the lock file that tells whose addresses they are.
//!
//! A name is compared in lower case and as if it ended in one dot; `a.test` and `A.TEST.` are one
//! name. Stars never reach over a dot, except that `**.` in front stands for one or more whole labels.
//!
//! ```text
//! *           every name, the root too (so do **, ***, **.)
//! *.x.test    one label more, not x.test itself        *x.test    x.test and subx.test, not a.x.test
//! **.x.test   any number of labels more, at least one  a.**.test  as a.*.test
//! ```
//!
//! Not here: DNS itself. Which addresses a name has is input (`fqdn` of a flow, the lock file).

use crate::json;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::FileId;
use weir_grammar::tree::FqdnSelector;

/// The longest name.
const MAX_NAME: usize = 255;

/// A `matchName` or `matchPattern`, ready to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FqdnPattern(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Every name.
    Everything,
    /// Label by label, from the left; stars within a label if `stars`.
    Labels {
        /// One or more labels stand before the first of these.
        deeper: bool,
        /// The labels; the root alone is one empty label.
        labels: Vec<String>,
        /// Whether `*` is a star.
        stars: bool,
    },
}

impl FqdnPattern {
    /// From a selector as written.
    pub fn new(selector: &FqdnSelector) -> Self {
        Self::from_text(&selector.text, selector.is_pattern)
    }

    /// From text, as rules and images hold it.
    pub fn from_text(text: &str, is_pattern: bool) -> Self {
        let text = text.to_ascii_lowercase();
        let stars = text.bytes().take_while(|&byte| byte == b'*').count();
        let rest = &text[stars..];
        if is_pattern && (stars > 0 && rest.is_empty() || stars > 1 && rest == ".") {
            return FqdnPattern(Form::Everything);
        }
        let deeper = is_pattern && stars > 1 && rest.starts_with('.');
        let tail = if deeper { &rest[1..] } else { text.as_str() };
        let labels = labels(tail).map(str::to_owned).collect();
        FqdnPattern(Form::Labels { deeper, labels, stars: is_pattern })
    }

    /// Whether it selects every name.
    pub(crate) fn is_everything(&self) -> bool {
        self.0 == Form::Everything
    }

    /// The pattern as it is read along a name, from the left.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let Form::Labels { deeper, labels, stars } = &self.0 else { return vec![Token::Labels] };
        let mut tokens = Vec::new();
        if *deeper {
            tokens.extend([Token::Labels, Token::Byte(b'.')]);
        }
        for (place, label) in labels.iter().enumerate() {
            if place > 0 {
                tokens.push(Token::Byte(b'.'));
            }
            tokens.extend(label.bytes().map(|byte| match byte {
                b'*' if *stars => Token::Star,
                byte => Token::Byte(byte),
            }));
        }
        tokens
    }

    /// Whether it selects a name.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        if !name.bytes().all(|byte| byte == b'.' || is_label_byte(byte)) {
            return false;
        }
        let parts: Vec<&str> = labels(&name).collect();
        let whole = |parts: &[&str]| parts.iter().all(|part| !part.is_empty());
        match &self.0 {
            Form::Everything => parts == [""] || whole(&parts),
            Form::Labels { deeper, labels, stars } => {
                let Some(more) = parts.len().checked_sub(labels.len()) else { return false };
                let (front, tail) = parts.split_at(more);
                let depth_fits = if *deeper { !front.is_empty() && whole(front) } else { front.is_empty() };
                depth_fits
                    && labels.iter().zip(tail).all(|(label, part)| {
                        if *stars {
                            label_matches(label.as_bytes(), part.as_bytes())
                        } else {
                            label.as_str() == *part
                        }
                    })
            }
        }
    }
}

/// What a pattern asks of a name from one place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// This byte; a dot ends a label.
    Byte(u8),
    /// Any bytes of one label, none included.
    Star,
    /// Any bytes, dots included.
    Labels,
}

/// The labels of a name, its one closing dot left out.
fn labels(name: &str) -> impl Iterator<Item = &str> {
    name.strip_suffix('.').unwrap_or(name).split('.')
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Stars stand for any bytes, none included.
fn label_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on if the bytes after the last star do not fit: one byte further under the star.
    let mut retry = None;
    while read < label.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, read));
            }
            Some(byte) if *byte == label[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, from)) = retry else { return false };
                retry = Some((after, from + 1));
                (at, read) = (after, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// The names whose addresses are known, as the lock file gives them:
///
/// ```json
/// {"version": 1, "names": {"api.example.com": ["192.0.2.1", "2001:db8::1"]}}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FqdnLock {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    names: BTreeMap<IpAddr, Vec<String>>,
}

impl FqdnLock {
    /// The only version of the file there is.
    pub const VERSION: u32 = 1;

    /// Parses the text of a lock file.
    ///
    /// # Errors
    /// The first mistake, if there is one.
    pub fn parse(file: FileId, text: &str) -> Result<Self, Box<Diagnostic>> {
        match serde_json::from_str::<File>(text) {
            Ok(written) => Ok(Self::new(written.names.0)),
            Err(error) => {
                let span = json::place(file, 0, text, &error);
                let message = format!("the lock file does not fit: {}", json::message(&error));
                let finding = Diagnostic::new(Code::LockFile, span, message)
                    .help(r#"it looks like {"version": 1, "names": {"api.example.com": ["192.0.2.1"]}}"#);
                Err(Box::new(finding))
            }
        }
    }

    /// From names (lower case, no dot at the end) and their addresses.
    pub fn new(mut addresses: BTreeMap<String, Vec<IpAddr>>) -> Self {
        let mut names: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        for (name, list) in &mut addresses {
            list.sort_unstable();
            list.dedup();
            for &address in list.iter() {
                names.entry(address).or_default().push(name.clone());
            }
        }
        FqdnLock { addresses, names }
    }

    /// The addresses of a name, sorted.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        self.addresses.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names of an address, sorted.
    pub fn names(&self, address: IpAddr) -> &[String] {
        self.names.get(&address).map_or(&[], Vec::as_slice)
    }

    /// All names with their addresses, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[IpAddr])> {
        self.addresses.iter().map(|(name, addresses)| (name.as_str(), addresses.as_slice()))
    }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version", deserialize_with = "the_version")]
    _version: u32,
    names: Names,
}

fn the_version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        FqdnLock::VERSION => Ok(FqdnLock::VERSION),
        other => Err(D::Error::custom(format!("version {other}, only {} is known", FqdnLock::VERSION))),
    }
}

struct Names(BTreeMap<String, Vec<IpAddr>>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with lists of addresses")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        let mut names = BTreeMap::new();
        while let Some(written) = map.next_key::<String>()? {
            let mut name = written.to_ascii_lowercase();
            if name.ends_with('.') {
                name.pop();
            }
            let label = |label: &str| !label.is_empty() && label.bytes().all(is_label_byte);
            if name.len() > MAX_NAME || !name.split('.').all(label) {
                return Err(A::Error::custom(format!("`{written}` is not a DNS name")));
            }
            if names.contains_key(&name) {
                return Err(A::Error::custom(format!("the name `{written}` is given twice")));
            }
            names.insert(name, map.next_value()?);
        }
        Ok(Names(names))
    }
}

#[cfg(test)]
mod tests;
