//! The findings of one file while it is read.
//!
//! Errors and warnings are bounded apart, so that a flood of warnings never hides an error. What is
//! beyond the bound is counted and told in one last finding of each kind.

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::span::{FileId, Span};
use hashbrown::HashSet;

/// Collects findings.
#[derive(Debug)]
pub(crate) struct Findings {
    list: Vec<Diagnostic>,
    limit: usize,
    errors: usize,
    warnings: usize,
    /// What was told, where nothing is to be told twice.
    told: Option<HashSet<(Code, Span, String)>>,
    /// Errors that were told before: what they are in is as wrong as what they were in then.
    repeated: usize,
}

impl Findings {
    /// Keeps at most `limit` errors and as many warnings.
    pub(crate) fn new(limit: usize) -> Self {
        Findings { list: Vec::new(), limit, errors: 0, warnings: 0, told: None, repeated: 0 }
    }

    /// The same, but for a text in which one place is read several times.
    pub(crate) fn without_repeats(limit: usize) -> Self {
        Findings { told: Some(HashSet::new()), ..Findings::new(limit) }
    }

    /// Takes one finding.
    pub(crate) fn push(&mut self, finding: Diagnostic) {
        let count = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        // Beyond the bound findings are counted alone, and repeats with them.
        if *count <= self.limit
            && let Some(told) = &mut self.told
            && !told.insert((finding.code, finding.span, finding.message.clone()))
        {
            *count -= 1;
            self.repeated += usize::from(finding.severity == Severity::Error);
            return;
        }
        if *count <= self.limit {
            self.list.push(finding);
        }
    }

    /// Whether another warning would only be counted; saves composing it.
    pub(crate) fn is_full_of_warnings(&self) -> bool {
        self.warnings >= self.limit
    }

    /// Counts a warning that is not composed because [`Findings::is_full_of_warnings`].
    pub(crate) fn count_warnings(&mut self, more: usize) {
        self.warnings += more;
    }

    /// Notes that an error told before makes something else wrong, too.
    pub(crate) fn repeat_error(&mut self) {
        self.repeated += 1;
    }

    /// Findings that are kept so far.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Says whose the findings from `from` on are, where they are nobody's yet.
    pub(crate) fn attribute(&mut self, from: usize, object: Option<String>) {
        for finding in self.list.get_mut(from..).unwrap_or_default() {
            if finding.object.is_none() {
                finding.object.clone_from(&object);
            }
        }
    }

    /// Errors so far, shown or not.
    pub(crate) fn errors(&self) -> usize {
        self.errors + self.repeated
    }

    /// All findings in the order of the text, and what was left out at the end.
    pub(crate) fn finish(mut self, file: FileId, end: u32) -> Vec<Diagnostic> {
        self.list.sort_by_key(|finding| finding.span.start);
        for (count, code, one) in
            [(self.errors, Code::MoreErrors, "error"), (self.warnings, Code::MoreWarnings, "warning")]
        {
            if let Some(rest @ 1..) = count.checked_sub(self.limit) {
                let plural = if rest == 1 { "" } else { "s" };
                self.list.push(
                    Diagnostic::new(
                        code,
                        Span::point(file, end),
                        format!("{rest} more {one}{plural} in this file"),
                    )
                    .help("repair those shown and look again"),
                );
            }
        }
        self.list
    }
}
