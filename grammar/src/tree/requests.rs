//! What may be asked over an admitted connection: HTTP and DNS rules, TLS contexts.

use crate::span::{Span, Spanned};

/// The request rules of one port list; one kind only. Never empty.
#[derive(Clone, Debug)]
pub enum RequestRules {
    /// A request passes if one rule matches.
    Http(Vec<HttpRule>),
    /// A query passes if one selector matches its name.
    Dns(Vec<FqdnSelector>),
}

/// One HTTP rule: all its parts match. `method`, `path` and `host` are regular expressions over
/// the whole string, already checked to compile.
#[derive(Clone, Debug)]
pub struct HttpRule {
    /// Where.
    pub span: Span,
    /// Method.
    pub method: Option<Spanned<String>>,
    /// Path with query.
    pub path: Option<Spanned<String>>,
    /// Host header.
    pub host: Option<Spanned<String>>,
    /// `headers`: `Name` (present) or `Name: value` (present with exactly that value).
    pub headers: Vec<Spanned<String>>,
    /// `headerMatches`.
    pub header_matches: Vec<HeaderMatch>,
}

/// What happens to a request whose header does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mismatch {
    /// The rule does not match (the default).
    Fail,
    /// The request passes, logged.
    Log,
    /// The request passes with the value added.
    Add,
    /// The request passes without the header.
    Delete,
    /// The request passes with the value in place of the header's.
    Replace,
}

/// A header to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Where.
    pub span: Span,
    /// Header name; compared without case.
    pub name: String,
    /// The value asked for. None and no secret: the header need only be present.
    pub value: Option<String>,
    /// A secret that holds the value; it goes before `value`.
    pub secret: Option<SecretName>,
    /// What happens otherwise.
    pub mismatch: Mismatch,
}

/// A reference to a Secret. Its content is never read into an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName {
    /// Its namespace; `None`: that of the policy.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// `matchName` or `matchPattern`, as written but lower case, without a trailing dot (the patterns `.` and
/// `*`-only forms are kept whole).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FqdnSelector {
    /// Where.
    pub span: Span,
    /// Whether stars are meant (`matchPattern`).
    pub is_pattern: bool,
    /// The name or pattern.
    pub text: String,
}

/// `terminatingTLS` or `originatingTLS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsContext {
    /// Where.
    pub span: Span,
    /// The secret.
    pub secret: SecretName,
    /// Item of the secret with the trusted CA; `ca.crt` when left out.
    pub trusted_ca: Option<String>,
    /// Item with the certificate; `tls.crt` when left out.
    pub certificate: Option<String>,
    /// Item with the key; `tls.key` when left out.
    pub private_key: Option<String>,
}
