//! Why a set of valid policies has no image, told as findings.

use weir_compiler::cluster::Cluster;
use weir_compiler::compile::CompileError;
use weir_compiler::compile::cost::{Cost, costliest_by};
use weir_compiler::identity::LockError;
use weir_compiler::ir::{PolicySet, Requests, Rule};
use weir_compiler::tables::Conflict;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::source::Sources;
use weir_grammar::span::{FileId, Span};

/// Policies named where a limit is exceeded.
const NAMED: usize = 5;

/// What the finding is about.
pub(crate) struct Refused<'a> {
    /// The policies.
    pub(crate) set: &'a PolicySet,
    /// The cluster.
    pub(crate) cluster: &'a Cluster,
    /// The files.
    pub(crate) sources: &'a Sources,
    /// The lock of identity numbers, if it is a file.
    pub(crate) lock: Option<FileId>,
}

impl Refused<'_> {
    /// The finding for an error.
    ///
    /// # Errors
    /// The error itself, if it is not about what was read.
    pub(crate) fn finding(&self, error: CompileError) -> Result<Diagnostic, CompileError> {
        let message = error.to_string();
        let found = match error {
            CompileError::Lock(error) => return Ok(identity_lock(error, self.sources, self.lock)),
            CompileError::Conflict(conflict) => self.conflict(conflict),
            CompileError::TooManyClasses { what: "ports", .. }
            | CompileError::TooManyOverlaps { what: "ports", .. } => {
                let what = "port ranges and ICMP types";
                self.costliest(Code::TooManyClasses, message, what, |cost| cost.port_ranges)
            }
            CompileError::TooManyClasses { .. } => {
                let peers = |cost: &Cost| cost.prefixes.saturating_add(cost.rules);
                self.costliest(Code::TooManyClasses, message, "prefixes and rules", peers)
            }
            CompileError::TooManyOverlaps { .. } => {
                let what = "prefixes, rules and port ranges";
                self.costliest(Code::TooManyClasses, message, what, Cost::total)
            }
            CompileError::TooLarge { .. } => {
                let what = "prefixes, rules and port ranges";
                self.costliest(Code::ImageTooLarge, message, what, Cost::total)
            }
            _ => None,
        };
        found.ok_or(error)
    }

    fn conflict(&self, conflict: Conflict) -> Option<Diagnostic> {
        let rule = |id: u32| self.set.rules.get(id as usize);
        let (first, second) = (rule(conflict.first)?, rule(conflict.second)?);
        let say = |rule: &Rule| format!("{} rules here", kind(rule));
        let message = format!("{} and {} rules meet on one peer and port", kind(first), kind(second));
        let mut finding = Diagnostic::new(Code::L7Conflict, second.span, message)
            .labelled(say(second))
            .also(first.span, say(first))
            .help("a connection can be read as one protocol only; give the two rules other ports or other peers");
        finding.object = self.object(second);
        Some(finding)
    }

    /// A finding at the policy that costs most, with the next ones beside it.
    fn costliest(
        &self,
        code: Code,
        message: String,
        what: &str,
        by: impl Fn(&Cost) -> usize,
    ) -> Option<Diagnostic> {
        let named: Vec<_> = costliest_by(self.set, self.cluster, NAMED, &by)
            .into_iter()
            .filter_map(|(place, cost)| Some((by(&cost), self.set.policies.get(place)?)))
            .collect();
        let (cost, worst) = named.first()?;
        let mut finding =
            Diagnostic::new(code, worst.span, message).labelled(format!("costs most: {cost} {what}")).help(
                "merge rules that say the same, replace lists by ranges or wider prefixes, or split by node",
            );
        for (cost, policy) in named.iter().skip(1) {
            finding = finding.also(policy.span, format!("{cost} {what}"));
        }
        finding.object = Some(format!("{} {}", worst.kind.as_str(), worst.qualified_name()));
        Some(finding)
    }

    fn object(&self, rule: &Rule) -> Option<String> {
        let policy = self.set.policies.get(rule.policy)?;
        Some(format!("{} {}", policy.kind.as_str(), policy.qualified_name()))
    }
}

const fn kind(rule: &Rule) -> &'static str {
    match &rule.requests {
        Some(Requests::Http(_)) => "HTTP",
        Some(Requests::Dns(_)) => "DNS",
        Some(Requests::Tls) => "TLS",
        None => "plain",
    }
}

/// The finding for a lock of identity numbers.
pub(crate) fn identity_lock(error: LockError, sources: &Sources, file: Option<FileId>) -> Diagnostic {
    let file = file.unwrap_or(FileId(0));
    let code = match error {
        LockError::UsedUp { .. } => Code::TooManyIdentities,
        _ => Code::LockFile,
    };
    let (span, message) = match &error {
        LockError::Json { line, column, source } => {
            let said = source.to_string();
            let said = said.split(" at line ").next().unwrap_or_default();
            (
                json_place(sources.text(file), file, *line, *column),
                format!("the lock file does not fit: {said}"),
            )
        }
        LockError::UsedUp { .. } => (Span::point(file, 0), error.to_string()),
        other => (Span::point(file, 0), format!("the lock file does not fit: {other}")),
    };
    Diagnostic::new(code, span, message).help(match code {
        Code::TooManyIdentities => "compile for one node (--node), or let fewer labels tell pods apart",
        _ => "restore the file from version control; without it, numbers are given anew",
    })
}

/// The character that a JSON parser points at: line from 1, column in bytes from 1.
fn json_place(text: &str, file: FileId, line: usize, column: usize) -> Span {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let width = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { file, start: offset(at), end: offset(at + width) }
}
